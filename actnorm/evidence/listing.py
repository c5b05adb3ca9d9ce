"""How the ledger looks: every claim in a table, or in miniature."""

from __future__ import annotations

from html import escape
from typing import Any

from actnorm.evidence import marks

VERDICTS = ("holds", "holds in part", "holds only when", "does not hold", "undecided")


def ledger_table(rows: list[dict[str, Any]], href: dict[str, str]) -> str:
    """Return the ledger as a list; ``href`` leads from a page's name to its address."""
    body = "".join(_claim(row, href, order) for order, row in enumerate(rows))
    return f'{marks.style()}<ul class="an-ledger">{body}</ul>{marks.KEY}'


def chapter(row: dict[str, Any]) -> str:
    """Return the chapter of a claim: that of its primary part, or of its first."""
    lead = _lead(row) or row["parts"][0]
    return lead["page"].partition("/")[0]


def _lead(row: dict[str, Any]) -> dict[str, Any] | None:
    return next((part for part in row["parts"] if part["name"] == row["primary"]), None)


def _claim(row: dict[str, Any], href: dict[str, str], order: int) -> str:
    """One claim: its verdict, a bar of its core parts, its primary effect; folded, its parts."""
    outcomes = {p["name"]: p["outcome"] for p in row["parts"] if p["role"] == "core"}
    edge = [name for name in row["open"] if name not in outcomes]
    data = {
        "verdict": row["verdict"],
        "chapter": chapter(row),
        "order": order,
        "held": round(row["core"]["held"] / max(1, len(outcomes)), 4),
    }
    attributes = "".join(f' data-{name}="{escape(str(value))}"' for name, value in data.items())
    return (
        f'<li id="claim-{row["problem_id"]}"><details class="an-claim" id="{row["problem_id"]}"'
        f'{attributes}><summary><span class="an-title">{escape(row["claim"])}'
        f" <small>{row['problem_id']}, {escape(data['chapter'])}</small></span>"
        f'<span class="an-verdict">{marks.badge(row["verdict"])} '
        f"{marks.bar(outcomes.values())}</span>"
        f'<span class="an-effect">{_first(row)}</span></summary>'
        f"<p><small>{marks.tally(outcomes, edge)}</small></p>"
        f'<table class="an-table"><tbody>{"".join(_part(p, row, href) for p in row["parts"])}'
        "</tbody></table></details></li>"
    )


def _first(row: dict[str, Any]) -> str:
    """The effect that a claim leads with: a picture, the part's name and its size."""
    lead = _lead(row)
    if not lead or lead["estimate"] is None:
        return ""
    name = lead["name"].replace("_", " ")
    return f"{_picture(lead)}<small>{escape(name)}</small> <span>{_size(lead)}</span>"


def _part(part: dict[str, Any], row: dict[str, Any], href: dict[str, str]) -> str:
    page, name = href.get(part["page"]), f"<code>{escape(part['name'])}</code>"
    name = f'<a href="{escape(page)}">{name}</a>' if page else name
    role = "core, primary" if part["name"] == row["primary"] else part["role"]
    return (
        f"<tr><td>{escape(part['asserts'])}<br><small>{role}, {name}</small></td>"
        f"<td>{marks.badge(part['outcome'], part['role'])}{_adjusted(part)}</td>"
        f"<td class='an-number'>{_recorded(part)}</td></tr>"
    )


def _size(part: dict[str, Any]) -> str:
    return f"{marks.number(part['estimate'])}{part['unit']} {marks.span(part['low'], part['high'])}"


def _adjusted(part: dict[str, Any]) -> str:
    if part["p_holm"] is None:
        return ""
    word = "&lt; 0.001" if part["p_holm"] < 0.001 else f"= {part['p_holm']:.3f}"
    return f"<br><small>against its margin: p {word} (Holm, {part['family']})</small>"


def _picture(part: dict[str, Any]) -> str:
    look = {"kind": part["kind"], "margin": part["margin"], "ratio": part["method"] == "ratio"}
    return marks.interval(part["low"], part["high"], part["estimate"], **look)


def _recorded(part: dict[str, Any]) -> str:
    if part["estimate"] is None:
        return ""
    where = marks.criterion(part["kind"], part["margin"], part["method"] == "ratio")
    return f"{_size(part)}{_picture(part)}<small>{where}; {part['n']} replicas</small>"


def ledger_strip(rows: list[dict[str, Any]], ledger: str) -> str:
    """Return the ledger in miniature: a mark for each measured claim, and how many are not.

    ``ledger`` is the address of the ledger.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(kind(row["verdict"]), []).append(row)
    waiting = len(groups.pop("not yet measured", ()))
    lines = "".join(
        _group(groups[verdict], verdict, ledger) for verdict in VERDICTS if verdict in groups
    )
    rest = f'<p class="an-rest">{waiting} of {len(rows)} are registered, not yet measured.</p>'
    more = rest if waiting else ""
    return f'{marks.style()}<div class="an-strip">{lines}{more}</div>'


def kind(verdict: str) -> str:
    """Return a verdict without the words of its regime."""
    return "holds only when" if verdict.startswith("holds only when") else verdict


def _group(rows: list[dict[str, Any]], verdict: str, ledger: str) -> str:
    squares = "".join(
        f'<a class="an-badge {marks.tone(verdict)}" href="{ledger}#claim-{row["problem_id"]}"'
        f' title="{escape(said)}" aria-label="{escape(said)}"></a>'
        for row in rows
        for said in [f"{row['claim']}: {row['verdict']}"]
    )
    name = f"{verdict} …" if verdict.endswith("when") else verdict
    return f"<p><b>{len(rows)}</b> {marks.badge(name)} <span>{squares}</span></p>"
