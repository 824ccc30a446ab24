// On a narrow screen, the result of Connect, Check and Detect stands far from the button that was pressed: the page scrolls
// to it when it begins, and to what it says in the end. The focus stays where it is. Whoever scrolls or types meanwhile is
// left alone.
(() => {
  const result = document.getElementById("result");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let awaited = result.childElementCount > 0; // the page itself is the answer to a button
  const follow = () => {
    if (!awaited) return;
    const said = result.querySelector(".alert");
    const part = said ?? result;
    const { top } = part.getBoundingClientRect();
    const { bottom } = result.getBoundingClientRect();
    const seen = top >= 0 && (top < innerHeight / 2 || bottom <= innerHeight);
    if (!seen) part.scrollIntoView({ behavior: calm.matches ? "instant" : "smooth" });
    awaited = !said;
  };

  document.addEventListener("htmx:beforeRequest", ({ detail: { target, requestConfig } }) => {
    const pressed = ["click", "submit"].includes(requestConfig.triggeringEvent?.type);
    if (pressed && target === result) awaited = true;
  });
  for (const sign of ["wheel", "touchmove", "keydown", "input"]) {
    addEventListener(sign, () => { awaited = false; }, { passive: true });
  }
  new MutationObserver(follow).observe(result, { childList: true, subtree: true });
  follow();
})();
