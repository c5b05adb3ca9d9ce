"""Measure the peak memory of training R networks in chunks of 32, each R in a process of its own.

Run as ``python -m benchmarks.memory``. What grows with R is what is handed back: the trained
networks and their curves.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from actnorm import replicas
from benchmarks.replicas import mlp, problem
from benchmarks.timing import finish


def peak(count: int) -> float:
    """Return the MiB that this process needed at most, training ``count`` networks."""
    replicas.train(
        mlp,
        problem((40,)),
        steps=20,
        batch_size=128,
        optimizer=replicas.adam(1e-3),
        replicas=range(count),
        chunk=32,
    )
    # Not getrusage: its peak is that of the parent, where that was higher.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def measure(counts: tuple[int, ...] = (1, 32, 128, 512)) -> list[dict]:
    """Return one row per R: the peak in MiB, Python and torch included."""
    rows = []
    for count in counts:
        command = [sys.executable, "-m", "benchmarks.memory", str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append({"R": count, "peak, MiB": float(done.stdout)})
    return rows


if __name__ == "__main__":
    if sys.argv[1:]:
        print(peak(int(sys.argv[1])))
    else:
        finish("memory", measure)
