"""What a probe does while a model runs: passes begin and end in each thread, calls are measured."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import (
    TorchFunctionMode,
    _get_current_function_mode_stack,
    _pop_mode,
    _push_mode,
)

from actnorm.probe.apart import Levels, apart, obstacle, plain, unseen, version
from actnorm.probe.axes import Axes
from actnorm.probe.calls import Call, call_of
from actnorm.probe.hooks import Hooks
from actnorm.probe.sites import CHANGED, Part, Record, sizes_of
from actnorm.probe.standing import COMPILED_STAYS, as_written, chunks
from actnorm.probe.sums import After, Summary, after_call

_LATER = (AsyncGeneratorType, CoroutineType, GeneratorType)
_task = torch._C._current_graph_task_id  # -1 outside of backward passes, where checkpoints re-run


class Pass:
    """One outermost call of a module, in one thread."""

    def __init__(self, task: int) -> None:
        self.task = task
        self.stack: list[Place] = []
        self.calls: dict[str, int] = {}
        self.watched = False
        # The latest output, often the next call's input, which then need not be measured again.
        self.last: tuple | None = None


_SKIPPED = Pass(-1)


# Of a call whose input is measured; no item, where it runs again and only its gradient is.
Taken = tuple[Call, Part, int, Tensor | Summary | None]


class Watcher:
    """What all threads share while a probe is open, and from one opening to the next."""

    def __init__(self, every: int, gradients: bool) -> None:
        self.record, self.every = Record(), every
        self.hooks = Hooks(self.record) if gradients else None
        self.threads = Threads(self)
        self._passes: Counter[tuple] = Counter()
        self._calls: dict[str, int] = {}
        self._skipping = False

    def open(self) -> None:
        """Measure from now on."""
        self.record.open = True

    def close(self) -> None:
        """Measure no more."""
        self.record.open = False
        if self.hooks:
            self.hooks.close()

    def begin(self, path: str) -> Pass:
        """Return a new pass, `_SKIPPED` where it is not to be measured."""
        task = _task()
        if task != -1:  # runs again for a checkpoint: its values count once, its gradients now
            wanted = self.record.open and self.hooks and torch.is_grad_enabled()
            return Pass(task) if wanted and not self._skipping else _SKIPPED
        if self.every > 1:
            with self.record.lock:
                key = path, chunks.running
                self._skipping = self._passes[key] % self.every > 0
                self._passes[key] += 1
        return _SKIPPED if self._skipping or not self.record.open else Pass(task)

    def end(self, now: Pass) -> None:
        """Remember how often each module called something."""
        now.last = None
        if now.task == -1:
            self._calls.update(now.calls)

    def unsure(self, now: Pass, path: str) -> bool:
        """Return whether calls that ran again can't be told apart, since not all of them did."""
        return now.calls[path] != self._calls.get(path)


class Threads(threading.local):
    """Its ``mode`` is this thread's."""

    def __init__(self, watcher: Watcher) -> None:
        self.mode = Mode(watcher)


