"""The plain loop over stock modules and optimizers, against which stacks are held."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from actnorm import replicas as rp
from actnorm.data import Split
from actnorm.streams import stream

SEED = 7


def blobs(shape: tuple[int, ...] = (6,), classes: int = 3, train: int = 40, dtype=torch.float64):
    """Return a draw of a classification problem of separated clouds."""

    def draw(generator: torch.Generator) -> Split:
        total = train + 24
        targets = torch.randint(classes, (total,), generator=generator)
        centres = torch.randn(classes, *shape, generator=generator, dtype=dtype)
        noise = torch.randn(total, *shape, generator=generator, dtype=dtype)
        pairs = zip(
            *(t.split([train, 12, 12]) for t in (2 * centres[targets] + noise, targets)),
            strict=True,
        )
        return Split(*pairs)

    return draw


def mlp(width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 3)).double()


def batches(replica: int, examples: int, size: int):
    """Yield index tensors: epochs without replacement."""
    generator = stream("batches", replica, seed=SEED)
    while True:
        order = torch.randperm(examples, generator=generator)
        for start in range(0, examples - size + 1, size):
            yield order[start : start + size]


def built(build, replica: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("init", replica, seed=SEED).initial_seed())
        return build()


def plain(
    build, draw, replica, *, steps, size, make, loss=None, schedule=None, clip=None, noise=None
):
    """Train one replica by the stock loop: losses, network, its split."""
    loss = loss or (lambda model, batch, noise: F.cross_entropy(model(batch[0]), batch[1]))
    split = draw(stream("split", replica, seed=SEED))
    drawn = stream("noise", replica, seed=SEED)
    model = built(build, replica)
    optimizer = make(model.parameters())
    rate = optimizer.param_groups[0]["lr"]
    losses = []
    for step, rows in zip(range(steps), batches(replica, len(split.train[0]), size), strict=False):
        optimizer.zero_grad()
        value = loss(model, [t[rows] for t in split.train], noise(drawn) if noise else ())
        value.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        for group in optimizer.param_groups:
            group["lr"] = rate * (schedule(step) if schedule else 1)
        optimizer.step()
        losses.append(value.item())
    return np.array(losses), model, split


def assert_same(run: rp.Run, column: int, losses: np.ndarray, model: nn.Module, tolerance=1e-9):
    np.testing.assert_allclose(run.losses[:, column], losses, rtol=0, atol=tolerance)
    trained = run.module(column).state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(trained[name], value, rtol=0, atol=tolerance)
