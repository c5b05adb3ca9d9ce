"""Expectations over one Gaussian and over two: moments of an activation, and its slope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from actnorm.activations import Activation, real
from actnorm.gaussian.quadrature import (
    Function,
    exactly,
    integrand,
    nodes,
    normal_rule,
    values_at,
    with_slope,
)


def expectation(
    f: Function, mean: float = 0.0, std: float = 1.0, kinks: Sequence[float] = (0.0,)
) -> float:
    """Return E f(z), z ~ N(mean, std²), to 1e-9 relative plus 1e-12 absolute.

    Parameters
    ----------
    f
        An `Activation`, its name, or any elementwise callable of a float64 NumPy array or torch
        tensor, finite within 24 ``std`` of ``mean`` and negligible, times the density, beyond.
    mean, std
        Of the Gaussian; ``std=0`` is a point mass, and gives ``f(mean)``.
    kinks
        Where f is not smooth, or changes within a width much smaller than its distance from 0 (a
        narrow bump's centre). An `Activation`'s own, and 0, are always among them. With a kink or
        a jump left out, the stated accuracy is lost.

    Raises
    ------
    TypeError, ValueError
        An argument that is not a finite number in its range; an f that is not elementwise or not
        finite.
    """
    f, kinks = integrand("f", f, kinks)
    x, weights = nodes(mean, std, kinks)
    return float(weights @ values_at(f, x))


def expectation2(f: Function, c: float, std: float = 1.0, kinks: Sequence[float] = (0.0,)) -> float:
    """Return E f(u) f(v), where u and v ~ N(0, std²) have correlation c.

    Parameters, accuracy and errors are those of `expectation`; c lies in [-1, 1], and f is finite
    within 10 ``std`` of 0.
    """
    f, kinks = integrand("f", f, kinks)
    c, std = real("c", c, -1, 1), real("std", std, 0)
    mirrored = sorted({*kinks, *(-kink for kink in kinks)})  # v is near c u where |c| is near 1
    if abs(c) == 1 or std == 0:
        x, weights = nodes(0.0, std, mirrored)
        return float(weights @ (values_at(f, x) * values_at(f, c * x)))
    rest = math.sqrt((1 - c) * (1 + c))  # v = c u + rest y, with y independent of u
    centres = exactly(kinks) / std
    u, weights = normal_rule(exactly(mirrored) / std, window=10, depth=32)
    u, weights = u[weights > 0], weights[weights > 0]
    inner = []
    for rows in u.split(1024):
        shift = c * rows[:, None]
        y, inner_weights = normal_rule((centres - shift) / rest, window=10, depth=16)
        values = values_at(f, (std * (shift + rest * y)).flatten()).reshape(y.shape)
        inner.append((inner_weights * values).sum(dim=-1))
    return float(weights @ (values_at(f, std * u) * torch.cat(inner)))


@dataclass(frozen=True)
class Moments:
    """Mean, variance, third and fourth central moment of an activation's output."""

    mean: float
    variance: float
    third: float
    fourth: float

    @property
    def skewness(self) -> float:
        """Third standardized moment. ValueError where the variance is lost in rounding."""
        return self.third / self._spread() ** 3

    @property
    def excess_kurtosis(self) -> float:
        """Fourth standardized moment, less 3. ValueError where the variance is lost in rounding."""
        return self.fourth / self._spread() ** 4 - 3

    def _spread(self) -> float:
        if not self.variance > max(1e-12 * (self.variance + self.mean**2), 1e-100):
            raise ValueError(
                "skewness and kurtosis need a variance above 1e-12 of the second moment and above "
                f"1e-100, not {self.variance:g} beside a mean of {self.mean:g}"
            )
        return math.sqrt(self.variance)


def moments(act: Function, mean: float = 0.0, std: float = 1.0) -> Moments:
    """Return the `Moments` of φ(z), z ~ N(mean, std²); accuracy and errors as for `expectation`.

    Skewness and kurtosis carry φ's own rounding too: about 1e-16 mean/√variance.
    """
    f, kinks = integrand("act", act)
    x, weights = nodes(mean, std, kinks)
    y = values_at(f, x)
    first = weights @ y
    y = y - first  # exact where y varies little: what follows is free of the mean's rounding
    second = weights @ y
    central = (float(weights @ (y - second) ** k) for k in (2, 3, 4))
    return Moments(float(first + second), *central)


def mean_slope(act: Activation | str, mean: float = 0.0, std: float = 1.0) -> float:
    """Return E φ'(z), z ~ N(mean, std²)."""
    act = with_slope(act)
    return expectation(act.slope, mean, std, act.kinks)


def slope_energy(act: Activation | str, mean: float = 0.0, std: float = 1.0) -> float:
    """Return E φ'(z)², z ~ N(mean, std²)."""
    act = with_slope(act)
    return expectation(lambda x: act.slope(x) ** 2, mean, std, act.kinks)
