"""Intervals and p-values of one sample, on the scale on which its effect is judged."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import stats

Interval = tuple[float, float, float]  # the estimate, and the ends
RESAMPLES = 3999  # of 4,000 equal chances, 20 lie beyond each end of a 99 % interval


def t_interval(sample: np.ndarray, alpha: float, overlap: float = 0.0) -> Interval:
    """Return a mean with its t interval.

    Parameters
    ----------
    sample
        Shape ``(replicas,)``.
    alpha
        One minus the level.
    overlap
        Size of the test over that of the training set, where the replicas' splits of one data set
        overlap: their variance over n then hides what all of them share (C. Nadeau and Y. Bengio,
        2003, Inference for the generalization error).
    """
    mean, error = _mean_and_error(sample, overlap)
    half = error * float(stats.t.isf(alpha / 2, len(sample) - 1))
    return mean, mean - half, mean + half


def t_p_value(distance: float, sample: np.ndarray) -> float:
    """Return the two-sided p-value of a mean so far from the null."""
    _, error = _mean_and_error(sample)
    if error == 0:
        return float(distance == 0)
    return float(2 * stats.t.sf(abs(distance) / error, len(sample) - 1))


def _mean_and_error(sample: np.ndarray, overlap: float = 0.0) -> tuple[float, float]:
    """Mean and standard error; a power of two keeps squares of any finite number finite."""
    _, exponent = np.frexp(np.abs(sample).max())
    scaled = np.ldexp(sample, -exponent)
    variance = float(scaled.var(ddof=1)) * (1 / len(sample) + overlap)
    with np.errstate(over="ignore"):
        mean, error = np.ldexp([scaled.mean(), math.sqrt(variance)], exponent).tolist()
    return mean, error


def skewness(sample: np.ndarray) -> float:
    """Return the skewness, or 0 where the sample does not vary beyond its last digits, or by less
    than any margin could tell.
    """
    if np.ptp(sample) < 1e-12:
        return 0.0
    _, exponent = np.frexp(np.abs(sample).max())
    away = np.ldexp(sample, -exponent)
    away = away - away.mean()
    if np.abs(away).max() < 1e-12:
        return 0.0
    away /= np.abs(away).max()
    return float((away**3).mean() / (away**2).mean() ** 1.5)


def bootstrap_t(sample: np.ndarray, alpha: float) -> Interval:
    """Return a mean with its bootstrap-t interval, which a skewed sample does not mislead.

    Resamples without any spread count as infinitely far out: where they are more than rare, the
    interval has no end. B. Efron (1982), The jackknife, the bootstrap and other resampling plans.
    """
    mean, error = _mean_and_error(sample)
    t = _studentized(tuple(sample.tolist()))
    rank = max(1, math.floor((RESAMPLES + 1) * alpha / 2 + 1e-9))
    low, high = float(t[-rank]) * error, float(t[rank - 1]) * error
    return mean, mean - low, mean - high


@lru_cache(maxsize=1024)
def _studentized(sample: tuple[float, ...]) -> np.ndarray:
    """t of each resample about the sample's mean, sorted; the same resamples every time."""
    x, n = np.asarray(sample), len(sample)
    _, exponent = np.frexp(np.abs(x).max())
    x = np.ldexp(x, -exponent)
    random, found, chunk = np.random.default_rng(0), [], max(1, 2_000_000 // n)
    for start in range(0, RESAMPLES, chunk):
        drawn = x[random.integers(n, size=(min(chunk, RESAMPLES - start), n))]
        gap, error = drawn.mean(1) - x.mean(), drawn.std(1, ddof=1) / math.sqrt(n)
        flat = drawn.max(1) == drawn.min(1)
        far = np.where(gap > 0, np.inf, np.where(gap < 0, -np.inf, 0.0))
        found.append(np.where(flat, far, gap / np.where(flat, 1.0, error)))
    return np.sort(np.concatenate(found))


def median_interval(sample: np.ndarray, alpha: float) -> Interval:
    """Return a median with its exact interval between two order statistics.

    Raises
    ------
    ValueError
        Where not even the interval from the smallest to the largest value reaches the level.
    """
    n = len(sample)
    rank = _rank(n, alpha)
    if rank < 1:
        needs = math.ceil(1 - math.log2(alpha))
        raise ValueError(
            f"the median needs at least {needs} replicas for a {1 - alpha:.4g} interval, not {n}"
        )
    ordered = np.sort(sample)
    return float(np.median(sample)), float(ordered[rank - 1]), float(ordered[n - rank])


def median_coverage(n: int, alpha: float) -> float:
    """Return the exact coverage of `median_interval`, which is at least the level."""
    return 1 - 2 * float(stats.binom.cdf(_rank(n, alpha) - 1, n, 0.5))


def _rank(n: int, alpha: float) -> int:
    """The largest rank from either end that the median lies outside of rarely enough."""
    tails = stats.binom.cdf(np.arange(n // 2 + 1), n, 0.5)
    return int((tails <= alpha / 2).sum())


def median_p_value(sample: np.ndarray, null: float) -> float:
    """Return the p-value of the sign test; a value equal to the null speaks for it."""
    fewest = min((sample <= null).sum(), (sample >= null).sum())
    return min(1.0, 2 * float(stats.binom.cdf(fewest, len(sample), 0.5)))


def proportion_interval(sample: np.ndarray, alpha: float) -> Interval:
    """Return a share of successes with its exact interval (C. Clopper and E. Pearson, 1934)."""
    k, n = int(sample.sum()), len(sample)
    low = float(stats.beta.ppf(alpha / 2, k, n - k + 1)) if k else 0.0
    high = float(stats.beta.isf(alpha / 2, k + 1, n - k)) if k < n else 1.0
    return k / n, low, high


def proportion_p_value(sample: np.ndarray, null: float) -> float:
    """Return the p-value that belongs to the interval: twice the smaller binomial tail."""
    k, n = int(sample.sum()), len(sample)
    null = min(max(null, 0.0), 1.0)
    tails = stats.binom.cdf(k, n, null), stats.binom.sf(k - 1, n, null)
    return min(1.0, 2 * float(min(tails)))
