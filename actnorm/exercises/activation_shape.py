"""The exercises of the chapter on the shape of an activation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from actnorm import activations, gaussian


def _gain_of_leaky_relu(gain: Callable[[float], float]) -> bool:
    for slope in (0.0, 0.1, 0.5, 1.0):
        leaky = activations.activation("leaky_relu", slope=slope)
        kept = gaussian.length_map(leaky, 1.0, gain(slope) ** 2)
        if not math.isclose(kept, 1.0, rel_tol=1e-6):
            return False
    return True


def _zero_of_swish(zero: Callable[[float], float]) -> bool:
    swish = activations.activation("silu")
    for beta in (0.5, 1.0, 3.0):
        place = zero(beta)
        if place >= 0 or abs(swish.gain(beta).slope(place)) > 1e-3 * beta:
            return False
    return True


def _time_to_target(time: float) -> bool:
    return math.isclose(time, 0.88, rel_tol=1e-3)


def _field_variance(variance: Callable[[int, int], float]) -> bool:
    return all(
        math.isclose(variance(n, k), n * (k * k - 1) / 12, rel_tol=1e-6)
        for n in (1, 4, 9)
        for k in (1, 3, 5)
    )


def _third_layer(likeness: float) -> bool:
    angle = math.acos(gaussian.correlation_map("relu", 0.0))
    return math.isclose(likeness, 0.5 * (1 - angle / math.pi), rel_tol=1e-2)


def _linear_and_mean(output: Callable[[float, float, float, float], float]) -> bool:
    cases = ((1.0, 2.0, 3.0, 4.0), (0.5, -1.0, 2.0, 0.25), (2.0, 0.0, 1.0, 1.0))
    return all(math.isclose(output(*case), math.prod(case)) for case in cases)


EXERCISES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "gain-of-leaky-relu": (
        _gain_of_leaky_relu,
        "half of the mean square passes whole, the other half times the slope squared",
    ),
    "zero-of-swish": (
        _zero_of_swish,
        "a steeper gate only shrinks the picture: every place is divided by beta",
    ),
    "time-to-target": (
        _time_to_target,
        "updates and the time of one multiply: the saving shrinks from a fifth to an eighth",
    ),
    "field-variance": (
        _field_variance,
        "each layer is a step of a random walk, uniform over k places: (k * k - 1) / 12",
    ),
    "third-layer": (
        _third_layer,
        "half of the gates are shared in the first layer; there the angle has shrunk",
    ),
    "linear-and-mean": (
        _linear_and_mean,
        "on a torus the mean passes each layer on its own, times the sum of the weights",
    ),
}
