"""A re-run against the record: what counts as a contradiction."""

from __future__ import annotations

import math

from scipy import stats

from actnorm.evidence.effects import Effect, log
from actnorm.evidence.parts import Part


def contradiction(part: Part, live: Effect, recorded: Effect, comparisons: int = 1) -> str | None:
    """Return in what a re-run contradicts the record, or None.

    It does when *holds* turns into *fails* or back, or when the two effects differ at a
    family-wise 1 % over ``comparisons`` parts (Welch's t on the scale of the interval).
    """
    before, after = part.outcome(recorded), part.outcome(live)
    if {before.split(":")[0], after.split(":")[0]} == {"holds", "fails"}:
        return f"{part.name}: recorded {before}, now {after}"
    scale = log if live.method == "ratio" else float
    centres = [scale(e.estimate) for e in (live, recorded)]
    errors = [
        (scale(e.high) - scale(e.low)) / 2 / stats.t.isf((1 - e.level) / 2, e.n - 1)
        for e in (live, recorded)
    ]
    gap = abs(centres[0] - centres[1])
    spread = math.hypot(*errors)
    if gap <= 1e-9 * max(map(abs, centres)) + 1e-12:
        return None
    p = 2 * stats.t.sf(gap / spread, min(live.n, recorded.n) - 1) if spread else 0.0
    if p < 0.01 / comparisons:
        return f"{part.name}: recorded {recorded}, now {live} (p = {p:.1g})"
    return None
