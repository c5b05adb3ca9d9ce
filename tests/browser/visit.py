"""Open a page of the built site, and say what is wrong with it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HTML = Path(__file__).resolve().parent.parent.parent / "_build" / "html"
PAGES = sorted(
    path.relative_to(HTML).as_posix()
    for path in HTML.rglob("*.html")
    if not path.relative_to(HTML).as_posix().startswith("_")
)
DRAWN = """async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  const charts = [...document.querySelectorAll(".explorable")];
  return charts.every((chart) => chart.view && chart.querySelectorAll("svg.marks").length === 1);
}"""

# How high the picture is that stands in a chart's place, from before its script runs.
RESERVED = """
window.reserved = new Map();
new MutationObserver(() => {
  for (const place of document.querySelectorAll(".explorable:has(> svg):not(.vega-embed)"))
    reserved.set(place, place.getBoundingClientRect().height);
}).observe(document, {childList: true, subtree: true});
"""
MOVED = """() => [...reserved].filter(([place, height]) =>
  place.checkVisibility() && Math.abs(place.getBoundingClientRect().height - height) > 1).length"""


@dataclass(frozen=True)
class Visit:
    """An open page, its name, everything that went wrong on it so far, and what it loaded."""

    name: str
    page: Any
    wrong: list[str]
    loaded: set[str] = field(default_factory=set)

    def check(self) -> None:
        """Assert that nothing went wrong, and that mathematics and charts are drawn."""
        assert self.wrong == []
        self.page.wait_for_function(DRAWN)
        assert self.page.evaluate(MOVED) == 0, "a chart takes more or less room than its picture"
        if 'class="math' in (HTML / self.name).read_text(encoding="utf-8"):
            assert self.page.locator("mjx-container").count() > 0


def visit(context: Any, root: str, name: str) -> Visit:
    """Open a page under a root, which is where all that it asks for must come from."""
    page, wrong, loaded = context.new_page(), [], set()
    page.add_init_script(RESERVED)

    def on_console(message):
        if message.type in ("error", "warning"):
            wrong.append(f"console: {message.text}")

    def on_request(request):
        if request.url.startswith(root):
            loaded.add(request.url.removeprefix(root).partition("?")[0].partition("#")[0])
        if not request.url.startswith((root, "data:", "blob:")):
            wrong.append(f"request: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: wrong.append(f"page: {error}"))
    page.on("request", on_request)
    page.on("response", lambda r: r.status < 400 or wrong.append(f"{r.status}: {r.url}"))
    page.goto(root + name)
    page.wait_for_load_state("networkidle")
    return Visit(name, page, wrong, loaded)
