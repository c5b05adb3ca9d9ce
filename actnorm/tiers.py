"""How much of a page runs: a reader's share, the whole protocol, or all that is not recorded."""

from __future__ import annotations

import os

TIERS = ("live", "full", "verify")


def tier() -> str:
    """Return the tier of this run, from ``ACTNORM_TIER``.

    ``live``, the default: the first replicas of the record, recorded functions looked up.
    ``verify``: all registered replicas, recorded functions looked up. ``full``: everything runs.
    """
    name = os.environ.get("ACTNORM_TIER", "live")
    if name not in TIERS:
        raise ValueError(f"ACTNORM_TIER must be one of {', '.join(TIERS)}, not {name!r}")
    return name
