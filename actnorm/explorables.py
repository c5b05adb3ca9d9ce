"""Interactive charts whose sliders work without a kernel, in the book and in a notebook."""

from __future__ import annotations

import hashlib
import html
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import Any

import altair as alt

# A chart may be shown twice on a page, so no id names its place: it is that before the script, or,
# where scripts run elsewhere than they stand, the first of its kind that is still empty.
# In the book `vegaEmbed` is served with the page. Elsewhere (Colab, say) it is fetched.
PAGE = Template("""\
<div class="explorable" data-chart="$chart" role="group" aria-label="$description"></div>
<script>
(async () => {
  const spec = $spec;
  const before = document.currentScript?.previousElementSibling;
  const places = [before, ...document.querySelectorAll(".explorable")];
  const element = places.find((place) => place?.dataset.chart === "$chart" && !place.drawn);
  element.drawn = true;
  if (!window.vegaEmbed) {
    const load = (name) => new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = "https://cdn.jsdelivr.net/npm/" + name;
      Object.assign(script, {onload: resolve, onerror: reject});
      document.head.append(script);
    });
    for (const name of $libraries) await load(name);
  }
  const options = {actions: false, renderer: "svg"};
  const view = element.view = (await vegaEmbed(element, spec, options)).view;
  const asked = new URLSearchParams(location.search);
  for (const {name, bind} of spec.params ?? []) {
    if (bind?.input !== "range") continue;
    if (asked.has(name)) view.signal(name, +asked.get(name));
    view.addSignalListener(name, (_, moved) => {
      const address = new URL(location);
      address.searchParams.set(name, moved);
      try { history.replaceState(null, "", address); } catch { /* an address that stays */ }
    });
  }
  await view.runAsync();
})();
</script>""")

LIBRARIES = [
    f"vega@{alt.VEGA_VERSION}",
    f"vega-lite@{alt.VEGALITE_VERSION}",
    f"vega-embed@{alt.VEGAEMBED_VERSION}",
]

# What could end a script, or begin a comment or another one in it.
MARKUP = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}

INK = "currentColor"
FONT = "Arial, sans-serif"  # one that Vega can measure; else labels are cut and legends collide
SIZE = 14  # px; on a phone, where a chart is two thirds as wide, 9
MEASURED, MOVED = "#3a87c2", "#d9820a"
CONFIG = {
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "domainColor": INK,
        "tickColor": INK,
        "gridOpacity": 0.25,
        "labelFontSize": SIZE,
        "titleFontSize": SIZE,
        "titleFontWeight": "normal",
    },
    "axisX": {"tickCount": 8},
    "title": {"color": INK, "anchor": "start", "fontSize": SIZE},
    "text": {"color": INK, "fontSize": SIZE, "align": "left"},
    "legend": {
        **{"labelColor": INK, "titleColor": INK, "orient": "top"},
        **{"labelFontSize": SIZE, "titleFontSize": SIZE, "columnPadding": 16},
    },
    "line": {"color": MEASURED},
    "point": {"color": MEASURED, "size": 45},
    "circle": {"color": MOVED, "size": 160, "opacity": 1},
    "trail": {"color": MOVED, "size": 2.5},
    "range": {"symbol": ["circle", "triangle-up", "square"]},
}


@dataclass(frozen=True)
class Explorable:
    """A chart with sliders, and the words that stand for it where it cannot be seen."""

    spec: dict[str, Any]
    description: str

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        spec = json.dumps(self.spec, sort_keys=True, separators=(",", ":"))
        page = PAGE.substitute(
            chart=hashlib.sha256(spec.encode()).hexdigest()[:12],
            spec=spec.translate(MARKUP),
            description=html.escape(self.description),
            libraries=json.dumps(LIBRARIES),
        )
        return {"text/plain": self.description, "text/html": page}


def slider(name: str, label: str, low: float, high: float, start: float, step: float) -> Any:
    """Return a chart parameter that the reader moves with a slider."""
    if not low <= start <= high or step <= 0:
        raise ValueError(f"start must lie in [{low}, {high}] and step be positive")
    return alt.param(
        name, value=start, bind=alt.binding_range(min=low, max=high, step=step, name=f"{label} ")
    )


def checkbox(name: str, label: str) -> Any:
    """Return a chart parameter that the reader switches on and off; off at first."""
    return alt.param(name, value=False, bind=alt.binding_checkbox(name=f"{label} "))


def explorable(
    panels: Sequence[Any],
    sliders: Sequence[Any],
    description: str,
    *,
    title: str | None = None,
    height: int = 150,
) -> Explorable:
    """Return panels stacked over their sliders, in the house style.

    Parameters
    ----------
    panels
        Altair charts, top to bottom. Lines and dots take the color of theory and measurement,
        circles and trails that of what the sliders move.
    sliders
        Made by `slider` and `checkbox`; where sliders stand is kept in the page's address.
    description
        What the chart shows, for those who cannot see it.
    title
        What the chart asks, above it.
    height
        Of each panel, in pixels.
    """
    if not description:
        raise ValueError("description must say what the chart shows")
    size = {"width": 480, "height": height}
    stack = alt.vconcat(*(panel.properties(**size) for panel in panels)).add_params(*sliders)
    if title:
        stack = stack.properties(title=textwrap.wrap(title, 60))
    stack = stack.configure(**CONFIG).properties(description=description)  # else Vega names it
    return Explorable(stack.to_dict(), description)
