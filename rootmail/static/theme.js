// Follow the system's theme where the reader chose 'auto'. Runs before the first paint.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => root.setAttribute("data-bs-theme", dark.matches ? "dark" : "light");
  if (root.dataset.chosenTheme === "auto") {
    follow();
    dark.addEventListener("change", follow);
  }
})();
