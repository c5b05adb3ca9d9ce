"""A re-run against the record: what is compared with what, and what contradicts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from actnorm.evidence.effects import Effect
from actnorm.evidence.origin import RECORD
from actnorm.evidence.parts import Part, word

FEWEST = 8  # replicas of a chaotic arm from which anything is judged
FAMILY = 0.01  # chance that any of the parts compared together seems to differ
NOT_RERUN = "not re-run here"
LAST_PLACES = 8 * np.finfo(float).eps


@dataclass(frozen=True)
class Rounding:
    """How far a part's replicas move when the initial weights move by one rounding.

    *Exact* replicas move by no more than a hundredth of the margin. For *chaotic* ones ``spread``
    is the standard deviation of the n moves.
    """

    kind: str
    spread: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """What a re-run of a part says of its record, in words."""

    words: str
    contradicts: bool = False


def rounding(part: Part, plain: Effect, nudged: Effect) -> Rounding:
    """Return what one rounding of the initial weights does, replica by replica."""
    moves = nudged.sample - plain.sample
    exact = (np.abs(moves) <= _tolerance(part, plain)).all()
    return Rounding("exact" if exact else "chaotic", float(moves.std(ddof=1)), len(moves))


def compare(
    part: Part,
    live: Effect,
    recorded: Effect | None,
    *,
    same: bool,
    moves: Rounding | None = None,
    comparisons: int = 1,
) -> Comparison:
    """Compare a re-run with the record.

    Parameters
    ----------
    same
        Whether the replicas are the record's first ones: then each is compared with itself.
        Otherwise two samples are compared, at the registered number of replicas and no fewer.
    moves
        What rounding does to this part, where the record knows.
    comparisons
        How many parts are compared together; they share a chance of 1 %.

    Notes
    -----
    A gap of means below a hundredth of the margin never contradicts. A part that no seed moves is
    compared with itself on every seed.
    """
    if live.source == RECORD:
        return Comparison(NOT_RERUN)
    if recorded is None:
        return Comparison("nothing recorded")
    if part.seedless and live.n != recorded.n:
        return Comparison(f"not judged: {live.n} of {recorded.n} replicas")
    level = FAMILY / comparisons
    alike = same or part.seedless
    return (_itself if alike else _others)(part, live, recorded, moves, level)


def _itself(
    part: Part, live: Effect, recorded: Effect, moves: Rounding | None, level: float
) -> Comparison:
    """Each replica against itself."""
    n = min(live.n, recorded.n)
    now, then = live.sample[:n], recorded.sample[:n]
    equal = int((np.abs(now - then) <= _tolerance(part, recorded)[:n]).sum())
    words = f"{equal} of {n} equal"
    if equal == n:
        return Comparison(words)
    if moves is None:
        return Comparison(words, _apart(part, live.method, now, then, level))
    if moves.kind == "exact":  # as far as a few replicas on one processor tell
        apart = part.seedless or 2 * equal < n
        apart = apart or _apart(part, live.method, now, then, level)
        return Comparison(words, contradicts=apart)
    if n < FEWEST:
        return Comparison(f"{words}; too few to judge, as rounding moves them")
    gap = float((now - then).mean())
    p = 2 * stats.t.sf(abs(gap) / (moves.spread / math.sqrt(n)), moves.n - 1)
    far = abs(gap) > part.tolerance(live.method == "ratio") and p < level
    verb = "moved by more than" if far else "moved by no more than"
    return Comparison(f"{words}; together {verb} rounding moves them", bool(far))


def _others(
    part: Part, live: Effect, recorded: Effect, _: Rounding | None, level: float
) -> Comparison:
    """A sample against another one of the same size."""
    needed = part.replicas or recorded.n
    if live.n < needed:
        return Comparison(f"not judged: {live.n} of {needed} replicas")
    before, after = part.outcome(recorded), part.outcome(live)
    words = f"recorded {before}, now {after}" if before != after else f"{after}, as recorded"
    if {word(before), word(after)} == {"holds", "fails"}:
        return Comparison(words, contradicts=True)
    if _apart(part, live.method, live.sample, recorded.sample, level):
        return Comparison(f"recorded {recorded}, now {live}", contradicts=True)
    return Comparison(words)


def _tolerance(part: Part, effect: Effect) -> np.ndarray:
    """What counts as equal, by replica: a hundredth of the margin, or a few last places."""
    last = LAST_PLACES * np.maximum(1, np.abs(effect.sample))
    return np.maximum(part.tolerance(effect.method == "ratio"), last)


def _apart(part: Part, method: str, now: np.ndarray, then: np.ndarray, level: float) -> bool:
    """Whether two samples differ: in rank for medians, else in mean (B. L. Welch, 1947).

    Samples are signed, so that deviations to either side do not pass for each other.
    """
    gap = abs(float(now.mean() - then.mean()))
    if gap <= max(part.tolerance(method == "ratio"), LAST_PLACES * max(1, abs(then.mean()))):
        return False
    if method == "median":
        return bool(stats.mannwhitneyu(now, then).pvalue < level)
    squares = np.array([x.var(ddof=1) / len(x) for x in (now, then)])
    if not squares.sum():
        return True
    freedom = squares.sum() ** 2 / (squares**2 / [len(now) - 1, len(then) - 1]).sum()
    return bool(2 * stats.t.sf(gap / math.sqrt(squares.sum()), freedom) < level)
