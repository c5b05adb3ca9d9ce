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


def _kept_by_sparsemax(kept: Callable[[list[float]], list[bool]]) -> bool:
    bags = ([1.0, 0.5, -0.5], [2.0, 1.9, 1.8, 1.2], [0.3, 0.2, 0.1, 0.0, -0.2], [5.0])
    told = ([True, True, False], [True, True, True, False], [True] * 4 + [False], [True])
    return all(list(map(bool, kept(e))) == right for e, right in zip(bags, told, strict=True))


def _muted_tenth(bias: float) -> bool:
    return math.isclose(0.5 * math.erfc(bias / 2 / math.sqrt(2)), 0.1, abs_tol=1e-3)


def _as_concentrated_as_relu(scale: float) -> bool:
    return math.isclose(math.exp(-(scale**2)), 1 / math.pi, rel_tol=1e-2)


def _equispaced_radius(radius: Callable[[float], float]) -> bool:
    """At the right R the pole's potential equals that of the ends."""
    for d in (0.5, math.pi / 2, math.pi):
        y = d / radius(d)
        pole = 0.5 * math.log(1 + y * y) + y * math.atan(1 / y)
        if not math.isclose(pole, math.log(2), rel_tol=1e-3):
            return False
    return True


def _degrees_for_a_thousand(degrees: float) -> bool:
    y = math.pi / 8
    return math.isclose(degrees, math.log(1000) / math.asinh(y), rel_tol=0.06)


def _slopes_apart(slope: float) -> bool:
    return math.isclose(slope, 0.075, rel_tol=1e-3)


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


def _gradient_behind_batchnorm(factor: Callable[[float], float]) -> bool:
    for slope in (0.0, 0.1, 0.5, 1.0):
        leaky = activations.activation("leaky_relu", slope=slope)
        grows = gaussian.slope_energy(leaky) / gaussian.moments(leaky).variance
        if not math.isclose(factor(slope), grows, rel_tol=1e-6):
            return False
    return True


def _gradient_of_21_layers(times: float) -> bool:
    return math.isclose(times, (math.pi / (math.pi - 1)) ** 10, rel_tol=1e-2)


def _flat_share_of_tanh(share: float) -> bool:
    edge = math.atanh(math.sqrt(0.95))
    return math.isclose(share, math.erfc(edge / math.sqrt(2)), rel_tol=1e-2)


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
    "kept-by-sparsemax": (
        _kept_by_sparsemax,
        "it is not one other token that counts, but by how much all others lie above, in sum",
    ),
    "muted-tenth": (
        _muted_tenth,
        "only the bias over the scale counts, and a standard normal leaves a tenth below -1.2816",
    ),
    "as-concentrated-as-relu": (
        _as_concentrated_as_relu,
        "softmax uses exp(-s^2) of a large bag, and ReLU 1/pi",
    ),
    "equispaced-radius": (
        _equispaced_radius,
        "the page's factor is one where the pole, over R, stands at 0.5255",
    ),
    "degrees-for-a-thousand": (
        _degrees_for_a_thousand,
        "the sigmoid's pole stands at pi: y is pi over 8, and each degree divides by rho",
    ),
    "slopes-apart": (
        _slopes_apart,
        "they differ by at most 0.02 in value; at zero Bernstein's factor is the degree over R",
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
    "gradient-behind-batchnorm": (
        _gradient_behind_batchnorm,
        "what all inputs share is taken from the mean square and not from that of the slope",
    ),
    "gradient-of-21-layers": (
        _gradient_of_21_layers,
        "there are twenty layers between, and the root of the factor is the gradient's",
    ),
    "flat-share-of-tanh": (
        _flat_share_of_tanh,
        "the slope is small where tanh squared exceeds 0.95, on both sides; depth plays no part",
    ),
}
