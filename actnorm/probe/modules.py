"""What stands in for the call of a module: it runs in a pass of its thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

import torch
from torch import nn

from actnorm.probe.measuring import Mode
from actnorm.probe.passes import SKIPPED, Watcher, task
from actnorm.probe.standing import COMPILED_STAYS, as_written, places, retire

_LATER = (AsyncGeneratorType, CoroutineType, GeneratorType)


class Threads(threading.local):
    """Its ``mode`` is this thread's."""

    def __init__(self, watcher: Watcher) -> None:
        self.mode = Mode(watcher)


class Place:
    """One module of the model, whose calls go through `run` while the probe is open."""

    def __init__(self, threads: Threads, path: str, module: nn.Module, watched: bool) -> None:
        self.threads = threads
        self.path, self.module, self.watched = path, module, watched
        self.plain = not (watched or COMPILED_STAYS or isinstance(module, torch.jit.ScriptModule))

    def run(self, call: Callable, module: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
        """Call the module, in a pass of its own where this thread runs none."""
        mode = self.threads.mode
        if mode.now is SKIPPED or (mode.now is not None and mode.now.task != task()):
            return call(module, *args, **kwargs)
        if mode.now is not None:
            return self.within(mode, call, module, args, kwargs)
        mode.now = mode.watcher.begin(self.path)
        try:
            if mode.now is SKIPPED:
                return call(module, *args, **kwargs)
            with mode:
                return self.within(mode, call, module, args, kwargs)
        finally:
            mode.now = None

    def within(
        self, mode: Mode, call: Callable, module: nn.Module, args: tuple, kwargs: dict
    ) -> Any:
        """Call the module in the pass that is running."""
        mode.now.stack.append(self)
        try:
            if isinstance(module, torch.jit.ScriptModule):
                mode.miss("ScriptModule")
            if COMPILED_STAYS:
                call = as_written(call, module)
            if self.watched and not mode.now.watched:
                call = partial(mode.whole, call)
            out = call(module, *args, **kwargs)
            if type(out) in _LATER:
                mode.miss(type(out).__name__)
            return out
        finally:
            mode.now.stack.pop()


def calling(call: Callable, owner: type) -> Callable:
    """Return what stands in for the call of a class of modules."""

    # As torch.fx does: hooks would send each call of each module a long way round.
    def stand_in(module: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
        here = places.get(id(module))
        if here is None:
            if not places:
                retire(owner, "__call__", call, stand_in)
            return call(module, *args, **kwargs)
        place, *others = here
        if others or not place.plain or (now := place.threads.mode.now) is None:
            run = call
            for other in others:
                run = partial(other.run, run)
            return place.run(run, module, *args, **kwargs)
        if now is SKIPPED:
            return call(module, *args, **kwargs)
        now.stack.append(place)  # as `within`, in fewer steps
        try:
            out = call(module, *args, **kwargs)
            if type(out) in _LATER:
                place.threads.mode.miss(type(out).__name__)
            return out
        finally:
            now.stack.pop()

    return stand_in
