// A form is sent once: a second click while the answer is on its way would run a workflow, or make a token, twice.
addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return; // htmx, and scripts of ours, send it themselves
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
  setTimeout(() => { delete form.dataset.sent; }, 10000); // an answer that does not come may be asked for again
});
addEventListener("pageshow", () => { // come back to by the browser's own button
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
