"""How claims, verdicts and intervals look in a notebook and in the book."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from actnorm.evidence.effects import Effect
from actnorm.evidence.origin import RERUN
from actnorm.evidence.parts import Part

NOT_RERUN = "<small>from the record: not re-run here</small>"


@dataclass(frozen=True)
class Row:
    """A part as a card shows it: with its recorded effect, and the one of this run."""

    part: Part
    recorded: Effect | None
    live: Effect | None = None


@lru_cache
def style() -> str:
    """Return the style sheet of every card, as an element."""
    sheet = Path(__file__).with_name("cards.css").read_text(encoding="utf-8")
    return f"<style>{sheet}</style>"


def tone(outcome: str) -> str:
    """Return the color class of an outcome or verdict."""
    if outcome.startswith(("fails", "does not")):
        return "fails"
    if outcome.startswith("holds "):
        return "part"
    return outcome.split()[0].rstrip(":")


def badge(outcome: str) -> str:
    """Return an outcome or verdict as a colored word."""
    return f'<span class="an-badge {tone(outcome)}">{escape(outcome)}</span>'


def number(value: float) -> str:
    """Return a number to three significant digits, without an exponent where one can do without."""
    if value == 0 or math.isinf(value):
        return {0: "0", math.inf: "∞", -math.inf: "−∞"}[value]
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    if digits > 7:
        return f"{value:.2e}".replace("-", "−")
    return f"{value:,.{digits}f}".replace("-", "−")


def measured(effect: Effect | None) -> str:
    """Return an effect with its interval, as text."""
    if effect is None:
        return "—"
    low, high = number(effect.low), number(effect.high)
    return f"{number(effect.estimate)}{effect.unit} [{low}, {high}]"


def interval(low: float, high: float, estimate: float, margin: float, ratio: bool) -> str:
    """Return an interval against its margin (the grey band) as a small picture."""
    neutral = 0.0
    if ratio:
        low, high, estimate, margin = (math.log(x) for x in (low, high, estimate, margin))
    reach = 1.15 * max(abs(low), abs(high), margin) or 1.0

    def x(value: float) -> float:
        return 100 * (1 + value / reach) / 2

    return (
        '<svg class="an-interval" viewBox="0 0 100 16" preserveAspectRatio="none"'
        ' aria-hidden="true">'
        f'<rect class="an-margin" x="{x(-margin):.2f}" y="0" width="{x(margin) - x(-margin):.2f}"'
        ' height="16"/>'
        f'<line x1="{x(neutral):.2f}" x2="{x(neutral):.2f}" y1="0" y2="16" stroke-width="0.5"/>'
        f'<line x1="{x(low):.2f}" x2="{x(high):.2f}" y1="8" y2="8" stroke-width="2"/>'
        f'<line x1="{x(estimate):.2f}" x2="{x(estimate):.2f}" y1="3" y2="13" stroke-width="2.5"/>'
        "</svg>"
    )


def _criterion(part: Part) -> str:
    if not part.registered:
        return "<small>metric, arms and margin not registered yet</small>"
    verb = {"greater": "exceeds", "equal": "within ±", "bound": "stays under"}[part.kind]
    revision = f"; revision {part.revision}" if part.revision > 1 else ""
    return (
        f"{escape(part.metric)}. Holds if it {verb} {number(part.margin)}"
        f" ({escape(part.why)}); {part.replicas} replicas{revision}."
    )


def claim_card(problem_id: str, statement: str, verdict: str, rows: Sequence[Row]) -> str:
    """Return a claim with its verdict and, folded, what each part asserts and how it is judged."""
    body = "".join(
        f"<tr><td><b>{escape(row.part.name)}</b><br><small>{row.part.role}</small></td>"
        f"<td>{escape(row.part.asserts)}<br><small>{_criterion(row.part)}</small></td>"
        f"<td>{badge(row.part.outcome(row.recorded))}</td></tr>"
        for row in rows
    )
    return (
        f'{style()}<div class="an-card"><p><b>Claim {escape(problem_id)}</b>'
        f" {badge(verdict)}</p><p>{escape(statement)}</p>"
        f"<details><summary>What is judged, and how: {len(rows)} parts</summary>"
        f'<table class="an-table"><tbody>{body}</tbody></table>'
        "<p><small>Parts, metrics and margins are registered before the judged seeds run. Intervals"
        " are 99 %; they speak of initialization, order and split of the data named, no further."
        "</small></p></details></div>"
    )


def judgement_table(problem_id: str, verdict: str, rows: Sequence[Row]) -> str:
    """Return the parts of a page: measured in this run, and as recorded."""
    body = ""
    for row in rows:
        part, effect, recorded = row.part, row.live, row.recorded
        picture = interval(
            effect.low, effect.high, effect.estimate, part.margin, effect.method == "ratio"
        )
        body += (
            f"<tr><td><b>{escape(part.name)}</b><br>"
            f"<small>{part.role}: {escape(part.asserts)}</small>"
            f'</td><td class="an-number">{measured(effect)}{picture}'
            f"{badge(part.outcome(effect)) if effect.source == RERUN else NOT_RERUN}</td>"
            f'<td class="an-number" data-label="Recorded: ">{measured(recorded)}<br>'
            f"{badge(part.outcome(recorded))}</td></tr>"
        )
    return (
        f'{style()}<div class="an-card"><p><b>Claim {escape(problem_id)}</b>, as a whole:'
        f" {badge(verdict)}</p>"
        '<table class="an-table an-judged"><thead><tr><th>Part</th><th>This run</th>'
        f"<th>Recorded</th></tr></thead><tbody>{body}</tbody></table></div>"
    )


def ledger_table(rows: list[dict[str, Any]], href: dict[str, str]) -> str:
    """Return the ledger as a table; ``href`` leads from a page's name to its address."""
    body = ""
    for row in rows:
        details = ""
        for part in row["parts"]:
            page = href.get(part["page"])
            name = escape(part["name"])
            name = f'<a href="{escape(page)}">{name}</a>' if page else name
            details += (
                f"<tr><td>{name}<br><small>{part['role']}</small></td>"
                f"<td>{escape(part['asserts'])}</td><td>{badge(part['outcome'])}"
                f"{_adjusted(part)}</td><td class='an-number'>{_recorded(part)}</td></tr>"
            )
        body += (
            f'<details class="an-claim" id="claim-{row["problem_id"]}"'
            f' data-verdict="{escape(row["verdict"])}" data-sources="{" ".join(row["sources"])}">'
            f"<summary>{badge(row['verdict'])} {escape(row['claim'])}"
            f" <small>{row['problem_id']}</small></summary>"
            f'<table class="an-table"><tbody>{details}</tbody></table></details>'
        )
    return f'{style()}<div class="an-ledger">{body}</div>'


