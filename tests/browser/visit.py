"""Open a page of the built site, and say what is wrong with it."""

import re
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Visit:
    """An open page, its name and everything that went wrong on it so far."""

    name: str
    page: Any
    wrong: list[str]

    def check(self) -> None:
        """Assert that nothing went wrong, and that mathematics and charts are drawn."""
        assert not self.wrong
        self.page.wait_for_function(DRAWN)
        if 'class="math' in (HTML / self.name).read_text(encoding="utf-8"):
            assert self.page.locator("mjx-container").count() > 0


def visit(context: Any, root: str, name: str) -> Visit:
    """Open a page under a root, which is where all that it asks for must come from."""
    page, wrong = context.new_page(), []

    def on_console(message):
        # The theme preloads its icon font; from a folder the browser refuses, and loads it later.
        preload = root.startswith("file:") and (
            re.search(r"(preload for|font at) 'file:.*\.woff2'", message.text)
            or message.text == "Failed to load resource: net::ERR_FAILED"
        )
        if message.type in ("error", "warning") and not preload:
            wrong.append(f"console: {message.text}")

    def on_request(request):
        if not request.url.startswith((root, "data:", "blob:")):
            wrong.append(f"request: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: wrong.append(f"page: {error}"))
    page.on("request", on_request)
    page.on("response", lambda r: r.status < 400 or wrong.append(f"{r.status}: {r.url}"))
    page.goto(root + name)
    page.wait_for_load_state("networkidle")
    return Visit(name, page, wrong)
