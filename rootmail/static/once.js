// A form is sent once: a second click while the answer is on its way would run a workflow, or make a token, twice. The
// button that was pressed shows that it is.
const showBusy = (button, busy) => {
  if (button?.matches(".btn")) button.classList.toggle("btn-loading", busy);
};
addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return; // htmx, and scripts of ours, send it themselves
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
  showBusy(event.submitter, true);
  setTimeout(() => { // an answer that does not come may be asked for again
    delete form.dataset.sent;
    showBusy(event.submitter, false);
  }, 10000);
});
for (const [sign, busy] of [["htmx:beforeRequest", true], ["htmx:afterRequest", false]]) {
  document.addEventListener(sign, ({ detail: { elt, requestConfig } }) => {
    showBusy(requestConfig.triggeringEvent?.submitter ?? elt, busy);
  });
}
addEventListener("pageshow", () => { // come back to by the browser's own button
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  for (const button of document.querySelectorAll(".btn-loading")) showBusy(button, false);
});
