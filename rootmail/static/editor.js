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

  form.addEventListener("input", () => { typed = true; });
  form.addEventListener("submit", () => { typed = false; });
  addEventListener("beforeunload", (event) => { if (typed) event.preventDefault(); });

  const isOld = () => {
    document.getElementById("problems").textContent =
      "The preview is not up to date. Reload it by typing on; if that does not help, log in again in another tab.";
  };
  document.addEventListener("htmx:responseError", isOld);
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
