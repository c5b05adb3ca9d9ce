"""What a probe does while it is open: it stands in for the call of every module."""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, Self

import torch
from torch import Tensor, nn

from actnorm.probe.apart import Mode, apart, on_gradient, plain, unseen, version
from actnorm.probe.calls import (
    ACTIVATIONS,
    BY_CHANNEL,
    CONVOLUTIONS,
    MIXING,
    NORMALIZATIONS,
    PASSED_OVER,
    name_of,
)
from actnorm.probe.sums import After, Summary, Sums, after_call


class Site:
    """One row of the table: one call, wherever in a pass it comes."""

    def __init__(self, name: str, kind: str, replicas: torch.Size) -> None:
        self.name, self.kind = name, kind
        self.output, self.gradient = Sums(replicas), Sums(replicas)
        self.input = Sums(replicas, self.output if kind == "relu" else None)

    def units(self) -> dict[str, dict[str, Any]]:
        """Return the statistics of each part that was seen."""
        if self.input.waiting:
            self.input.flush()  # which may add to the output
        parts = {"input": self.input, "output": self.output, "gradient": self.gradient}
        return {name: part.units() for name, part in parts.items() if part}


Taken = tuple[Site, int, Tensor | Summary]


class Watching:
    """A model under observation."""

    def __init__(
        self, model: nn.Module, every: int, gradients: bool, watch: Iterable[nn.Module]
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
        if every < 1:
            raise ValueError(f"every must be at least 1, not {every}")
        self._paths = {
            id(module): path.replace("_orig_mod.", "").removesuffix("_orig_mod").rstrip(".")
            for path, module in model.named_modules()
        }
        self._watch = {id(module) for module in watch}
        if not self._watch <= self._paths.keys():
            raise ValueError("watch must hold modules of the model")
        self._every, self._gradients = every, gradients
        self._mode = Mode(self._see)
        self._sites: dict[tuple, Site] = {}
        self._unrecognised: Counter[str] = Counter()
        self._passes = 0
        self._open: ExitStack | None = None
        self._stack: list[str] = []
        self._watched = False
        self._pushed = False
        self._calls: Counter[str] = Counter()
        self._axes: dict[int, int] = {}
        # The latest output, often the next call's input, which then need not be measured again.
        self._last: tuple = (lambda: None, 0, 0, ())

    def __enter__(self) -> Self:
        if self._open is not None:
            raise RuntimeError("this probe is already open: make another with an.probe(model)")
        with ExitStack() as stack:
            # As torch.fx does: hooks would send each call of each module a long way round.
            stack.callback(setattr, nn.Module, "__call__", nn.Module.__call__)
            nn.Module.__call__ = self._calling()
            if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._open, stack = None, self._open
        stack.close()

    def _calling(self) -> Callable:
        """Return what stands in for the call of every module while the probe is open.

        A pass lasts from the outermost call of one of the model's modules until it returns.
        """
        call, paths, stack = nn.Module.__call__, self._paths, self._stack

        def calling(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            path = paths.get(id(module))
            if path is None or torch._C._current_graph_task_id() != -1:  # checkpoints run again
                return call(module, *args, **kwargs)
            if not stack:
                self._begin()
            stack.append(path)
            try:
                if not self._pushed:
                    return call(module, *args, **kwargs)
                if isinstance(module, torch.jit.ScriptModule):
                    self._miss("ScriptModule")
                if id(module) not in self._watch or self._watched:
                    return call(module, *args, **kwargs)
                taken = self._take(type(module).__name__, args[0] if args else None)
                self._watched = True
                try:
                    out = call(module, *args, **kwargs)
                finally:
                    self._watched = False
                self._give(taken, out)
                return out
            finally:
                stack.pop()
                if self._pushed and not stack:
                    self._end()

        return calling

    def _begin(self) -> None:
        self._calls.clear()
        self._axes.clear()
        if self._passes % self._every == 0:
            self._pushed = True
            self._mode.__enter__()
        self._passes += 1

    def _end(self) -> None:
        self._pushed = False
        self._mode.__exit__(None, None, None)

    def _see(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        name = name_of(func)
        if name in ACTIVATIONS or name in NORMALIZATIONS:
            if not self._watched:
                taken = self._take(name, args[0] if args else kwargs.get("input"))
                out = func(*args, **kwargs)
                self._give(taken, out, after_call(func, name == "relu", args, kwargs))
                return out
        elif name in MIXING or name in CONVOLUTIONS:
            out = func(*args, **kwargs)
            self._axes[out.ndim] = CONVOLUTIONS.get(name, -1)
            return out
        elif name not in PASSED_OVER and not self._watched:
            self._miss(name)
        return func(*args, **kwargs)

    def _miss(self, what: str) -> None:
        self._unrecognised[f"{self._stack[-1] or '(root)'}: {what}"] += 1

    @unseen
    def _take(self, kind: str, x: Any) -> Taken | None:
        """Measure the input of a call, before an in-place function can overwrite it."""
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.numel() == 0:
            self._miss(kind)
            return None
        if kind in BY_CHANNEL:
            axis = self._axes[x.ndim] = 1 - x.ndim
        else:
            axis = self._axes.get(x.ndim, -1)
        path = self._stack[-1]
        self._calls[path] += 1
        values, replica_axes = plain(x)
        replicas = values.shape[:replica_axes]
        shape = (*replicas, x.shape[axis] if x.ndim else 1)
        key = (path, self._calls[path], kind, x.device, shape)
        if (site := self._sites.get(key)) is None:
            name = (path or "(root)") + (f" #{self._calls[path]}" if self._calls[path] > 1 else "")
            if name in {site.name for site in self._sites.values()}:  # but of another kind or shape
                name += f" {kind} {list(shape)} {x.device}"
            site = self._sites[key] = Site(name, kind, replicas)
        last, *state, item = self._last
        if last() is values and state == [version(values), axis]:
            apart(site.input.share, item)
        else:
            item = apart(site.input.add, values, axis)
        if self._gradients:

            @unseen
            def act(g: Tensor, _: int) -> None:
                if self._open is not None:
                    apart(site.gradient.add, g, axis)

            on_gradient(x, act)
        return site, axis, item

    @unseen
    def _give(self, taken: Taken | None, out: Any, after: After | None = None) -> None:
        if taken is not None and isinstance(out, Tensor):
            site, axis, item = taken
            if site.kind == "relu" and isinstance(item, Tensor):
                return  # follows from the input that waits
            values, _ = plain(out)
            known = after(item) if after and isinstance(item, tuple) else None
            item = apart(site.output.add, values, axis, known)
            self._last = weakref.ref(values), version(values), axis, item
