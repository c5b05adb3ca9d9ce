"""What stands in for torch's own in this process while any probe is open, and who owns it.

Probes open and close in any order and in any thread. The first puts the stand-ins up, the last
takes them down; what somebody else has put on top meanwhile stays theirs.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from types import FunctionType
from typing import Any, Protocol

import torch
from torch import nn
from torch._C import _functorch
from torch._functorch import vmap as _vmap

Chunk = tuple[int, int]


class _Chunks(threading.local):
    """Level and number of each chunk of `torch.vmap` that is running in this thread."""

    running: tuple[Chunk, ...] = ()


chunks = _Chunks()
COMPILED_STAYS = not hasattr(torch.compiler, "set_stance")  # before torch 2.6


class Place(Protocol):
    """One module in one open probe."""

    module: nn.Module

    def run(self, call: Callable, module: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
        """Call the module."""


_lock = threading.RLock()
_open: dict[object, list[Place]] = {}
_places: dict[int, tuple[Place, ...]] = {}
_stand_ins: list[tuple[Any, str, Any, Any]] = []
_stance: list[Any] = []


def put_up(probe: object, places: list[Place]) -> None:
    """Let the calls of modules go through their places until `take_down`."""
    with _lock:
        _open[probe] = places
        try:
            for owner in _callers([place.module for place in places]):
                _stand_in(owner, "__call__", _calling)
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
            owner, name, original, ours = _stand_ins.pop()
            if vars(owner).get(name) is ours:
                setattr(owner, name, original)
        while _stance:
            stance = _stance.pop()
            if torch._dynamo.eval_frame._stance is stance.stance:
                stance.__exit__(None, None, None)


def _seat() -> None:
    """List the places by module; a list that is in use is left as it is."""
    global _places
    found: dict[int, tuple[Place, ...]] = {}
    for places in list(_open.values()):
        for place in places:
            found[id(place.module)] = (*found.get(id(place.module), ()), place)
    _places = found


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


def _calling(call: Callable, owner: type) -> Callable:
    # As torch.fx does: hooks would send each call of each module a long way round.
    def calling(module: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
        places = _places.get(id(module))
        if places is None:
            if not _open and vars(owner).get("__call__") is calling:
                owner.__call__ = call  # put back by somebody after the last had closed
            return call(module, *args, **kwargs)
        run = call
        if len(places) > 1:
            for place in places[1:]:
                run = partial(place.run, run)
        return places[0].run(run, module, *args, **kwargs)

    return calling


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
        stack = _functorch.peek_interpreter_stack()
        level = 1 + (stack.level() if stack is not None else 0)
        number = iter(range(sys.maxsize))

        def counted(function: Callable) -> Callable:
            def call(*args: Any, **kwargs: Any) -> Any:
                with _within((level, next(number))):
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
