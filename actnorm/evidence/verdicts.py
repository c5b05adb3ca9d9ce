"""A claim's verdict, from the outcomes of its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actnorm.evidence.effects import Effect
from actnorm.evidence.parts import NOT_MEASURED, Part


def verdict(parts: Sequence[Part], effects: Mapping[str, Effect | None]) -> str:
    """Return a claim's verdict from the effects of its parts; only core parts decide.

    A pair of scope parts narrows it: *holds only when R* where one holds inside the regime R and
    another fails outside it, unless some core parts hold and others fail, which no regime explains.
    """
    outcomes = {part.name: part.outcome(effects.get(part.name)) for part in parts}
    core = [outcomes[part.name] for part in parts if part.role == "core"]
    if not core or NOT_MEASURED in core:
        return NOT_MEASURED
    if "undecided" in core:
        return "undecided"
    held = core.count("holds")
    if 0 < held < len(core):
        return "holds in part"
    for part in parts:
        if part.role == "scope" and part.side == "inside" and outcomes[part.name] == "holds":
            for other in parts:
                if (other.regime, other.side) == (part.regime, "outside") and outcomes[
                    other.name
                ].startswith("fails"):
                    return f"holds only when {part.regime}"
    return "holds" if held else "does not hold"
