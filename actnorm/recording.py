"""Write a page's record: its whole protocol once, and what rounding does to its live parts."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from actnorm import environment, evidence, pages, protocol

VERSIONS = ("numpy", "scipy", "torch")


def record(page: str) -> None:
    """Run a page on the recorded seed, from a clean commit, and write its record.

    Then the page runs twice as a reader sees it, the second time from initial weights one
    rounding apart, so that the record knows which replicas a re-run can reproduce.
    """
    if environment.foreign() or "ACTNORM_TIER" in os.environ or "ACTNORM_NUDGE" in os.environ:
        sys.exit("a record is made with seed 0 and the page's own replicas: unset ACTNORM_*")
    if git("status", "--porcelain"):
        sys.exit("a record is made from a clean commit: commit or stash your changes first")
    notebook, seconds = pages.run(page, forgiving=True, ACTNORM_TIER="full")
    content = _content(page, notebook, seconds)
    path = evidence.PACKAGE / "records" / f"{page}.json"
    before = path.read_text(encoding="utf-8") if path.exists() else None
    try:
        _write(path, content)  # the live runs look up what the full one measured
        plain, content["live_seconds"] = pages.run(page, forgiving=True, ACTNORM_TIER="live")
        nudged, _ = pages.run(page, forgiving=True, ACTNORM_TIER="live", ACTNORM_NUDGE="1")
        _add_rounding(content["claims"], plain, nudged)
        _write(path, content)
    except BaseException:
        path.unlink()
        if before is not None:
            path.write_text(before, encoding="utf-8")
        raise
    for line in pages.broken(plain):
        print(f"the page says what its record does not bear: {line}")
    print(f"wrote {path} in {seconds:.0f} s; live {content['live_seconds']:.0f} s")


def _content(page: str, notebook: Any, seconds: float) -> dict[str, Any]:
    claims: dict[str, Any] = {}
    for claim, part, entry in pages.judged(notebook):
        n = len(next(iter(entry["values"].values())))
        if part.page != page or n != part.replicas:
            sys.exit(
                f"part {part.name} is registered on {part.page} with {part.replicas}"
                f" replicas; this run has {n} on {page}"
            )
        registered = {key: getattr(part, key) for key in evidence.REGISTERED}
        measured = evidence.entry_of(evidence.effect_from(entry))
        claims.setdefault(claim.id, {})[part.name] = registered | measured
    if not claims:
        sys.exit(f"{page} judges no claim")
    content = {
        "page": page,
        "seed": 0,
        "commit": git("rev-parse", "HEAD"),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version()} | {n: version(n) for n in VERSIONS},
        "seconds": round(seconds, 1),
        "replicas": pages.outputs(notebook, evidence.MIME)[-1]["replicas"],
        "claims": claims,
        "recorded": pages.outputs(notebook, protocol.MIME),
    }
    if old := evidence.records().get(page):
        content["history"] = evidence.history(old, content)
    return content


def _add_rounding(claims: dict[str, Any], plain: Any, nudged: Any) -> None:
    """Add to each part whether a reader's run re-runs it, and how far rounding moves it."""
    again = {(claim.id, part.name): entry for claim, part, entry in pages.judged(nudged)}
    for claim, part, entry in pages.judged(plain):
        live, other = (evidence.effect_from(e) for e in (entry, again[claim.id, part.name]))
        kept = claims[claim.id][part.name]
        kept["rerun"] = entry["source"] == evidence.RERUN
        if not kept["rerun"]:
            continue
        moves = evidence.rounding(part, live, other)
        kept |= {"rounding": moves.kind, "spread": moves.spread, "pairs": moves.n}
        found = evidence.compare(part, live, evidence.effect_from(kept), same=True, moves=moves)
        if found.contradicts:
            print(f"{part.name}: the page as readers run it leaves its record: {found.words}")


def _write(path: Path, content: dict[str, Any]) -> None:
    content["digest"] = evidence.digest(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def git(*arguments: str) -> str:
    """Return what git prints, or leave with one sentence where it has nothing to say."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        sys.exit("a record names the commit that it was made from: run this in a git repository")
    return done.stdout.strip()
