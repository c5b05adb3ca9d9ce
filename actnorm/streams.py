"""Named random streams: replica r of seed s draws the same numbers whatever else runs."""

from __future__ import annotations

import operator
import os
import zlib
from collections import Counter
from typing import SupportsIndex

import numpy as np
import torch

STREAMS = ("split", "init", "batches", "noise")
TIERS = ("live", "verify", "full")
# What this process has trained, in replica-steps: a page's evidence says what it cost.
SPENT: Counter[str] = Counter()
# Which replicas this process has asked for: first and last index, so that a record names them.
ASKED: set[tuple[int, int]] = set()


def whole(name: str, value: SupportsIndex, least: int = 1) -> int:
    """Return ``value`` as an int, once it is a whole number (NumPy's too) of at least ``least``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be {f'at least {least}' if least else '>= 0'}, not {number}")
    return number


def seed() -> int:
    """Return the seed of this run: ``ACTNORM_SEED``, or 0, the seed of the records."""
    text = os.environ.get("ACTNORM_SEED", "0")
    if not text.isdecimal():
        raise ValueError(f"ACTNORM_SEED must be a whole number >= 0, not {text!r}")
    return int(text)


def tier() -> str:
    """Return how much of a page's protocol runs: ``ACTNORM_TIER``.

    ``live`` (the default) trains the first replicas of the record, ``verify`` all of them, and
    ``full`` runs the recorded functions too.
    """
    text = os.environ.get("ACTNORM_TIER", "live")
    if text not in TIERS:
        raise ValueError(f"ACTNORM_TIER must be one of {', '.join(TIERS)}, not {text!r}")
    return text


def replicas(count: int, first: int = 0, *, live: int | None = None) -> range:
    """Return the replica indices of this run: so many from the first on, unless the reader asks
    for others.

    Parameters
    ----------
    count
        How many the record has.
    first
        A part whose metric was revised starts at an index that no earlier run has seen.
    live
        How many of them a page trains in its live `tier`; by default all.

    ``ACTNORM_REPLICAS`` is ``x2`` (twice as many) or ``32:64`` (these indices).
    """
    count, first = whole("count", count), whole("first", first, 0)
    live = count if live is None else whole("live", live)
    if live > count:
        raise ValueError(f"live must be at most count = {count}, not {live}")
    text = os.environ.get("ACTNORM_REPLICAS", "x1")
    size = live if tier() == "live" else count
    try:
        if text.startswith("x"):
            chosen = range(first, first + int(text[1:]) * size)
        else:
            start, stop = text.split(":")
            chosen = range(int(start), int(stop))
    except ValueError:
        chosen = range(0)
    if not chosen or chosen.start < 0:
        raise ValueError(f"ACTNORM_REPLICAS must look like x2 or 32:64, not {text!r}")
    ASKED.add((chosen[0], chosen[-1]))
    return chosen


def stream(name: str, replica: int, *, seed: int | None = None) -> torch.Generator:
    """Return the CPU generator of one replica for one purpose.

    Parameters
    ----------
    name
        One of ``split``, ``init``, ``batches``, ``noise``. Arms that share a seed and a replica
        share these, so that their differences are paired.
    replica
        Index of the replica, >= 0.
    seed
        Defaults to this run's `seed()`.
    """
    if name not in STREAMS:
        raise ValueError(f"name must be one of {', '.join(STREAMS)}, not {name!r}")
    replica = whole("replica", replica, 0)
    root = globals()["seed"]() if seed is None else whole("seed", seed, 0)
    words = np.random.SeedSequence([root, replica, zlib.crc32(name.encode())])
    return torch.Generator().manual_seed(int(words.generate_state(1, np.uint64)[0]) >> 1)
