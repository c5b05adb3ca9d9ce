"""How a claim and the judgement of its parts look in a notebook and in the book."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from types import MappingProxyType
from typing import Any

from actnorm.evidence import marks
from actnorm.evidence.comparison import NOT_RERUN
from actnorm.evidence.effects import Effect
from actnorm.evidence.parts import Part

REACH = (
    "Parts, metrics and margins are registered before the judged seeds run. Intervals are 99 %, of"
    " two looks 99.5 %; they speak of what the answer in short says that they are over, at the"
    " tuned rate where rates are tuned, no further."
)


@dataclass(frozen=True)
class Row:
    """A part as a card shows it: its recorded effect, and what this run says."""

    part: Part
    recorded: Effect | None
    live: Effect | None = None
    outcome: str = ""  # of this run; empty where it judges nothing
    words: str = ""
    contradicts: bool = False

    @property
    def before(self) -> str:
        """The recorded outcome."""
        return self.part.outcome(self.recorded)


def measured(effect: Effect | None) -> str:
    """Return an effect with its interval, as text."""
    if effect is None:
        return "—"
    estimate, ends = marks.number(effect.estimate), marks.span(effect.low, effect.high)
    return f"{estimate}{effect.unit} {ends}"


def claim_card(
    problem_id: str,
    statement: str,
    verdict: str,
    rows: Sequence[Row],
    *,
    page: str = "",
    titles: Mapping[str, str] = MappingProxyType({}),
    history: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return a claim with its verdict and, folded, what each part asserts and how it is judged.

    The parts of the reader's page come first, those of each other page are folded on their own,
    under its title.
    """
    pages = sorted({row.part.page for row in rows}, key=lambda name: name != page)
    folds = ""
    for name in pages:
        here = [row for row in rows if row.part.page == name]
        there = " on this page" if name == page else f" under “{titles.get(name, name)}”"
        where = "" if len(pages) == 1 else there
        folds += (
            f"<details><summary>What is judged{escape(where)}, and how: {len(here)} parts"
            f"</summary>{_parts(here)}</details>"
        )
    return (
        f'{marks.style()}<div class="an-card"><p><b>Claim {escape(problem_id)}</b>'
        f" {marks.badge(verdict)}</p><p>{escape(statement)}</p>"
        f"<p><small>{_tally(rows, verdict)}</small></p>{folds}{_history(history)}"
        f"{marks.KEY}<p><small>{REACH}</small></p></div>"
    )


