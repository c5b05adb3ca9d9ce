"""A claim's verdict, from the outcomes of its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from actnorm.evidence.effects import Effect
from actnorm.evidence.parts import NOT_MEASURED, Part, word


def verdict(parts: Sequence[Part], effects: Mapping[str, Effect | None]) -> str:
    """Return a claim's verdict from the effects of its parts; core parts decide, in a regime.

    A regime R narrows a claim to *holds only when R* where every part inside of it holds and every
    part outside fails, unless some core parts hold and others fail, which no regime explains. What
    is open, a core part or one that bears on a regime, may turn out either way: where every way
    gives one verdict, that is it.
    """
    words = {part.name: word(part.outcome(effects.get(part.name))) for part in parts}
    core = [part.name for part in parts if part.role == "core"]
    if not core or any(words[name] == NOT_MEASURED for name in core):
        return NOT_MEASURED
    unknown = open_parts(parts, effects)
    ways = product(("holds", "fails"), repeat=len(unknown))
    verdicts = {_decided(parts, words | dict(zip(unknown, way, strict=True))) for way in ways}
    return verdicts.pop() if len(verdicts) == 1 else "undecided"


def _decided(parts: Sequence[Part], words: Mapping[str, str]) -> str:
    """The verdict where every core part holds or fails."""
    core = {words[part.name] for part in parts if part.role == "core"}
    if len(core) == 2:
        return "holds in part"
    for regime in dict.fromkeys(part.regime for part in parts if part.regime):
        sides = {"inside": set(), "outside": set()}
        for part in parts:
            if part.regime == regime:
                sides[part.side].add(words[part.name])
        if sides == {"inside": {"holds"}, "outside": {"fails"}}:
            return f"holds only when {regime}"
    return "holds" if core == {"holds"} else "does not hold"


def open_parts(parts: Sequence[Part], effects: Mapping[str, Effect | None]) -> list[str]:
    """Return the names of the core parts that are undecided or not measured, and of such parts
    with a regime, unless the core is split already, so that no regime matters.
    """
    words = {part.name: word(part.outcome(effects.get(part.name))) for part in parts}
    core = {words[part.name] for part in parts if part.role == "core"}
    split = {"holds", "fails"} <= core
    return [
        part.name
        for part in parts
        if (part.role == "core" or (part.regime and not split))
        and words[part.name] in ("undecided", NOT_MEASURED)
    ]


def primary(parts: Sequence[Part]) -> Part | None:
    """Return the part that the source asserts first: the one marked so, or the first core one."""
    core = [part for part in parts if part.role == "core"]
    return next((part for part in core if part.primary), core[0] if core else None)
