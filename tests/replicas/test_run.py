"""What a run tells: metrics, probes, divergence, and runs joined."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from loops import SEED, batches, blobs, mlp, plain
from torch import nn
from torch.nn import functional as F
from witness import witness

from actnorm import replicas as rp
from actnorm.probe import probe

pytestmark = pytest.mark.usefixtures("one_thread")


def test_joined_runs_are_one():
    whole = witness()
    halves = rp.join([witness(replicas=range(6)), witness(replicas=range(6, 12))])
    assert np.array_equal(halves.losses, whole.losses)
    assert halves.replicas == whole.replicas
    assert len(halves.table()) == 12
    with pytest.raises(ValueError, match="runs must share seed"):
        rp.join([whole, witness(seed=SEED + 1)])


def test_a_diverged_replica_is_recorded_and_harms_nobody():
    train = partial(
        rp.train,
        lambda: nn.Linear(6, 3).double(),
        blobs(),
        steps=30,
        batch_size=16,
        loss=lambda model, batch, noise: model(batch[0]).square().mean(),
        evaluate=rp.classification,
        every=10,
        clip=None,
        seed=SEED,
    )
    run = train(optimizer=rp.sgd([0.01, 1e30, 0.01]), replicas=3)
    assert run.diverged.tolist() == [False, True, False]
    stop = run.finite_steps[1]
    assert 0 < stop < 30
    assert np.isfinite(run.losses[:stop, 1]).all()
    assert not np.isfinite(run.losses[stop, 1])
    row = run.table().loc[1]
    assert row["loss"] == run.losses[stop - 1, 1]
    assert row["diverged"]
    assert np.isnan(row["test accuracy"])
    assert np.isfinite(run.validation["accuracy"][0]).all()
    assert np.isnan(run.validation["accuracy"][1:, 1]).all()
    assert not run.steps_to("accuracy", 0.0).steps.any()  # reached before it diverged
    never = run.steps_to("accuracy", 1.1)
    assert never.steps.tolist() == [30] * 3
    assert not never.reached.any()
    with pytest.raises(ValueError, match="chance must say what the 1 diverged of 3 replicas"):
        run.final("accuracy")
    assert run.final("accuracy", chance=1 / 3)[1] == 1 / 3
    alone = train(optimizer=rp.sgd(0.01), replicas=[2])
    np.testing.assert_allclose(run.losses[:, 2], alone.losses[:, 0], atol=1e-9)
    assert alone.final("accuracy") == pytest.approx(run.final("accuracy", chance=0.0)[2])


def test_a_last_update_that_overflows_counts_as_divergence():
    run = rp.train(
        lambda: nn.Linear(6, 3),
        blobs(dtype=torch.float32),
        steps=1,
        batch_size=16,
        loss=lambda model, batch, noise: 1e30 * model(batch[0]).sum(),
        evaluate=rp.classification,
        optimizer=rp.sgd([1e20, 1e-35]),
        replicas=2,
        seed=SEED,
    )
    assert run.diverged.tolist() == [True, False]
    assert run.finite_steps.tolist() == [1, 1]
    assert np.isnan(run.validation["accuracy"][-1, 0])
    assert np.isfinite(run.validation["accuracy"][0, 0])


def test_metrics_along_training():
    run = rp.train(
        mlp,
        blobs(),
        steps=25,
        batch_size=16,
        optimizer=rp.sgd(0.3),
        replicas=4,
        every=10,
        seed=SEED,
    )
    assert run.evaluated.tolist() == [0, 10, 20, 25]
    tidy = run.metrics
    assert set(tidy) == {"column", "replica", "step", "part", "metric", "value"}
    assert len(tidy) == 2 * 4 * (4 + 1)
    for step in (0, 10):
        steps = max(step, 1)
        rate = 0.3 if step else 1e-300
        for replica in range(4):
            make = partial(torch.optim.SGD, lr=rate)
            _, model, split = plain(mlp, blobs(), replica, steps=steps, size=16, make=make)
            value = F.cross_entropy(model(split.validation[0]), split.validation[1]).item()
            found = tidy.query(
                "part == 'validation' and metric == 'loss' "
                f"and replica == {replica} and step == {step}"
            )
            assert found["value"].item() == pytest.approx(value)
    curve = run.validation["loss"]
    level = np.median(curve)
    steps, reached = run.steps_to("loss", level, lower_is_better=True)
    for column in range(4):
        there = [s for s, v in zip(run.evaluated, curve[:, column], strict=True) if v <= level]
        assert reached[column] == bool(there)
        assert steps[column] == (there[0] if there else 25)
    with pytest.raises(KeyError, match="accuracy, loss"):
        run.final("auc")


def test_a_probe_records_each_replica():
    run = rp.train(
        mlp,
        blobs(),
        steps=5,
        batch_size=16,
        optimizer=rp.sgd(0.3),
        replicas=4,
        every=2,
        record=probe,
        chunk=2,
        seed=SEED,
    )
    assert [(r.step, r.replicas) for r in run.records] == [
        (step, pair) for pair in ((0, 1), (2, 3)) for step in (0, 2, 4)
    ]
    _, model, split = plain(
        mlp, blobs(), 3, steps=2, size=16, make=partial(torch.optim.SGD, lr=0.3)
    )
    rows = batches(3, 40, 16)
    third = [next(rows) for _ in range(3)][2]
    with torch.no_grad():
        expected = model[0](split.train[0][third]).mean(0)
    seen = run.records[4].context.units("1")
    torch.testing.assert_close(seen["input_mean"][1], expected)
    assert seen["gradient_mean_square"].shape == (2, 8)
