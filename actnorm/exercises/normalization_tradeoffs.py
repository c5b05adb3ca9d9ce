"""The exercises of the chapter on normalization's tradeoffs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from actnorm import data, streams

Swap = Callable[[Tensor, Tensor], Tensor]


def _maps(replica: int) -> Tensor:
    """The colors of a photograph's tile, ``(3, positions)``."""
    tiles, _ = data.photographs("tuning")(streams.stream("split", replica, seed=1000)).train
    return tiles[0].double().flatten(1)


def _swap_statistics(swap: Swap) -> bool:
    for replica in range(3):
        content, style = _maps(replica), 2 - 3 * _maps(replica + 3)[:, :900]
        for map_, other, new in zip(content, style, swap(content, style), strict=True):
            line = torch.stack([map_, new])
            if not math.isclose(new.mean(), other.mean(), rel_tol=1e-6):
                return False
            if not math.isclose(new.var(correction=0), other.var(correction=0), rel_tol=1e-6):
                return False
            if not torch.corrcoef(line)[0, 1] > 1 - 1e-9:
                return False
    return True


def _cost_of_a_swap(cost: float) -> bool:
    x = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    return math.isclose(cost, ((0.5 + 0.5 * x) - (0.2 + 0.1 * x)).square().mean(), rel_tol=0.01)


def _whiten_the_colors(whiten: Callable[[Tensor], Tensor]) -> bool:
    for replica in range(3):
        colors = _maps(replica)
        new = whiten(colors)
        lost = torch.linalg.matrix_rank(torch.cat([new, colors, torch.ones(1, len(colors.T))]))
        if new.shape != colors.shape or new.mean(1).abs().max() > 1e-6 or lost > 4:
            return False
        if (torch.cov(new, correction=0) - torch.eye(3)).abs().max() > 1e-6:
            return False
    return True


def _loud_share(share: Callable[[float, int], float]) -> bool:
    for s, heads in ((1, 4), (3, 8), (10, 2)):
        behind = torch.tensor([s**2] + [1.0] * (heads - 1), dtype=torch.float64)
        if not math.isclose(share(s, heads), behind[0] / behind.sum(), rel_tol=1e-6):
            return False
    return True


def _tenth_of_a_voice(s: float) -> bool:
    return math.isclose(math.sqrt(8 / (s**2 + 7)), 0.1, rel_tol=0.01)


def _norm_of_heads(norm: Callable[[Tensor, int], Tensor]) -> bool:
    z = torch.randn(9, 5, 12, dtype=torch.float64, generator=streams.stream("noise", 0, seed=1000))
    for loud in range(3):
        mine = torch.arange(12) // 4 == loud
        before, after = norm(z, 3), norm(torch.where(mine, 50 * z, z), 3)
        if after.shape != z.shape or not torch.allclose(before[..., ~mine], after[..., ~mine]):
            return False
        if abs(after[..., mine].square().mean() - 1) > 0.01:
            return False
    return True


def _recalibrate(recalibrated: Callable[[nn.Module, Tensor], nn.Module]) -> bool:
    for replica in range(3):
        dice = streams.stream("noise", replica, seed=1000)
        model = nn.Sequential(nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(8))
        examples = 3 + 0.5 * torch.randn(500, 8, generator=dice)
        model.train()(examples - 5)
        model = recalibrated(model.eval(), examples)
        first, hidden = model[0], model[:2](examples)
        if model.training or not torch.allclose(first.running_mean, examples.mean(0), rtol=0.01):
            return False
        if not torch.allclose(first.running_var, examples.var(0), rtol=0.01):
            return False
        if not torch.allclose(model(examples), model[3](hidden)):
            return False
    return True


def _examples_for_an_error(count: float) -> bool:
    return math.isclose(count, 16 * (0.4 / 0.1) ** 2, rel_tol=0.1)


def _gain_of_each_pixel(build: Callable[[], nn.Module]) -> bool:
    for replica in range(3):
        dice, model = streams.stream("noise", replica, seed=1000), build().double()
        x = torch.randn(200, 64, generator=dice, dtype=torch.float64)
        gain, added = torch.rand(2, 64, generator=dice, dtype=torch.float64)
        with torch.no_grad():
            here, there = (model.train()(seen) for seen in (x, (gain + 0.1) * x + added))
        if here.shape != (200, 10) or here.std(0).max() < 1e-6:
            return False
        if (here - there).abs().max() > 1e-2:
            return False
    return True


def _batch(replica: int) -> tuple[Tensor, Tensor]:
    """Features of 60 examples, and their one-hot classes, three in random order."""
    dice = streams.stream("noise", replica, seed=1000)
    code = torch.eye(3)[torch.randperm(60, generator=dice) % 3].double()
    return 2 + 3 * torch.randn(60, 4, generator=dice, dtype=torch.float64), code


def _class_knob(knob: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> bool:
    for replica in range(3):
        h, code = _batch(replica)
        scale, shift = _batch(replica + 3)[0].unflatten(0, (20, 3))[:2]
        z = torch.nn.functional.batch_norm(h, None, None, training=True)
        one = code.argmax(1)
        if not torch.allclose(knob(h, code, scale, shift), scale[one] * z + shift[one]):
            return False
    return True


def _three_quarters_company(right: float) -> bool:
    return math.isclose(right, 50 * math.erfc(-0.5 / math.sqrt(2)), rel_tol=0.01)


def _label_as_shift(twin: Callable[[Tensor, int], tuple[Tensor, Tensor]]) -> bool:
    for replica in range(3):
        z, code = _batch(replica)
        weight = _batch(replica + 3)[0][:5, :].repeat(1, 2)[:, :7]
        alone, shift = twin(weight, 3)
        if alone.shape != (5, 4) or shift.shape != (3, 5):
            return False
        if not torch.allclose(torch.cat([z, code], 1) @ weight.T, z @ alone.T + code @ shift):
            return False
    return True


EXERCISES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "swap-statistics": (
        _swap_statistics,
        "a map keeps its pattern and takes the other's mean and deviation, and nothing else",
    ),
    "cost-of-a-swap": (
        _cost_of_a_swap,
        "the square of the difference of means and that of the deviations add up",
    ),
    "whiten-the-colors": (
        _whiten_the_colors,
        "a linear map of the three colors can take out all of their first two moments at once",
    ),
    "loud-share": (
        _loud_share,
        "the norm divides all heads by one number, so that squares keep their shares",
    ),
    "tenth-of-a-voice": (
        _tenth_of_a_voice,
        "with many heads it takes a little more than the square root of their number, times ten",
    ),
    "norm-of-heads": (
        _norm_of_heads,
        "each head is divided by its own deviation, so no other head comes into it",
    ),
    "recalibrate": (
        _recalibrate,
        "one pass in training mode with fresh running statistics, and no gradient",
    ),
    "examples-for-an-error": (
        _examples_for_an_error,
        "a quarter of the error takes sixteen times the examples",
    ),
    "gain-of-each-pixel": (
        _gain_of_each_pixel,
        "in front of the first layer a norm sees each pixel with its own gain",
    ),
    "class-knob": (
        _class_knob,
        "every example is normalized alike, and its class picks a row of scales and of shifts",
    ),
    "three-quarters-company": (
        _three_quarters_company,
        "three quarters of an example's own mean are taken off with the batch's, less a quarter",
    ),
    "label-as-shift": (
        _label_as_shift,
        "a one-hot label picks one column of the weights, which is added for that class",
    ),
}
