"""Every replica has its own streams, whatever its company."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from loops import SEED, batches, blobs, built, mlp
from torch import nn
from witness import Witness, dyadic, numbered, witness

from actnorm import replicas as rp
from actnorm.streams import stream

pytestmark = pytest.mark.usefixtures("one_thread")


def test_streams_are_those_of_the_replica():
    run = witness(replicas=[3])
    split = numbered(stream("split", 3, seed=SEED))
    drawn, rows = stream("noise", 3, seed=SEED), batches(3, 20, 4)
    for step in range(13):
        digits = split.train[0][next(rows)]
        expected = sum(int(d) * 64**i for i, d in enumerate(digits)) + dyadic(drawn)[0].sum().item()
        assert run.losses[step, 0] == expected
    assert torch.equal(run.module(0).weight, built(Witness, 3).weight)


@pytest.mark.parametrize(
    ("changes", "columns"),
    [
        ({"replicas": [3, 7]}, [3, 7]),
        ({"replicas": [7]}, [7]),
        ({"chunk": 5}, range(12)),
        ({"chunk": 1}, range(12)),
        ({"replicas": [3, 7, 3, 7], "optimizer": rp.sgd([0.1, 0.1, 0.2, 0.2])}, [3, 7, 3, 7]),
    ],
    ids=["pair", "alone", "chunks", "one by one", "tuning grid"],
)
def test_company_changes_no_bit(changes, columns):
    together, run = witness(), witness(**changes)
    assert np.array_equal(run.losses, together.losses[:, list(columns)])
    for i, column in enumerate(columns):
        assert torch.equal(run.module(i).weight, together.module(column).weight)


def test_an_arm_with_other_parameters_sees_the_same_batches():
    def order(model, batch, noise):
        place = 64.0 ** torch.arange(4, dtype=torch.float64)
        return (batch[0] * place).sum() + 0 * sum(p.sum() for p in model.parameters())

    arms = [
        rp.train(
            build,
            numbered,
            steps=13,
            batch_size=4,
            loss=order,
            optimizer=rp.sgd(1.0),
            replicas=3,
            seed=SEED,
        ).losses
        for build in (Witness, mlp)
    ]
    assert np.array_equal(*arms)


def test_the_reader_moves_seed_and_replicas(monkeypatch):
    monkeypatch.setenv("ACTNORM_SEED", "11")
    monkeypatch.setenv("ACTNORM_REPLICAS", "4:6")
    run = witness(replicas=12, seed=None)
    assert run.seed == 11
    assert run.replicas == (4, 5)
    monkeypatch.delenv("ACTNORM_REPLICAS")
    assert np.array_equal(witness(replicas=[4, 5], seed=11).losses, run.losses)


def test_the_callers_generator_and_data_are_left_alone():
    state = torch.get_rng_state()
    split = blobs()(torch.Generator().manual_seed(0))
    before = [t.clone() for t in split.train]
    dropout = lambda: nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5)).double()  # noqa: E731
    rp.train(dropout, split, steps=3, batch_size=8, optimizer=rp.sgd(0.1), replicas=2, seed=SEED)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(before, split.train, strict=True))


def test_one_split_for_all_equals_a_draw_of_it():
    split = blobs()(torch.Generator().manual_seed(0))
    train = partial(
        rp.train, mlp, steps=5, batch_size=16, optimizer=rp.sgd(0.1), replicas=3, seed=SEED
    )
    copies = train(lambda g: blobs()(torch.Generator().manual_seed(0)))
    np.testing.assert_allclose(train(split).losses, copies.losses, atol=1e-12)
