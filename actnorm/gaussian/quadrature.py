"""Nodes and weights of a Gaussian, and a function's values there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from actnorm.activations import Activation, activation, real

Function = Activation | str | Callable[[Any], Any]


def exactly(values: Any) -> Tensor:
    """Return numbers as float64 on the CPU, where all of theory is computed."""
    return torch.as_tensor(values, dtype=torch.float64, device="cpu")


@cache
def _panels(depth: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [0, 1]: eighths, the first of them halved ``depth`` times towards 0."""
    edges = np.concatenate([[0], 2.0 ** -np.arange(depth + 3, 3, -1), np.arange(1, 9) / 8])
    root, weight = np.polynomial.legendre.leggauss(12)
    width = np.diff(edges)[:, None]
    nodes = edges[:-1, None] + width * (root + 1) / 2
    return torch.from_numpy(nodes.ravel()), torch.from_numpy((width * weight / 2).ravel())


def normal_rule(centres: Tensor, window: float, depth: int) -> tuple[Tensor, Tensor]:
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
    z, weights = normal_rule(exactly(centres), window=24, depth=40)
    return z[weights > 0], weights[weights > 0]


def nodes(mean: Any, std: Any, kinks: Sequence[float]) -> tuple[Tensor, Tensor]:
    mean, std = real("mean", mean), real("std", std, 0)
    if std == 0:
        return exactly([mean]), exactly([1.0])
    z, weights = _line_rule((0.0, *((kink - mean) / std for kink in kinks)))
    return mean + std * z, weights


def integrand(
    name: str, f: Function, kinks: Sequence[float] = ()
) -> tuple[Callable[[Any], Any], tuple[float, ...]]:
    """Return f, a name resolved, with all points the panels must halve towards."""
    f = _exact(activation(f) if isinstance(f, str) else f)
    if not callable(f):
        raise TypeError(f"{name} must be an Activation, a name or a callable, not {f!r}")
    given = [real("kinks", kink) for kink in (*kinks, *getattr(f, "kinks", ()))]
    return f, tuple(sorted({0.0, *given}))


def with_slope(act: Activation | str) -> Activation:
    act = activation(act) if isinstance(act, str) else act
    if not isinstance(act, Activation):
        raise TypeError(f"act must be an Activation or a name, so as to have a slope, not {act!r}")
    return _exact(act)


def _exact(f: Any) -> Any:
    """Return f, a module with numbers of its own as a copy in float64 on the CPU."""
    if isinstance(f, Activation):
        function = _exact(f.function)
        return f if function is f.function else replace(f, function=function)
    held = [*f.parameters(), *f.buffers()] if isinstance(f, nn.Module) else []
    if any(
        v.is_floating_point() and (v.dtype, v.device.type) != (torch.float64, "cpu") for v in held
    ):
        return deepcopy(f).to("cpu", torch.float64)
    return f


def values_at(f: Callable[[Any], Any], x: Tensor) -> Tensor:
    """Return f at float64 nodes; what refuses a NumPy array is given a tensor."""
    # Copies go in and come out: f may work in place, and may hand out memory of its own.
    try:
        if isinstance(f, Activation):
            y = f(x.clone())
        else:
            try:
                y = f(x.numpy().copy())
            except (TypeError, AttributeError):
                y = f(x.clone())
    except RuntimeError as error:
        raise ValueError(f"f must be elementwise, in float64: {error}") from error
    if y.is_complex() if isinstance(y, Tensor) else np.iscomplexobj(y):
        raise ValueError("f must be real, but gave complex numbers")
    y = exactly(y).detach().clone()
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
