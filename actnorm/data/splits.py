"""What every draw of data returns: three parts, cut so that no part sees another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Part = tuple[Tensor, ...]
Draw = Callable[[torch.Generator], "Split"]


@dataclass(frozen=True)
class Split:
    """Three disjoint parts, each a tuple of tensors whose first axis counts the examples."""

    train: Part
    validation: Part
    test: Part

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            lengths = {len(tensor) for tensor in getattr(self, name)}
            if len(lengths) != 1 or 0 in lengths:
                raise ValueError(
                    f"{name} must hold tensors of one length of at least 1, not {sorted(lengths)}"
                )


def cut(tensors: Part, order: Tensor) -> Split:
    """Return examples in an order, cut two thirds, one sixth, one sixth."""
    sixth = len(order) // 6
    rows = order.split([len(order) - 2 * sixth, sixth, sixth])
    return Split(*(tuple(tensor[part] for tensor in tensors) for part in rows))
