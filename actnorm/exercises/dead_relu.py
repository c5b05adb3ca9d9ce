"""The exercises of the chapter on dead ReLU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import stats
from scipy.special import ndtr
from torch import Tensor

from actnorm import gaussian
from actnorm.activations import Activation, activation


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


def _elu_wakes(time: Callable[[float, float], float]) -> bool:
    return all(
        math.isclose(time(depth, pull), math.expm1(depth) / pull, rel_tol=1e-3)
        for depth, pull in ((0.5, 1.0), (3.0, 0.2), (8.0, 4.0))
    )


def _leak_of_a_tenth(depth: float) -> bool:
    return depth > 1 and math.isclose(math.expm1(depth), 10 * depth, rel_tol=1e-2)


def _silu_turns(z: float) -> bool:
    gate = 1 / (1 + math.exp(-z))
    return -2 < z < 0 and abs(gate * (1 + z * (1 - gate))) < 1e-3


def _silent_scorer(silence: Callable[[int, int], float]) -> bool:
    """The lowest Q of Q + K numbers that are alike, chosen one after the other."""
    for queries, keys in ((1, 1), (1, 5), (3, 2), (4, 4)):
        exact = math.prod((i + 1) / (i + 1 + keys) for i in range(queries))
        if not math.isclose(silence(queries, keys), exact, rel_tol=1e-6):
            return False
    return True


def _gradient_of_the_leak(gradient: Callable[[Tensor, Tensor], Any]) -> bool:
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        z, delta = torch.randn(2, 40, generator=generator, dtype=torch.float64)
        slope = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
        out = torch.nn.functional.prelu(z, slope[None])
        (exact,) = torch.autograd.grad(out, slope, delta)
        if not math.isclose(float(gradient(z, delta)), exact.item(), rel_tol=1e-6):
            return False
    return True


def _dead_after_bn(dead: Callable[[np.ndarray, float, float], bool]) -> bool:
    z = np.random.default_rng(0).exponential(size=200)
    z = (z - z.mean()) / z.std()
    cases = [(gamma, beta) for gamma in (2.0, 0.5, -0.5) for beta in (-20.0, -0.7, -0.4, 0.0, 1.0)]
    return all(
        bool(dead(z, gamma, beta)) == all(gamma * x + beta <= 0 for x in z.tolist())
        for gamma, beta in cases
    )


def _farthest_of_n(farthest: Callable[[int], float]) -> bool:
    for n in (2, 3, 10, 1000):
        lone = np.zeros(n)
        lone[0] = 1.0
        if not math.isclose(farthest(n), (1 - lone.mean()) / lone.std(), rel_tol=1e-6):
            return False
    return True


def _inactive_on_a_tenth(bias: float) -> bool:
    return math.isclose(ndtr(-bias), 0.1, rel_tol=1e-2)


def _one_in_a_hundred(ratio: float) -> bool:
    return math.isclose(ndtr(ratio), 0.01, rel_tol=0.03)


def _layers_of_relu(layers: Callable[[float, int], float]) -> bool:
    def pace(act: Activation, angle: float = 1e-3) -> float:
        return math.acos(gaussian.correlation_map(act, math.cos(angle))) - angle

    relu = pace(activation("relu"))
    return all(
        math.isclose(
            layers(a, deep),
            deep * pace(activation("leaky_relu", slope=a)) / relu,
            rel_tol=1e-2,
        )
        for a, deep in ((0.01, 30), (0.3, 50), (0.6, 200))
    )


def _residual_of_a_tenth(leak: float) -> bool:
    z = np.linspace(-6, 6, 12001)
    weight = np.exp(-(z**2) / 2)
    share = weight @ ((leak - 1) * np.minimum(z, 0)) ** 2 / (weight @ z**2)
    return 0 < leak < 1 and math.isclose(math.sqrt(share), 0.1, rel_tol=1e-2)


def _cosine_behind_a_skip(cosine: Callable[[float, float], float]) -> bool:
    return all(
        math.isclose(
            cosine(c, beta),
            (c + beta**2 * gaussian.correlation_map("relu", c)) / (1 + beta**2),
            rel_tol=1e-6,
        )
        for c, beta in ((0.0, 0.2), (0.5, 1.0), (0.9, 2.0))
    )


def _two_classes(share: Callable[[int], float]) -> bool:
    return all(
        math.isclose(share(n), stats.t.sf((n - 1) ** -0.5, 1), rel_tol=1e-6) for n in (2, 3, 10, 64)
    )


def _faded_leak(squared: float) -> bool:
    return math.isclose(squared, 15 / 16, rel_tol=1e-3)


def _factor_of_a_layer(factor: Callable[[str, float, float], float]) -> bool:
    for name, variance, q in (("relu", 2.0, 3.0), ("softplus", 1.0, 0.856), ("tanh", 1.5, 0.3)):
        slope = activation(name).slope
        exact = variance * gaussian.expectation(lambda z, s=slope: s(z) ** 2, std=math.sqrt(q))
        if not math.isclose(factor(name, variance, q), exact, rel_tol=1e-6):
            return False
    return True


def _layers_to_a_hundredth(layers: int) -> bool:
    factor = gaussian.chi("softplus", 1.0)
    return factor**layers < 1e-4 <= factor ** (layers - 1)


def _moved_by_two(variance: float) -> bool:
    energy = gaussian.expectation(lambda z: 1 / (1 + np.exp(-z - 2)) ** 2)
    return math.isclose(variance * energy, 1, rel_tol=1e-3)


def _one_layer_share(share: Callable[[float], float]) -> bool:
    for alpha in (-0.5, 0.0, 0.01, 0.3, 1.0):
        slope = (1 + alpha) / 2  # what a straight line takes of one unit
        square, mean = (1 + alpha**2) / 2, (1 - alpha) / math.sqrt(2 * math.pi)
        if not math.isclose(share(alpha), slope**2 / (square - mean**2), rel_tol=1e-6):
            return False
    return True


def _a_tenth_more_gradient(alpha: float) -> bool:
    return 0 < alpha < 1 and math.isclose(math.hypot(1, alpha), 1.1, rel_tol=1e-3)


def _modes_covered(count: Callable[[np.ndarray, np.ndarray, float], int]) -> bool:
    centers = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0], [3.0, 3.0]])
    for shares in ((25, 25, 25, 25), (100, 0, 0, 0), (74, 13, 13, 0), (13, 12, 12, 63)):
        points = np.repeat(centers, shares, axis=0) + 0.1
        if count(points, centers, 0.5) != sum(share >= 12.5 for share in shares):
            return False
        if count(points, centers, 0.01) != 0:
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
    "elu-wakes": (
        _elu_wakes,
        "the time is the sum of one over the slope, and the sum of e^-z is an exponential too",
    ),
    "leak-of-a-tenth": (
        _leak_of_a_tenth,
        "there e^d - 1 and 10 d are the same time; for a leak of 0.01 they meet at 6.47",
    ),
    "silu-turns": (
        _silu_turns,
        "below it the gate closes faster than the input grows, as for GELU at -0.7518",
    ),
    "dead-after-bn": (
        _dead_after_bn,
        "where the scale is negative it is the smallest value that decides",
    ),
    "farthest-of-n": (
        _farthest_of_n,
        "one value far out and all others alike: no set of n numbers has one further out",
    ),
    "one-in-a-hundred": (
        _one_in_a_hundred,
        "a shift of two and a third scales below zero leaves one value in a hundred",
    ),
    "layers-of-relu": (
        _layers_of_relu,
        "the angle obeys 1/angle = k L/(3 pi), and a leak of a has k = (1 - a)^2/(1 + a^2)",
    ),
    "residual-of-a-tenth": (
        _residual_of_a_tenth,
        "half of the inputs are negative, so the size is (1 - a)/sqrt(2)",
    ),
    "cosine-behind-a-skip": (
        _cosine_behind_a_skip,
        "a fresh branch is independent of what it is added to, so covariances add up",
    ),
    "silent-scorer": (
        _silent_scorer,
        "pairs share their queries and keys: order what is read in queries and minus that in keys",
    ),
    "inactive-on-a-tenth": (
        _inactive_on_a_tenth,
        "the pre-activation is normal with the bias as its mean: which mean leaves a tenth below 0",
    ),
    "gradient-of-the-leak": (
        _gradient_of_the_leak,
        "where an input is positive the output does not know the slope",
    ),
    "two-classes": (
        _two_classes,
        "the error is the sum of all N, and a unit counts for more in it the fewer they are",
    ),
    "faded-leak": (
        _faded_leak,
        "what the squared slope loses, the outgoing weights lose too: a sixteenth",
    ),
    "factor-of-a-layer": (
        _factor_of_a_layer,
        "squares add up over many weights, so it is the mean of the squared slope that counts",
    ),
    "layers-to-a-hundredth": (
        _layers_to_a_hundredth,
        "a hundredth of the gradient is a ten-thousandth of its square",
    ),
    "moved-by-two": (
        _moved_by_two,
        "what is subtracted has no slope; moving it alone brings the slopes nearer to one",
    ),
    "one-layer-share": (
        _one_layer_share,
        "the straight half of a unit is linear in the latent, and of the other half only what"
        " varies counts",
    ),
    "a-tenth-more-gradient": (
        _a_tenth_more_gradient,
        "the mean square of the slope grows by one plus the square of the leak",
    ),
    "modes-covered": (
        _modes_covered,
        "a mode with a tenth of its share is one that the generator has all but lost",
    ),
}
