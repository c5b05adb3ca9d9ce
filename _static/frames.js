// A figure that is wider than its frame is scrolled there, and by keyboard too.
document.addEventListener("DOMContentLoaded", () => {
  const measure = (frame) => {
    const wide = frame.scrollWidth > frame.clientWidth + 1;
    frame.toggleAttribute("tabindex", wide);
    if (!wide) {
      frame.removeAttribute("role");
      frame.removeAttribute("aria-label");
      return;
    }
    frame.tabIndex = 0;
    frame.setAttribute("role", "group");
    frame.setAttribute("aria-label", "Figure, wider than the page: scroll sideways");
  };
  const frames = new ResizeObserver((entries) => entries.forEach(({target}) => measure(target)));
  for (const frame of document.querySelectorAll(".an-figure")) frames.observe(frame);
});
