"""Slopes that torch's float64 backward gets wrong.

In the tails it subtracts nearly equal numbers, and hard sigmoid's it multiplies by a float32 sixth.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TAIL = 40.0  # beyond it GELU's slopes are 0 or 1, in float64 too, and powers overflow


def sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x) * torch.sigmoid(-x)


def tanh(x: Tensor) -> Tensor:
    return 4 * sigmoid(2 * x)


def hardsigmoid(x: Tensor) -> Tensor:
    return (x.abs() < 3).to(x.dtype) / 6


def softsign(x: Tensor) -> Tensor:
    return (1 + x.abs()) ** -2


def gelu(x: Tensor) -> Tensor:
    x = x.clamp(-_TAIL, _TAIL)
    density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return torch.special.erfc(-x / math.sqrt(2)) / 2 + x * density


def gelu_tanh(x: Tensor) -> Tensor:
    x = x.clamp(-_TAIL, _TAIL)
    rate = math.sqrt(8 / math.pi)
    inside = rate * (x + 0.044715 * x**3)
    return torch.sigmoid(inside) + x * sigmoid(inside) * rate * (1 + 0.134145 * x * x)


def tanhshrink(x: Tensor) -> Tensor:
    return torch.tanh(x) ** 2
