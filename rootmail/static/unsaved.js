// A form that takes long to fill in: whoever would leave it unsaved is asked, and whoever was logged out meanwhile, or
// logged in again in another tab, loses nothing: it is sent when it can be saved.
const unsaved = (() => {
  const form = document.querySelector("form[data-unsaved]");
  let differs = form.dataset.unsaved === "yes"; // from what is stored
  let ready = false;
  const LOST = "Nothing was saved: you are not logged in any more, or rootmail does not answer. Log in in another tab, then save here.";
  const tell = (text) => { document.getElementById("problems").textContent = text; };

  // Asks the server whether it would take the form, and takes over its token: that changes when somebody logs in.
  const isLoggedIn = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
    const page = new DOMParser().parseFromString(answer ? await answer.text() : "", "text/html");
    const token = page.querySelector("form[data-unsaved] [name=csrfmiddlewaretoken]");
    if (token) for (const old of document.querySelectorAll("[name=csrfmiddlewaretoken]")) old.value = token.value;
    return Boolean(token);
  };

  if (form.hasAttribute("hx-post")) { // htmx sends it, and parts of it while somebody types
    document.addEventListener("htmx:confirm", async (event) => {
      const { triggeringEvent: pressed, elt, issueRequest } = event.detail;
      if (!["click", "submit"].includes(pressed?.type)) return;
      event.preventDefault();
      showBusy(pressed.submitter ?? elt, true);
      const answers = await isLoggedIn();
      tell(answers ? "" : LOST);
      if (answers) issueRequest(true);
      else showBusy(pressed.submitter ?? elt, false);
    });
    document.addEventListener("htmx:responseError", () => tell(LOST));
    return null;
  }

  form.addEventListener("input", () => { differs = true; });
  form.addEventListener("submit", async (event) => {
    if (ready) { differs = ready = false; return; }
    event.preventDefault();
    showBusy(event.submitter, true);
    ready = await isLoggedIn();
    if (ready) return form.requestSubmit(event.submitter);
    showBusy(event.submitter, false);
    tell(LOST);
  });
  addEventListener("beforeunload", (event) => { if (differs) event.preventDefault(); });
  return { form, isLoggedIn, tell, changed: () => { differs = true; } };
})();
