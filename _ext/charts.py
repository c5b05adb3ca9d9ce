"""Charts with sliders: the library behind them, and what stands in their place until it runs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import vl_convert
from docutils import nodes
from docutils.parsers.rst import Directive, directives
from sphinx.application import Sphinx

READABLE = 9  # px
EXPLORABLE = re.compile(
    r'(<div class="explorable"[^>]*)>(</div>\s*<script>\s*\(async .*?const spec = )(.*?);\n',
    re.DOTALL,
)
DIGITS = re.compile(r"\d+\.\d{3,}")  # more than a picture shows
SPEC = re.compile(r"(?<=const spec = ).*(?=;\n)")
MARKUP = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}  # what could end a script
# A chart takes the place of its picture, and as much room, so that nothing below it moves; if its
# own size differs a little, so does the width at which its text can be read.
KEEP_ROOM = """
(() => {
  const embed = window.vegaEmbed;
  const keepRoom = (place, ...rest) => {
    const still = place instanceof Element && place.querySelector("svg");
    if (!still) return embed(place, ...rest);
    const [least, width] = [parseFloat(place.style.getPropertyValue("--an-min")), innerWidth];
    const share = least / still.getAttribute("width");
    const free = () => {
      if (innerWidth === width) return;
      place.style.minHeight = "";
      removeEventListener("resize", free);
    };
    place.style.minHeight = `${place.getBoundingClientRect().height}px`;
    addEventListener("resize", free);
    return embed(place, ...rest).then((chart) => {
      const drawn = place.querySelector("svg");
      place.style.setProperty("--an-min", `${Math.ceil(share * drawn.getAttribute("width"))}px`);
      return chart;
    });
  };
  window.vegaEmbed = Object.assign(keepRoom, embed);
})();
"""


class ExplorableOf(Directive):
    """``{explorable-of} page``: the first chart with sliders on a page, shown here too.

    ``:panel: 2`` shows that panel alone, of the first chart that has so many.
    """

    required_arguments = 1
    option_spec = {"panel": directives.positive_int}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        env = self.state.document.settings.env
        path = Path(env.srcdir, "chapters", self.arguments[0]).with_suffix(".ipynb")
        env.note_dependency(str(path))
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", ()):
                text = "".join(output.get("data", {}).get("text/html", ""))
                if 'class="explorable"' in text and (shown := self._panel(text)):
                    return [nodes.raw("", shown, format="html")]
        return [self.state.document.reporter.warning(f"no explorable in {path}", line=self.lineno)]

    def _panel(self, text: str) -> str:
        """Return a chart, or the panel of it that is wanted, or nothing where it has too few."""
        if not (number := self.options.get("panel")):
            return text
        spec = json.loads(SPEC.search(text)[0])
        spec["vconcat"] = spec.get("vconcat", [])[number - 1 : number]
        alone = json.dumps(spec, sort_keys=True).translate(MARKUP)
        return SPEC.sub(lambda _: alone, text, count=1) if spec["vconcat"] else ""


def write_vega(app: Sphinx, _: Exception | None) -> None:
    """Serve the charting library from the site, as one classic script that keeps its names."""
    script = f"(()=>{{{vl_convert.javascript_bundle()}}})();{KEEP_ROOM}"
    Path(app.outdir, "_static", "vega.js").write_text(script, encoding="utf-8")


def with_pictures(body: str) -> str:
    """Put a still picture where each chart will be, for readers whose browser runs no scripts."""
    return EXPLORABLE.sub(_with_picture, body)


def _with_picture(match: re.Match[str]) -> str:
    picture, width = _picture(match[3])
    return f'{match[1]} style="--an-min:{width}px">{picture}{match[2]}{match[3]};\n'


@lru_cache
def _picture(text: str) -> tuple[str, int]:
    """Return a chart without scripts, and the width, in px, at which its text can be read."""
    spec = json.loads(text)
    svg = DIGITS.sub(lambda m: f"{float(m[0]):.2f}", vl_convert.vegalite_to_svg(spec))
    sizes = [float(size) for size in re.findall(r'font-size="([\d.]+)px"', svg)]
    width = float(re.search(r'<svg[^>]* width="([\d.]+)"', svg)[1])
    least = math.ceil(width * READABLE / min(sizes)) + 1 if sizes else 0
    rows = "".join(_control(*each) for each in _bindings(spec))
    form = f'<form class="vega-bindings an-still" aria-hidden="true">{rows}</form>' if rows else ""
    return svg + form, least


def _bindings(part: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield how the parameters of a chart and its panels are moved, and where each begins."""
    if isinstance(part, dict):
        for param in part.get("params", ()):
            bind, value = param.get("bind"), param.get("value", 0)
            if not isinstance(bind, dict):
                continue
            if "input" in bind:
                yield bind, 0 if isinstance(value, list) else value
                continue
            begin = value[0] if isinstance(value, list) and value else {}
            yield from ((each, begin.get(field, 0)) for field, each in bind.items())
        part = [part[name] for name in ("vconcat", "hconcat", "concat", "layer") if name in part]
    if isinstance(part, list):
        for each in part:
            yield from _bindings(each)


def _control(bind: dict[str, Any], begin: Any) -> str:
    """Return the room of a control, as Vega lays it out."""
    kind = bind["input"]
    control = (
        "<select disabled></select>" if kind == "select" else f'<input type="{kind}" disabled>'
    )
    name = f'<span class="vega-bind-name">{escape(bind.get("name", ""))}</span>'
    value = f"<span>{begin:.6g}</span>" if kind == "range" else ""
    return f'<div class="vega-bind"><label>{name}{control}{value}</label></div>'
