"""The command ``actnorm``: record a page's evidence, verify it, print the ledger."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from actnorm import evidence, protocol, streams

VERSIONS = ("numpy", "scipy", "torch")


def run_page(page: str) -> tuple[Any, float]:
    """Execute a page's notebook and return it, with the seconds that it took."""
    try:
        import nbformat
        from nbclient import NotebookClient
    except ImportError:
        sys.exit("running a page needs nbclient: pip install nbclient ipykernel")
    path = Path("chapters", page).with_suffix(".ipynb")
    if not path.exists():
        sys.exit(f"no notebook {path} here; run this in the book's folder")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small matrices: a second thread only waits
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": path.parent}})
    client.execute()
    return notebook, time.perf_counter() - start


def outputs(notebook: Any, mime: str) -> list[dict[str, Any]]:
    """Return everything of one MIME type that the cells of an executed notebook left."""
    return [
        output["data"][mime]
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
        if mime in output.get("data", {})
    ]


def record(page: str) -> None:
    """Run a page on the recorded seed, from a clean commit, and write its record."""
    if streams.seed() or "ACTNORM_REPLICAS" in os.environ:
        sys.exit("a record is made with seed 0 and the page's own replicas: unset ACTNORM_*")
    if git("status", "--porcelain"):
        sys.exit("a record is made from a clean commit: commit or stash your changes first")
    os.environ["ACTNORM_TIER"] = "full"
    notebook, seconds = run_page(page)
    claims: dict[str, Any] = {}
    for piece in outputs(notebook, evidence.MIME):
        parts = claims.setdefault(piece["claim"], {})
        for name, part in piece["parts"].items():
            registered = evidence.claim(piece["claim"]).part(name)
            n = len(next(iter(part["values"].values())))
            if registered.page != page or n != registered.replicas:
                sys.exit(
                    f"part {name} is registered on {registered.page} with {registered.replicas}"
                    f" replicas; this run has {n} on {page}"
                )
            parts[name] = {key: getattr(registered, key) for key in evidence.REGISTERED}
            parts[name] |= {key: part[key] for key in ("method", "unit", "level", "values")}
    if not claims:
        sys.exit(f"{page} judges no claim")
    path = evidence.PACKAGE / "records" / f"{page}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "page": page,
        "seed": 0,
        "commit": git("rev-parse", "HEAD"),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version()} | {n: version(n) for n in VERSIONS},
        "seconds": round(seconds, 1),
        "claims": claims,
        "recorded": outputs(notebook, protocol.MIME),
    }
    content["digest"] = evidence.digest(content)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path} in {seconds:.0f} s")


def verify(page: str, seed: int) -> int:
    """Run a page on another seed and return how many parts contradict the record."""
    os.environ["ACTNORM_SEED"] = str(seed)
    notebook, seconds = run_page(page)
    pieces = outputs(notebook, evidence.MIME)
    contradictions = 0
    total = sum(len(piece["parts"]) for piece in pieces)
    for piece in pieces:
        claim = evidence.claim(piece["claim"])
        for name, entry in piece["parts"].items():
            live, recorded = evidence.effect_from(entry), claim.recorded(name)
            if recorded is None:
                print(f"{claim.id} {name}: {live}: {entry['outcome']}; nothing recorded")
                continue
            part = claim.part(name)
            against = evidence.contradiction(part, live, recorded, total)
            contradictions += against is not None
            print(
                f"{claim.id} {name}: {live}: {entry['outcome']}; recorded {recorded}:"
                f" {part.outcome(recorded)}{'; CONTRADICTS: ' + against if against else ''}"
            )
    print(f"seed {seed}: {contradictions} of {total} parts contradict the record; {seconds:.0f} s")
    return contradictions


def ledger(as_json: bool) -> None:
    """Print every claim with its verdict."""
    rows = evidence.ledger()
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(f"{row['problem_id']}  {row['verdict']:20}  {row['claim']}")
        for part in row["parts"]:
            if part["estimate"] is not None:
                effect = f"{part['estimate']:.3g} [{part['low']:.3g}, {part['high']:.3g}]"
                print(f"         {part['outcome']:20}  {part['name']}: {effect}{part['unit']}")


def git(*arguments: str) -> str:
    """Return what git prints."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="actnorm", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("record", help="run a page's protocol and write its record")
    command.add_argument("page", help="such as zero-centering/sign-coherence")
    command = commands.add_parser("verify", help="run a page on another seed against its record")
    command.add_argument("page")
    command.add_argument("--seed", type=int, default=1001)
    command = commands.add_parser("ledger", help="print every claim with its verdict")
    command.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    match arguments.command:
        case "record":
            record(arguments.page)
        case "verify":
            sys.exit(1 if verify(arguments.page, arguments.seed) else 0)
        case "ledger":
            ledger(arguments.json)
