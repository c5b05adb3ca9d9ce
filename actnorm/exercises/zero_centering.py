"""The exercises of the chapter on zero-centering."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actnorm import descent, gaussian


def _law_of_coherence(law: Callable[[str], float]) -> bool:
    for name in ("relu", "softplus", "tanh"):
        moments = gaussian.moments(name)
        exact = 2 / math.pi * math.atan(moments.mean / math.sqrt(moments.variance))
        if not math.isclose(law(name), exact, rel_tol=1e-6, abs_tol=1e-9):
            return False
    return True


def _offset_like_sigmoid(offset: float) -> bool:
    sigmoid, tanh = gaussian.moments("sigmoid"), gaussian.moments("tanh")
    target, _ = descent.offset_eigenvalues(sigmoid.mean, sigmoid.variance, 64)
    reached, _ = descent.offset_eigenvalues(offset, tanh.variance, 64)
    return math.isclose(reached, target, rel_tol=0.01)


def _the_way_back(back: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> bool:
    generator = torch.Generator().manual_seed(0)
    inputs, weights, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((9, 5), (3, 5), (3,))
    )
    w, b = back(weights, bias)
    neurons = torch.sigmoid((1 + inputs) / 2 @ weights.T + bias)
    return torch.allclose(torch.tanh(inputs @ w.T + b), 2 * neurons - 1)


def _width_for_a_thousand(width: float) -> bool:
    n = round(width)
    forward = np.diag([4.0] * n + [2.0])
    forward[-1, :-1] = -2
    return math.isclose(np.linalg.cond(forward) ** 2, 1000, rel_tol=0.03)


def _off_center_crossing(mean: float) -> bool:
    tanh, sigmoid = (gaussian.mean_slope(name, mean) for name in ("tanh", "sigmoid"))
    return mean > 0 and math.isclose(tanh, sigmoid, rel_tol=0.02)


def _ratio_of_mean_slopes(ratio: Callable[[float], float]) -> bool:
    for q in (0.01, 1.0, 25.0):
        tanh, sigmoid = (
            gaussian.mean_slope(name, std=math.sqrt(q)) for name in ("tanh", "sigmoid")
        )
        if not math.isclose(ratio(q), tanh / sigmoid, rel_tol=1e-6):
            return False
    return True


def _contrast_that_fades(contrast: float) -> bool:
    channel = contrast * math.sqrt(0.02) * torch.tensor([[[1.0, -1.0]]], dtype=torch.float64)
    output = torch.nn.functional.instance_norm(channel, eps=1e-5)
    return contrast > 0 and math.isclose(output.abs().max(), 0.99, rel_tol=1e-3)


def _blocks_that_forget(blocks: float) -> bool:
    return math.isclose(blocks, 10, abs_tol=0.5)


def _memory_of_a_gain(memory: Callable[[float, int], float]) -> bool:
    for gain, blocks in ((1.0, 3), (math.sqrt(0.5), 8), (0.9, 5), (1.1, 4)):
        variance = 1.0
        for _ in range(blocks):
            variance = gain**2 * variance + 1
        if not math.isclose(memory(gain, blocks), gain**blocks / math.sqrt(variance), rel_tol=1e-6):
            return False
    return True


def _gain_of_a_leak(gain: Callable[[float], float]) -> bool:
    for slope in (0.0, 0.01, 0.2, 0.5, 1.0):
        kept = gaussian.length_map(
            lambda x, a=slope: np.where(x > 0, x, a * x), 1.0, gain(slope) ** 2
        )
        if not math.isclose(kept, 1.0, rel_tol=1e-6):
            return False
    return True


def _channels_that_fit(channels: float) -> bool:
    taps, keeps = 4 * 4 / 2**2, gaussian.length_map("relu", 1.0, 1.0)
    return math.isclose(channels * taps * 0.02**2 * keeps, 1.0, rel_tol=0.01)


def _fold_the_mean(fold: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> bool:
    generator = torch.Generator().manual_seed(0)
    inputs, weights, bias, mean = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((9, 5), (3, 5), (3,), (5,))
    )
    w, b = fold(weights, bias, mean)
    return torch.allclose((inputs - mean) @ w.T + b, inputs @ weights.T + bias)


def _subtract_enough(share: float) -> bool:
    moments = gaussian.moments("sigmoid")
    largest, _ = descent.offset_eigenvalues((1 - share) * moments.mean, moments.variance, 64)
    return math.isclose(largest, 2, rel_tol=0.01)


def _invariant_in_spite_of_padding(repaired: Callable[[torch.nn.Module, Tensor], Tensor]) -> bool:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 8, 16, generator=generator, dtype=torch.float64)
    gain, offset = torch.rand(2, 2, 3, 1, 1, generator=generator, dtype=torch.float64) + 0.5
    with torch.random.fork_rng():
        torch.manual_seed(0)
        see = torch.nn.Conv2d(3, 4, 3, padding=1).double()
    plain, styled = repaired(see, images), repaired(see, gain * images + offset)
    one, other = plain
    alive = plain.shape == see(images).shape and (one - other).abs().max() > 0.1
    return bool(alive and torch.allclose(plain, styled, rtol=0.01, atol=0.01))


EXERCISES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "law-of-coherence": (
        _law_of_coherence,
        "the share of agreeing signs depends on mean over standard deviation alone",
    ),
    "offset-like-sigmoid": (
        _offset_like_sigmoid,
        "a common mean of one half weighs as much whatever shape carries it",
    ),
    "the-way-back": (
        _the_way_back,
        "a quarter of the weights undoes the scale, and the bias takes back what they now miss",
    ),
    "width-for-a-thousand": (
        _width_for_a_thousand,
        "the condition number grows with the square of the width, a quarter of it",
    ),
    "off-center-crossing": (
        _off_center_crossing,
        "the part of the Gaussian that still reaches tanh's peak makes up for the rest",
    ),
    "ratio-of-mean-slopes": (
        _ratio_of_mean_slopes,
        "the sigmoid is tanh with half the argument, so its variance counts a quarter",
    ),
    "blocks-that-forget": (
        _blocks_that_forget,
        "every aligned block halves the input's share, and ten halvings make a thousandth",
    ),
    "memory-of-a-gain": (
        _memory_of_a_gain,
        "the input is scaled in every block while each branch adds one unit of variance",
    ),
    "gain-of-a-leak": (
        _gain_of_a_leak,
        "half of the mean square passes whole, the other half times the slope squared",
    ),
    "channels-that-fit": (
        _channels_that_fit,
        "four taps from every channel, each halved by the ReLU, add up to the variance that left",
    ),
    "fold-the-mean": (
        _fold_the_mean,
        "the bias takes over what the mean carried: centering changes no function, only the"
        " coordinates in which it is learned",
    ),
    "subtract-enough": (
        _subtract_enough,
        "what is left of the mean counts squared, and times the width",
    ),
    "invariant-in-spite-of-padding": (
        _invariant_in_spite_of_padding,
        "normalized first, each channel reaches the border and its neighbors without its style",
    ),
    "contrast-that-fades": (
        _contrast_that_fades,
        "the output is short by half of ε over the variance that is left",
    ),
}
