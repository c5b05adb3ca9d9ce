"""The exercises of the chapter on dead ReLU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from scipy.special import ndtr
from torch import Tensor

from actnorm import gaussian


def _dead_at_one_half(chance: Callable[[int], float]) -> bool:
    for n in (1, 2, 5, 10, 40):
        exact = gaussian.expectation(lambda z, n=n: ndtr(-z) ** n)
        if not math.isclose(chance(n), exact, rel_tol=1e-6):
            return False
    return True


def _a_third_killed(kappa: float) -> bool:
    return math.isclose(math.atan(kappa) / math.pi, 1 / 3, rel_tol=0.01)


def _count_the_dead(count: Callable[[Tensor], int]) -> bool:
    generator = torch.Generator().manual_seed(0)
    for offset in (0.0, -1.0, -2.0, -9.0):
        z = torch.randn(50, 30, generator=generator) + offset
        alive = {unit for row in z.tolist() for unit, value in enumerate(row) if value > 0}
        if count(z) != 30 - len(alive):
            return False
    return True


EXERCISES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "dead-at-one-half": (
        _dead_at_one_half,
        "what all inputs share must be the lowest of n + 1 numbers that are alike",
    ),
    "a-third-killed": (
        _a_third_killed,
        "a third of the half-plane of live units is a wedge of sixty degrees",
    ),
    "count-the-dead": (
        _count_the_dead,
        "dead is a word about all inputs at once: one positive pre-activation is life",
    ),
}
