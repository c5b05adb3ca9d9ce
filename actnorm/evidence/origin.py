"""Where numbers come from: looked up in a record, or measured in this run."""

from __future__ import annotations

from typing import Any

import numpy as np

RERUN = "re-run here"
RECORD = "from the record"


class Measured(np.ndarray):
    """What a recorded function measured in this run; a number alone is a plain number."""

    __array_priority__ = 1.0

    def __array_wrap__(self, array: np.ndarray, *_: Any) -> Any:
        return array[()] if array.ndim == 0 else array.view(type(self))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        result = super().__array_function__(function, types, args, kwargs)
        if type(result) is not np.ndarray or result.ndim == 0:
            return result
        return result.view(FromRecord if FromRecord in types else Measured)


class FromRecord(Measured):
    """What a recorded function looked up; whatever NumPy computes from it is one too."""

    __array_priority__ = 2.0


def mark(result: Any, kind: type[Measured]) -> Any:
    """Return a JSON result with each list of numbers in it as an array of one kind.

    Nulls are NaN there.
    """
    if isinstance(result, dict):
        return {key: mark(value, kind) for key, value in result.items()}
    if not isinstance(result, list):
        return result
    if result and all(isinstance(value, int | float | None) for value in result):
        return np.array(result, float if None in result else None).view(kind)
    return [mark(value, kind) for value in result]


def source(*arms: Any) -> str:
    """Return whether anything recorded enters an effect of these arms."""
    return RECORD if any(isinstance(arm, FromRecord) for arm in arms) else RERUN
