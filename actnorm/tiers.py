"""What the environment asks of a run: how much of a page, on which data, and for which record."""

from __future__ import annotations

import os

TIERS = ("live", "full", "verify")
POOLS = ("judging", "tuning")


def tier() -> str:
    """Return the tier of this run, from ``ACTNORM_TIER``.

    ``live``, the default: the first replicas of the record, recorded functions looked up.
    ``verify``: all registered replicas, recorded functions looked up. ``full``: everything runs.
    """
    return _one_of("ACTNORM_TIER", TIERS)


def pool(asked: str) -> str:
    """Return the pool of data that stands in for the one asked for.

    In a rehearsal (``ACTNORM_POOL=tuning``) nothing sees the judging pool.
    """
    return "tuning" if _one_of("ACTNORM_POOL", POOLS) == "tuning" else asked


def foreign() -> bool:
    """Return whether this run's replicas are others than the first ones of the record."""
    seed = os.environ.get("ACTNORM_SEED", "0").strip("0")
    replicas = os.environ.get("ACTNORM_REPLICAS", "x1")
    return bool(seed) or replicas != "x1" or _one_of("ACTNORM_POOL", POOLS) != "judging"


def _one_of(variable: str, known: tuple[str, ...]) -> str:
    name = os.environ.get(variable, known[0])
    if name not in known:
        raise ValueError(f"{variable} must be one of {', '.join(known)}, not {name!r}")
    return name