def ledger_strip(rows: list[dict[str, Any]], ledger: str) -> str:
    """Return the ledger in miniature: a square for each claim, and how many have which verdict."""
    counts = Counter(row["verdict"] for row in rows)
    words = " ".join(f"{count} {badge(verdict)}" for verdict, count in counts.most_common())
    squares = "".join(
        f'<a class="an-badge {tone(row["verdict"])}" href="{ledger}#claim-{row["problem_id"]}"'
        f' title="{escape(row["claim"])}: {escape(row["verdict"])}"'
        f' aria-label="{escape(row["claim"])}: {escape(row["verdict"])}"></a>'
        for row in rows
    )
    return f'{style()}<div class="an-strip">{squares}</div><p>{len(rows)} claims: {words}</p>'


def _adjusted(part: dict[str, Any]) -> str:
    if part["p_holm"] is None:
        return ""
    word = "&lt; 0.001" if part["p_holm"] < 0.001 else f"= {part['p_holm']:.3f}"
    return f"<br><small>Holm-adjusted p {word}</small>"


def _recorded(part: dict[str, Any]) -> str:
    if part["estimate"] is None:
        return ""
    text = f"{number(part['estimate'])}{part['unit']}"
    text += f" [{number(part['low'])}, {number(part['high'])}]"
    picture = interval(
        part["low"], part["high"], part["estimate"], part["margin"], part["method"] == "ratio"
    )
    return f"{text}{picture}<small>{part['n']} replicas</small>"
