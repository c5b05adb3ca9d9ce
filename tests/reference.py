"""Every activation once more, in arbitrary precision, and the accuracy that the theory states."""

import math

import mpmath as mp
import pytest

SELU = mp.mpf("1.0507009873554804934193349852946"), mp.mpf("1.6732632423543772848170429916717")


def _elu(x, alpha=1):
    return x if x > 0 else alpha * mp.expm1(x)


# φ once more, in arbitrary precision: (name -> function)
REFERENCE = {
    "identity": lambda x: x,
    "relu": lambda x: max(x, 0),
    "leaky_relu": lambda x: x if x > 0 else mp.mpf(0.01) * x,
    "prelu": lambda x: x if x > 0 else x / 4,
    "elu": _elu,
    "selu": lambda x: SELU[0] * _elu(x, SELU[1]),
    "celu": _elu,
    "gelu": lambda x: x * mp.ncdf(x),
    "gelu_tanh": lambda x: (
        x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))
    ),
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "mish": lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "tanh": mp.tanh,
    "erf": mp.erf,
    "softsign": lambda x: x / (1 + abs(x)),
    "hardtanh": lambda x: min(max(x, -1), 1),
    "relu6": lambda x: min(max(x, 0), 6),
    "hardsigmoid": lambda x: min(max(x + 3, 0), 6) / 6,
    "hardswish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "log_sigmoid": lambda x: -mp.log1p(mp.exp(-x)),
    "softshrink": lambda x: mp.sign(x) * max(abs(x) - mp.mpf(0.5), 0),
    "tanhshrink": lambda x: x - mp.tanh(x),
    "squared_relu": lambda x: max(x, 0) ** 2,
}


def near(value):
    """The accuracy that the module states."""
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def erf_kernel(c, std):
    """E erf(u) erf(v) (Williams, 1997)."""
    return 2 / math.pi * math.asin(2 * std**2 * c / (1 + 2 * std**2))
