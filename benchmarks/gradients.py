"""Time the variance of per-sample gradients, as ratios to a plain backward pass within one run.

Run as ``python -m benchmarks.gradients``. Contenders take turns, round by round, so
that a busy machine slows all of them; each ratio is a median over rounds. BackPACK takes part
where it is installed.
"""

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actnorm import gradients
from benchmarks.timing import finish, ratios, turns


def mlp(*widths: int) -> nn.Module:
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def conv_net() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(144, 10)),
    )


NETWORKS = {
    "mlp 40-64-64-10": (lambda: mlp(40, 64, 64, 10), (40,)),
    "mlp 784-256-256-10": (lambda: mlp(784, 256, 256, 10), (784,)),
    "conv": (conv_net, (3, 16, 16)),
}


def plain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Callable[[], None]:
    return lambda: F.cross_entropy(model(inputs), targets).backward()


def moments(model: nn.Module, inputs: Tensor, targets: Tensor) -> Callable[[], object]:
    return lambda: gradients.moments(model, inputs, targets)


def naive(model: nn.Module, inputs: Tensor, targets: Tensor) -> Callable[[], None]:
    """Return one backward pass for each sample, and sums of gradients and of their squares."""
    parameters = list(model.parameters())

    def run() -> None:
        first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
        for x, y in zip(inputs.split(1), targets.split(1), strict=True):
            grads = torch.autograd.grad(F.cross_entropy(model(x), y), parameters)
            for g, total, squares in zip(grads, first, second, strict=True):
                total += g
                squares += g * g

    return run


def backpack(model: nn.Module, inputs: Tensor, targets: Tensor) -> Callable[[], None]:
    from backpack import backpack, extend
    from backpack.extensions import Variance

    model, criterion = extend(copy.deepcopy(model)), extend(nn.CrossEntropyLoss())

    def run() -> None:
        with backpack(Variance()):
            criterion(model(inputs), targets).backward()

    return run


def measure(rounds: int = 11) -> list[dict]:
    """Return one row per network and batch: milliseconds of a backward pass, ratios to it."""
    contenders = [plain, moments, naive]
    if importlib.util.find_spec("backpack"):
        warnings.filterwarnings("ignore", message="Full backward hook")
        contenders.append(backpack)
    rows = []
    for name, (build, shape) in NETWORKS.items():
        for size in (128, 1024):
            torch.manual_seed(0)
            problem = build(), torch.randn(size, *shape), torch.randint(10, (size,))
            seconds = turns({make.__name__: make(*problem) for make in contenders}, rounds)
            pass_ms = 1e3 * seconds["plain"].median()
            rows.append(
                {"network": name, "n": size, "plain, ms": pass_ms} | ratios(seconds, "plain")
            )
    return rows


if __name__ == "__main__":
    finish("gradients", measure)
