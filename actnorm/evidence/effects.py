"""Effects: an estimate, its interval, and the per-replica values that both come from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import optimize, stats

LEVEL = 0.99


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

    def __str__(self) -> str:
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]{self.unit}"

    def p_value(self, null: float) -> float:
        """Return one minus the level at which the interval just reaches ``null``."""
        if self.low == self.high:
            return float(self.estimate == null)

        def overlap(log_p: float) -> float:
            _, low, high = METHODS[self.method](self.values, math.exp(log_p))
            return null - low if null < self.estimate else high - null

        least, most = math.log(1e-300), -1e-12
        if overlap(least) <= 0:
            return 0.0
        return math.exp(optimize.brentq(overlap, least, most)) if overlap(most) < 0 else 1.0


def _t_interval(sample: np.ndarray, alpha: float) -> tuple[float, float, float]:
    mean = float(sample.mean())
    error = float(sample.std(ddof=1)) / math.sqrt(len(sample))
    half = error * float(stats.t.isf(alpha / 2, len(sample) - 1))
    return mean, mean - half, mean + half


def _paired(values: Mapping[str, Sequence[float]], alpha: float) -> tuple[float, float, float]:
    return _t_interval(np.subtract(values["a"], values["b"]), alpha)


def _mean(values: Mapping[str, Sequence[float]], alpha: float) -> tuple[float, float, float]:
    return _t_interval(np.asarray(values["x"]), alpha)


def _ratio(values: Mapping[str, Sequence[float]], alpha: float) -> tuple[float, float, float]:
    logs = np.log(values["a"]) - np.log(values["b"])
    with np.errstate(over="ignore"):
        estimate, low, high = np.exp(_t_interval(logs, alpha)).tolist()
    return estimate, low, high


def _deviation(values: Mapping[str, Sequence[float]], alpha: float) -> tuple[float, float, float]:
    estimate, low, high = _t_interval(np.subtract(values["x"], values["exact"]), alpha)
    nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return abs(estimate), nearest, max(abs(low), abs(high))


METHODS = {
    "paired difference": _paired,
    "mean": _mean,
    "ratio": _ratio,
    "deviation": _deviation,
}


def remake(method: str, unit: str, level: float, **arms: Any) -> Effect:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    values = {}
    for name, arm in arms.items():
        array = np.asarray(arm, dtype=float)
        if array.ndim != 1 or len(array) < 2:
            raise ValueError(
                f"{name} must hold one value for each of at least 2 replicas, not shape"
                f" {array.shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite; {(~np.isfinite(array)).sum()} values are not")
        values[name] = tuple(array.tolist())
    if len({len(arm) for arm in values.values()}) != 1:
        lengths = {name: len(arm) for name, arm in values.items()}
        raise ValueError(f"arms must have the same replicas, not {lengths}")
    n = len(next(iter(values.values())))
    return Effect(*METHODS[method](values, 1 - level), level, n, method, unit, values)


def paired_effect(a: Any, b: Any, *, unit: str = "", level: float = LEVEL) -> Effect:
    """Return the mean of a - b over replicas (shape ``(replicas,)`` each), with a t interval."""
    return remake("paired difference", unit, level, a=a, b=b)


def mean_effect(x: Any, *, unit: str = "", level: float = LEVEL) -> Effect:
    """Return the mean of x, shape ``(replicas,)``, with a t interval."""
    return remake("mean", unit, level, x=x)


def ratio_effect(a: Any, b: Any, *, unit: str = "×", level: float = LEVEL) -> Effect:
    """Return the geometric mean of a / b over replicas, with a t interval on logarithms."""
    for name, arm in (("a", a), ("b", b)):
        if not (np.asarray(arm, dtype=float) > 0).all():
            raise ValueError(f"{name} must be positive: a ratio is judged on logarithms")
    return remake("ratio", unit, level, a=a, b=b)


def deviation(x: Any, exact: float | Any, *, unit: str = "", level: float = LEVEL) -> Effect:
    """Return how far the mean of x lies from an exact value, and the interval of that distance.

    Parameters
    ----------
    x
        Measurements, shape ``(replicas,)``.
    exact
        One number, or one for each replica.
    """
    return remake("deviation", unit, level, x=x, exact=np.broadcast_to(exact, np.shape(x)))
