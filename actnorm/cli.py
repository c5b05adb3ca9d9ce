"""The command ``actnorm``: rehearse, record and verify a page; print the ledger."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import Any

from actnorm import evidence, pages, recording
from actnorm.evidence import power
from actnorm.pages import outputs

__all__ = ["ledger", "main", "outputs", "rehearse", "verify"]


def rehearse(page: str, seed: int) -> None:
    """Run a page's whole protocol on the tuning pool and a seed for trying; write nothing."""
    if seed < 1000:
        sys.exit(f"seeds below 1000 judge and are read: rehearse on 1000 or more, not {seed}")
    at = {"ACTNORM_TIER": "full", "ACTNORM_SEED": str(seed), "ACTNORM_POOL": "tuning"}
    notebook, seconds = pages.run(page, forgiving=True, **at)
    for claim, part, entry in pages.judged(notebook):
        effect = evidence.effect_from(entry)
        core = sum(p.role == "core" and p.registered for p in claim.parts)
        wanted = power.wanted(core)
        fewest = power.replicas_for(part, effect, wanted)
        n = part.replicas or effect.n
        scale = " of logarithms" * (effect.method == "ratio")
        print(
            f"{claim.id} {part.name} ({part.role}): {effect}: {part.outcome(effect)}\n"
            f"    sd {effect.sample.std(ddof=1):.3g}{scale};"
            f" power {power.power(part, effect, n):.3f} at {n} replicas;"
            f" {wanted:.3f} takes {fewest or 'more than could be paid'}"
        )
    print(f"rehearsed on the tuning pool, seed {seed}, in {seconds:.0f} s; nothing was written")


def verify(page: str, seed: int, full: bool = False) -> int:
    """Run a page on another seed; return how many parts contradict the record, or only say that
    they were re-run and yet equal it bit for bit.
    """
    tier = "full" if full else "verify"
    notebook, seconds = pages.run(
        page, forgiving=seed != 0, ACTNORM_SEED=str(seed), ACTNORM_TIER=tier
    )
    for line in pages.broken(notebook):
        print(f"the page says of its record what does not hold here: {line}")
    choices = list(pages.retuned(notebook))
    for call, rate, chosen in choices:
        if rate != chosen:
            print(f"{call}: tuned here, the rate would be {chosen:.3g}, not {rate:.3g}")
    judged = list(pages.judged(notebook))
    again, against, copies, fixed, moved = 0, 0, 0, 0, []
    for claim, part, entry in judged:
        live, recorded = evidence.effect_from(entry), claim.recorded(part.name)
        moves = claim.moves(part.name)
        found = evidence.compare(
            *(part, live, recorded), same=seed == 0, moves=moves, comparisons=len(judged)
        )
        copied = seed != 0 and _copied(part, live, recorded)
        against += found.contradicts
        copies += copied
        still = seed != 0 and part.seedless
        fixed += still
        again += live.source == evidence.RERUN and not copied and not still
        words = "CONTRADICTS: " * found.contradicts + found.words
        if copied:
            words = "ERROR: equals the record bit for bit: not re-run, though it says so"
        print(f"{claim.id} {part.name}: {live}: {part.outcome(live)}; {words}")
        if recorded and not found.contradicts:
            before, after = (evidence.word(part.outcome(e)) for e in (recorded, live))
            moved += [f"{part.name}: {before} -> {after}"] * (before != after)
    if moved:
        print("to or from undecided: " + "; ".join(moved))
    verb = f"{against or 'none'} contradict{'s' * (against < 2)} the record"
    more = f", {copies} only said to be" if copies else ""
    more += f", {fixed} on measured data that no seed moves" if fixed else ""
    if choices:
        same = sum(rate == chosen for _, rate, chosen in choices)
        print(f"recorded rates were replayed; tuned here, {same} of {len(choices)} are the same")
    print(f"seed {seed}: {again} of {len(judged)} parts re-run{more}, {verb}; {seconds:.0f} s")
    return against + copies


def _copied(part: evidence.Part, live: evidence.Effect, recorded: evidence.Effect | None) -> bool:
    """Whether what says it was re-run is the record's very values, though replicas differ."""
    said = live.source == evidence.RERUN and recorded is not None and not part.seedless
    return said and live.values == recorded.values and part.varies(recorded)


def ledger(as_json: bool) -> None:
    """Print every claim with its verdict."""
    rows = evidence.ledger()
    if as_json:
        print(json.dumps(_finite(rows), indent=1, allow_nan=False))
        return
    for row in rows:
        print(f"{row['problem_id']}  {row['verdict']:20}  {row['claim']}")
        for part in row["parts"]:
            if part["estimate"] is not None:
                effect = f"{part['estimate']:.3g} [{part['low']:.3g}, {part['high']:.3g}]"
                print(f"         {part['outcome']:20}  {part['name']}: {effect}{part['unit']}")


def _finite(value: Any) -> Any:
    """JSON has no infinity: an interval without an end has null there."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign shows another one
    parser = argparse.ArgumentParser(prog="actnorm", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("rehearse", help="try a page on the tuning pool; write nothing")
    command.add_argument("page", help="such as zero-centering/sign-coherence")
    command.add_argument("--seed", type=int, default=1000)
    command = commands.add_parser("record", help="run a page's protocol and write its record")
    command.add_argument("page")
    command = commands.add_parser("verify", help="run a page on another seed against its record")
    command.add_argument("page")
    command.add_argument("--seed", type=int, default=1001)
    command.add_argument("--full", action="store_true", help="run the recorded functions too")
    command = commands.add_parser("ledger", help="print every claim with its verdict")
    command.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    match arguments.command:
        case "rehearse":
            rehearse(arguments.page, arguments.seed)
        case "record":
            recording.record(arguments.page)
        case "verify":
            sys.exit(1 if verify(arguments.page, arguments.seed, arguments.full) else 0)
        case "ledger":
            ledger(arguments.json)
