"""Gradients by the inputs of measured calls, from every graph that records them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from actnorm.probe.apart import Moves, apart, obstacle, plain, recorded, unseen
from actnorm.probe.calls import Call
from actnorm.probe.sites import CHANGED, Part, Record, sizes_of

Unsure = Callable[[], bool] | None


class Hooks:
    """Hooks that act while a probe is open, and leave nothing on the leaves of a graph."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._leaves: dict[tuple[int, int], tuple[weakref.ref, Any]] = {}

    def close(self) -> None:
        """Take the hooks off the leaves, where they would outlive the graph."""
        while self._leaves:
            self._leaves.popitem()[1][1].remove()

    def add(
        self, x: Tensor, call: Call, part: Part, axis: int, path: str, unsure: Unsure = None
    ) -> None:
        """Measure the gradients by x; of a call that runs again, unless unsure which it is."""
        for tensor, level, moves in recorded(x):
            if unsure and tensor.is_leaf:
                continue  # what enters a checkpoint was known when it first ran
            take = partial(self._take, part, axis, moves)
            act = partial(self._act, call, path, unsure, level, take)
            if tensor.is_leaf and not level:
                self._add_once(tensor, part, act)
            else:
                tensor.register_hook(act)

    def _add_once(self, leaf: Tensor, part: Part, act: Callable) -> None:
        key = id(leaf), id(part)
        if key in self._leaves and self._leaves[key][0]() is leaf:
            return

        def once(g: Tensor) -> None:
            if (kept := self._leaves.pop(key, None)) is not None:
                kept[1].remove()
            act(g)

        self._leaves[key] = weakref.ref(leaf), leaf.register_hook(once)

    def _act(
        self, call: Call, path: str, unsure: Unsure, level: int, take: Callable, g: Tensor
    ) -> None:
        """Take a gradient.

        Where one is differentiated further, that of the lowest rank is the outcome: 0 in a plain
        backward pass, 1 where that makes a graph, above in `torch.func`.
        """
        if self._record.open:
            rank = level + 1 if level else int(torch.is_grad_enabled())
            why = "in a checkpoint" if unsure and unsure() else take(rank, g)
            if why is not None:
                self._record.miss(path, f"gradient of {call.name} ({why})")

    @unseen
    def _take(self, part: Part, axis: int, moves: Moves, rank: int, g: Tensor) -> str | None:
        """Add a gradient's values, or return why not."""
        try:
            values, levels = plain(g, moves)
            if (why := obstacle(values)) is None:
                sizes = sizes_of(values, levels, axis)
                with self._record.lock:
                    if (sums := part.of(rank, levels, sizes)) is None:
                        return CHANGED
                    apart(sums.add, values, axis)
            return why
        except Exception as error:  # the user's backward pass goes on
            return type(error).__name__
