"""The exercises of the chapter on cross-domain analogies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from scipy.optimize import brentq


def _hill_as_a_unit(unit: Callable[[float, float], tuple[float, float]]) -> bool:
    for n, k in ((1.0, 1.0), (2.0, 0.3), (1.7, 50.0), (4.0, 8.0)):
        weight, bias = unit(n, k)
        for x in (0.01, 0.4, 3.0, 90.0):
            output = 1 / (1 + math.exp(-(weight * math.log(x) + bias)))
            if not math.isclose(output, x**n / (k**n + x**n), rel_tol=1e-6):
                return False
    return True


def _five_to_ninety_five(fold: float) -> bool:
    low, high = (brentq(lambda x, p=p: x**2 / (1 + x**2) - p, 1e-3, 1e3) for p in (0.05, 0.95))
    return math.isclose(fold, high / low, rel_tol=0.01)


def _memory_without_a_switch(lifetimes: Callable[[float], float]) -> bool:
    for gain in (0.5, 4.0, 50.0, 5000.0):
        x = brentq(lambda x, gain=gain: gain / (1 + x) - x, 0, gain)
        slope = -gain / (1 + x) ** 2
        if not math.isclose(lifetimes(gain), 1 / (1 + slope), rel_tol=1e-6):
            return False
    return True


EXERCISES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "hill-as-a-unit": (
        _hill_as_a_unit,
        "the log odds of binding are n ln x - n ln K: molecules are the weight, strength the bias",
    ),
    "five-to-ninety-five": (
        _five_to_ninety_five,
        "the odds go from 1/19 to 19, which is 361-fold, and two molecules take its root",
    ),
    "memory-without-a-switch": (
        _memory_without_a_switch,
        "the response has slope -x/(1 + x) at the state x, so a difference decays at 1/(1 + x)",
    ),
}
