"""Effects: an estimate, its interval, and the per-replica values that both come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import torch

from actnorm.evidence import intervals, origin

LEVEL = 0.99
SKEWED = 1.0  # beyond this skewness a t interval is not trusted alone
ARMS = {
    "paired difference": ("a", "b"),
    "mean": ("x",),
    "ratio": ("a", "b"),
    "deviation": ("x", "exact"),
    "median": ("x",),
    "proportion": ("x",),
}


@dataclass(frozen=True)
class Beside:
    """Another interval of an effect, and whether a part is decided only where it agrees."""

    name: str
    low: float
    high: float
    decides: bool


@dataclass(frozen=True)
class Effect:
    """An estimate with its interval, and the per-replica values that both come from."""

    estimate: float
    low: float
    high: float
    level: float
    n: int
    method: str
    unit: str
    values: Mapping[str, tuple[float, ...]] = field(repr=False, compare=False)
    overlap: float | None = None
    source: str = field(default=origin.RERUN, compare=False)

    def __str__(self) -> str:
        return f"{self.estimate:.3g}{self.unit} [{self.low:.3g}, {self.high:.3g}]"

    @property
    def sample(self) -> np.ndarray:
        """One number for each replica, on the scale of the interval: for ratios, logarithms."""
        arms = [np.asarray(self.values[name]) for name in ARMS[self.method]]
        if self.method == "ratio":
            arms = [np.log(arm) for arm in arms]
        return arms[0] if len(arms) == 1 else arms[0] - arms[1]

    @property
    def coverage(self) -> float:
        """How often such an interval covers: the level, or for a median what n allows."""
        exact = self.method == "median"
        return intervals.median_coverage(self.n, 1 - self.level) if exact else self.level

    @cached_property
    def beside(self) -> tuple[Beside, ...]:
        """The other intervals that a reader should see.

        Where the sample is skewed, the bootstrap-t interval; where splits overlap, the one of
        Nadeau and Bengio.
        """
        if not self.values or self.method in ("median", "proportion"):
            return ()
        sample, alpha, found = self.sample, 1 - self.level, []
        if abs(intervals.skewness(sample)) > SKEWED:
            ends = _shown(self.method, intervals.bootstrap_t(sample, alpha))[1:]
            found.append(Beside("bootstrap-t", *ends, decides=True))
        if self.overlap is not None:
            ends = _shown(self.method, intervals.t_interval(sample, alpha, self.overlap))[1:]
            found.append(Beside("Nadeau–Bengio", *ends, decides=False))
        return tuple(found)

    def at(self, level: float) -> Effect:
        """Return the same effect with an interval of another level."""
        again = remake(self.method, self.unit, level, overlap=self.overlap, **self.values)
        return replace(again, source=self.source)

    def p_value(self, null: float) -> float:
        """Return the two-sided p-value of the test that the interval inverts."""
        if self.method == "median":
            return intervals.median_p_value(self.sample, null)
        if self.method == "proportion":
            return intervals.proportion_p_value(self.sample, null)
        sample = self.sample
        center, _, _ = intervals.t_interval(sample, 0.5)
        if self.method == "ratio":
            null = log(null)
        if self.method == "deviation":
            center = abs(center)
        return intervals.t_p_value(center - null, sample)


def log(value: float) -> float:
    """Return the logarithm, of 0 too: a ratio's interval may run out of numbers."""
    return math.log(value) if value > 0 else -math.inf


def _interval(method: str, sample: np.ndarray, alpha: float) -> intervals.Interval:
    if method == "median":
        return intervals.median_interval(sample, alpha)
    if method == "proportion":
        return intervals.proportion_interval(sample, alpha)
    return intervals.t_interval(sample, alpha)


def _shown(method: str, interval: intervals.Interval) -> intervals.Interval:
    """Bring an interval from the scale of its sample to the one that readers see."""
    estimate, low, high = interval
    if method == "ratio":
        with np.errstate(over="ignore", under="ignore"):
            estimate, low, high = np.exp(interval).tolist()
    if method == "deviation":
        nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        return abs(estimate), nearest, max(abs(low), abs(high))
    return estimate, low, high


def _read(name: str, arm: Any) -> tuple[float, ...]:
    """Return one real, finite number for each replica, or refuse the arm by its name."""
    if np.ma.is_masked(arm):
        raise ValueError(f"{name} must have a value for every replica, but some are masked")
    if isinstance(arm, torch.Tensor):
        arm = arm.detach().cpu()
        arm = arm.numpy() if arm.is_complex() else arm.double().numpy()
    array = np.asarray(arm)
    real = all(isinstance(x, Real) for x in array.flat) if array.dtype == object else True
    if array.dtype.kind not in "biufO" or not real:
        raise TypeError(f"{name} must hold real numbers, not {array.dtype}")
    array = array.astype(float)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(
            f"{name} must hold one value for each of at least 2 replicas, not shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; {(~np.isfinite(array)).sum()} values are not")
    return tuple(array.tolist())


