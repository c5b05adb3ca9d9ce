"""The ledger: every claim with its verdict, every part with its recorded effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actnorm.evidence.registry import registry


def holm(p_values: Mapping[Any, float]) -> dict[Any, float]:
    """Return p-values adjusted for their number (Holm, 1979)."""
    adjusted, running = {}, 0.0
    for rank, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        running = max(running, min(1.0, (len(p_values) - rank) * p))
        adjusted[key] = running
    return adjusted


def ledger() -> list[dict[str, Any]]:
    """Return every claim with its verdict and its parts' recorded effects, in registry order."""
    rows, p_values = [], {}
    for each in registry().values():
        parts = []
        for part in each.parts:
            effect = each.recorded(part.name)
            parts.append(
                {
                    "name": part.name,
                    "role": part.role,
                    "asserts": part.asserts,
                    "outcome": part.outcome(effect),
                    "estimate": effect and effect.estimate,
                    "low": effect and effect.low,
                    "high": effect and effect.high,
                    "unit": effect and effect.unit,
                    "method": effect and effect.method,
                    "n": effect and effect.n,
                    "margin": part.margin,
                    "page": part.page,
                }
            )
            if effect and part.role in ("core", "scope"):
                edges = [part.margin]
                if part.kind == "equal":
                    edges.append(1 / part.margin if effect.method == "ratio" else -part.margin)
                p_values[each.id, part.name] = max(effect.p_value(edge) for edge in edges)
        rows.append(
            {
                "problem_id": each.id,
                "claim": each.title,
                "verdict": each.verdict,
                "sources": list(each.sources),
                "parts": parts,
            }
        )
    adjusted = holm(p_values)
    for row in rows:
        for entry in row["parts"]:
            entry["p_holm"] = adjusted.get((row["problem_id"], entry["name"]))
    return rows
