"""What a deep network makes of lengths and angles: maps, fixed points, critical initializations."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from actnorm.activations import Activation, real
from actnorm.gaussian.expectations import expectation2, slope_energy
from actnorm.gaussian.quadrature import Function, integrand, nodes, values_at, with_slope

_TOLERANCE = 1e-12  # relative; below it a length map counts as standing still
_ZERO, _INFINITE = 1e-100, 1e100  # lengths beyond count as 0 and as infinite


def length_map(
    act: Function, q: float, weight_variance: float, bias_variance: float = 0.0
) -> float:
    """Return the pre-activation variance after a layer, from the variance q before it.

    V(q) = weight_variance E φ(√q z)² + bias_variance, z ~ N(0, 1), for weights of variance
    weight_variance/fan-in (Poole et al., 2016).
    """
    f, kinks = integrand("act", act)
    q = real("q", q, 0)
    weight_variance = real("weight_variance", weight_variance, 0)
    bias_variance = real("bias_variance", bias_variance, 0)
    x, weights = nodes(0.0, math.sqrt(q), kinks)
    return weight_variance * float(weights @ values_at(f, x) ** 2) + bias_variance


def fixed_point(
    act: Function, weight_variance: float, bias_variance: float = 0.0, q0: float = 1.0
) -> float:
    """Return the variance q* = V(q*) at which `length_map`, iterated from q0, comes to rest.

    q0 is 0 or between 1e-100 and 1e100; 0 and ``inf``, lengths beyond, are answers. Where V(q) = q
    to 1 part in 1e12, as for a ReLU at its critical gain, q is returned. After 100 iterations a
    slow approach is finished by root finding.
    """
    act = integrand("act", act)[0]
    q = real("q0", q0, 0)
    if q and not _ZERO < q < _INFINITE:
        raise ValueError(f"q0 must be 0 or lie between {_ZERO:g} and {_INFINITE:g}, not {q0!r}")
    q = q or length_map(act, 0.0, weight_variance, bias_variance)

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
    q = fixed_point(with_slope(act), weight_variance, bias_variance, q0)
    return weight_variance * _slope_energy_at(act, q)


def _slope_energy_at(act: Activation | str, q: float) -> float:
    """Return E φ'², the limit at q = 0 and at q = inf."""
    energy = slope_energy(act, std=math.sqrt(min(max(q, _ZERO), _INFINITE)))
    return energy if energy < _INFINITE else math.inf


def correlation_map(act: Function, c: float, q: float = 1.0) -> float:
    """Return the cosine after a layer, E φ(u) φ(v) / E φ(u)², of two inputs with correlation c.

    u and v ~ N(0, q); 1 at c = 1. For ReLU it is Cho & Saul's (2009) arc-cosine kernel.
    """
    f, kinks = integrand("act", act)
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
    act = with_slope(act)

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
    act, q = with_slope(act), real("q", q, 0)
    energy = _slope_energy_at(act, q)
    if energy == 0:
        return None
    bias_variance = q - length_map(act, q, 1 / energy)
    if abs(bias_variance) <= _TOLERANCE * q:
        bias_variance = 0.0
    return (1 / energy, bias_variance) if bias_variance >= 0 else None
