"""The long part of a page's protocol: run once for the record, shown from it everywhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from actnorm import environment, evidence, streams
from actnorm.evidence.origin import FromRecord, Measured, mark
from actnorm.fingerprint import fingerprint

MIME = "application/vnd.actnorm.recorded+json"


class Recorded:
    """A function whose results stand in the record: calling it looks them up, `run` runs it.

    Arguments and results are what JSON can hold; each list of numbers in a result comes as an
    array, and an effect of such arrays knows that it is from the record. In the full tier
    (``ACTNORM_TIER=full``, as `actnorm record` sets it) calling it runs it too, and leaves the
    result for the record. On other replicas than the record's, what it tunes is trained at the
    recorded rate, and ``chosen`` keeps the rate that this run would have taken.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.run = function
        self.name = function.__name__
        self.__doc__ = function.__doc__
        self.fingerprint = fingerprint(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = json.dumps([args, kwargs], sort_keys=True, default=_plain)
        if streams.tier() == "full":
            result = json.loads(json.dumps(self.run(*args, **kwargs), default=_plain))
            if environment.replayed():
                result = _at_recorded_rate(result, list(self._own(call).values()))
            _leave({"name": self.name, "source": self.fingerprint, "call": call, "result": result})
            return mark(result, Measured)
        own = self._own(call)
        if len(own) == 1:
            (entry,) = own.values()
            return mark(entry["result"], FromRecord)
        if own:
            raise RuntimeError(f"{self.name} is recorded on {', '.join(own)}: give it two names")
        how = (
            "has changed since it was recorded" if self._found(call) else f"{call} is not recorded"
        )
        raise RuntimeError(
            f"{self.name} {how}: record the page again, or call {self.name}.run(...)"
        )

    def _found(self, call: str) -> list[tuple[str, dict[str, Any]]]:
        """What records hold of a call, with their pages."""
        return [
            (page, entry)
            for page, record in evidence.records().items()
            for entry in record.get("recorded", ())
            if (entry["name"], entry["call"]) == (self.name, call)
        ]

    def _own(self, call: str) -> dict[str, dict[str, Any]]:
        """What this very function left, by page."""
        return {p: e for p, e in self._found(call) if e["source"] == self.fingerprint}


def _at_recorded_rate(result: Any, entries: list[dict[str, Any]]) -> Any:
    """A tuning's summary, as `Tuning.summary` leaves it, with the rate of the record."""
    tunes = isinstance(result, dict) and {"rate", "wins"} <= set(result)
    if not tunes or len(entries) != 1:
        return result
    (before,) = entries
    return result | {"rate": before["result"]["rate"], "chosen": result["rate"]}


def recorded(function: Callable[..., Any]) -> Recorded:
    """Mark a function of a notebook as the long part of its protocol; see `Recorded`."""
    return Recorded(function)


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as JSON has them."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"recorded arguments and results are what JSON holds, not {value!r}")


def _leave(entry: dict[str, Any]) -> None:
    from IPython.display import display

    display({MIME: entry}, raw=True)
