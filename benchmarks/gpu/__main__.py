"""``python -m benchmarks.gpu --device cuda --out FILE.json --budget 480``."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch

from benchmarks.gpu import MISSING, manners, pages, reading, speed, training
from benchmarks.gpu.report import Check, Report


def said(*command: str) -> str | None:
    """Return what a command prints, or nothing where there is no such command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the results depend on: the card, its software, and torch's settings."""
    found: dict[str, Any] = {"device": f"{platform.machine()}, {os.cpu_count()} cores"}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        driver = said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        found = {
            "device": card.name,
            "memory, GiB": round(card.total_memory / 2**30, 1),
            "capability": f"{card.major}.{card.minor}",
            "multiprocessors": card.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "TF32 in products": torch.backends.cuda.matmul.allow_tf32,
            "TF32 in convolutions": torch.backends.cudnn.allow_tf32,
            "driver": driver and driver.splitlines()[0],
        }
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    versions |= {"numpy": np.__version__, "scipy": scipy.__version__}
    return (
        found
        | versions
        | {
            "threads": torch.get_num_threads(),
            "load": [round(load, 1) for load in os.getloadavg()],
            "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
            "commit": said("git", "describe", "--always", "--dirty", "--abbrev=12"),
            "stood in for": MISSING,
        }
    )


def rehearse(report: Report, device: torch.device, only: str, brief: bool) -> None:
    """Run what is asked for, what matters most first."""

    def check(checks: Iterable[Check]) -> None:
        report.check(check for check in checks if re.search(only, check.name))

    check(training.checks(device))
    check(manners.checks(device))
    check(reading.checks(device))
    if re.search(only, "speed"):
        speed.measure(report, device, brief)
    if brief:
        report.skip("compile, pages", "brief")
        return
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        report.skip("compile", "triton is not installed")
    else:
        check(training.compiling(device))
        if re.search(only, "speed"):
            speed.measure_compiled(report, device, brief)
    if re.search(only, "pages"):
        pages.run(report, device, pages.pages())


def main(arguments: list[str] | None = None) -> int:
    """Run checks, times and pages within a budget; return 0 where all that ran passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", type=torch.device)
    parser.add_argument("--out", type=Path, help="where results are written as they come")
    parser.add_argument("--budget", type=float, default=480, help="seconds in all")
    parser.add_argument("--brief", action="store_true", help="a rehearsal: nothing is compiled")
    parser.add_argument("--only", default="", help="names of checks to run, a regular expression")
    options = parser.parse_args(arguments)
    device = options.device
    if device.type == "cuda":
        if not torch.cuda.is_available():
            parser.error("torch sees no card here; rehearse with --device cpu --brief")
        device = torch.device("cuda", device.index or 0)
        torch.cuda.set_device(device)

    report = Report(options.out, machine(device), options.budget)
    rehearse(report, device, options.only, options.brief)
    failed = report.failed()
    ran = len(report.content["checks"]) + len(report.content.get("pages", ()))
    print(f"{ran - len(failed)} of {ran} passed" + "".join(f"\n  failed: {n}" for n in failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
