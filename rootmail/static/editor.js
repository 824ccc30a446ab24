// The editor of an action: puts snippets where the author was writing, gives the mail's frame its height, and says where
// what is shown, or was typed, would be lost.
(() => {
  const form = document.getElementById("editor");
  let last = document.getElementById("id_body");
  let typed = false;
  last.setSelectionRange(last.value.length, last.value.length);
  form.addEventListener("focusin", (event) => {
    if (event.target.matches("textarea, input[type=text]:not(#id_name)")) last = event.target;
  });

  document.addEventListener("click", (event) => {
    const snippet = event.target.closest("[data-insert]");
    if (!snippet) return;
    last.setRangeText(snippet.dataset.insert, last.selectionStart, last.selectionEnd, "end");
    last.focus();
    last.dispatchEvent(new Event("input", { bubbles: true }));
  });

  form.addEventListener("input", (event) => {
    typed = true;
    // What Save has found wrong is told by the preview from here on, for as long as it is so.
    for (const old of event.target.closest(".field")?.querySelectorAll(".error") ?? []) old.remove();
    event.target.removeAttribute("aria-invalid");
  });
  // Somebody who was logged out meanwhile, or logged in again in another tab, loses nothing: it is sent when it can be saved.
  let ready = false;
  form.addEventListener("submit", async (event) => {
    if (ready) { typed = ready = false; return; }
    event.preventDefault();
    ready = await isLoggedIn().catch(() => false);
    if (ready) form.requestSubmit(event.submitter);
    else isOld("Nothing was saved: you are not logged in any more, or rootmail does not answer. Log in in another tab, then save here.");
  });
  const isLoggedIn = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const token = page.querySelector("#editor [name=csrfmiddlewaretoken]");
    if (token) form.elements.csrfmiddlewaretoken.value = token.value;
    return Boolean(token);
  };
  addEventListener("beforeunload", (event) => { if (typed) event.preventDefault(); });

  const AGED = "The preview is not up to date. Reload it by typing on; if that does not help, log in again in another tab.";
  const isOld = (text = AGED) => { document.getElementById("problems").textContent = text; };
  document.addEventListener("htmx:responseError", () => {
    isOld();
    isLoggedIn().catch(() => {}); // again, maybe: then typing on is enough
  });
  document.addEventListener("htmx:sendError", () => isOld());
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful && !event.detail.xhr.responseText.includes('id="problems"')) isOld();
  });

  const fit = () => {
    const frame = document.querySelector("iframe.look");
    const page = frame && frame.contentDocument && frame.contentDocument.documentElement;
    if (!page) return;
    frame.style.height = "0"; // or a mail that became shorter would keep its height
    frame.style.height = `${page.scrollHeight + 2}px`;
  };
  const watch = () => {
    const frame = document.querySelector("iframe.look");
    if (frame) frame.addEventListener("load", fit);
    fit();
  };
  document.addEventListener("htmx:oobAfterSwap", watch);
  watch();
})();
