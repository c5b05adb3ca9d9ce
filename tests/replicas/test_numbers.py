"""Half precision, complex numbers, squares that overflow, and NumPy's whole numbers."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from loops import SEED, assert_same, blobs, mlp, plain
from torch import nn

from actnorm import replicas as rp

train = partial(rp.train, steps=8, batch_size=16, optimizer=rp.sgd(0.1), seed=SEED)
single = blobs(dtype=torch.float32)


class Half(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).to(dtype)
        self.dtype = dtype

    def forward(self, x):
        return self.layers(x.to(self.dtype))


@pytest.mark.parametrize(
    ("dtype", "ours", "stock"),
    [
        (torch.float16, rp.sgd(0.1), partial(torch.optim.SGD, lr=0.1)),
        (torch.bfloat16, rp.sgd(0.1), partial(torch.optim.SGD, lr=0.1)),
        (torch.bfloat16, rp.sgd(0.1, momentum=0.9), partial(torch.optim.SGD, lr=0.1, momentum=0.9)),
        (torch.bfloat16, rp.adam(0.01, eps=1e-4), partial(torch.optim.Adam, lr=0.01, eps=1e-4)),
        (torch.bfloat16, rp.adamw(0.01, eps=1e-4), partial(torch.optim.AdamW, lr=0.01, eps=1e-4)),
    ],
    ids=["float16", "sgd", "momentum", "adam", "adamw"],
)
def test_half_precision_equals_the_plain_loop(dtype, ours, stock):
    """To rounding: torch's fused SGD, on a CPU, is off by far more than that."""
    build = partial(Half, dtype)
    run = train(build, single, optimizer=ours, replicas=[4, 9, 2], clip=1.0)
    assert run.losses.dtype == np.float32
    accuracy = run.test["accuracy"]
    np.testing.assert_allclose(accuracy * 12, np.round(accuracy * 12), atol=1e-6)
    for column, replica in enumerate([4, 9, 2]):
        losses, _, _ = plain(build, single, replica, steps=8, size=16, make=stock, clip=1.0)
        tolerance = 16 * torch.finfo(dtype).eps
        np.testing.assert_allclose(run.losses[:, column], losses, rtol=0, atol=tolerance)


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 5, dtype=torch.complex128)
        self.head = nn.Linear(5, 3, dtype=torch.float64)

    def forward(self, x):
        return self.head(self.inner(x.to(torch.complex128)).abs())


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("replicas", [[4, 9, 2], [9]], ids=["three", "alone"])
@pytest.mark.parametrize(
    ("ours", "stock"),
    [
        (rp.sgd(0.1, momentum=0.9), partial(torch.optim.SGD, lr=0.1, momentum=0.9)),
        (rp.adam(0.01), partial(torch.optim.Adam, lr=0.01)),
        (rp.Optimizer(0.1, torch.optim.SGD), partial(torch.optim.SGD, lr=0.1)),
    ],
    ids=["sgd", "adam", "stock"],
)
def test_complex_parameters_equal_the_plain_loop(ours, stock, replicas, clip):
    run = train(Complex, blobs(), optimizer=ours, replicas=replicas, clip=clip)
    for column, replica in enumerate(replicas):
        losses, model, _ = plain(Complex, blobs(), replica, steps=8, size=16, make=stock, clip=clip)
        assert_same(run, column, losses, model)


def test_what_must_be_real_is_said():
    with pytest.raises(ValueError, match=r"loss must return a real scalar .* not torch.comp"):
        train(mlp, blobs(), replicas=2, loss=lambda model, batch, noise: 1j * model(batch[0]).sum())
    with pytest.raises(ValueError, match=r"evaluate must return real scalars, not z of torch.comp"):
        train(mlp, blobs(), replicas=2, evaluate=lambda model, x, y: {"z": 1j * model(x).sum()})


def test_gradients_are_clipped_whose_squares_overflow():
    """Each step moves a replica by its rate, however large its gradient, and no other."""

    def loss(model, batch, noise):
        return (noise[0] * model.weight).sum()

    run = train(
        lambda: nn.Linear(6, 3),
        single,
        steps=1,
        replicas=8,
        clip=1.0,
        loss=loss,
        noise=lambda g: (torch.tensor(1e25 if torch.rand((), generator=g) < 0.5 else 1e-3),),
        optimizer=rp.sgd(0.5),
    )
    large = np.abs(run.losses[0]) > 1
    assert len(set(large)) == 2
    start = train(lambda: nn.Linear(6, 3), single, steps=1, replicas=8, optimizer=rp.sgd(1e-30))
    for column in range(8):
        moved = (start.module(column).weight - run.module(column).weight).norm().item()
        assert moved == pytest.approx(0.5 if large[column] else 0.5e-3 * 18**0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("replicas", "indices"),
    [
        (np.int64(2), (0, 1)),
        (np.array(2), (0, 1)),
        (torch.tensor(2), (0, 1)),
        (np.arange(2), (0, 1)),
        (np.array([3]), (3,)),
        (torch.tensor([3]), (3,)),
        (range(2, 4), (2, 3)),
    ],
)
def test_whole_numbers_of_numpy_and_torch_are_counts(replicas, indices):
    whole = {"steps": 3, "batch_size": 8, "every": 2, "chunk": 1, "seed": SEED}
    run = train(mlp, blobs(), replicas=replicas, **{k: np.int32(v) for k, v in whole.items()})
    assert run.replicas == indices
    assert type(run.seed) is type(run.replicas[0]) is int
    expected = train(mlp, blobs(), replicas=list(indices), **whole)
    assert np.array_equal(run.losses, expected.losses)


@pytest.mark.parametrize("value", [2.0, "2", None, 2.5])
@pytest.mark.parametrize("name", ["steps", "batch_size", "replicas", "chunk", "seed"])
def test_what_is_no_whole_number_is_refused(name, value):
    if value is None and name in ("seed", "chunk"):
        return
    with pytest.raises(TypeError, match=f"{name} must be a whole number, not "):
        train(mlp, blobs(), **{"replicas": 2} | {name: value})


def test_a_replica_is_a_whole_number():
    with pytest.raises(TypeError, match=r"replicas must be a whole number, not 0\.5"):
        train(mlp, blobs(), replicas=[0, 0.5])
    with pytest.raises(ValueError, match="replicas must be >= 0, not -1"):
        train(mlp, blobs(), replicas=[-1])


def test_tuning_counts_in_numpy():
    tuned = rp.tune(
        mlp,
        blobs(),
        rates=[0.1, 0.2],
        metric="loss",
        lower_is_better=True,
        seeds=np.int64(2),
        extend=np.int64(0),
        steps=np.int64(2),
        batch_size=16,
    )
    assert tuned.values.shape == (2, 2)
    with pytest.raises(TypeError, match=r"seeds must be a whole number, not 2\.5"):
        rp.tune(mlp, blobs(), rates=[0.1, 0.2], metric="loss", seeds=2.5)


def test_a_nudge_moves_every_weight_by_one_rounding(monkeypatch):
    def weights(rate):
        run = train(lambda: nn.Linear(6, 3), single, optimizer=rp.sgd(rate), replicas=2)
        return torch.stack([run.module(r).weight.detach() for r in range(2)])

    plain, learned = weights(1e-30), weights(0.1)
    monkeypatch.setenv("ACTNORM_NUDGE", "1")
    assert torch.equal(weights(1e-30), torch.nextafter(plain, torch.full_like(plain, torch.inf)))
    assert torch.allclose(weights(0.1), learned, atol=1e-5)
    assert not torch.equal(weights(0.1), learned)
