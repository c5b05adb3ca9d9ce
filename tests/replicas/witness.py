"""A run whose losses tell which examples and which noise each replica saw."""

from __future__ import annotations

import torch
from loops import SEED
from torch import nn

from actnorm import replicas as rp
from actnorm.data import Split


class Witness(nn.Module):
    """Its parameter never moves, and its loss is exactly what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, dtype=torch.float64))


def shown(model, batch, noise):
    place = 64.0 ** torch.arange(4, dtype=torch.float64)
    return (batch[0] * place).sum() + noise[0].sum() + 0 * model.weight.sum()


def numbered(generator: torch.Generator) -> Split:
    order = torch.randperm(30, generator=generator).double()
    return Split((order[:20],), (order[20:25],), (order[25:],))


def dyadic(generator: torch.Generator):
    return (torch.randint(1024, (3,), generator=generator).double() / 1024,)


def witness(**changes) -> rp.Run:
    settings = {"replicas": 12, "optimizer": rp.sgd(0.1), "seed": SEED} | changes
    return rp.train(Witness, numbered, steps=13, batch_size=4, loss=shown, noise=dyadic, **settings)
