"""The exercises of the chapter on PReLU noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from actnorm import activation, gaussian, gradients


def _relative_noise(noise: Callable[[Tensor], float]) -> bool:
    generator = torch.Generator().manual_seed(0)
    for n, parameters, offset in ((2, 1, 1.0), (50, 3, 0.1), (400, 20, -2.0)):
        g = torch.randn(n, parameters, generator=generator, dtype=torch.float64) + offset
        if not math.isclose(noise(g), gradients.relative_noise(g), rel_tol=1e-6):
            return False
    return True


def _four_to_one(slope: float) -> bool:
    odd, even = (1 + slope) ** 2, (1 - slope) ** 2
    return 0 <= slope <= 1 and math.isclose(odd, 4 * even, rel_tol=0.02)


def _even_target(ratio: Callable[[float], float]) -> bool:
    """R + 1 of one unit whose inputs come with their negatives, against that of ReLU."""
    half = torch.randn(64, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, target = torch.cat([half, -half]), torch.cat([half[:, 1].abs(), half[:, 1].abs()])

    def noise(slope: float) -> float:
        on = torch.where(x[:, 0] > 0, 1.0, slope)
        return gradients.relative_noise((target * on)[:, None] * x) + 1

    return all(
        math.isclose(ratio(a), noise(a) / noise(0.0), rel_tol=1e-6) for a in (0.0, 0.25, 0.5, 0.9)
    )


def _certain_fate(fate: Callable[[float, float, int], int]) -> bool:
    """1 for certain life, -1 for certain death, 0 where the batch decides."""
    cases = [
        ((-1.0, 2.0, 32), 0),
        ((0.1, 1.0, 8), 1),
        ((-0.3, 2.0, 32), 1),
        ((-0.3, 1.0, 32), 0),
        ((-6.0, 1.0, 32), -1),
        ((-6.0, 1.0, 64), 0),
        ((-6.0, 2.0, 32), 0),
        ((-6.0, 0.7, 64), -1),
    ]
    return all(fate(*given) == answer for given, answer in cases)


def _shut_valve(gradient: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Gradient of one slope that many inputs share, at the slope zero."""
    generator = torch.Generator().manual_seed(0)
    z, delta = torch.randn(2, 50, generator=generator, dtype=torch.float64)
    slope = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(torch.prelu(z, slope), slope, delta)
    return math.isclose(float(gradient(z, delta)), exact.item(), rel_tol=1e-9)


def _half_are_dead(shift: float) -> bool:
    return math.isclose(shift, NormalDist().inv_cdf(0.5 ** (1 / 800)), abs_tol=0.02)


def _starting_spread(spread: Callable[[float, float], float]) -> bool:
    """Deviation over root mean square."""
    cases = ((0.5, 0.2083), (-0.4, 0.58), (0.0, 1.0), (3.0, 1.0))
    return all(math.isclose(spread(m, s), s / math.hypot(m, s), rel_tol=1e-6) for m, s in cases)


def _center_relu(mean: float) -> bool:
    return math.isclose(mean, gaussian.moments("relu").mean, abs_tol=1e-3)


def _prelu_cosine(cosine: Callable[[float], float]) -> bool:
    """Squared mean over mean square, by quadrature."""

    def exact(slope: float) -> float:
        out = gaussian.moments(activation("prelu", slope=slope))
        return out.mean**2 / (out.mean**2 + out.variance)

    slopes = (-0.5, 0.0, 0.25, 0.6, 1.0)
    return all(math.isclose(cosine(a), exact(a), rel_tol=1e-6, abs_tol=1e-9) for a in slopes)


def _best_scale(scale: Callable[[float], float]) -> bool:
    """The correlation of a Gaussian with what PReLU makes of it, by quadrature."""

    def correlation(slope: float) -> float:
        act = activation("prelu", slope=slope)
        both = gaussian.expectation(lambda z: z * act(z))
        return both / math.sqrt(gaussian.moments(act).variance)

    return all(
        math.isclose(scale(a), correlation(a), rel_tol=1e-6, abs_tol=1e-9)
        for a in (-1.0, -0.3, 0.0, 0.25, 1.0, 2.0)
    )


def _two_values(scale: float) -> bool:
    """ReLU of -1 and 1 is 0 and 1, and standardized it is the input again."""
    x = torch.tensor([-1.0, 1.0])
    y = x.relu()
    y = (y - y.mean()) / y.std(correction=0)
    return math.isclose(scale, float((x * y).mean()), rel_tol=1e-6)


def _learned_slope(slope: float) -> bool:
    """p : q is as 1 to one half."""
    return math.isclose((1 + slope) * 0.5, 1 - slope, rel_tol=0.01)


EXERCISES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "relative-noise": (
        _relative_noise,
        "the examples given are all there are: their scatter around the mean, over its square",
    ),
    "four-to-one": (
        _four_to_one,
        "the odd part weighs (1 + α)², the even part (1 − α)², and a third gives 16 to 4",
    ),
    "even-target": (
        _even_target,
        "an even signal passes through q alone, while p² + q² of the noise remains",
    ),
    "certain-fate": (
        _certain_fate,
        "the largest of n normalized values lies between 1/√(n − 1) and √(n − 1)",
    ),
    "half-are-dead": (
        _half_are_dead,
        "Φ(c) to the power 800 is one half where Φ(c) is the 800th root of one half",
    ),
    "shut-valve": (
        _shut_valve,
        "each negative input adds itself times its gradient, whatever the slope is",
    ),
    "best-scale": (
        _best_scale,
        "it is the correlation of what goes in and what comes out, p over the deviation",
    ),
    "two-values": (
        _two_values,
        "ReLU makes 0 and 1 of −1 and 1, and the norm makes −1 and 1 of these again",
    ),
    "learned-slope": (
        _learned_slope,
        "A is 1 and B is one half, so the slope is one half over three halves",
    ),
    "starting-spread": (
        _starting_spread,
        "one less the mean cosine is the variance over the mean square, and spread is its root",
    ),
    "center-relu": (
        _center_relu,
        "the positive half of a Gaussian has the mean one over the root of two pi",
    ),
    "prelu-cosine": (
        _prelu_cosine,
        "the mean is one less the slope over the root of two pi, and the mean square one half of"
        " one plus the squared slope",
    ),
}
