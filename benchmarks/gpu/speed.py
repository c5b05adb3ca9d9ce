"""Training R networks on a card, against a loop over them and against what the card can do.

The floor is the bare matrix products and convolutions of the same step, one call per layer for all
R networks. Clocks wait for the card, and each figure is a median.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.report import Report
from benchmarks.replicas import BATCH, NETWORKS, bare, loop, problem, stacked

COUNTS, COMPILED, FEW = (1, 8, 64, 256, 1024), (64, 1024), 8


def clock(device: torch.device) -> Callable[[], float]:
    """Return a clock that waits for what the device still has to do."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 20) -> float:
    """Return the median time of one pass, by the card's own events where it has them."""
    for _ in range(3):
        work()
    if device.type != "cuda":
        stamps = [time.perf_counter()]
        for _ in range(repeats):
            work()
            stamps.append(time.perf_counter())
        return median(b - a for a, b in pairwise(stamps))
    events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    events[0].record()
    for event in events[1:]:
        work()
        event.record()
    torch.cuda.synchronize(device)
    return median(a.elapsed_time(b) for a, b in pairwise(events)) / 1e3


def _all(work: list[Callable[[], object]]) -> None:
    for each in work:
        each()


def operations(build: Callable, shape: tuple[int, ...]) -> int:
    """Return the floating-point operations of one network's matrix products in one step."""
    model, inputs = build(), torch.randn(BATCH, *shape)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(inputs), torch.zeros(BATCH, dtype=torch.int64)).backward()
    return counter.get_total_flops()


def limits(device: torch.device, brief: bool) -> dict[str, float]:
    """Return what the card does at best, here and now: large float32 products, and copies."""
    side = 256 if brief else 8192
    a, b = torch.randn(2, side, side, device=device)
    source = torch.randn(side * side, device=device)
    target = torch.empty_like(source)
    product = seconds(lambda: torch.mm(a, b), device)
    copy = seconds(lambda: target.copy_(source), device)
    return {
        "float32 product, TFLOP/s": 2e-12 * side**3 / product,
        "copy, GB/s": 1e-9 * 2 * source.nbytes / copy,
    }


def eager(row: dict[str, Any], device: torch.device, brief: bool) -> None:
    """Fill a row with times of the floor, of the stack and, where R is small, of a loop."""
    build, shape = NETWORKS[row["network"]]
    count, data, now = row["R"], problem(shape), clock(device)
    floor = seconds(partial(_all, bare(build, shape, count, device)), device)
    work = operations(build, shape) * count
    row |= {"stacked products, ms": 1e3 * floor, "stacked products, TFLOP/s": 1e-12 * work / floor}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    steps, window = (4, 1) if brief else (50, 10)
    options = {"device": device, "now": now, "compile": False, "window": window}
    step = stacked(build, data, count, steps, **options)
    row |= {
        "replicas / stacked products": step / floor,
        "replica-steps per second": count / step,
        "TFLOP/s": 1e-12 * work / step,
    }
    if device.type == "cuda":
        row["peak, MiB"] = torch.cuda.max_memory_allocated(device) / 2**20
    if count <= FEW:
        options = {"device": device, "now": now, "fused": True}
        row["loop / replicas"] = loop(build, data, count, min(steps, 10), **options) / step


def compiled(row: dict[str, Any], device: torch.device, brief: bool) -> None:
    """Add the times of the compiled stack to a row that `eager` has filled."""
    build, shape = NETWORKS[row["network"]]
    torch.compiler.reset()  # torch compiles a function eight times, and then gives up on it
    steps, window = (4, 1) if brief else (50, 10)
    options = {"device": device, "now": clock(device), "compile": True, "window": window}
    step = stacked(build, problem(shape), row["R"], steps, **options)
    row |= {
        "compiled / stacked products": 1e3 * step / row["stacked products, ms"],
        "compiled, replica-steps per second": row["R"] / step,
    }


def measure(report: Report, device: torch.device, brief: bool) -> None:
    """Put one row per network and R into the report, and what the card does at best."""
    counts = COUNTS[:2] if brief else COUNTS
    best = report.content["limits"] = {}
    with report.guarded(best):
        best |= limits(device, brief)
    rows = [{"network": name, "R": count} for count in counts for name in NETWORKS]
    for row in rows:
        if report.left > 0:
            report.content["rows"].append(row)
            _fill(report, row, eager, device, brief)


def measure_compiled(report: Report, device: torch.device, brief: bool) -> None:
    """Add compiled times where R is large, the largest first."""
    for row in reversed(report.content["rows"]):
        if row["R"] in COMPILED and "error" not in row and report.left > 0:
            _fill(report, row, compiled, device, brief)


def _fill(
    report: Report,
    row: dict[str, Any],
    fill: Callable[[dict[str, Any], torch.device, bool], None],
    device: torch.device,
    brief: bool,
) -> None:
    with report.guarded(row):
        fill(row, device, brief)
    figures = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
    print(", ".join(figures), flush=True)
    report.write()