def judgement_table(
    problem_id: str,
    verdict: str,
    rows: Sequence[Row],
    others: Sequence[Row] = (),
    setting: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the parts of a page, in this run and as recorded.

    Open are those that decide the verdict and whatever contradicts the record; the others are
    folded, and those of other pages on their own. ``setting`` says what is scientific, nuisance
    and fixed.
    """
    first = [row for row in rows if row.part.role == "core" or row.part.regime or row.contradicts]
    rest = [row for row in rows if row not in first]
    folded = ""
    if rest:
        kinds = Counter(row.part.role for row in rest)
        what = ", ".join(f"{count} {role}" for role, count in kinds.items())
        folded = (
            f"<details><summary>Parts that do not decide the verdict: {what}</summary>"
            f"{_run(rest)}</details>"
        )
    if others:
        folded += (
            f"<details><summary>{len(others)} parts on other pages</summary>"
            f"{_parts(others)}</details>"
        )
    return (
        f'{marks.style()}<div class="an-card"><p><b>Claim {escape(problem_id)}</b>, as a whole:'
        f" {marks.badge(verdict)}</p><p><small>On this page. {_tally(rows, verdict)}</small></p>"
        f"{_setting(setting)}{_run(first)}{folded}{marks.KEY}</div>"
    )


def _run(rows: Sequence[Row]) -> str:
    """Parts in this run and as recorded, as a table."""
    return (
        '<table class="an-table an-judged"><thead><tr><th>Part</th><th>This run</th>'
        f"<th>Recorded</th></tr></thead><tbody>{''.join(map(_judged, rows))}</tbody></table>"
    )


def _setting(setting: Mapping[str, str]) -> str:
    """How arms are fair, in the words of Godbole et al. (2023)."""
    words = {"scientific": "Compared", "nuisance": "Tuned for each arm", "fixed": "Held fixed"}
    fair = [f"<b>{words[key]}:</b> {escape(setting[key])}." for key in words if key in setting]
    return f"<p><small>{' '.join(fair)}</small></p>" if fair else ""


def _tally(rows: Sequence[Row], verdict: str) -> str:
    core = {row.part.name: row.before for row in rows if row.part.role == "core"}
    edge = [
        row.part.name
        for row in rows
        if row.part.regime and row.part.role != "core" and row.before.startswith("undecided")
    ]
    return marks.tally(core, edge if verdict == "undecided" else ())


def _parts(rows: Sequence[Row]) -> str:
    """What each part asserts, how it is judged, and its recorded outcome."""
    body = "".join(
        f"<tr><td>{_assertion(row.part)}</td><td><small>{_criterion(row)}</small></td>"
        f"<td>{marks.badge(row.before, row.part.role)}</td></tr>"
        for row in rows
    )
    return f'<table class="an-table"><tbody>{body}</tbody></table>'


def _assertion(part: Part) -> str:
    """What a part asserts, its role and its name."""
    where = f", {part.side}: {part.regime}" if part.regime else ""
    return (
        f"{escape(part.asserts)}<br><small>{escape(part.role + where)},"
        f" <code>{escape(part.name)}</code></small>"
    )


def _criterion(row: Row) -> str:
    part, effect = row.part, row.recorded or row.live
    if not part.registered:
        return "metric, arms and margin not registered yet"
    ratio = effect is not None and effect.method == "ratio"
    more = f"; revision {part.revision}" if part.revision > 1 else ""
    more += "; two looks, each at half the error" if part.looks > 1 else ""
    more += f"; expected: {escape(part.forecast)}" if part.forecast else ""
    where = marks.criterion(part.kind, part.margin, ratio).capitalize()
    return f"{escape(part.metric)}. {where} ({escape(part.why)}); {part.replicas} replicas{more}."


def _judged(row: Row) -> str:
    """One part of the page: what it asserts, this run, the record."""
    part = row.part
    live = "" if row.words == NOT_RERUN else f"{measured(row.live)}<br>"
    said = marks.badge(row.outcome, part.role) if row.outcome and live else ""
    words = "contradicts the record: " + row.words if row.contradicts else row.words
    recorded = part.judged(row.recorded) if row.recorded else None
    kept = f"{measured(recorded)}<br>{marks.badge(row.before, part.role)}"
    shown = recorded or row.live
    picture = marks.interval(
        *(shown.low, shown.high, shown.estimate),
        kind=part.kind,
        margin=part.margin,
        ratio=shown.method == "ratio",
    )
    where = marks.criterion(part.kind, part.margin, shown.method == "ratio")
    return (
        f'<tr><td>{_assertion(part)}</td><td class="an-number">{live}{said}'
        f"<small>{' ' * bool(said)}{escape(words)}</small></td>"
        f'<td class="an-number" data-label="Recorded: ">{kept}{picture}'
        f"<small>{where}{_beside(part, row.recorded)}</small></td></tr>"
    )


def _beside(part: Part, effect: Effect | None) -> str:
    """What the intervals beside an effect's own would say."""
    if effect is None:
        return ""
    judged, says = part.judged(effect), part.beside(effect)
    return "".join(
        f"<br>{other.name} {marks.span(other.low, other.high)}:"
        f" {'' if other.decides else 'would read '}{escape(says[other.name])}"
        for other in judged.beside
    )


def _history(entries: Sequence[Mapping[str, Any]]) -> str:
    """Earlier records of the parts that said something else than the next one."""
    entries = [entry for entry in entries if _brief(entry["before"]) != _brief(entry["after"])]
    if not entries:
        return ""
    body = "".join(
        f"<tr><td><b>{escape(entry['part'])}</b><br><small>revision {entry['revision']},"
        f" {escape(entry['date'])}, {escape(entry['commit'][:7])}</small></td>"
        f"<td class='an-number'>{_brief(entry['before'])}</td>"
        f"<td class='an-number' data-label='then '>{_brief(entry['after'])}</td></tr>"
        for entry in entries
    )
    return (
        f"<details><summary>Deviations: {len(entries)} earlier effect{'s' * (len(entries) > 1)},"
        " with 99 % intervals</summary>"
        "<table class='an-table'><thead><tr><th>Part</th><th>Before</th><th>After</th></tr>"
        f"</thead><tbody>{body}</tbody></table></details>"
    )


def _brief(size: Mapping[str, Any] | None) -> str:
    if size is None:
        return "dropped"
    estimate, ends = marks.number(size["estimate"]), marks.span(size["low"], size["high"])
    return (
        f"{estimate}{size['unit']} {ends}<br><small>margin {marks.number(size['margin'])},"
        f" {size['n']} replicas</small>"
    )
