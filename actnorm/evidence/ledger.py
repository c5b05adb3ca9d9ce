"""The ledger: every claim with its verdict, every part with its recorded effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from actnorm.evidence.claims import Claim
from actnorm.evidence.effects import Effect
from actnorm.evidence.parts import Part, word
from actnorm.evidence.registry import registry

WORDS = {"held": "holds", "failed": "fails", "undecided": "undecided"}


def holm(p_values: Mapping[Any, float]) -> dict[Any, float]:
    """Return p-values adjusted for their number (Holm, 1979)."""
    adjusted, running = {}, 0.0
    for rank, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        running = max(running, min(1.0, (len(p_values) - rank) * p))
        adjusted[key] = running
    return adjusted


def ledger() -> list[dict[str, Any]]:
    """Return every claim with its verdict and its parts' recorded effects, in registry order.

    Holm's adjustment counts all core and scope parts of the book together: each set of data
    once, and none whose replicas do not differ.
    """
    claims = registry().values()
    data = {
        (claim.id, part.name): _data(effect)
        for claim in claims
        for part in claim.parts
        if (effect := claim.recorded(part.name))
        and part.role in ("core", "scope")
        and part.varies(effect)
    }
    p_values: dict[Any, float] = {}
    for (problem, name), values in data.items():
        claim = registry()[problem]
        p = p_value(claim.part(name), claim.recorded(name))
        p_values[values] = max(p, p_values.get(values, 0.0))
    adjusted = holm(p_values)
    rows = [_row(claim) for claim in claims]
    for row in rows:
        for entry in row["parts"]:
            values = data.get((row["problem_id"], entry["name"]))
            entry["p_holm"] = adjusted.get(values)
            entry["family"] = len(adjusted) if values else None
    return rows


def _data(effect: Effect) -> tuple:
    return effect.method, *sorted(effect.values.items())


def p_value(part: Part, effect: Effect) -> float:
    """Return the p-value of an effect against the nearest edge of its margin."""
    edges = [part.margin]
    if part.kind == "equal":
        edges.append(1 / part.margin if effect.method == "ratio" else -part.margin)
    return max(effect.p_value(edge) for edge in edges)


def _row(claim: Claim) -> dict[str, Any]:
    parts = [_part(part, claim.recorded(part.name)) for part in claim.parts]
    core = Counter(word(entry["outcome"]) for entry in parts if entry["role"] == "core")
    return {
        "problem_id": claim.id,
        "claim": claim.title,
        "verdict": claim.verdict,
        "primary": claim.primary.name if claim.primary else None,
        "core": {name: core[outcome] for name, outcome in WORDS.items()},
        "open": claim.open,
        "sources": list(claim.sources),
        "parts": parts,
    }


def _part(part: Part, effect: Effect | None) -> dict[str, Any]:
    shown = part.judged(effect) if effect else None
    names = ("estimate", "low", "high", "unit", "method", "n", "level")
    says = part.beside(effect) if effect else {}
    return {
        **{key: getattr(part, key) for key in ("name", "role", "asserts")},
        "outcome": part.outcome(effect),
        **{key: shown and getattr(shown, key) for key in names},
        **{key: getattr(part, key) for key in ("kind", "margin", "looks", "regime", "side")},
        "beside": [
            {"name": o.name, "low": o.low, "high": o.high, "outcome": says[o.name]}
            for o in (shown.beside if shown else ())
        ],
        "page": part.page,
    }
