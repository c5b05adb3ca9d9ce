"""Passes: when they begin, which are measured, and what all threads share."""

from __future__ import annotations

from collections import Counter

import torch

from actnorm.probe.hooks import Hooks
from actnorm.probe.sites import Record
from actnorm.probe.standing import Place, chunks

task = torch._C._current_graph_task_id  # -1 outside of backward passes, where checkpoints re-run


class Pass:
    """One outermost call of a module, in one thread."""

    __slots__ = ("calls", "last", "obstacle", "stack", "task", "watched")

    def __init__(self, task: int) -> None:
        self.task = task
        self.obstacle = None if torch._C._get_tracing_state() is None else "jit.trace"
        self.stack: list[Place] = []
        self.calls: dict[str, int] = {}
        self.watched = False
        # The latest output, often the next call's input, which then need not be measured again.
        self.last: tuple | None = None


SKIPPED = Pass(-1)


class Watcher:
    """What all threads share while a probe is open, and from one opening to the next."""

    def __init__(self, every: int, gradients: bool) -> None:
        self.record, self.every = Record(), every
        self.hooks = Hooks(self.record) if gradients else None
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
        """Return a new pass, `SKIPPED` where it is not to be measured."""
        now = task()
        if now != -1:  # runs again for a checkpoint: its values count once, its gradients now
            wanted = self.record.open and self.hooks and torch.is_grad_enabled()
            return Pass(now) if wanted and not self._skipping else SKIPPED
        skipping = False
        if self.every > 1:
            with self.record.lock:
                key = path, chunks.running
                skipping = self._skipping = self._passes[key] % self.every > 0
                self._passes[key] += 1
        return SKIPPED if skipping or not self.record.open else Pass(now)

    def end(self, now: Pass) -> None:
        """Remember how often each module called something."""
        now.last = None
        if now.task == -1:
            self._calls.update(now.calls)

    def unsure(self, now: Pass, path: str) -> bool:
        """Return whether calls that ran again can't be told apart, since not all of them did."""
        return now.calls[path] != self._calls.get(path)
