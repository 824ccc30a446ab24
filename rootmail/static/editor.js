// The editor of an action: puts snippets where the author was writing, and gives the mail's frame its height.
(() => {
  const form = document.getElementById("editor");
  let last = document.getElementById("id_body");
  form.addEventListener("focusin", (event) => {
    if (event.target.matches("textarea, input[type=text]")) last = event.target;
  });

  document.addEventListener("click", (event) => {
    const snippet = event.target.closest("[data-insert]");
    if (!snippet) return;
    last.setRangeText(snippet.dataset.insert, last.selectionStart, last.selectionEnd, "end");
    last.focus();
    last.dispatchEvent(new Event("input", { bubbles: true }));
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
