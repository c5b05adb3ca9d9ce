"""Replicas in chunks are replicas in one stack."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from loops import SEED, blobs
from networks import ZOO
from torch import nn
from torch.nn import functional as F
from witness import witness

from actnorm import replicas as rp
from actnorm.data import Split

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_chunks_train_alike(chunk):
    train = partial(
        rp.train,
        ZOO["batch norm"][0],
        blobs(dtype=torch.float32),
        steps=30,
        batch_size=16,
        optimizer=rp.sgd(0.05),
        seed=SEED,
    )
    whole, run = train(replicas=7), train(replicas=7, chunk=chunk)
    np.testing.assert_allclose(run.losses, whole.losses, atol=1e-4)
    assert run.replicas == tuple(range(7))


class Dropped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return F.dropout(torch.ones(400), 0.3, self.training).mean() + 0 * self.bias


def test_dropout_is_independent_between_replicas_and_repeatable():
    def run(seed):
        return rp.train(
            Dropped,
            Split((torch.zeros(8),), (torch.zeros(4),), (torch.zeros(4),)),
            steps=60,
            batch_size=4,
            loss=lambda model, batch, noise: model(batch[0]),
            evaluate=lambda model, x: {"mean": model(x)},
            optimizer=rp.sgd(0.1),
            replicas=16,
            seed=seed,
        )

    first = run(SEED)
    assert first.tied
    assert np.array_equal(first.losses, run(SEED).losses)
    assert not np.array_equal(first.losses, run(SEED + 1).losses)
    # 960 means of 400 Bernoulli draws each: mean 1, variance 0.3 / 0.7 / 400.
    error = np.sqrt(0.3 / 0.7 / 400)
    assert abs(first.losses.mean() - 1) < 4 * error / np.sqrt(960)
    assert first.losses.std() == pytest.approx(error, rel=0.1)
    off = np.corrcoef(first.losses.T)[np.triu_indices(16, 1)]
    assert abs(off.mean()) < 4 / np.sqrt(60 * 120)
    assert (first.test["mean"] == 1).all()  # eval mode
    assert not witness().tied
