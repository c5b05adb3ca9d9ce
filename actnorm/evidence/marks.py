"""The small marks of cards and ledger: a colored word, a number, an interval drawn."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from html import escape
from pathlib import Path

from actnorm.evidence.effects import log

WORDS = {
    "holds": ("holds", "hold"),
    "fails": ("fails", "fail"),
    "undecided": ("is open", "are open"),
}
BAR = {
    "holds": ("✓", "held"),
    "fails": ("✗", "failed"),
    "undecided": ("?", "undecided"),
    "none": ("○", "not yet measured"),
}
KEY = (
    '<p class="an-key"><small><span class="an-swatch"></span> holds here · core parts decide:'
    " green speaks for the claim, red against it, violet is undecided · scope: where it stops ·"
    " control: what a skeptic would ask · identity: exact, checks the measurement · far"
    " smaller: below a quarter of the margin</small></p>"
)


@lru_cache
def style() -> str:
    """Return the style sheet of every card, as an element."""
    sheet = Path(__file__).with_name("cards.css").read_text(encoding="utf-8")
    return f"<style>{sheet}</style>"


def tone(outcome: str, role: str = "core") -> str:
    """Return the color class of a verdict, or of what a part's outcome means for its claim."""
    if role != "core":
        return "aside"
    if outcome.startswith(("fails", "does not")):
        return "fails"
    if outcome.startswith("holds "):
        return "part"
    return outcome.split()[0].rstrip(":")


def badge(outcome: str, role: str = "core") -> str:
    """Return an outcome or verdict as a word, colored where it decides."""
    return f'<span class="an-badge {escape(tone(outcome, role))}">{escape(outcome)}</span>'


def number(value: float) -> str:
    """Return a number to three significant digits, without an exponent where one can do without."""
    if value == 0 or math.isinf(value):
        return {0: "0", math.inf: "∞", -math.inf: "−∞"}[value]
    power = math.floor(math.log10(abs(value)))
    if not -5 <= power < 7:
        return f"{value:.2e}".replace("-", "−").replace("+", "")
    return f"{value:,.{max(0, 2 - power)}f}".replace("-", "−")


def span(low: float, high: float) -> str:
    """Return an interval as text."""
    return f"[{number(low)}, {number(high)}]"


def criterion(kind: str, margin: float, ratio: bool) -> str:
    """Return in words where an effect has to lie."""
    unit = " times" if ratio else ""
    if kind == "equal":
        low = _edge(1 / margin) if ratio else _edge(-margin)
        return f"holds between {low} and {_edge(margin)}{unit}"
    return f"holds {'above' if kind == 'greater' else 'below'} {_edge(margin)}{unit}"


def _edge(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}".replace("-", "−")


def interval(
    low: float,
    high: float,
    estimate: float,
    *,
    kind: str,
    margin: float,
    ratio: bool,
    reach: float | None = None,
) -> str:
    """Return an interval as a small picture, with the zone where the assertion holds.

    It spans ``reach`` to both sides of none, by default a little more than interval and margin.
    """
    if ratio:
        low, high, estimate, margin = (log(x) for x in (low, high, estimate, margin))
    if reach is None:
        reach = 1.15 * max(abs(x) for x in (low, high, margin, 1e-300) if math.isfinite(x))

    def x(value: float) -> float:
        return 50 * (1 + min(1.0, max(-1.0, value / reach)))

    left = {"greater": margin, "equal": -margin, "bound": -math.inf}[kind]
    right = math.inf if kind == "greater" else margin
    return (
        '<svg class="an-interval" viewBox="0 0 100 16" preserveAspectRatio="none"'
        ' aria-hidden="true">'
        f'<rect class="an-zone" x="{x(left):.2f}" y="0" width="{x(right) - x(left):.2f}"'
        ' height="16"/>'
        '<line class="an-none" x1="50" x2="50" y1="0" y2="16" stroke-width="0.5"/>'
        f'<line x1="{x(low):.2f}" x2="{x(high):.2f}" y1="8" y2="8" stroke-width="2"/>'
        f'<line x1="{x(estimate):.2f}" x2="{x(estimate):.2f}" y1="3" y2="13" stroke-width="2.5"/>'
        "</svg>"
    )


def tally(outcomes: Mapping[str, str], at_the_edge: Collection[str] = ()) -> str:
    """Return how many of these parts hold, fail and are open, and which are open.

    ``at_the_edge`` names other parts that may turn the verdict: open ones that bear on a regime.
    """
    words = [outcome.split(":")[0] for outcome in outcomes.values()]
    said = [
        f"{count} {forms[count > 1]}"
        for word, forms in WORDS.items()
        if (count := words.count(word))
    ]
    if missing := len(words) - sum(words.count(word) for word in WORDS):
        said.append(f"{missing} not yet measured")
    names = [name for name, outcome in outcomes.items() if outcome.startswith("undecided")]
    which = f" ({escape(', '.join(names))})" if names else ""
    edge = f" Open at the edge of its regime: {escape(', '.join(at_the_edge))}." * bool(at_the_edge)
    return f"Core parts: {', '.join(said) or 'none here'}{which}.{edge}"


def bar(outcomes: Iterable[str]) -> str:
    """Return a bar of core parts, held, failed, undecided and not measured, with their numbers."""
    words = [outcome.split(":")[0] for outcome in outcomes]
    counts = {word: words.count(word) for word in ("holds", "fails", "undecided")}
    counts["none"] = len(words) - sum(counts.values())
    said = {word: f"{count} {BAR[word][1]}" for word, count in counts.items() if count}
    blocks = "".join(
        f'<i class="an-badge {word}" style="flex-grow:{counts[word]}">'
        f"{BAR[word][0]} {counts[word]}</i>"
        for word in said
    )
    label = f"Core parts: {', '.join(said.values()) or 'none'}"
    return f'<span class="an-bar" role="img" aria-label="{label}" title="{label}">{blocks}</span>'
