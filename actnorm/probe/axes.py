"""On which axis the units of a tensor lie: the one that the model mixes over, followed about.

Axes are counted from the last, since a model under `torch.vmap` does not see the replicas.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from actnorm.probe.calls import BY_CHANNEL, BY_SHAPE, Call

_NOWHERE = (lambda: None, -1)
Moved = Callable[[Tensor, int, Tensor, list], int | None]


class Axes:
    """The units' axis of each living tensor of a thread, as far as it is known."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[weakref.ref, int]] = {}
        self._room = 64
        self._latest: dict[int, int] = {}

    def begin(self) -> None:
        """Forget, as a pass begins, the dead, and what was the latest."""
        self._latest.clear()
        if len(self._of) >= self._room:
            self._of = {key: entry for key, entry in self._of.items() if entry[0]() is not None}
            self._room = 64 + 2 * len(self._of)

    def of(self, x: Tensor) -> int:
        """Return the axis of a tensor, else that of the latest with as many axes, else the last."""
        reference, axis = self._of.get(id(x), _NOWHERE)
        return axis if reference() is x else self._latest.get(x.ndim, -1)

    def put(self, x: Any, axis: int) -> None:
        """Remember the axis of a tensor while it lives, and that of the latest like it."""
        if isinstance(x, Tensor):
            self._of[id(x)] = weakref.ref(x), axis
            if axis != -1 or self._latest:
                with torch._C.DisableTorchFunction():
                    self._latest[x.ndim] = axis

    def _known(self, x: Tensor) -> int | None:
        reference, axis = self._of.get(id(x), _NOWHERE)
        return axis if reference() is x else None

    def normalized(self, call: Call, x: Tensor, args: tuple, kwargs: dict) -> int:
        """Return the axis of what enters a normalization, which may know its own."""
        if call.name in BY_CHANNEL:
            return 1 - x.ndim
        if call.name in BY_SHAPE:
            shape = args[1] if len(args) > 1 else kwargs["normalized_shape"]
            if isinstance(shape, int) or len(shape) == 1:
                return -1
        return self.of(x)

    def mix(self, call: Call, args: tuple, kwargs: dict, out: Any, module: nn.Module) -> None:
        """Learn the axis of what a mixing call returns."""
        values = [*args, *(value for name, value in kwargs.items() if name != "out")]
        with torch._C.DisableTorchFunction():
            try:
                self.put(out, self._mixed(call.name, values, out, module))
            except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
                self.put(out, -1)

    def _mixed(self, name: str, values: list, out: Tensor, module: nn.Module) -> int:
        if name == "convolution":
            return 1 - out.ndim
        if name == "einsum":
            return _summed(values[0], values[1:], module)
        if out.ndim > 1:  # a product
            a, b = [x for x in values if isinstance(x, Tensor)][-2:]
            if _is_weight(a, module) and not _is_weight(b, module):
                return -2  # its rows
            if not _is_weight(b, module) and self._known(a) == -2 and self._known(b) != -1:
                return -2  # data's rows, where only positions are mixed
        return -1

    def follow(self, call: Call, args: tuple, kwargs: dict, out: Any) -> None:
        """Carry the axis through any other call."""
        if not self._of or not (sources := list(self._sources((*args, *kwargs.values())))):
            return
        moved = _MOVED.get(call.name, _kept)
        rest = [*args[1:], *kwargs.values()] if args else list(kwargs.values())[1:]
        with torch._C.DisableTorchFunction():
            for y in out if isinstance(out, tuple | list) else (out,):
                if isinstance(y, Tensor) and all(x is not y for x, _ in sources):
                    self._carry(moved, sources, y, rest)

    def _carry(self, moved: Moved, sources: list, y: Tensor, rest: list) -> None:
        for x, axis in sources:
            try:
                to = moved(x, axis, y, rest)
            except (IndexError, RuntimeError, TypeError, ValueError):  # such as ragged shapes
                to = None
            if to is not None and -y.ndim <= to < 0:
                self.put(y, to)
                return

    def _sources(self, values: Iterable) -> Iterator[tuple[Tensor, int]]:
        """Return the arguments whose axes are known."""
        for x in values:
            if isinstance(x, Tensor):
                if (axis := self._known(x)) is not None:
                    yield x, axis
            elif isinstance(x, tuple | list):
                yield from self._sources(x)


def _is_weight(x: Tensor, module: nn.Module) -> bool:
    """Return whether x is a parameter, or stands in for one of the module's under a transform."""
    return isinstance(x, nn.Parameter) or any(x is own for own in module.parameters())


