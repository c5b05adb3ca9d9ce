// One control opens and closes the code that a reader may skip, on every page, and is remembered.
// It runs before the page is painted, so that nothing flashes.
(() => {
  const FOLDED = ".tag_hide-input > details.hide";
  const root = document.documentElement;
  const recall = () => {
    try { return localStorage.getItem("actnorm-code"); } catch { return null; }
  };
  const remember = (state) => {
    try { localStorage.setItem("actnorm-code", state); } catch { /* a folder may have no memory */ }
  };
  const button = () => document.querySelector(".btn-fold-code");
  const say = () => button()?.setAttribute("aria-pressed", root.dataset.code === "open");
  const fold = (state) => {
    root.dataset.code = state;
    for (const code of document.querySelectorAll(FOLDED)) code.open = state === "open";
    say();
  };
  root.dataset.code = recall() === "open" ? "open" : "folded";
  if (root.dataset.code === "open") {
    const arriving = new MutationObserver(() => {
      for (const code of document.querySelectorAll(`${FOLDED}:not([data-seen])`)) {
        code.open = true;
        code.dataset.seen = "";
      }
      say();
    });
    arriving.observe(root, {childList: true, subtree: true});
    document.addEventListener("DOMContentLoaded", () => arriving.disconnect());
  }
  document.addEventListener("DOMContentLoaded", say);
  // A page that comes back from the browser's memory may not know what was chosen since.
  addEventListener("pageshow", ({persisted}) => {
    const state = recall();
    if (persisted && state && state !== root.dataset.code) fold(state);
  });
  window.actnormFold = () => {
    fold(root.dataset.code === "open" ? "folded" : "open");
    remember(root.dataset.code);
  };
})();
