"""The plain tensors under a model's, and work on them that the model, its graph and every mode or
transform that the user has switched on take no notice of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _disable_current_modes


class Functional(Exception):
    """A tensor is a recipe."""


Levels = tuple[int, ...]
Moves = tuple[tuple[int, int], ...]


def plain(x: Tensor, moves: Moves = ()) -> tuple[Tensor, Levels]:
    """Return the tensor under any `torch.func` wrappers, with vmapped axes first, outer ones
    before inner ones, and the levels of these axes; after them, those that are yet to move.

    Raises
    ------
    Functional
        Under `torch.func.functionalize`, where the values may not be there yet.
    """
    if _functorch.is_functorch_wrapped_tensor(x):
        if _functorch.is_functionaltensor(x):
            raise Functional
        if (axis := _functorch.maybe_get_bdim(x)) >= 0:
            moves = ((axis, _functorch.maybe_get_level(x)), *moves)
        return plain(_functorch.get_unwrapped(x), moves)
    levels = tuple(level for _, level in moves)
    for k, (axis, _) in enumerate(moves):
        x = x.movedim(axis + k, k)
    return x, levels


def recorded(x: Tensor, moves: Moves = ()) -> Iterator[tuple[Tensor, int, Moves]]:
    """Yield each of the tensors under a model's that some graph has recorded, its level, 0 for a
    plain one, and how vmapped axes above it are to move.
    """
    level = 0
    if _functorch.is_functorch_wrapped_tensor(x):
        level, axis = _functorch.maybe_get_level(x), _functorch.maybe_get_bdim(x)
        above = moves if axis < 0 else ((axis, level), *moves)
        yield from recorded(_functorch.get_unwrapped(x), above)
    if x.requires_grad:
        yield x, level, moves


def obstacle(x: Any) -> str | None:
    """Return why a value can't be measured, None if it can; "" if it holds no real numbers."""
    if not isinstance(x, Tensor):
        return ""
    kind = type(x)
    if kind is not Tensor and kind.__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return kind.__name__
    if x.layout is not torch.strided:
        return str(x.layout).removeprefix("torch.").strip("_")
    if x.is_nested:
        return "nested"
    if not x.is_cpu:
        if x.is_meta:
            return "meta"
        if x.is_cuda and torch.cuda.is_current_stream_capturing():
            return "CUDA graph"
    return None if x.is_floating_point() and x.numel() else ""


def unseen(method: Callable) -> Callable:
    """Keep what a method does to tensors from any other probe, and from the graph."""

    def call(*args: Any) -> Any:
        with torch._C.DisableTorchFunction():
            before = torch.is_grad_enabled()
            torch._C._set_grad_enabled(False)
            try:
                return method(*args)
            finally:
                torch._C._set_grad_enabled(before)

    return call


def apart(method: Callable, *args: Any) -> Any:
    """Call a method on plain tensors outside of any transform, mode or forward derivative."""
    transforms = _functorch.peek_interpreter_stack() is not None
    modes = torch._C._len_torch_dispatch_stack() > 0
    derivatives = forward_ad._current_level >= 0
    if not (transforms or modes or derivatives):
        return method(*args)
    with ExitStack() as stack:
        if transforms:
            stack.enter_context(temporarily_clear_interpreter_stack())
        if modes:
            stack.enter_context(_disable_current_modes())
        if derivatives:
            stack.enter_context(forward_ad._set_fwd_grad_enabled(False))
        return method(*args)


def version(x: Tensor) -> int | None:
    """Return a count that in-place changes raise, None where there is none."""
    return None if x.is_inference() else x._version
