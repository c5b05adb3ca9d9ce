"""Work on the plain tensors under a model's, unseen by graph, transforms and other probes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.overrides import TorchFunctionMode


class Mode(TorchFunctionMode):
    def __init__(self, see: Callable) -> None:
        super().__init__()
        self.see = see

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return self.see(func, args, kwargs or {})


def plain(x: Tensor) -> tuple[Tensor, int]:
    """Return the tensor under any `torch.func` wrappers, vmapped axes first, and their number."""
    if not _functorch.is_functorch_wrapped_tensor(x):
        return x, 0
    axis = _functorch.maybe_get_bdim(x)
    inner, count = plain(_functorch.get_unwrapped(x))
    return (inner, count) if axis < 0 else (inner.movedim(axis + count, count), count + 1)


def on_gradient(x: Tensor, act: Callable[[Tensor, int], None]) -> None:
    """Call `act` with the gradient by x, as `plain` returns it, whichever wrapper records it."""
    if x.requires_grad:
        if not x.is_leaf:  # a hook on a leaf would outlive the graph
            x.register_hook(lambda g: act(*plain(g)))
    elif _functorch.is_functorch_wrapped_tensor(x):
        axis = _functorch.maybe_get_bdim(x)
        outer = act if axis < 0 else lambda g, k: act(g.movedim(axis + k, k), k + 1)
        on_gradient(_functorch.get_unwrapped(x), outer)


def unseen(method: Callable) -> Callable:
    """Keep what a method does to tensors from any other probe, and from the graph."""

    def call(*args: Any) -> Any:
        with torch._C.DisableTorchFunction(), torch.no_grad():
            return method(*args)

    return call


def apart(method: Callable, *args: Any) -> Any:
    """Call a method on plain tensors outside of any `torch.func` transform that is running."""
    if _functorch.peek_interpreter_stack() is None:
        return method(*args)
    with temporarily_clear_interpreter_stack():
        return method(*args)


def version(x: Tensor) -> int | None:
    """Return a count that in-place changes raise."""
    return None if x.is_inference() else x._version
