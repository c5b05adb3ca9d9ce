"""The exercises of the chapter on cross-domain analogies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
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


def _log_ratio_of_a_proportion(log_ratio: Callable[[float], float]) -> bool:
    for x, y in ((1.0, 1.0), (8.0, 1.0), (0.3, 20.0), (5.0, 4.0)):
        if not math.isclose(log_ratio(x / (x + y)), math.log(x / y), rel_tol=1e-6, abs_tol=1e-9):
            return False
    return True


def _mean_ratio_of_nothing(mean: float) -> bool:
    nodes, weights = hermegauss(40)
    one_sample = weights @ [math.exp(0.5 * z) for z in nodes] / math.sqrt(2 * math.pi)
    return math.isclose(mean, one_sample**2, rel_tol=0.005)


def _tilt_of_an_offset(tilt: Callable[[float, float], float]) -> bool:
    for m, c in ((1.0, 1.0), (3.0, 0.5), (100.0, 0.5), (2.0, 30.0)):
        changes = (math.log2((k * m + c) / (m + c)) for k in (2, 0.5))
        if not math.isclose(tilt(m, c), sum(changes), rel_tol=1e-6):
            return False
    return True


def _bias_for_raw_input(bias: Callable[[Any, float, Any], float]) -> bool:
    weight = [[0.5, -1.0, 2.0], [1.5, 0.25, 0.0], [-2.0, 1.0, 0.5], [0.0, 3.0, -0.75]]
    background, b = (0.3, 0.2, 0.15, 0.35), -0.4
    shifted = bias(np.array(weight), b, np.array(background))
    for word in ("AAA", "CGT", "TCG"):
        seen = ["ACGT".index(letter) for letter in word]
        raw = sum(weight[c][k] for k, c in enumerate(seen))
        less = sum(weight[c][k] * background[c] for c in range(4) for k in range(3))
        if not math.isclose(raw + shifted, raw - less + b, rel_tol=1e-9):
            return False
    return True


def _floor_of_a_motif(floor: Callable[[int], float]) -> bool:
    for k in (1, 4, 10, 25):  # matches of k letters: variance 3/16 each, and 3/4 more at the motif
        if not math.isclose(floor(k), math.sqrt(k * 3 / 16) / (k * 3 / 4), rel_tol=1e-6):
            return False
    return True


def _bits_against_chance(bits: Callable[[int], float]) -> bool:
    return all(math.isclose(n * 2 ** -bits(n), 1, rel_tol=1e-6) for n in (2, 60, 1000, 3 * 10**9))


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
    "log-ratio-of-a-proportion": (
        _log_ratio_of_a_proportion,
        "the proportion is the sigmoid of the log ratio, whose inverse is the log odds",
    ),
    "mean-ratio-of-nothing": (
        _mean_ratio_of_nothing,
        "each sample's noise brings a factor exp(s^2/2), whichever it stands under",
    ),
    "tilt-of-an-offset": (
        _tilt_of_an_offset,
        "an offset hides more of a change down than of one up: the sum is never below zero",
    ),
    "bias-for-raw-input": (
        _bias_for_raw_input,
        "centering takes off what the filter answers to background: weights times frequencies",
    ),
    "floor-of-a-motif": (
        _floor_of_a_motif,
        "a letter that is always the same adds 3 to chi squared",
    ),
    "bits-against-chance": (
        _bits_against_chance,
        "a word of background reaches t bits with a chance of at most 2^-t",
    ),
}
