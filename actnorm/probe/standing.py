"""What stands in for torch's own in this process while any probe is open, and who owns it.

Probes open and close in any order and in any thread. The first puts the stand-ins up, the last
takes them down; what somebody else has put on top meanwhile stays theirs.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import count
from types import FunctionType
from typing import Any, Protocol

import torch
from torch import nn
from torch._functorch import vmap as _vmap
from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter

Chunk = tuple[int, int, int]


class _Chunks(threading.local):
    """Level, size and number of each chunk of `torch.vmap` that is running in this thread."""

    running: tuple[Chunk, ...] = ()


chunks = _Chunks()
COMPILED_STAYS = not hasattr(torch.compiler, "set_stance")  # before torch 2.6


class Place(Protocol):
    """One module in one open probe."""

    module: nn.Module
    path: str


_lock = threading.RLock()
_open: dict[object, list[Place]] = {}
places: dict[int, tuple[Place, ...]] = {}  # of each module of an open probe, by its id
_stand_ins: list[tuple[Any, str, Any, Any]] = []
_stance: list[Any] = []


def put_up(probe: object, seats: list[Place], calling: Callable) -> None:
    """Let what `calling` makes stand in for the calls of modules until `take_down`."""
    with _lock:
        _open[probe] = seats
        try:
            for owner in _callers([place.module for place in seats]):
                _stand_in(owner, "__call__", calling)
            if hasattr(_vmap, "_chunked_vmap"):
                _stand_in(_vmap, "_chunked_vmap", _chunking)
            if "torch._dynamo" not in sys.modules:
                _stand_in(torch, "compile", _compiling)
            _run_uncompiled()
            _seat()
        except BaseException:
            take_down(probe)
            raise


def take_down(probe: object) -> None:
    """End what `put_up` began; what is down already stays so."""
    with _lock:
        _open.pop(probe, None)
        _seat()
        if _open:
            return
        while _stand_ins:
            retire(*_stand_ins.pop())
        while _stance:
            stance = _stance.pop()
            if getattr(torch._dynamo.eval_frame, "_stance", stance.stance) is stance.stance:
                stance.__exit__(None, None, None)


def retire(owner: Any, name: str, original: Any, ours: Any) -> None:
    """Put an attribute back where no probe is open, unless somebody else's stands there."""
    if not _open and vars(owner).get(name) is ours:
        setattr(owner, name, original)


def _seat() -> None:
    """List the places by module, one by one, since other threads look them up meanwhile."""
    found: dict[int, tuple[Place, ...]] = {}
    for seats in list(_open.values()):
        for place in seats:
            found[id(place.module)] = (*found.get(id(place.module), ()), place)
    places.update(found)
    for key in places.keys() - found.keys():
        places.pop(key, None)


def _callers(modules: list[nn.Module]) -> Iterator[type]:
    """Yield each class by whose own `__call__` a module may be called; `nn.Module` too."""
    for owner in {nn.Module, *(base for module in modules for base in type(module).__mro__)}:
        if isinstance(vars(owner).get("__call__"), FunctionType):
            yield owner


def _stand_in(owner: Any, name: str, make: Callable) -> None:
    """Replace an attribute by what is made of it, unless ours stands there already."""
    original = vars(owner)[name]
    if any(ours is original for *_, ours in _stand_ins):
        return
    ours = wraps(original)(make(original, owner))
    _stand_ins.append((owner, name, original, ours))
    setattr(owner, name, ours)


def _compiling(original: Callable, _: Any) -> Callable:
    def compiling(*args: Any, **kwargs: Any) -> Any:
        compiled = original(*args, **kwargs)
        with _lock:
            _run_uncompiled()
        return compiled

    return compiling


def _run_uncompiled() -> None:
    """Let what is compiled run as it was written, where torch knows how to."""
    if not COMPILED_STAYS and "torch._dynamo" in sys.modules and _open and not _stance:
        _stance.append(torch.compiler.set_stance("force_eager"))


def as_written(call: Callable, module: nn.Module) -> Callable:
    """Return what calls a module uncompiled, where `COMPILED_STAYS`."""
    if module.__dict__.get("_compiled_call_impl") is not None:
        return lambda module, *args, **kwargs: module._call_impl(*args, **kwargs)
    compiled = sys.modules.get("torch._dynamo.eval_frame")
    if compiled is not None and isinstance(module, compiled.OptimizedModule):
        return lambda module, *args, **kwargs: module._orig_mod(*args, **kwargs)
    return call


def _chunking(chunked: Callable, _: Any) -> Callable:
    def chunking(*args: Any, **kwargs: Any) -> Any:
        numbers, sizes = count(), []

        def counted(function: Callable) -> Callable:
            def call(*args: Any, **kwargs: Any) -> Any:
                interpreter = retrieve_current_functorch_interpreter()
                sizes.append(interpreter.batch_size())
                with _within((interpreter.level(), sizes[0], next(numbers))):
                    return function(*args, **kwargs)

            return call

        args = [counted(value) if callable(value) else value for value in args]
        return chunked(*args, **kwargs)

    return chunking


@contextmanager
def _within(chunk: Chunk) -> Iterator[None]:
    before = chunks.running
    chunks.running = (*before, chunk)
    try:
        yield
    finally:
        chunks.running = before
