"""Exact theory: what an activation does to a Gaussian pre-activation, in float64.

All integrals are Gauss–Legendre sums on panels that split at the kinks and halve towards each kink
and towards 0, so that a sigmoid under a standard deviation of 1,000 and a Gaussian of standard
deviation 0.001 are both resolved. Gauss–Hermite sums resolve neither, nor a kink.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from actnorm.activations import Activation, activation, real

Function = Activation | str | Callable[[Any], Any]

_TOLERANCE = 1e-12  # relative; below it a length map counts as standing still
_ZERO, _INFINITE = 1e-100, 1e100  # lengths beyond count as 0 and as infinite


@cache
def _panels(depth: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [0, 1]: eighths, the first of them halved ``depth`` times towards 0."""
    edges = np.concatenate([[0], 2.0 ** -np.arange(depth + 3, 3, -1), np.arange(1, 9) / 8])
    root, weight = np.polynomial.legendre.leggauss(12)
    width = np.diff(edges)[:, None]
    nodes = edges[:-1, None] + width * (root + 1) / 2
    return torch.from_numpy(nodes.ravel()), torch.from_numpy((width * weight / 2).ravel())


def _normal_rule(centres: Tensor, window: float, depth: int) -> tuple[Tensor, Tensor]:
    """Return nodes z and weights of E over N(0, 1) on ±window: centres (..., K) -> (..., nodes).

    Each centre owns the ground up to half-way to the next; the panels halve towards it.
    """
    centres = centres.clamp(-window, window).sort(dim=-1).values
    end = torch.full_like(centres[..., :1], window)
    edges = torch.cat([-end, (centres[..., 1:] + centres[..., :-1]) / 2, end], dim=-1)
    reach = torch.stack([edges[..., :-1] - centres, edges[..., 1:] - centres], dim=-1)[..., None]
    nodes, weights = _panels(depth)
    z = (centres[..., None, None] + reach * nodes).flatten(-3)
    density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return z, (reach.abs() * weights).flatten(-3) * density