class Place:
    """One module of the model, whose calls go through `run` while the probe is open."""

    def __init__(self, watcher: Watcher, path: str, module: nn.Module, watched: bool) -> None:
        self.watcher, self.threads = watcher, watcher.threads
        self.path, self.module, self.watched = path, module, watched
        self.plain = not (watched or COMPILED_STAYS or isinstance(module, torch.jit.ScriptModule))

    def run(self, call: Callable, module: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
        """Call the module, in a pass of its own where this thread runs none."""
        mode = self.threads.mode
        now = mode.now
        if now is None:
            return self._outermost(mode, call, module, args, kwargs)
        if now is _SKIPPED or now.task != _task():
            return call(module, *args, **kwargs)
        now.stack.append(self)
        try:
            if not self.plain:
                call = self._otherwise(mode, call)
            out = call(module, *args, **kwargs)
            if type(out) in _LATER:
                mode.miss(type(out).__name__)
            return out
        finally:
            now.stack.pop()

    def _outermost(
        self, mode: Mode, call: Callable, module: nn.Module, args: tuple, kwargs: dict
    ) -> Any:
        now = mode.now = self.watcher.begin(self.path)
        if now is _SKIPPED:
            try:
                return call(module, *args, **kwargs)
            finally:
                mode.now = None
        with mode:
            return self.run(call, module, *args, **kwargs)

    def _otherwise(self, mode: Mode, call: Callable) -> Callable:
        if isinstance(self.module, torch.jit.ScriptModule):
            mode.miss("ScriptModule")
        if COMPILED_STAYS:
            call = as_written(call, self.module)
        return partial(mode.whole, call) if self.watched and not mode.now.watched else call


class Mode(TorchFunctionMode):
    """What sees the calls to torch of one thread while a pass runs there."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self.watcher, self.axes = watcher, Axes()
        self.now: Pass | None = None

    def __enter__(self) -> Mode:
        self.axes.begin()
        _push_mode(self)
        return self

    def __exit__(self, *exception: object) -> None:
        """End the pass; modes that the model has left behind stay as they are."""
        self.watcher.end(self.now)
        self.now = None
        above = []
        for mode in reversed(_get_current_function_mode_stack()):
            if mode is self:
                _pop_mode()
                break
            above.append(_pop_mode())
        for mode in reversed(above):
            _push_mode(mode)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, now, call = kwargs or {}, self.now, call_of(func)
        if call.measured and not now.watched and now.task == _task():
            taken = self._take(call, args[0] if args else kwargs.get("input"), args, kwargs)
            out = func(*args, **kwargs)
            now.last = None
            if taken is not None and call.rectifies and isinstance(taken[3], Tensor):
                self.axes.keep(out, taken[2])  # of what waits, a ReLU's output follows
            elif taken is not None:
                self._give(taken, out, after_call(func, call.rectifies, args, kwargs))
            return out
        if not (call.known or now.watched) and now.task == _task():
            self.miss(call.name)
        now.last = None
        out = func(*args, **kwargs)
        if call.axis is not None:
            self.axes.put(out, call.axis)
        elif call.mixes:
            self.axes.mix(call, args, kwargs, out, now.stack[-1].module)
        else:
            self.axes.follow(call, args, kwargs, out)
        return out

    def whole(self, call: Callable, module: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
        """Call a module and measure what enters and leaves it, but nothing within."""
        values = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        taken = self._take(Call(type(module).__name__), next(iter(values), None), args, kwargs)
        self.now.watched = True
        try:
            out = call(module, *args, **kwargs)
        finally:
            self.now.watched, self.now.last = False, None
        if taken is not None:
            self._give(taken, out, None)
        return out

    def miss(self, what: str) -> None:
        """Note what the innermost module has called."""
        self.watcher.record.miss(self.now.stack[-1].path, what)

    @unseen
    def _take(self, call: Call, x: Any, args: tuple, kwargs: dict) -> Taken | None:
        """Measure the input of a call, before an in-place function can overwrite it."""
        if not self.watcher.record.open:
            return None
        try:
            values, levels = plain(x) if isinstance(x, Tensor) else (x, ())
            if (why := obstacle(values)) is None:
                axes = self.axes
                axis = axes.normalized(call, x, args, kwargs) if call.normalizes else axes.of(x)
                return self._measure(call, x, values, levels, axis)
        except Exception as error:  # the model goes on
            why = type(error).__name__
        self.miss(f"{call.name} ({why})" if why else call.name)
        return None

    def _measure(
        self, call: Call, x: Tensor, values: Tensor, levels: Levels, axis: int
    ) -> Taken | None:
        now, watcher = self.now, self.watcher
        path = now.stack[-1].path
        now.calls[path] = number = now.calls.get(path, 0) + 1
        sizes = sizes_of(values, levels, axis)
        key = path, number, call.name, call.measured, x.device, levels, sizes
        running = chunks.running
        with watcher.record.lock:
            if now.task == -1:
                part = watcher.record.part(key, running, call)
                item = self._add(part, values, axis)
            else:
                part, item = watcher.record.find(key, running), None
        if part is None:
            self.miss(f"gradient of {call.name} (in a checkpoint)")
            return None
        if watcher.hooks:
            unsure = None if now.task == -1 else partial(watcher.unsure, now, path)
            watcher.hooks.add(x, call, part, axis, path, unsure)
        return call, part, axis, item

    def _add(self, part: Part, values: Tensor, axis: int) -> Tensor | Summary:
        """Add an input's values, or what is known of them as the latest output."""
        if self.now.last is not None:
            last, *state, item = self.now.last
            # Tensors made in inference mode don't count their changes.
            if last() is values and state == [version(values), axis] and state[0] is not None:
                return apart(part.input.share, item)
        return apart(part.input.add, values, axis)

    @unseen
    def _give(self, taken: Taken, out: Any, after: After | None) -> None:
        """Measure what a call returns."""
        call, part, axis, item = taken
        tensors = [out] if isinstance(out, Tensor) else _tensors(out)
        if not tensors or not (call.measured or len(tensors) == 1):
            self.miss(f"{call.name} returns {type(out).__name__}")
            return
        try:
            y = tensors[0]
            axis = axis if call.measured else self.axes.of(y)
            self.axes.put(y, axis)
            if item is None:
                return
            values, levels = plain(y)
            if (why := obstacle(values)) is None:
                sizes = sizes_of(values, levels, axis)
                with self.watcher.record.lock:
                    if (sums := part.of("output", levels, sizes)) is not None:
                        known = apart(after, item) if after and isinstance(item, tuple) else None
                        item = apart(sums.add, values, axis, known)
                        self.now.last = weakref.ref(values), version(values), axis, item
                        return
                why = CHANGED
        except Exception as error:  # the model goes on
            why = type(error).__name__
        self.miss(f"output of {call.name} ({why})")


def _tensors(out: Any) -> list[Tensor]:
    return [y for y in out if isinstance(y, Tensor)] if isinstance(out, tuple | list) else []
