"""Time a training step with and without a probe, as ratios within one run.

Run as ``python -m benchmarks.probe``. Contenders take turns, round by round, so that a
busy machine slows all of them; each ratio is a median over rounds. Two rivals take part where they
are installed: delve gathers covariances of the outputs of linear and convolutional layers; captum
reads activations in a forward pass of its own, and keeps nothing.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

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


NETWORKS = {"mlp": (mlp, (40,), 200), "conv": (conv_net, (3, 16, 16), 20)}


@contextmanager
def delve(model: nn.Module) -> Iterator[None]:
    from delve import SaturationTracker

    logging.getLogger("delve").setLevel("WARNING")
    with tempfile.TemporaryDirectory() as folder:
        tracker = SaturationTracker(folder, "csv", model, device="cpu")
        yield
        tracker.stop()


@contextmanager
def captum(model: nn.Module) -> Iterator[Callable]:
    from captum.attr import LayerActivation

    yield LayerActivation(model, [m for m in model.modules() if isinstance(m, nn.ReLU)]).attribute


# Contexts around training; what they return is called with the inputs of each step, if it can be.
PROBES: dict[str, Callable] = {
    "plain": lambda model: nullcontext(),
    "activations": lambda model: probe(model, gradients=False),
    "activations and gradients": probe,
    "both, every 10 steps": lambda model: probe(model, every=10),
} | {rival.__name__: rival for rival in (delve, captum) if importlib.util.find_spec(rival.__name__)}


def training(build: Callable[[], nn.Module], shape: tuple[int, ...], steps: int, kind: str):
    """Return what trains a fresh network for some steps under one kind of probe."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(BATCH, *shape), torch.randint(10, (BATCH,))

    def train() -> None:
        model = build()
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        with PROBES[kind](model) as look:
            for _ in range(steps):
                if callable(look):
                    look(inputs)
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), targets).backward()
                optimizer.step()

    return train


def measure(rounds: int = 31) -> list[dict]:
    """Return one row per network: milliseconds of a plain step, and ratios to it."""
    rows = []
    for name, (build, shape, steps) in NETWORKS.items():
        seconds = turns({kind: training(build, shape, steps, kind) for kind in PROBES}, rounds)
        plain = 1e3 * seconds["plain"].median() / steps
        rows.append({"network": name, "plain step, ms": plain} | ratios(seconds, "plain"))
    return rows


if __name__ == "__main__":
    finish("probe", measure)
