// The actions of a workflow: dragged by their handles, or moved by their arrows without a new page. Each move is saved at
// once, and told in a line that screen readers read out.
(() => {
  const list = document.getElementById("order");
  const told = document.getElementById("moved");
  let dragged = null;
  let before = [];
  const rows = () => [...list.children];
  const keys = () => rows().map((row) => row.dataset.key);

  const number = () => rows().forEach((row, index, all) => {
    row.querySelector(".place").textContent = index + 1;
    row.querySelector("[data-by='-1']").disabled = index === 0;
    row.querySelector("[data-by='1']").disabled = index === all.length - 1;
  });

  const put = (order) => {
    const held = document.activeElement; // a row that is put elsewhere loses the focus
    order.forEach((key) => list.append(rows().find((row) => row.dataset.key === key)));
    number();
    held.focus();
  };

  const save = async (row, was) => {
    number();
    const body = new URLSearchParams(keys().map((key) => ["order", key]));
    body.append("csrfmiddlewaretoken", list.querySelector("[name=csrfmiddlewaretoken]").value);
    let problem = "";
    try {
      const answer = await fetch(list.dataset.url, { method: "POST", body });
      if (answer.status === 409) problem = await answer.text();
      else if (answer.status !== 204) problem = "You may not change it now: load the page again.";
    } catch {
      problem = "The server does not answer. Try again.";
    }
    if (problem) put(was);
    told.textContent = problem ? `The order was not saved. ${problem}`
      : `${row.dataset.name} is now ${rows().indexOf(row) + 1} of ${rows().length}.`;
    told.classList.toggle("error", Boolean(problem));
  };

  list.addEventListener("submit", (event) => {
    const button = event.target.querySelector("[data-by]");
    if (!button) return;
    event.preventDefault();
    const row = button.closest("li");
    const was = keys();
    if (button.dataset.by === "1") row.nextElementSibling.after(row);
    else row.previousElementSibling.before(row);
    save(row, was);
    (button.disabled ? row.querySelector("[data-by]:not(:disabled)") : button).focus();
  });

  list.addEventListener("dragstart", (event) => {
    if (!event.target.matches(".handle")) return;
    dragged = event.target.closest("li");
    before = keys();
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", dragged.dataset.name);
    event.dataTransfer.setDragImage(dragged, 12, 12);
    dragged.classList.add("dragged");
  });
  list.addEventListener("dragover", (event) => {
    const over = event.target.closest("#order > li");
    if (!dragged || !over) return;
    event.preventDefault();
    const { top, height } = over.getBoundingClientRect();
    if (over !== dragged) over[event.clientY > top + height / 2 ? "after" : "before"](dragged);
  });
  list.addEventListener("drop", (event) => {
    if (!dragged) return;
    event.preventDefault();
    if (keys().join() !== before.join()) save(dragged, before);
    before = [];
  });
  list.addEventListener("dragend", () => {
    if (!dragged) return;
    dragged.classList.remove("dragged");
    if (before.length) put(before); // let go elsewhere: nothing is moved
    dragged = null;
  });

  if (rows().length > 1) list.querySelectorAll(".handle").forEach((handle) => { handle.hidden = false; });
})();
