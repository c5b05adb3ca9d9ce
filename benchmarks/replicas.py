"""Time one training step of R networks, as ratios within one run.

Run as ``python -m benchmarks.replicas``. Contenders take turns, round by round, and each cell is
a median over rounds. The base is the bare matrix products of the R networks, one network after
another, as a loop over them needs; *stacked products* are the same in one call per layer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actnorm import replicas
from actnorm.data import Split
from benchmarks.timing import clock, finish

BATCH = 128


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


NETWORKS = {"mlp": (mlp, (40,)), "conv": (conv_net, (1, 8, 8))}


def problem(shape: tuple[int, ...]) -> Split:
    """Return noise inputs and random labels: 1,024 examples to train on."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(1024, *shape, generator=generator)
    targets = torch.randint(10, (1024,), generator=generator)
    part = (inputs[:16], targets[:16])
    return Split((inputs, targets), part, part)


def stacked(
    build: Callable,
    data: Split,
    count: int,
    steps: int,
    *,
    compile: bool,
    device: str | torch.device = "cpu",
    now: Callable[[], float] = clock,
    window: int = 1,
) -> float:
    """Return the seconds of one step of `replicas.train`; the first two steps do not count.

    The clock is read once in ``window`` steps: one that waits for a card holds it up.
    """
    stamps = []

    def schedule(step: int) -> float:
        if step >= 2 and (step - 2) % window == 0:
            stamps.append(now())
        return 1.0

    replicas.train(
        build,
        data,
        steps=steps + 3,
        batch_size=BATCH,
        optimizer=replicas.adam(1e-3),
        loss=replicas.cross_entropy,
        replicas=range(count),
        schedule=schedule,
        device=device,
        compile=compile,
        chunk=count,
    )
    return float(np.median([b - a for a, b in pairwise(stamps)])) / window


def loop(
    build: Callable,
    data: Split,
    count: int,
    steps: int,
    *,
    fused: bool,
    device: str | torch.device = "cpu",
    now: Callable[[], float] = clock,
) -> float:
    """Return the seconds in which stock modules and optimizers, in turn, make one step each."""
    models = [build().to(device) for _ in range(count)]
    optimizers = [torch.optim.Adam(model.parameters(), 1e-3, fused=fused) for model in models]
    inputs, targets = (tensor.to(device) for tensor in data.train)
    durations = []
    for step in range(steps + 2):
        start = now()
        for model, optimizer in zip(models, optimizers, strict=True):
            if step % 8 == 0:
                order = torch.randperm(len(targets), device=inputs.device)
            batch = order[step % 8 * BATCH : (step % 8 + 1) * BATCH]
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[batch]), targets[batch]).backward()
            optimizer.step()
        durations.append(now() - start)
    return float(np.median(durations[2:]))


def products(
    build: Callable, shape: tuple[int, ...], count: int, steps: int, *, stack: bool
) -> float:
    """Return the seconds of one step's matrix products and convolutions, and of nothing else."""
    stacks = [count] if stack else [1] * count
    work = [product for size in stacks for product in bare(build, shape, size)]
    durations = []
    for _ in range(steps + 2):
        start = clock()
        for product in work:
            product()
        durations.append(clock() - start)
    return float(np.median(durations[2:]))


def bare(
    build: Callable, shape: tuple[int, ...], count: int, device: str | torch.device = "cpu"
) -> list[Callable[[], object]]:
    """Return the matrix products and convolutions of one step of a stack, each as a function."""
    work: list[Callable[[], object]] = []
    x = torch.randn(count, BATCH, *shape, device=device)
    for layer in build().to(device):
        if isinstance(layer, nn.Linear):
            work += _linear(layer, x, first=not work)
        elif isinstance(layer, nn.Conv2d):
            work += _convolution(layer, x, first=not work)
        with torch.no_grad():
            x = layer(x.flatten(0, 1)).unflatten(0, (count, BATCH))
    return work


def _linear(layer: nn.Linear, x: Tensor, first: bool) -> list[Callable[[], object]]:
    weight = x.new_empty(len(x), *layer.weight.shape).normal_()
    slope = x.new_empty(len(x), BATCH, layer.out_features).normal_()
    work = [lambda: torch.bmm(x, weight.mT), lambda: torch.bmm(slope.mT, x)]
    return work if first else [*work, lambda: torch.bmm(slope, weight)]


def _convolution(layer: nn.Conv2d, x: Tensor, first: bool) -> list[Callable[[], object]]:
    count = len(x)
    weight = x.new_empty(count * layer.out_channels, *layer.weight.shape[1:]).normal_()
    merged = x.transpose(0, 1).flatten(1, 2).contiguous()
    settings = layer.stride, layer.padding, layer.dilation
    slope = torch.randn_like(F.conv2d(merged, weight, None, *settings, count))
    return [
        lambda: F.conv2d(merged, weight, None, *settings, count),
        lambda: torch.ops.aten.convolution_backward(
            slope, merged, weight, None, *settings, False, (0, 0), count, (not first, True, False)
        ),
    ]


def measure(
    counts: tuple[int, ...] = (1, 8, 32, 128), rounds: int = 5, compile: bool = True
) -> list[dict]:
    """Return one row per network and R: milliseconds of the products, and ratios to them."""
    rows = []
    for name, (build, shape) in NETWORKS.items():
        data = problem(shape)
        for count in counts:
            steps = max(6, 200 // count)
            contenders = {
                "products": partial(products, build, shape, stack=False),
                "stacked products": partial(products, build, shape, stack=True),
                "replicas": partial(stacked, build, data, compile=False),
                "loop": partial(loop, build, data, fused=False),
                "fused loop": partial(loop, build, data, fused=True),
                "compiled": partial(stacked, build, data, compile=True),
            }
            if not compile:
                del contenders["compiled"]
            seconds = pd.DataFrame(
                {name: clock(count, steps) for name, clock in contenders.items()}
                for _ in range(rounds)
            )
            ratios = seconds.drop(columns="products").div(seconds["products"], axis=0).median()
            gains = seconds.rdiv(seconds["loop"], axis=0).median()
            rows.append(
                {"network": name, "R": count, "products, ms": 1e3 * seconds["products"].median()}
                | {f"{key} / products": value for key, value in ratios.items()}
                | {f"loop / {key}": gains[key] for key in ("replicas", "compiled") if key in gains}
            )
            print(pd.DataFrame(rows[-1:]).round(2).T.to_string(header=False), "\n", flush=True)
    return rows


if __name__ == "__main__":
    finish("replicas", measure)
