"""A compiled step is the eager one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from loops import SEED, blobs, mlp
from networks import ZOO
from torch import nn

from actnorm import replicas as rp
from actnorm.replicas import step as stepping

pytestmark = pytest.mark.usefixtures("one_thread")


def test_compiled_equals_eager(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))
    train = partial(
        rp.train,
        ZOO["batch norm"][0],
        blobs(dtype=torch.float32),
        steps=4,
        batch_size=16,
        optimizer=rp.sgd(0.1),
        replicas=3,
        seed=SEED,
    )
    eager, compiled = train(), train(compile=True)
    np.testing.assert_allclose(eager.losses, compiled.losses, atol=1e-5)
    for name, value in eager.module(2).state_dict().items():
        torch.testing.assert_close(compiled.module(2).state_dict()[name], value)


def test_networks_of_other_shapes_are_compiled_one_after_the_other(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))
    settings = {"steps": 1, "batch_size": 16, "optimizer": rp.sgd(0.1), "seed": SEED}

    def conv() -> nn.Module:  # 2.bias is of another length than in the MLP
        tail = nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), *tail).double()

    for build, shape in ((mlp, (6,)), (conv, (1, 4, 4))):
        train = partial(rp.train, build, blobs(shape), replicas=2, **settings)
        eager, compiled = train(), train(compile=True)
        np.testing.assert_allclose(eager.losses, compiled.losses, atol=1e-12)


def test_no_number_of_compilations_sends_torch_back_to_eager(monkeypatch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    for number in range(12):
        plus = stepping.compiled(lambda x, number=number: x + number)
        assert plus(torch.ones(2)).tolist() == [1 + number] * 2
    assert len(graphs) == 12
    for _ in range(4):
        assert stepping.compiled(torch.neg)(torch.ones(2)).tolist() == [-1] * 2
    assert len(graphs) <= 14
