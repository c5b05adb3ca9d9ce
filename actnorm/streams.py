"""Named random streams: replica r of seed s draws the same numbers whatever else runs."""

from __future__ import annotations

import os
import zlib
from collections import Counter

import numpy as np
import torch

STREAMS = ("split", "init", "batches", "noise")
# What this process has trained, in replica-steps: a page's evidence says what it cost.
SPENT: Counter[str] = Counter()


def seed() -> int:
    """Return the seed of this run: ``ACTNORM_SEED``, or 0, the seed of the records."""
    text = os.environ.get("ACTNORM_SEED", "0")
    if not text.isdecimal():
        raise ValueError(f"ACTNORM_SEED must be a whole number >= 0, not {text!r}")
    return int(text)


def replicas(count: int, first: int = 0) -> range:
    """Return the replica indices of this run: so many from the first on, unless the reader asks
    for others.

    ``ACTNORM_REPLICAS`` is ``x2`` (twice the page's count) or ``32:64`` (these indices). A part
    whose metric was revised starts at a `first` that no earlier run has seen.
    """
    if count < 1 or first < 0:
        raise ValueError(f"count must be at least 1 and first 0, not {count} and {first}")
    text = os.environ.get("ACTNORM_REPLICAS", "x1")
    try:
        if text.startswith("x"):
            chosen = range(first, first + int(text[1:]) * count)
        else:
            start, stop = text.split(":")
            chosen = range(int(start), int(stop))
    except ValueError:
        chosen = range(0)
    if not chosen or chosen.start < 0:
        raise ValueError(f"ACTNORM_REPLICAS must look like x2 or 32:64, not {text!r}")
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
    if replica < 0:
        raise ValueError(f"replica must be >= 0, not {replica}")
    root = globals()["seed"]() if seed is None else seed
    words = np.random.SeedSequence([root, replica, zlib.crc32(name.encode())])
    return torch.Generator().manual_seed(int(words.generate_state(1, np.uint64)[0] >> 1))
