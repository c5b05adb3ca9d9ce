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


def _gain_of_an_orthogonal_sigmoid(gain: float) -> bool:
    return math.isclose(gain, 4.0, rel_tol=1e-3)


def _bias_for_a_delay(bias: Callable[[int], float]) -> bool:
    def signal(b: float, steps: int) -> float:
        """Logarithm of d/db sigma(b)^steps, but for a constant."""
        return -steps * math.log1p(math.exp(-b)) - math.log1p(math.exp(b))

    for steps in (2, 10, 100, 1000):
        b = bias(steps)
        if signal(b, steps) < max(signal(b - 0.05, steps), signal(b + 0.05, steps)):
            return False
    return True


def _sigmoid_in_disguise(network: Callable[[float, float], tuple[float, float, float]]) -> bool:
    for w, u in ((0.7, -1.3), (-2.0, 0.4)):
        again, into, bias = network(w, u)
        state, hidden = 0.0, 0.5
        for x in (1.0, -0.3, 0.8, 0.1):
            state = math.tanh(w * state + u * x)
            hidden = 1 / (1 + math.exp(-(again * hidden + into * x + bias)))
            if not math.isclose(2 * hidden - 1, state, abs_tol=1e-9):
                return False
    return True


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
    "gain-of-an-orthogonal-sigmoid": (
        _gain_of_an_orthogonal_sigmoid,
        "each step multiplies the gradient by the slope at zero, a quarter, and by the gain",
    ),
    "bias-for-a-delay": (
        _bias_for_a_delay,
        "the odds of keeping must equal the number of steps, and the bias is their logarithm",
    ),
    "sigmoid-in-disguise": (
        _sigmoid_in_disguise,
        "tanh(u) is twice the sigmoid of 2u, less one; the constant goes into the biases",
    ),
}
