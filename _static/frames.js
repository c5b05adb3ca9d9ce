// A figure, table or formula that is wider than its frame is scrolled there, and by keyboard too.
(() => {
  const measure = (place) => {
    const frame = place.querySelector("mjx-container") ?? place;
    const wide = frame.scrollWidth > frame.clientWidth + 1;
    if (!wide) {
      for (const name of ["tabindex", "role", "aria-label"]) frame.removeAttribute(name);
      return;
    }
    frame.tabIndex = 0;
    frame.setAttribute("role", "group");
    const name = frame.matches(".an-figure") ? "Figure" : frame.matches(".an-wide") ? "Table"
      : "Formula";
    frame.setAttribute("aria-label", `${name}, wider than the page: scroll sideways`);
  };
  const frames = new ResizeObserver((entries) => entries.forEach(({target}) => measure(target)));
  const watch = () => {
    for (const frame of document.querySelectorAll(".an-figure, .an-wide, div.math")) frames.observe(frame);
  };
  document.addEventListener("DOMContentLoaded", watch);
})();
