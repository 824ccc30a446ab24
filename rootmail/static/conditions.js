// The buttons of the conditions. While an answer is on its way, nothing can be typed that it would replace; where there is
// none, what was typed stays. unsaved.js, before it, knows whether the server would take it.
document.addEventListener("htmx:confirm", async (event) => {
  const block = event.target.closest("#conditions");
  if (!block) return;
  event.preventDefault();
  block.inert = true;
  if (event.target.name === "remove_condition") unsaved.changed();
  await unsaved.isLoggedIn(); // where it is not, the answer is none
  event.detail.issueRequest(true);
});
document.addEventListener("htmx:afterRequest", (event) => {
  const { requestConfig, successful, xhr } = event.detail;
  const block = document.getElementById("conditions");
  block.inert = false;
  if (document.activeElement === document.body) document.getElementById(requestConfig.elt.id)?.focus();
  if (successful && xhr.responseText.includes('id="conditions"')) return;
  block.querySelector(".told").textContent =
    "There was no answer. What you typed still stands here: log in again in another tab, or try once more.";
});
