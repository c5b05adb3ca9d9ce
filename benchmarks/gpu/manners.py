"""What training on a card takes as it comes, and leaves as it was."""

from __future__ import annotations

import copy
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor

import actnorm as an
from actnorm import stateless
from actnorm.data import Split
from benchmarks.gpu.problems import CONV, CPU, MLP, PROBLEMS, SEED, Problem, clouds, dropout_net
from benchmarks.gpu.report import Check, apart
from benchmarks.gpu.training import EXACT, course, different


def named_in_the_environment(device: torch.device) -> float:
    """``ACTNORM_DEVICE`` moves batches, noise and parameters."""
    places = set()

    def loss(model: nn.Module, batch: tuple, noise: tuple) -> Tensor:
        places.update(t.device.type for t in (*batch, *noise, *model.parameters()))
        return nn.functional.cross_entropy(model(batch[0] + noise[0]), batch[1])

    before = os.environ.get("ACTNORM_DEVICE")
    os.environ["ACTNORM_DEVICE"] = device.type
    try:
        PROBLEMS["noise"].train(None, torch.float64, steps=1, loss=loss)
    finally:
        del os.environ["ACTNORM_DEVICE"]
        if before is not None:
            os.environ["ACTNORM_DEVICE"] = before
    return float(places != {device.type})


def generators(device: torch.device) -> list[Tensor]:
    cards = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cards]


def left_alone(place: torch.device, device: torch.device) -> float:
    """Return how many bytes of the caller's generators training on one place has changed."""
    before = generators(device)
    Problem(dropout_net).train(place, torch.float64, steps=2)
    return sum(map(different, generators(device), before))


@contextmanager
def default_device(device: torch.device) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


def under_a_default_device(device: torch.device) -> float:
    with default_device(device):
        run = MLP.train(device, torch.float64)
    return apart(course(run), course(MLP.train(CPU, torch.float64)))


def data_on_the_card(device: torch.device) -> float:
    split = clouds(6, dtype=torch.float64)(an.stream("split", 0, seed=SEED))
    there = Split(*(tuple(t.to(device) for t in part) for part in vars(split).values()))
    runs = [MLP.train(device, torch.float64, data=data) for data in (there, split)]
    return apart(*map(course, runs))


class Scaled(nn.Module):
    """A network with a tensor that is neither parameter nor buffer, behind layers of another."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first, self.rest = first, MLP.build()
        self.scale = torch.full((3,), 0.5, dtype=torch.float64)

    def to(self, *args: Any, **kwargs: Any) -> nn.Module:
        self.scale = self.scale.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.rest(self.first(x))


def built_on_the_card(device: torch.device) -> float:
    """Networks that their builder moves: they train alike on either, and come back on the CPU."""
    frozen = nn.Linear(6, 6, dtype=torch.float64).requires_grad_(False)
    runs = []
    for home, place in ((CPU, CPU), (device, device), (device, CPU)):
        shared = copy.deepcopy(frozen).to(home)
        run = Problem(lambda shared=shared, home=home: Scaled(shared).to(home)).train(
            place, torch.float64
        )
        networks = [run.module(i) for i in range(len(run.replicas))]
        if any(
            t.device != CPU for network in networks for t in stateless.tensors(network).values()
        ):
            return np.inf
        if shared.weight.device.type != home.type:
            return np.inf
        runs.append(course(run))
    return max(apart(run, runs[0]) for run in runs[1:])


def held(device: torch.device) -> int:
    """Return the bytes that tensors hold on a device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.memory_allocated(device)
    storages = {
        x.untyped_storage()._cdata: x.untyped_storage().nbytes()
        for x in gc.get_objects()
        if issubclass(type(x), Tensor)
        and not is_functorch_wrapped_tensor(x)  # what compiled code keeps has no memory of its own
        and x.device.type == device.type
    }
    return sum(storages.values())


def memory(device: torch.device) -> float:
    """Return the bytes that probed runs, dropped, and plain ones, kept, leave on the device."""
    train = partial(CONV.train, device, torch.float32, steps=6)
    train(record=an.probe)  # what libraries allocate once
    before, kept = held(device), []
    for _ in range(3):
        train(record=an.probe)
        kept.append(train())
    if device == CPU:
        kept.clear()
    return float(held(device) - before)


def checks(device: torch.device) -> Iterator[Check]:
    """Yield every check of manners."""
    environment = partial(named_in_the_environment, device)
    yield Check("ACTNORM_DEVICE", "tensors elsewhere than it says", 0, environment)
    for place in (device, CPU):
        changed = "bytes changed in the caller's generators"
        name = f"generators: training on {place.type}"
        yield Check(name, changed, 0, partial(left_alone, place, device))
    both = "a run on the card, and the CPU's, float64"
    default = partial(under_a_default_device, device)
    yield Check("torch.set_default_device", both, EXACT, default)
    yield Check("data on the card", both, EXACT, partial(data_on_the_card, device))
    yield Check("a network built on the card", both, EXACT, partial(built_on_the_card, device))
    yield Check("memory", "bytes that ten runs leave on the card", 0, partial(memory, device))
