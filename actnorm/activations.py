"""The catalogue of activations: torch's own functions, with their slopes and their kinks."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from actnorm import slopes

Elementwise = Callable[[Tensor], Tensor]


def real(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return ``value`` as a float, once it is a finite real number from ``low`` to ``high``."""
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, not {value!r}")
    if not (math.isfinite(value) and low <= value <= high):
        span = "a finite number"
        if math.isfinite(low):
            span += f" from {low:g} to {high:g}" if math.isfinite(high) else f" >= {low:g}"
        raise ValueError(f"{name} must be {span}, not {value!r}")
    return float(value)


def _apply(function: Elementwise, x: Any) -> Any:
    if isinstance(x, Tensor):
        return function(x)
    x = torch.from_numpy(np.array(x, dtype=np.float64))  # a copy: functions may work in place
    return function(x).detach().numpy()[()]


@dataclass(frozen=True)
class Activation:
    """One activation φ: the function, its slope, its kinks, its torch module.

    Parameters
    ----------
    name
        What it is called in tables and legends.
    function
        φ, elementwise, from a tensor to a tensor of the same shape, dtype and device.
    kinks
        Where φ is not smooth, or changes within a width much smaller than its distance from 0.
    derivative
        φ', elementwise; autograd's by default. Give one where autograd cancels: torch's tanh
        backward, 1 - tanh², keeps no digit of the slope at 20.
    build
        Makes the torch module; by default one that calls ``function``.
    latex
        φ(x) in LaTeX, the argument written as a lone ``x``.

    Raises
    ------
    TypeError, ValueError
        A function that cannot be called, a kink that is not a finite number.

    Notes
    -----
    Calling it, or `slope`, keeps a tensor's dtype and device; numbers, sequences and arrays are
    taken, and given back, in float64 NumPy. At a kink the slope is torch's choice.
    """

    name: str
    function: Elementwise = field(repr=False)
    kinks: tuple[float, ...] = ()
    derivative: Elementwise | None = field(default=None, repr=False)
    build: Callable[[], nn.Module] | None = field(default=None, repr=False)
    latex: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function must be callable, not {self.function!r}")
        kinks = tuple(sorted(real("kinks", kink) for kink in self.kinks))
        object.__setattr__(self, "kinks", kinks)

    def __call__(self, x: Any) -> Any:
        """Return φ(x), elementwise."""
        return _apply(self.function, x)

    def slope(self, x: Any) -> Any:
        """Return φ'(x), elementwise."""
        return _apply(self.derivative or self._autograd, x)

    def _autograd(self, x: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().clone().requires_grad_()  # a tensor made in inference mode takes none
            return torch.autograd.grad(self.function(x.clone()).sum(), x)[0]

    def module(self) -> nn.Module:
        """Return a new torch module that computes φ; PReLU's slope is a parameter, and learns."""
        return self.build() if self.build else _Module(self)

    def shift(self, c: float) -> Activation:
        """Return x -> φ(x) + c."""
        c = real("c", c)
        return self._affine(f"({self.name}{c:+g})", f"{self.latex} {c:+g}", shift=c)

    def scale(self, k: float) -> Activation:
        """Return x -> k φ(x)."""
        k = real("k", k)
        return self._affine(f"{k:g}·{self.name}", rf"{k:g} \left({self.latex}\right)", scale=k)

    def gain(self, g: float) -> Activation:
        """Return x -> φ(g x), g not 0; the kinks move to kink/g."""
        g = real("g", g)
        if g == 0:
            raise ValueError("g must not be 0")
        latex = re.sub(r"\(x\)|\bx\b", f"({g:g} x)", self.latex)
        return self._affine(f"{self.name}({g:g}x)", latex, gain=g)

    def _affine(
        self, name: str, latex: str, gain: float = 1.0, scale: float = 1.0, shift: float = 0.0
    ) -> Activation:
        inner = _Affine(self, gain, scale, shift)
        kinks = tuple(kink / gain for kink in self.kinks)
        return Activation(name, inner.value, kinks, inner.slope, inner.module, latex)


@dataclass(frozen=True)
class _Affine:
    """x -> scale φ(gain x) + shift, in methods: what is written inside a function has no pickle."""

    act: Activation
    gain: float
    scale: float
    shift: float

    def value(self, x: Tensor) -> Tensor:
        return self.scale * self.act.function(self.gain * x) + self.shift

    def slope(self, x: Tensor) -> Tensor:
        return self.scale * self.gain * self.act.slope(self.gain * x)

    def module(self) -> nn.Module:
        return _AffineModule(self.act.module(), self.gain, self.scale, self.shift)


class _Module(nn.Module):
    def __init__(self, act: Activation) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.act.function(x)

    def extra_repr(self) -> str:
        return self.act.name


class _AffineModule(nn.Module):
    def __init__(self, inner: nn.Module, gain: float, scale: float, shift: float) -> None:
        super().__init__()
        self.inner, self.gain, self.scale, self.shift = inner, gain, scale, shift

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.inner(self.gain * x) + self.shift

    def extra_repr(self) -> str:
        return f"gain={self.gain:g}, scale={self.scale:g}, shift={self.shift:g}"


def _torch(
    build: Callable[[], nn.Module],
    latex: str,
    kinks: tuple[float, ...] = (),
    derivative: Elementwise | None = None,
) -> Activation:
    return Activation("", build(), kinks, derivative, build, latex)


def _squared_relu(x: Tensor) -> Tensor:
    return torch.relu(x) ** 2


def _leaky_relu(slope: float = 0.01) -> Activation:
    return _torch(
        partial(nn.LeakyReLU, slope), rf"\max(0, x) + {slope:g} \, \min(0, x)", kinks=(0.0,)
    )


def _prelu(slope: float = 0.25) -> Activation:
    return replace(_leaky_relu(slope), build=partial(nn.PReLU, init=slope))


def _elu(alpha: float = 1.0) -> Activation:
    latex = rf"\max(0, x) + {alpha:g} \, (e^{{\min(0, x)}} - 1)"
    return _torch(partial(nn.ELU, alpha), latex, kinks=(0.0,))


def _celu(alpha: float = 1.0) -> Activation:
    if alpha <= 0:
        raise ValueError(f"alpha must be > 0, not {alpha!r}")
    latex = rf"\max(0, x) + {alpha:g} \, (e^{{\min(0, x) / {alpha:g}}} - 1)"
    return _torch(partial(nn.CELU, alpha), latex, kinks=(0.0,))


def _softplus(beta: float = 1.0) -> Activation:
    if beta <= 0:
        raise ValueError(f"beta must be > 0, not {beta!r}")
    # torch's threshold of 20 is a jump of 2e-9, which float64 sees
    build = partial(nn.Softplus, beta, threshold=40)
    return _torch(build, rf"\ln(1 + e^{{{beta:g} \, x}}) / {beta:g}")


def _softshrink(threshold: float = 0.5) -> Activation:
    if threshold < 0:
        raise ValueError(f"threshold must be >= 0, not {threshold!r}")
    latex = rf"\operatorname{{sign}}(x) \max(0, |x| - {threshold:g})"
    return _torch(partial(nn.Softshrink, threshold), latex, kinks=(-threshold, threshold))


_CATALOGUE: dict[str, Callable[..., Activation]] = {
    "identity": lambda: _torch(nn.Identity, "x"),
    "relu": lambda: _torch(nn.ReLU, r"\max(0, x)", (0.0,)),
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    "elu": _elu,
    "selu": lambda: _torch(
        nn.SELU, r"1.0507 \, (\max(0, x) + 1.6733 \, (e^{\min(0, x)} - 1))", (0.0,)
    ),
    "celu": _celu,
    "gelu": lambda: _torch(nn.GELU, r"x \, \Phi(x)", derivative=slopes.gelu),
    "gelu_tanh": lambda: _torch(
        partial(nn.GELU, "tanh"),
        r"\frac{x}{2} (1 + \tanh(\sqrt{2 / \pi} (x + 0.044715 \, x^3)))",
        derivative=slopes.gelu_tanh,
    ),
    "silu": lambda: _torch(nn.SiLU, r"x \, \sigma(x)"),
    "mish": lambda: _torch(nn.Mish, r"x \tanh(\ln(1 + e^x))"),
    "softplus": _softplus,
    "sigmoid": lambda: _torch(nn.Sigmoid, r"\sigma(x)", derivative=slopes.sigmoid),
    "tanh": lambda: _torch(nn.Tanh, r"\tanh(x)", derivative=slopes.tanh),
    "erf": lambda: Activation("", torch.erf, latex=r"\operatorname{erf}(x)"),
    "softsign": lambda: _torch(nn.Softsign, r"\frac{x}{1 + |x|}", (0.0,), slopes.softsign),
    "hardtanh": lambda: _torch(nn.Hardtanh, r"\min(1, \max(-1, x))", (-1.0, 1.0)),
    "relu6": lambda: _torch(nn.ReLU6, r"\min(6, \max(0, x))", (0.0, 6.0)),
    "hardsigmoid": lambda: _torch(
        nn.Hardsigmoid, r"\min(6, \max(0, x + 3)) / 6", (-3.0, 3.0), slopes.hardsigmoid
    ),
    "hardswish": lambda: _torch(
        nn.Hardswish, r"x \, \min(6, \max(0, x + 3)) / 6", (-3.0, 3.0)
    ),
    "log_sigmoid": lambda: _torch(nn.LogSigmoid, r"\ln \sigma(x)"),
    "softshrink": _softshrink,
    "tanhshrink": lambda: _torch(
        nn.Tanhshrink, r"x - \tanh(x)", derivative=slopes.tanhshrink
    ),
    "squared_relu": lambda: Activation("", _squared_relu, (0.0,), latex=r"\max(0, x)^2"),
}  # fmt: skip


def activation(name: str, **parameters: float) -> Activation:
    """Return the activation of this name, with these parameters.

    Parameters
    ----------
    name
        A key of `ACTIVATIONS`.
    **parameters
        ``slope`` of ``leaky_relu`` and ``prelu``, ``alpha`` of ``elu`` and ``celu``, ``beta`` of
        ``softplus``, ``threshold`` of ``softshrink``; the others take none.

    Raises
    ------
    KeyError
        An unknown name.
    TypeError, ValueError
        An unknown parameter, or one that is not a finite number in its range.
    """
    if name not in _CATALOGUE:
        raise KeyError(f"unknown activation {name!r}; known: {', '.join(_CATALOGUE)}")
    if not parameters:
        return ACTIVATIONS[name]
    known = inspect.signature(_CATALOGUE[name]).parameters
    for key, value in parameters.items():
        if key not in known:
            raise TypeError(f"{name} takes {' '.join(known) or 'no parameters'}, not {key!r}")
        parameters[key] = real(key, value)
    called = ", ".join(f"{key}={value:g}" for key, value in parameters.items())
    return replace(_CATALOGUE[name](**parameters), name=f"{name}({called})")


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {name: replace(make(), name=name) for name, make in _CATALOGUE.items()}
)
