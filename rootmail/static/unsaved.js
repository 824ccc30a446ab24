// A form that takes long to fill in: whoever would leave it unsaved is asked, and whoever was logged out meanwhile, or
// logged in again in another tab, loses nothing: it is sent when it can be saved.
const unsaved = (() => {
  const form = document.querySelector("form[data-unsaved]");
  let differs = form.dataset.unsaved === "yes"; // from what is stored
  let ready = false;
  const tell = (text) => { document.getElementById("problems").textContent = text; };

  // Asks the server whether it would take the form, and takes over its token: that changes when somebody logs in.
  const isLoggedIn = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
    const page = new DOMParser().parseFromString(answer ? await answer.text() : "", "text/html");
    const token = page.querySelector("form[data-unsaved] [name=csrfmiddlewaretoken]");
    if (token) for (const old of document.querySelectorAll("[name=csrfmiddlewaretoken]")) old.value = token.value;
    return Boolean(token);
  };

  form.addEventListener("input", () => { differs = true; });
  form.addEventListener("submit", async (event) => {
    if (ready) { differs = ready = false; return; }
    event.preventDefault();
    ready = await isLoggedIn();
    if (ready) form.requestSubmit(event.submitter);
    else tell("Nothing was saved: you are not logged in any more, or rootmail does not answer. Log in in another tab, then save here.");
  });
  addEventListener("beforeunload", (event) => { if (differs) event.preventDefault(); });
  return { form, isLoggedIn, tell, changed: () => { differs = true; } };
})();
