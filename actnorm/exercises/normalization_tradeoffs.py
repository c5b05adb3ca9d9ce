"""The exercises of the chapter on normalization's tradeoffs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

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
}
