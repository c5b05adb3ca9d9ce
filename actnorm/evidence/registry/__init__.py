"""What the five source documents assert: one claim for each problem id, a file a chapter.

A part states what the source asserts, whether or not we expect it to hold. How a part is judged
(kind, metric, arms, margin, replicas) is added before its page's recorded run. One kind of
quantity has one margin: a part names its quantity and takes margin and reason from the table.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from actnorm.evidence.claims import Claim
from actnorm.evidence.parts import Part

ROOM = Path(__file__).parent


@lru_cache
def registry() -> dict[str, Claim]:
    """Return every registered claim by problem id, in the book's order."""
    tables = [_read(path) for path in ROOM.glob("*.toml")]
    chapters = sorted((table for table in tables if "claim" in table), key=lambda t: t["order"])
    entries = [entry for table in chapters for entry in table["claim"]]
    claims = {entry["id"]: _claim(entry) for entry in entries}
    if len(claims) != len(entries):
        raise ValueError("two entries of the registry have one id")
    return claims


@lru_cache
def pages() -> dict[str, dict[str, Any]]:
    """Return what each page asks, answers and advises, by its name."""
    rows = [row for path in ROOM.glob("*.toml") for row in _read(path).get("page", ())]
    found = {row["name"]: row for row in rows}
    if len(found) != len(rows):
        raise ValueError("two entries of the registry are of one page")
    return found


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _part(row: dict[str, Any]) -> Part:
    quantity = row.get("quantity")
    if quantity is not None and quantity not in margins():
        raise ValueError(
            f"quantity of part {row['name']} must be one of {', '.join(margins())},"
            f" not {quantity!r}"
        )
    if own := {"margin", "why"} & row.keys():
        raise ValueError(
            f"{' and '.join(sorted(own))} of part {row['name']} come with its quantity"
        )
    return Part(**margins().get(quantity, {}) | row | {"arms": tuple(row.get("arms", ()))})


def _claim(entry: dict[str, Any]) -> Claim:
    parts = [_part(row) for row in entry.get("part", [])]
    return Claim(
        entry["id"], entry["statement"], tuple(parts), entry["title"], tuple(entry["sources"])
    )


@lru_cache
def margins() -> dict[str, dict[str, Any]]:
    """Return margin and reason of each kind of quantity."""
    return _read(ROOM / "margins.toml")


@lru_cache
def sources() -> dict[str, str]:
    """Return the titles of the source documents by key."""
    return {source["key"]: source["title"] for source in _read(ROOM / "sources.toml")["source"]}


def claim(problem_id: str, page: str = "") -> Claim:
    """Return the registered claim of one problem id, such as ``"3174499"``.

    Parameters
    ----------
    page
        The page that shows it, such as ``"zero-centering/sign-coherence"``: its parts come first
        on the claim's card.
    """
    try:
        found = registry()[str(problem_id)]
    except KeyError:
        raise KeyError(
            f"no claim {problem_id!r}; the registry holds {', '.join(registry())}"
        ) from None
    if page and page not in (judging := {part.page for part in found.parts}):
        raise ValueError(
            f"page must be one that judges {found.id}: {', '.join(sorted(judging))}, not {page!r}"
        )
    titles = {name: entry["title"] for name, entry in pages().items()}
    return replace(found, page=page, setting=pages().get(page, {}), titles=titles)
