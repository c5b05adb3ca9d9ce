"""What was checked and measured, written as it comes: a run that is cut off leaves what it has."""

from __future__ import annotations

import json
import math
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Check:
    """A name, what is compared in words, and a function that returns the largest deviation."""

    name: str
    compared: str
    tolerance: float
    deviation: Callable[[], float]


class OutOfTimeError(BaseException):
    """The budget is spent. No `Exception`: what is being measured must not catch it."""


class Report:
    """Runs checks and keeps rows, within a budget of seconds; nothing that fails stops the rest."""

    def __init__(self, path: Path | None, header: dict[str, Any], budget: float) -> None:
        self.path, self.end = path, time.monotonic() + budget
        self.content: dict[str, Any] = header | {"checks": [], "skipped": [], "rows": []}
        self.write()

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.end - time.monotonic()

    def write(self) -> None:
        """Replace the file, so that at every moment it is whole."""
        if self.path is not None:
            part = self.path.with_suffix(".part")
            part.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
            part.replace(self.path)

    def skip(self, name: str, why: str) -> None:
        """Name what is not run, and why."""
        print(f"skipped  {name}: {why}", flush=True)
        self.content["skipped"].append({"name": name, "why": why})
        self.write()

    def check(self, checks: Iterable[Check]) -> None:
        """Run checks in turn and write each result as it comes."""
        for check in checks:
            row: dict[str, Any] = {"name": check.name, "compared": check.compared}
            start, found = time.monotonic(), math.inf
            with self.guarded(row):
                found = float(check.deviation())
            row |= {
                "deviation": found if math.isfinite(found) else str(found),
                "tolerance": check.tolerance,
                "passed": found <= check.tolerance,
                "seconds": round(time.monotonic() - start, 2),
            }
            self.content["checks"].append(row)
            word = "pass" if row["passed"] else "FAIL"
            print(
                f"{word}  {check.name}: {found:.2g} of {check.tolerance:g} allowed,"
                f" {row['seconds']} s  {row.get('error', '')}",
                flush=True,
            )
            self.write()

    @contextmanager
    def guarded(self, row: dict[str, Any]) -> Iterator[None]:
        """Put what is raised into the row, and stop what outlasts the budget."""

        def stop(*_: Any) -> None:
            raise OutOfTimeError("the budget is spent")

        previous = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, max(self.left, 1e-3))
        try:
            yield
        except (Exception, OutOfTimeError) as error:
            frames = traceback.extract_tb(error.__traceback__)[-3:]
            places = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in frames]
            text = str(error).strip().split("\n")[0][:300]
            row["error"] = f"{type(error).__name__}: {text} ({' < '.join(reversed(places))})"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)

    def failed(self) -> list[str]:
        """Return what did not pass, or raised; a time that was cut off does not count."""
        judged = [*self.content["checks"], *self.content.get("pages", ())]
        timed = [row for row in self.content["rows"] if "error" in row]
        return [row["name"] for row in judged if not row["passed"]] + [
            f"speed: {row['network']}, R = {row['R']}"
            for row in timed
            if not row["error"].startswith(OutOfTimeError.__name__)
        ]


def apart(ours: Any, theirs: Any, least: float = 1e-6) -> float:
    """Return the largest distance of two results over the largest value of the second.

    Mappings and sequences are compared entry by entry. What differs in shape, in names or in where
    it is finite is infinitely far apart. Values below ``least`` count as that: a mean that should
    be 0 is rounding alone.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return math.inf
        return max((apart(ours[key], theirs[key], least) for key in ours), default=0.0)
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        if len(ours) != len(theirs):
            return math.inf
        return max((apart(a, b, least) for a, b in zip(ours, theirs, strict=True)), default=0.0)
    a, b = _array(ours), _array(theirs)
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return math.inf
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return math.inf
    gap = np.abs(a[finite] - b[finite]).max(initial=0.0)
    return float(gap / np.abs(b[finite]).max(initial=least))


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value, float)
