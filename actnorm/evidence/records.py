"""Records: what `actnorm record` wrote, page by page, and the effects in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from actnorm.evidence.effects import Effect, remake
from actnorm.evidence.origin import RECORD

PACKAGE = Path(__file__).parents[1]
MIME = "application/vnd.actnorm.evidence+json"


def entry_of(effect: Effect) -> dict[str, Any]:
    """Return what a record keeps of an effect: how it was computed, and from which values."""
    entry = {
        "method": effect.method,
        "unit": effect.unit,
        "level": effect.level,
        "values": {name: list(arm) for name, arm in effect.values.items()},
    }
    return entry if effect.overlap is None else entry | {"overlap": effect.overlap}


def effect_from(entry: Mapping[str, Any]) -> Effect:
    """Return the effect that a record's entry stands for, computed anew from its values."""
    how = entry["method"], entry["unit"], entry["level"]
    effect = remake(*how, overlap=entry.get("overlap"), **entry["values"])
    return replace(effect, source=entry.get("source", RECORD))


def history(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a new record has to keep of the one before: each part's effect, then and now."""
    kept = list(old.get("history", ()))
    for problem, parts in old["claims"].items():
        for name, entry in parts.items():
            now = new["claims"].get(problem, {}).get(name)
            kept.append(
                {
                    "claim": problem,
                    "part": name,
                    "revision": entry["revision"],
                    "date": old["date"],
                    "commit": old["commit"],
                    "before": _brief(entry),
                    "after": now and _brief(now),
                }
            )
    return kept


def _brief(entry: Mapping[str, Any]) -> dict[str, Any]:
    effect = effect_from(entry)
    size = {key: getattr(effect, key) for key in ("estimate", "low", "high", "n")}
    return {"margin": entry["margin"], "unit": effect.unit, **size}


@lru_cache
def records() -> dict[str, dict[str, Any]]:
    """Return every record by page, as `actnorm record` wrote it."""
    root = PACKAGE / "records"
    return {
        path.relative_to(root).with_suffix("").as_posix(): json.loads(
            path.read_text(encoding="utf-8")
        )
        for path in sorted(root.glob("**/*.json"))
    }


def digest(record: Mapping[str, Any]) -> str:
    """Return the fingerprint of a record's content, which an edit by hand would break."""
    content = {key: value for key, value in record.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
