"""What sees a model's calls to torch and measures them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import (
    TorchFunctionMode,
    _get_current_function_mode,
    _pop_mode,
    _push_mode,
)

from actnorm.probe.apart import apart, obstacle, plain, unseen, version
from actnorm.probe.axes import Axes
from actnorm.probe.calls import Call, call_of
from actnorm.probe.passes import Pass, Watcher
from actnorm.probe.sites import CHANGED, Part, sizes_of
from actnorm.probe.standing import chunks
from actnorm.probe.sums import After, Summary, after_call

# Of a call whose input is measured; no item, where it runs again and only its gradient is.
Taken = tuple[Call, Part, int, Tensor | Summary | None]


class Mode(TorchFunctionMode):
    """What sees the calls to torch of one thread while a pass runs there."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self.watcher, self.record, self.axes = watcher, watcher.record, Axes()
        self.now: Pass | None = None

    def __enter__(self) -> Mode:
        self.axes.begin()
        _push_mode(self)
        return self

    def __exit__(self, *exception: object) -> None:
        """End the pass; modes that the model has left behind stay as they are."""
        self.watcher.end(self.now)
        above = []
        while (top := _get_current_function_mode()) is not self and top is not None:
            above.append(_pop_mode())
        if top is self:
            _pop_mode()
        for mode in reversed(above):
            _push_mode(mode)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, now, call = kwargs or {}, self.now, call_of(func)
        if call.measured and not now.watched:
            taken = self._take(call, args[0] if args else kwargs.get("input"), args, kwargs)
            out = func(*args, **kwargs)
            now.last = None
            if taken is not None and call.rectifies and isinstance(taken[3], Tensor):
                self.axes.put(out, taken[2])  # of what waits, a ReLU's output follows
            elif taken is not None:
                self._give(taken, out, after_call(func, call.rectifies, args, kwargs))
            return out
        if not (call.known or now.watched):
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
        self.record.miss(self.now.stack[-1].path, what)

    def _take(self, call: Call, x: Any, args: tuple, kwargs: dict) -> Taken | None:
        """Measure the input of a call, before an in-place function can overwrite it."""
        if not self.record.open:
            return None
        with torch._C.DisableTorchFunction():  # as `unseen`, in fewer steps
            before = torch.is_grad_enabled()
            torch._C._set_grad_enabled(False)
            try:
                found = self._measure(call, x, args, kwargs)
            except Exception as error:  # the model goes on
                found = type(error).__name__
            finally:
                torch._C._set_grad_enabled(before)
        if isinstance(found, tuple):
            return found
        self.miss(f"{call.name} ({found})" if found else call.name)
        return None

    def _measure(self, call: Call, x: Any, args: tuple, kwargs: dict) -> Taken | str:
        """Return the call as it is measured, or why it is not."""
        now, record, hooks, item = self.now, self.record, self.watcher.hooks, None
        values, levels = plain(x) if isinstance(x, Tensor) else (x, ())
        if (why := now.obstacle or obstacle(values)) is not None:
            return why
        axis = self.axes.normalized(call, x, args, kwargs) if call.normalizes else self.axes.of(x)
        path = now.stack[-1].path
        now.calls[path] = number = now.calls.get(path, 0) + 1
        sizes = sizes_of(values, levels, axis)
        key = path, number, call.name, call.measured, x.get_device(), levels, sizes, chunks.running
        with record.lock:
            part = record.parts.get(key)
            if part is None and now.task == -1:
                part = record.part(key, call)
            if part is None:
                return CHANGED if now.task == -1 else "in a checkpoint"
            if now.task == -1:
                if now.last is not None and self._unchanged(values, axis):
                    item = apart(part.input.share, now.last[-1])
                else:
                    item = apart(part.input.add, values, axis)
        if hooks is not None:
            unsure = None if now.task == -1 else partial(self.watcher.unsure, now, path)
            hooks.add(x, call, part, axis, path, unsure)
        return call, part, axis, item

    def _unchanged(self, values: Tensor, axis: int) -> bool:
        """Return whether an input is the latest output, as it was then."""
        last, *state, _ = self.now.last
        # Tensors made in inference mode don't count their changes.
        return last() is values and state == [version(values), axis] and state[0] is not None

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
                with self.record.lock:
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
