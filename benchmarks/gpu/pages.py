"""The book's pages on a card: how long each takes, and whether its evidence contradicts the record.

Each page runs in a process of its own through the command ``actnorm verify``, on the seed of the
record; what counts is that command's exit status, and its last line is kept.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.gpu import MISSING
from benchmarks.gpu.report import Report

ROOT = Path(__file__).parents[2]
NEEDED = ("nbclient", "nbformat", "ipykernel")
VERIFY = (sys.executable, "-c", "from actnorm.cli import main; main()", "verify")


def pages() -> list[str]:
    """Return every page of the book that is a notebook, such as ``dead-relu/memory``."""
    folder = ROOT / "chapters"
    return sorted(
        p.relative_to(folder).with_suffix("").as_posix() for p in folder.glob("*/*.ipynb")
    )


def run(report: Report, device: torch.device, names: list[str]) -> None:
    """Run pages one by one for as long as time allows."""
    missing = MISSING + [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        report.skip("pages", f"{', '.join(missing)} not installed")
        return
    report.content["pages"] = []
    for name in names:
        if report.left < 10:
            report.skip(f"page {name}", "out of time")
            continue
        row = verify(name, device, report.left)
        if row is None:
            report.skip(f"page {name}", "cut off: out of time")
            continue
        report.content["pages"].append(row)
        word = "pass" if row["passed"] else "FAIL"
        print(f"{word}  {name}, {row['seconds']} s: {row['last line']}", flush=True)
        report.write()


def verify(page: str, device: torch.device, limit: float) -> dict | None:
    """Return how a page fared on a device, or nothing where it took longer than the limit."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"ACTNORM_DEVICE": str(device), "PYTHONPATH": path}
    start = time.monotonic()
    try:
        done = subprocess.run(
            [*VERIFY, page, "--seed", "0"],
            cwd=ROOT,
            env=environment,
            timeout=limit,
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    if done.returncode and done.stderr.strip():
        said = done.stderr.strip().splitlines()
    return {
        "name": page,
        "passed": done.returncode == 0,
        "last line": said[-1] if said else "",
        "seconds": round(time.monotonic() - start, 1),
    }
