// The editor of an action: puts snippets where the author was writing, gives the mail's frame its height, and says where
// what is shown is not up to date. unsaved.js, before it, guards what was typed.
(() => {
  const { form, isLoggedIn, tell } = unsaved;
  let last = document.getElementById("id_body");
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
    // What Save has found wrong is told by the preview from here on, for as long as it is so.
    for (const old of event.target.closest(".field")?.querySelectorAll(".error") ?? []) old.remove();
    event.target.removeAttribute("aria-invalid");
    const summary = document.getElementById("errors");
    for (const link of summary?.querySelectorAll(`[href="#${event.target.id}"]`) ?? []) link.closest("p").remove();
    if (!summary?.querySelector("p")) summary?.replaceChildren();
  });

  const AGED = "The preview is not up to date. Reload it by typing on; if that does not help, log in again in another tab.";
  const isOld = () => tell(AGED);
  document.addEventListener("htmx:responseError", () => {
    isOld();
    isLoggedIn(); // again, maybe: then typing on is enough
  });
  document.addEventListener("htmx:sendError", isOld);
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
