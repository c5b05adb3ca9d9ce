"""What How we judge draws: ``{outcomes}``, an interval for each outcome, and ``{margins}``."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from docutils import nodes
from docutils.parsers.rst import Directive

from actnorm.evidence import Effect, Part, margins, marks

MARGIN, REACH = 1.0, 2.0
INTERVALS = {
    "greater": [
        *((1.2, 1.8), (0.4, 0.9), (0.05, 0.25), (-0.35, 0.45), (-1.7, -0.7), (0.7, 1.4)),
    ],
    "equal": [(-0.4, 0.6), (1.2, 1.7), (0.6, 1.3)],
    "bound": [(0.2, 0.5), (1.3, 1.7), (0.8, 1.2)],
}


class Outcomes(Directive):
    """The picture that the words of verdicts refer to."""

    def run(self) -> list[nodes.Node]:
        rows = "".join(
            f"<tr><td>{kind if first else ''}</td><td class='an-number'>{picture}</td>"
            f"<td>{marks.badge(outcome)}</td></tr>"
            for kind, intervals in INTERVALS.items()
            for first, (outcome, picture) in _judged(kind, intervals)
        )
        zone = "interval, with the zone where the part holds"
        table = (
            '<table class="an-table an-outcomes"><thead>'
            f"<tr><th>kind</th><th>{zone}</th><th>outcome</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
        return [nodes.raw("", f"{marks.style()}{table}", format="html")]


def _judged(
    kind: str, intervals: list[tuple[float, float]]
) -> Iterator[tuple[bool, tuple[str, str]]]:
    """Whether it is the kind's first, and the outcome and picture of each interval."""
    part = Part("example", "", kind=kind, margin=MARGIN)
    for k, (low, high) in enumerate(intervals):
        middle = (low + high) / 2
        effect = Effect(middle, low, high, 0.99, 32, "mean", "", {})
        outcome = part.outcome(effect).replace("than 1", "than δ")
        look = {"kind": kind, "margin": MARGIN, "ratio": False, "reach": REACH}
        picture = marks.interval(low, high, middle, **look)
        yield k == 0, (outcome, picture)


class Margins(Directive):
    """The table of margins: one kind of quantity, one margin, one reason."""

    def run(self) -> list[nodes.Node]:
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td class='an-number'>{row['margin']:g}</td>"
            f"<td>{escape(row['why'])}</td></tr>"
            for name, row in margins().items()
        )
        table = (
            '<table class="an-table"><thead><tr><th>quantity</th><th>δ</th><th>because</th></tr>'
            f"</thead><tbody>{rows}</tbody></table>"
        )
        return [nodes.raw("", f"{marks.style()}{table}", format="html")]
