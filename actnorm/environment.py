"""What the environment makes of a run: a rehearsal, or one on other replicas than the record's."""

from __future__ import annotations

import os

POOLS = ("judging", "tuning")


def pool(asked: str) -> str:
    """Return the pool of data that stands in for the one asked for.

    In a rehearsal (``ACTNORM_POOL=tuning``) nothing sees the judging pool.

    Raises
    ------
    ValueError
        If there is no such pool.
    """
    if asked not in POOLS:
        raise ValueError(f"pool must be one of {', '.join(POOLS)}, not {asked!r}")
    return "tuning" if _rehearsed() else asked


def foreign() -> bool:
    """Return whether this run's replicas are others than the first ones of the record."""
    seed = os.environ.get("ACTNORM_SEED", "0").strip("0")
    return bool(seed) or os.environ.get("ACTNORM_REPLICAS", "x1") != "x1" or _rehearsed()


def replayed() -> bool:
    """Return whether recorded rates are trained with again: on foreign replicas, unrehearsed."""
    return foreign() and not _rehearsed()


def nudged() -> bool:
    """Return whether training starts from weights one rounding apart (``ACTNORM_NUDGE=1``)."""
    return os.environ.get("ACTNORM_NUDGE", "") not in ("", "0")


def _rehearsed() -> bool:
    name = os.environ.get("ACTNORM_POOL", POOLS[0])
    if name not in POOLS:
        raise ValueError(f"ACTNORM_POOL must be one of {', '.join(POOLS)}, not {name!r}")
    return name == "tuning"
