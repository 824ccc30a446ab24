// Where a button of the conditions could not be answered, say so: what was typed stays.
document.addEventListener("htmx:afterRequest", (event) => {
  const { successful, xhr } = event.detail;
  if (successful && xhr.responseText.includes('id="conditions"')) return;
  document.querySelector("#conditions .told").textContent =
    "There was no answer. What you typed still stands here: log in again in another tab, or try once more.";
});
