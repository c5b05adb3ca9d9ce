"""Power: how often a part would be decided as a rehearsal points, with so many replicas."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from actnorm.evidence.effects import Effect
from actnorm.evidence.parts import Part

MOST = 100_000  # replicas that nobody pays for


def power(part: Part, effect: Effect, n: int) -> float:
    """Return the chance that n replicas decide a part the way an effect points.

    The effect's mean and standard deviation on the interval's scale are taken for the truth, its
    distribution for a Gaussian. An interval that has to lie between two margins misses either.
    """
    sample, margin = effect.sample, part.margin
    if effect.method == "ratio":
        margin = math.log(margin)
    mean, spread = float(sample.mean()), float(sample.std(ddof=1))
    if effect.method == "deviation":
        mean = abs(mean)
    two_sided = part.kind == "equal" or effect.method == "deviation"
    gaps = [abs(mean - margin)]
    if two_sided and abs(mean) < margin:
        gaps.append(abs(mean + margin))
    if spread == 0:
        return float(min(gaps) > 0)
    level = part.judged(effect).level
    far = stats.t.isf((1 - level) / 2, n - 1)
    return max(0.0, 1 - sum(_misses(gap * math.sqrt(n) / spread, far, n) for gap in gaps))


def _misses(shift: float, far: float, n: int) -> float:
    """Chance that a t statistic of n replicas, shifted so far, does not pass a quantile."""
    if shift == 0:
        return float(stats.t.cdf(far, n - 1))
    if shift > 35:  # beyond what the noncentral t is computed for
        return float(stats.chi2.sf((shift / far) ** 2 * (n - 1), n - 1))
    return float(stats.nct.cdf(far, n - 1, shift))


def replicas_for(part: Part, effect: Effect, wanted: float) -> int | None:
    """Return the fewest replicas with the wanted power, or None beyond any that could be paid."""
    low, high = 1, 2
    while power(part, effect, high) < wanted:
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if power(part, effect, middle) < wanted:
            low = middle
        else:
            high = middle
    return high


def wanted(core_parts: int) -> float:
    """Return the power that each of k core parts needs, so that all are decided 19 times in 20."""
    return 1 - 0.05 / np.maximum(1, core_parts)