@lru_cache(maxsize=64)
def _line_rule(centres: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    z, weights = _normal_rule(torch.tensor(centres, dtype=torch.float64), window=24, depth=40)
    return z[weights > 0], weights[weights > 0]


def _nodes(mean: Any, std: Any, kinks: Sequence[float]) -> tuple[Tensor, Tensor]:
    mean, std = real("mean", mean), real("std", std, 0)
    if std == 0:
        return torch.tensor([mean], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    z, weights = _line_rule((0.0, *((kink - mean) / std for kink in kinks)))
    return mean + std * z, weights


def _integrand(
    name: str, f: Function, kinks: Sequence[float] = ()
) -> tuple[Callable[[Any], Any], tuple[float, ...]]:
    """Return f, a name resolved, with all points the panels must halve towards."""
    f = activation(f) if isinstance(f, str) else f
    if not callable(f):
        raise TypeError(f"{name} must be an Activation, a name or a callable, not {f!r}")
    given = [real("kinks", kink) for kink in (*kinks, *getattr(f, "kinks", ()))]
    return f, tuple(sorted({0.0, *given}))


def _with_slope(act: Activation | str) -> Activation:
    act = activation(act) if isinstance(act, str) else act
    if not isinstance(act, Activation):
        raise TypeError(f"act must be an Activation or a name, so as to have a slope, not {act!r}")
    return act


def _values(f: Callable[[Any], Any], x: Tensor) -> Tensor:
    """Return f at float64 nodes; what refuses a NumPy array is given a tensor."""
    if isinstance(f, Activation):
        y = f(x)
    else:
        try:
            y = f(x.numpy())
        except (TypeError, AttributeError):
            y = f(x)
    y = torch.as_tensor(y, dtype=torch.float64).detach()
    if y.ndim and y.shape != x.shape:
        came = tuple(y.shape)
        raise ValueError(f"f must be elementwise: {tuple(x.shape)} went in, {came} came out")
    y = y.expand(x.shape)
    bad = ~y.isfinite()
    if bad.any():
        raise ValueError(
            f"f must be finite where the Gaussian reaches, not {y[bad][0]:g} at {x[bad][0]:g}"
        )
    return y


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
    f, kinks = _integrand("f", f, kinks)
    x, weights = _nodes(mean, std, kinks)
    return float(weights @ _values(f, x))


def expectation2(f: Function, c: float, std: float = 1.0, kinks: Sequence[float] = (0.0,)) -> float:
    """Return E f(u) f(v), where u and v ~ N(0, std²) have correlation c.

    Parameters, accuracy and errors are those of `expectation`; c lies in [-1, 1], and f is finite
    within 10 ``std`` of 0.
    """
    f, kinks = _integrand("f", f, kinks)
    c, std = real("c", c, -1, 1), real("std", std, 0)
    mirrored = sorted({*kinks, *(-kink for kink in kinks)})  # v is near c u where |c| is near 1
    if abs(c) == 1 or std == 0:
        x, weights = _nodes(0.0, std, mirrored)
        return float(weights @ (_values(f, x) * _values(f, c * x)))
    rest = math.sqrt((1 - c) * (1 + c))  # v = c u + rest y, with y independent of u
    centres = torch.tensor(kinks, dtype=torch.float64) / std
    u, weights = _normal_rule(
        torch.tensor(mirrored, dtype=torch.float64) / std, window=10, depth=32
    )
    u, weights = u[weights > 0], weights[weights > 0]
    inner = []
    for rows in u.split(1024):
        shift = c * rows[:, None]
        y, inner_weights = _normal_rule((centres - shift) / rest, window=10, depth=16)
        values = _values(f, (std * (shift + rest * y)).flatten()).reshape(y.shape)
        inner.append((inner_weights * values).sum(dim=-1))
    return float(weights @ (_values(f, std * u) * torch.cat(inner)))


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
    f, kinks = _integrand("act", act)
    x, weights = _nodes(mean, std, kinks)
    y = _values(f, x)
    first = weights @ y
    y = y - first  # exact where y varies little: what follows is free of the mean's rounding
    second = weights @ y
    central = (float(weights @ (y - second) ** k) for k in (2, 3, 4))
    return Moments(float(first + second), *central)


def mean_slope(act: Activation | str, mean: float = 0.0, std: float = 1.0) -> float:
    """Return E φ'(z), z ~ N(mean, std²)."""
    act = _with_slope(act)
    return expectation(act.slope, mean, std, act.kinks)


def slope_energy(act: Activation | str, mean: float = 0.0, std: float = 1.0) -> float:
    """Return E φ'(z)², z ~ N(mean, std²)."""
    act = _with_slope(act)
    return expectation(lambda x: act.slope(x) ** 2, mean, std, act.kinks)


def length_map(
    act: Function, q: float, weight_variance: float, bias_variance: float = 0.0
) -> float:
    """Return the pre-activation variance after a layer, from the variance q before it.

    V(q) = weight_variance E φ(√q z)² + bias_variance, z ~ N(0, 1), for weights of variance
    weight_variance/fan-in (Poole et al., 2016).
    """
    f, kinks = _integrand("act", act)
    q = real("q", q, 0)
    weight_variance = real("weight_variance", weight_variance, 0)
    bias_variance = real("bias_variance", bias_variance, 0)
    x, weights = _nodes(0.0, math.sqrt(q), kinks)
    return weight_variance * float(weights @ _values(f, x) ** 2) + bias_variance


def fixed_point(
    act: Function, weight_variance: float, bias_variance: float = 0.0, q0: float = 1.0
) -> float:
    """Return the variance q* = V(q*) at which `length_map`, iterated from q0, comes to rest.

    0 and ``inf`` are answers. Where V(q) = q to 1 part in 1e12, as for a ReLU at its critical
    gain, q is returned. After 100 iterations a slow approach is finished by root finding.
    """
    act = _integrand("act", act)[0]
    q = real("q0", q0, 0) or length_map(act, 0.0, weight_variance, bias_variance)

    def growth(q: float) -> float:
        return length_map(act, q, weight_variance, bias_variance) / q - 1

    # In logarithms V never falls faster than with slope -1/2, so that iterates cannot cycle.
    for _ in range(100):
        if not _ZERO < q < _INFINITE:
            break
        rate = growth(q)
        if abs(rate) <= _TOLERANCE:
            return q
        q, last = q * (1 + rate), q
    while _ZERO < q < _INFINITE:
        if growth(q) * math.copysign(1, rate) < -_TOLERANCE:
            return float(brentq(growth, last, q, xtol=_ZERO, rtol=1e-14))
        q *= 2 if rate > 0 else 0.5
    return 0.0 if q <= _ZERO else math.inf


def chi(
    act: Activation | str, weight_variance: float, bias_variance: float = 0.0, q0: float = 1.0
) -> float:
    """Return weight_variance E φ'(√q* z)² at the `fixed_point` q*: a gradient's growth per layer.

    At q* = 0 and q* = inf it is the limit (Schoenholz et al., 2017).
    """
    q = fixed_point(_with_slope(act), weight_variance, bias_variance, q0)
    return weight_variance * _slope_energy_at(act, q)


def _slope_energy_at(act: Activation | str, q: float) -> float:
    """Return E φ'², the limit at q = 0 and at q = inf."""
    energy = slope_energy(act, std=math.sqrt(min(max(q, _ZERO), _INFINITE)))
    return energy if energy < _INFINITE else math.inf


def correlation_map(act: Function, c: float, q: float = 1.0) -> float:
    """Return the cosine after a layer, E φ(u) φ(v) / E φ(u)², of two inputs with correlation c.

    u and v ~ N(0, q); 1 at c = 1. For ReLU it is Cho & Saul's (2009) arc-cosine kernel.
    """
    f, kinks = _integrand("act", act)
    c, std = real("c", c, -1, 1), math.sqrt(real("q", q, 0))
    energy = expectation2(f, 1.0, std, kinks)
    if energy == 0:
        raise ValueError(f"act must not vanish on N(0, {q:g})")
    return expectation2(f, c, std, kinks) / energy


def critical_gain(act: Activation | str) -> float | None:
    """Return the gain g with `chi` = 1 at weight_variance = g², bias_variance = 0.

    The fixed point is finite, and the one reached from q0 = 1. tanh: 1, at q* = 0. ReLU-like:
    sqrt(2 / (1 + slope²)), every q being a fixed point. None where there is none: softplus, whose
    chi stays below 1; GELU, SiLU and Mish, whose lengths die below a gain and explode above it.
    """
    act = _with_slope(act)

    def excess(log_q: float) -> float:
        """Return chi - 1 with the weight variance that makes q a fixed point."""
        q = math.exp(log_q)
        energy = length_map(act, q, 1.0)
        return q / energy * _slope_energy_at(act, q) - 1 if energy else 0.0

    candidates = []
    if act(0.0) == 0 and (energy := _slope_energy_at(act, 0.0)) > 0:
        candidates.append(1 / energy)
    grid = np.linspace(math.log(1e-8), math.log(1e8), 129)
    values = np.array([excess(log_q) for log_q in grid])
    values[np.abs(values) < 1e-10] = 0
    for i in np.flatnonzero(values[:-1] * values[1:] < 0):
        q = math.exp(brentq(excess, grid[i], grid[i + 1], xtol=1e-14))
        candidates.append(q / length_map(act, q, 1.0))
    for weight_variance in candidates:
        q = fixed_point(act, weight_variance)
        if q < math.inf and abs(weight_variance * _slope_energy_at(act, q) - 1) < 1e-6:
            return math.sqrt(weight_variance)
    return None


def critical_init(act: Activation | str, q: float = 1.0) -> tuple[float, float] | None:
    """Return the (weight_variance, bias_variance) with fixed point q and `chi` = 1 there.

    A point of the edge of chaos (Schoenholz et al., 2017); None where it would take a negative
    bias variance: for softplus at every q, for sigmoid below that of its `critical_gain`.
    Angles are critical there; lengths need not return to q after a disturbance (GELU's grow).
    """
    act, q = _with_slope(act), real("q", q, 0)
    energy = _slope_energy_at(act, q)
    if energy == 0:
        return None
    bias_variance = q - length_map(act, q, 1 / energy)
    if abs(bias_variance) <= _TOLERANCE * q:
        bias_variance = 0.0
    return (1 / energy, bias_variance) if bias_variance >= 0 else None