def remake(
    method: str, unit: str, level: float, *, overlap: float | None = None, **arms: Any
) -> Effect:
    """Return an effect of one of the methods from its arms, ``(replicas,)`` each.

    It is *from the record* where any arm is.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    if overlap is not None and not 0 <= overlap < math.inf:
        raise ValueError(f"overlap must be the test size over the training size, not {overlap}")
    values = {name: _read(name, arm) for name, arm in arms.items()}
    lengths = {name: len(arm) for name, arm in values.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"arms must have the same replicas, not {lengths}")
    if method == "ratio":
        for name, arm in values.items():
            if min(arm) <= 0:
                raise ValueError(f"{name} must be positive: a ratio is judged on logarithms")
    if method == "proportion" and not set(values["x"]) <= {0, 1}:
        raise ValueError("k must hold 0 or 1 for each replica")
    n = next(iter(lengths.values()))
    whence = origin.source(*arms.values())
    empty = Effect(math.nan, math.nan, math.nan, level, n, method, unit, values, overlap, whence)
    with np.errstate(over="ignore"):
        sample = empty.sample
    if not np.isfinite(sample).all():
        raise ValueError(f"{' and '.join(arms)} lie too far apart to subtract")
    estimate, low, high = _shown(method, _interval(method, sample, 1 - level))
    return replace(empty, estimate=estimate, low=low, high=high)


def paired_effect(
    a: Any, b: Any, *, unit: str = "", level: float = LEVEL, overlap: float | None = None
) -> Effect:
    """Return the mean of a - b over replicas (shape ``(replicas,)`` each), with a t interval.

    Parameters
    ----------
    overlap
        Size of the test over that of the training set, where replicas split one data set anew:
        then the interval of Nadeau and Bengio (2003) stands beside.
    """
    return remake("paired difference", unit, level, overlap=overlap, a=a, b=b)


def crossed(
    effect: Callable[[Any, Any], Effect], rows: Sequence[Any], columns: Sequence[Any]
) -> list[list[Effect]]:
    """Return the effect of each sample of rows with each of columns, on the replicas of both.

    Samples have shape ``(replicas,)``, as of two arms at half their best rate, at it, and at
    twice; `figures.sensitivity` draws what is returned.
    """
    return [[effect(a[: len(b)], b[: len(a)]) for b in columns] for a in rows]


def mean_effect(
    x: Any, *, unit: str = "", level: float = LEVEL, overlap: float | None = None
) -> Effect:
    """Return the mean of x, shape ``(replicas,)``, with a t interval."""
    return remake("mean", unit, level, overlap=overlap, x=x)


def ratio_effect(
    a: Any, b: Any, *, unit: str = "×", level: float = LEVEL, overlap: float | None = None
) -> Effect:
    """Return the geometric mean of a / b over replicas, with a t interval on logarithms."""
    return remake("ratio", unit, level, overlap=overlap, a=a, b=b)


def deviation(
    x: Any,
    exact: float | Any,
    *,
    unit: str = "",
    level: float = LEVEL,
    overlap: float | None = None,
) -> Effect:
    """Return how far the mean of x lies from an exact value, and the interval of that distance.

    Parameters
    ----------
    x
        Measurements, shape ``(replicas,)``.
    exact
        One number, or one for each replica.
    """
    if np.ndim(exact) == 0:
        exact = np.broadcast_to(exact, np.shape(x))
    return remake("deviation", unit, level, overlap=overlap, x=x, exact=exact)


def median_effect(x: Any, *, unit: str = "", level: float = LEVEL) -> Effect:
    """Return the median of x, shape ``(replicas,)``, with its exact interval.

    The interval lies between two of the values, for any distribution; `Effect.coverage` says how
    often such an interval covers, which is at least the level.

    Raises
    ------
    ValueError
        Where there are too few replicas for the level: 99 % takes eight.
    """
    return remake("median", unit, level, x=x)


def proportion(k: Any, n: int | None = None, *, unit: str = "", level: float = LEVEL) -> Effect:
    """Return a share of successes with the exact interval of Clopper and Pearson (1934).

    Parameters
    ----------
    k
        How many of n replicas succeeded; or without n, whether each did, shape ``(replicas,)``.
    n
        How many replicas there are. Each must be one independent trial: shares inside a network
        are means.
    """
    if n is not None:
        if not (isinstance(k, int | np.integer) and isinstance(n, int | np.integer)):
            raise TypeError(f"k and n must be whole numbers, not {k!r} and {n!r}")
        if not 0 <= k <= n:
            raise ValueError(f"k must lie between 0 and n = {n}, not {k}")
        k = np.arange(n) < k
    return remake("proportion", unit, level, x=k)
