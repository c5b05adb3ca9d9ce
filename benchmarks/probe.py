"""Time a training step with and without a probe, as ratios within one run.

Run as ``python -m benchmarks.probe``. Contenders take turns, round by round, so that a
busy machine slows all of them; each ratio is a median over rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional as F

from actnorm.probe import probe
from benchmarks.timing import finish, ratios, turns

BATCH = 128


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def conv_net() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1, stride=2), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


NETWORKS = {"mlp": (mlp, (40,), 50), "conv": (conv_net, (3, 16, 16), 10)}
PROBES = {
    "plain": lambda model: nullcontext(),
    "activations": lambda model: probe(model, gradients=False),
    "activations and gradients": probe,
    "both, every 10 steps": lambda model: probe(model, every=10),
}


def training(build: Callable[[], nn.Module], shape: tuple[int, ...], steps: int, kind: str):
    """Return what trains one network for some steps under one kind of probe."""
    torch.manual_seed(0)
    model, inputs, targets = build(), torch.randn(BATCH, *shape), torch.randint(10, (BATCH,))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    watching = PROBES[kind](model)

    def train() -> None:
        with watching:
            for _ in range(steps):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), targets).backward()
                optimizer.step()

    return train


def measure(rounds: int = 21) -> list[dict]:
    """Return one row per network: milliseconds of a plain step, and ratios to it."""
    rows = []
    for name, (build, shape, steps) in NETWORKS.items():
        seconds = turns({kind: training(build, shape, steps, kind) for kind in PROBES}, rounds)
        plain = 1e3 * seconds["plain"].median() / steps
        rows.append({"network": name, "plain step, ms": plain} | ratios(seconds, "plain"))
    return rows


if __name__ == "__main__":
    finish("probe", measure)
