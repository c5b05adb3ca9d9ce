"""What evidence promises, simulated: coverage, how often re-runs contradict, and power.

Every row is a share of simulated experiments, beside what is promised of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from actnorm import evidence
from actnorm.evidence import intervals, power

RUNS = 1500
Draw = Callable[[np.random.Generator, int], np.ndarray]

LAWS: dict[str, tuple[Draw, float, float]] = {  # a draw, its mean and its median
    "normal": (lambda rng, n: rng.normal(1, 1, n), 1.0, 1.0),
    "exponential": (lambda rng, n: rng.exponential(1, n), 1.0, np.log(2)),
    "lognormal": (lambda rng, n: rng.lognormal(0, 1, n), np.exp(0.5), 1.0),
}


def part(kind: str, margin: float, n: int) -> evidence.Part:
    return evidence.Part("p", "asserts", kind=kind, margin=margin, replicas=n)


def coverage(law: str, n: int) -> list[dict]:
    """How often 99 % intervals cover, one rule at a time."""
    rng = np.random.default_rng(1)
    draw, mean, median = LAWS[law]
    hits = {"t": [], "t, and bootstrap-t where skewed": [], "median": []}
    for _ in range(RUNS):
        x = draw(rng, n)
        _, low, high = intervals.t_interval(x, 0.01)
        hits["t"].append(low <= mean <= high)
        if abs(intervals.skewness(x)) > 1:
            _, other_low, other_high = intervals.bootstrap_t(x, 0.01)
            low, high = min(low, other_low), max(high, other_high)
        hits["t, and bootstrap-t where skewed"].append(low <= mean <= high)
        e = evidence.median_effect(x)
        hits["median"].append(e.low <= median <= e.high)
    promised = dict.fromkeys(hits, 0.99) | {"median": e.coverage}
    return [
        row(f"coverage, {name}", f"{law}, n = {n}", np.mean(seen), promised[name])
        for name, seen in hits.items()
    ]


def contradictions(law: str, n: int) -> list[dict]:
    """How often one of ten parts re-run on other replicas contradicts, alike and shifted."""
    rng = np.random.default_rng(2)
    draw, mean, _ = LAWS[law]
    judged, found = part("greater", mean / 4, n), {0.0: 0, 1.0: 0}
    for shift in found:
        for _ in range(RUNS):
            then, now = draw(rng, n), draw(rng, n) + shift * draw(rng, 2000).std()
            pair = evidence.mean_effect(now), evidence.mean_effect(then)
            against = evidence.compare(judged, *pair, same=False, comparisons=10)
            found[shift] += against.contradicts
    return [
        row("contradicts, nothing changed", f"{law}, n = {n}, ten parts", found[0.0] / RUNS, 0.001),
        row("contradicts, shifted by 1 sd", f"{law}, n = {n}, ten parts", found[1.0] / RUNS, None),
    ]


def chaos(n: int) -> list[dict]:
    """How often chaotic replicas, re-run as themselves, contradict; and if they moved by 2 sd."""
    rng = np.random.default_rng(3)
    judged, found = part("greater", 0.2, 32), {0.0: 0, 2.0: 0}
    for shift in found:
        for _ in range(RUNS):
            then = rng.normal(1, 0.1, n)
            plain, moved, now = (then + rng.normal(0, 0.05, n) for _ in range(3))
            recorded = evidence.mean_effect(plain)
            moves = evidence.rounding(judged, recorded, evidence.mean_effect(moved))
            live = evidence.mean_effect(now + shift * 0.1)
            against = evidence.compare(judged, live, recorded, same=True, moves=moves)
            found[shift] += against.contradicts
    return [
        row("contradicts, chaotic, only rounding", f"n = {n}", found[0.0] / RUNS, 0.01),
        row("contradicts, chaotic, moved by 2 sd", f"n = {n}", found[2.0] / RUNS, None),
    ]


def decided(distance: float, n: int) -> dict:
    """How often a part is decided, its effect so many deviations from the margin."""
    rng, judged = np.random.default_rng(4), part("greater", 0.2, n)
    unit = np.tile([-1.0, 1.0], 16)
    truth = evidence.mean_effect(0.2 + distance + unit / unit.std(ddof=1))
    seen = [
        judged.outcome(evidence.mean_effect(rng.normal(0.2 + distance, 1, n))) == "holds"
        for _ in range(RUNS)
    ]
    promised = power.power(judged, truth, n)
    return row("power", f"{distance:g} sd from the margin, n = {n}", np.mean(seen), promised)


def row(what: str, where: str, seen: float, promised: float | None) -> dict:
    promised = promised and round(float(promised), 4)
    return {"what": what, "where": where, "seen": round(float(seen), 4), "promised": promised}


def measure() -> list[dict]:
    """Simulate all of it."""
    rows = [each for law in LAWS for n in (16, 64) for each in coverage(law, n)]
    rows += [each for law in ("normal", "lognormal") for each in contradictions(law, 32)]
    rows += [each for n in (8, 16) for each in chaos(n)]
    return rows + [decided(distance, n) for distance in (0.5, 1.0) for n in (32, 64)]