def _summed(equation: Any, operands: list, module: nn.Module) -> int:
    """Return the axis of what only the weight of an Einstein sum brings in, else the last."""
    if not isinstance(equation, str) or "->" not in equation:
        return -1
    left, out = equation.replace(" ", "").split("->")
    operands = operands[0] if isinstance(operands[0], tuple | list) else operands
    terms = left.split(",")
    weights = [i for i, x in enumerate(operands) if _is_weight(x, module)]
    chosen = weights[-1] if weights else len(terms) - 1
    others = "".join(term for i, term in enumerate(terms) if i != chosen)
    own = [i for i, label in enumerate(out) if label in terms[chosen] and label not in others]
    if not own or "." in out[own[-1] :]:
        return -1
    return own[-1] - len(out)


def _kept(x: Tensor, axis: int, y: Tensor, _: list) -> int | None:
    return axis if y.ndim == x.ndim else None


def _spread(x: Tensor, axis: int, y: Tensor, _: list) -> int | None:
    return axis if y.ndim >= x.ndim else None


def _regrouped(x: Tensor, axis: int, y: Tensor, _: list) -> int | None:
    """Values stay in order: the axis is found again by how many values lie right of it.

    Where it was split, the inner part; where it was merged, the whole, unless with samples.
    """
    below = math.prod(x.shape[axis:][1:])
    above = below * x.shape[axis]
    low = 1
    for to in range(-1, -y.ndim - 1, -1):
        high = low * y.shape[to]
        if low == below and (high == above or (y.shape[to] > 1 and high < above)):
            return to
        if low <= below < high and high >= above:
            return None if axis > -x.ndim and high > math.prod(x.shape[1:]) else to
        low = high
    return None


def _permuted(order: Callable[[list[int], list], list[int]]) -> Moved:
    """Return a rule from one that reorders the axes' numbers."""

    def moved(x: Tensor, axis: int, y: Tensor, rest: list) -> int:
        return order(list(range(x.ndim)), rest).index(x.ndim + axis) - x.ndim

    return moved


def _flat(rest: list) -> list[int]:
    return [axis for item in rest for axis in (item if isinstance(item, tuple | list) else [item])]


def _swap(axes: list[int], rest: list) -> list[int]:
    a, b = rest or (-1, -2)
    axes[a], axes[b] = axes[b], axes[a]
    return axes


def _move(axes: list[int], rest: list) -> list[int]:
    sources, targets = ([axes[i] for i in _flat([item])] for item in rest)
    order = [axis for axis in axes if axis not in sources]
    for target, source in sorted(zip(targets, sources, strict=True)):
        order.insert(target, source)
    return order


def _dropped(x: Tensor, axis: int, y: Tensor, rest: list) -> int | None:
    """The axes that a reduction or a selection names are gone."""
    if y.ndim == x.ndim:
        return axis
    named = rest[0] if rest else 0
    if not isinstance(named, int | tuple | list) or isinstance(named, bool):
        return None
    gone = [i if i < 0 else i - x.ndim for i in _flat([named])]
    return None if axis in gone else axis + sum(i > axis for i in gone)


def _stacked(x: Tensor, axis: int, y: Tensor, rest: list) -> int:
    new = rest[0] if rest else 0
    new = new if new < 0 else new - y.ndim
    return axis - 1 if new >= axis else axis


def _indexed(x: Tensor, axis: int, y: Tensor, rest: list) -> int | None:
    """Numbers take axes away, None adds them, slices keep them."""
    index = rest[0] if isinstance(rest[0], tuple) else (rest[0],)
    if any(isinstance(i, bool) or not isinstance(i, int | slice | None | type(...)) for i in index):
        same = -y.ndim <= axis and y.shape[axis] == x.shape[axis]
        return axis if same else None
    missing = x.ndim - sum(i is not None and i is not ... for i in index)
    at = index.index(...) if ... in index else len(index)
    index = (*index[:at], *[slice(None)] * missing, *index[at + 1 :])
    seen = 0
    for place, item in enumerate(index):
        if item is not None:
            if seen == x.ndim + axis:
                right = sum(not isinstance(i, int) for i in index[place + 1 :])
                return -1 - right if isinstance(item, slice) else None
            seen += 1
    return None


_MOVED: dict[str, Moved] = {
    **dict.fromkeys(
        ("flatten", "ravel", "reshape", "reshape_as", "squeeze", "unflatten", "unsafe_view"),
        _regrouped,
    ),
    **dict.fromkeys(("unsqueeze", "view", "view_as"), _regrouped),
    **dict.fromkeys(("broadcast_to", "expand", "expand_as", "repeat", "tile"), _spread),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims", "adjoint"), _permuted(_swap)),
    **dict.fromkeys(("t", "T", "mT", "H", "mH"), _permuted(_swap)),
    **dict.fromkeys(("movedim", "moveaxis"), _permuted(_move)),
    "permute": _permuted(lambda axes, rest: [axes[i] for i in _flat(rest)]),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "select", "unbind"), _dropped),
    "stack": _stacked,
    "getitem": _indexed,
}
