"""How the ledger looks: every claim in a table, or in miniature."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Any

from actnorm.evidence import marks


def ledger_table(rows: list[dict[str, Any]], href: dict[str, str]) -> str:
    """Return the ledger as a table; ``href`` leads from a page's name to its address."""
    body = "".join(_claim(row, href) for row in rows)
    return f'{marks.style()}<div class="an-ledger">{body}{marks.KEY}</div>'


def _claim(row: dict[str, Any], href: dict[str, str]) -> str:
    """One claim: its verdict, its core parts as squares, its primary effect; folded, its parts."""
    lead = next((part for part in row["parts"] if part["name"] == row["primary"]), None)
    words = [part["outcome"].split(":")[0] for part in row["parts"] if part["role"] == "core"]
    outcomes = {p["name"]: p["outcome"] for p in row["parts"] if p["role"] == "core"}
    first = f" {_size(lead)}" if lead and lead["estimate"] is not None else ""
    return (
        f'<details class="an-claim" id="claim-{row["problem_id"]}"'
        f' data-verdict="{escape(row["verdict"])}" data-sources="{" ".join(row["sources"])}">'
        f"<summary>{marks.badge(row['verdict'])} {escape(row['claim'])}"
        f" <small>{row['problem_id']}{first}</small> {marks.bar(words)}</summary>"
        f"<p><small>{marks.tally(outcomes)}</small></p>"
        f'<table class="an-table"><tbody>{"".join(_part(p, row, href) for p in row["parts"])}'
        "</tbody></table></details>"
    )


def _part(part: dict[str, Any], row: dict[str, Any], href: dict[str, str]) -> str:
    page, name = href.get(part["page"]), escape(part["name"])
    name = f'<a href="{escape(page)}">{name}</a>' if page else name
    role = "core, primary" if part["name"] == row["primary"] else part["role"]
    return (
        f"<tr><td>{name}<br><small>{role}</small></td><td>{escape(part['asserts'])}</td>"
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


def _recorded(part: dict[str, Any]) -> str:
    if part["estimate"] is None:
        return ""
    ratio = part["method"] == "ratio"
    picture = marks.interval(
        *(part["low"], part["high"], part["estimate"]),
        kind=part["kind"],
        margin=part["margin"],
        ratio=ratio,
    )
    where = marks.criterion(part["kind"], part["margin"], ratio)
    return f"{_size(part)}{picture}<small>{where}; {part['n']} replicas</small>"


def ledger_strip(rows: list[dict[str, Any]], ledger: str) -> str:
    """Return the ledger in miniature: a square for each claim, and how many have which verdict."""
    counts = Counter(row["verdict"] for row in rows)
    words = " ".join(f"{count} {marks.badge(verdict)}" for verdict, count in counts.most_common())
    squares = "".join(
        f'<a class="an-badge {marks.tone(row["verdict"])}"'
        f' href="{ledger}#claim-{row["problem_id"]}"'
        f' title="{escape(row["claim"])}: {escape(row["verdict"])}"'
        f' aria-label="{escape(row["claim"])}: {escape(row["verdict"])}"></a>'
        for row in rows
    )
    return f'{marks.style()}<div class="an-strip">{squares}</div><p>{len(rows)} claims: {words}</p>'
