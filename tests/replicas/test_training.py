"""The stack against plain loops over stock modules and optimizers, and errors that say why."""

from __future__ import annotations

from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from loops import SEED, assert_same, batches, blobs, built, mlp, plain
from networks import ZOO, Recurrent
from torch import nn
from torch.nn import functional as F
from witness import shown

from actnorm import replicas as rp
from actnorm.data import Split
from actnorm.streams import stream

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIMIZERS = {
    "sgd": (rp.sgd(0.1), partial(torch.optim.SGD, lr=0.1)),
    "momentum": (
        rp.sgd(0.05, momentum=0.9, weight_decay=0.1),
        partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=0.1),
    ),
    "adam": (
        rp.adam(0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
        partial(torch.optim.Adam, lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    ),
    "adamw": (
        rp.adamw(0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3),
        partial(torch.optim.AdamW, lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3),
    ),
    "any other": (
        rp.Optimizer(0.01, torch.optim.RMSprop),
        partial(torch.optim.RMSprop, lr=0.01),
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("chosen", [[0, 1, 2], [5]], ids=["three", "alone"])
def test_equals_the_plain_loop(name, chosen):
    ours, stock = OPTIMIZERS[name]
    settings = {"steps": 25, "schedule": lambda step: 0.9**step, "clip": 0.4}
    run = rp.train(
        mlp, blobs(), batch_size=16, optimizer=ours, replicas=chosen, seed=SEED, **settings
    )
    for column, replica in enumerate(chosen):
        losses, model, _ = plain(mlp, blobs(), replica, size=16, make=stock, **settings)
        assert_same(run, column, losses, model)


@pytest.mark.parametrize("name", ZOO)
def test_any_module_equals_the_plain_loop(name):
    build, shape = ZOO[name]
    build = partial(lambda make: make().double(), build)
    run = rp.train(
        build,
        blobs(shape),
        steps=8,
        batch_size=16,
        optimizer=rp.sgd(0.1, momentum=0.9),
        replicas=[4, 9],
        seed=SEED,
    )
    make = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    for column, replica in enumerate([4, 9]):
        losses, model, split = plain(build, blobs(shape), replica, steps=8, size=16, make=make)
        assert_same(run, column, losses, model)  # buffers too
        logits = model.eval()(split.test[0])
        accuracy = (logits.argmax(1) == split.test[1]).double().mean().item()
        assert run.test["accuracy"][column] == pytest.approx(accuracy)
        assert run.test["loss"][column] == pytest.approx(
            F.cross_entropy(logits, split.test[1]).item(), abs=1e-9
        )
        torch.testing.assert_close(run.module(column)(split.test[0]), logits, rtol=0, atol=1e-9)


def test_float32_recurrent_networks_train():
    run = rp.train(
        lambda: Recurrent(nn.LSTM),
        blobs((4, 3), dtype=torch.float32),
        steps=40,
        batch_size=20,
        optimizer=rp.adam(0.03),
        replicas=3,
        seed=SEED,
    )
    assert (run.losses[-1] < run.losses[0] / 2).all()


def test_a_loss_of_ones_own_with_noise():
    def loss(model, batch, noise):
        (inputs, targets), (jitter,) = batch, noise
        return ((model(inputs + jitter) - F.one_hot(targets, 3)) ** 2).mean()

    def noise(generator):
        return (torch.randn(16, 6, generator=generator, dtype=torch.float64),)

    settings = {"steps": 6, "loss": loss, "noise": noise}
    run = rp.train(
        mlp,
        blobs(),
        batch_size=16,
        optimizer=rp.sgd(0.1),
        replicas=[1, 3],
        seed=SEED,
        evaluate=lambda model, x, y: {"norm": sum(p.square().sum() for p in model.parameters())},
        **settings,
    )
    for column, replica in enumerate([1, 3]):
        make = partial(torch.optim.SGD, lr=0.1)
        losses, model, _ = plain(mlp, blobs(), replica, size=16, make=make, **settings)
        assert_same(run, column, losses, model)
        norm = sum(p.square().sum().item() for p in model.parameters())
        assert run.test["norm"][column] == pytest.approx(norm)


def test_frozen_parameters_stay():
    def build():
        model = mlp()
        model[0].weight.requires_grad_(False)
        return model

    run = rp.train(
        build, blobs(), steps=5, batch_size=16, optimizer=rp.sgd(0.1), replicas=2, seed=SEED
    )
    for column in range(2):
        start = built(build, column)
        assert torch.equal(run.module(column)[0].weight, start[0].weight)
        assert not torch.equal(run.module(column)[2].weight, start[2].weight)


def test_a_parameter_that_no_loss_uses_stays():
    def build():
        return nn.Sequential(mlp(), nn.Linear(2, 2).double())

    def loss(model, batch, noise):
        return F.cross_entropy(model[0](batch[0]), batch[1])

    for chosen in ([0, 1], [1]):
        run = rp.train(
            build,
            blobs(),
            steps=5,
            batch_size=16,
            optimizer=rp.adam(0.1),
            loss=loss,
            replicas=chosen,
            seed=SEED,
        )
        losses, model, _ = plain(
            build, blobs(), 1, steps=5, size=16, make=partial(torch.optim.Adam, lr=0.1), loss=loss
        )
        assert_same(run, -1, losses, model)


def gan() -> nn.Module:
    generator = nn.Sequential(nn.Linear(2, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    critic = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1))
    return nn.ModuleDict({"generator": generator, "critic": critic}).double()


def ring(generator: torch.Generator) -> Split:
    angle = 6.283 * torch.rand(60, generator=generator, dtype=torch.float64)
    points = torch.stack([angle.cos(), angle.sin()], 1)
    latents = torch.randn(10, 2, generator=generator, dtype=torch.float64)
    return Split((points[:40],), (points[40:50], latents), (points[50:], latents))


def latents(generator: torch.Generator):
    return (torch.randn(8, 2, generator=generator, dtype=torch.float64),)


def critic_loss(model, batch, noise):
    (real,), (z,) = batch, noise
    fake = model["generator"](z)
    slopes = torch.func.vmap(torch.func.grad(lambda x: model["critic"](x).squeeze()))(real)
    penalty = (slopes.norm(dim=1) - 1).square().mean()
    return model["critic"](fake).mean() - model["critic"](real).mean() + penalty


def generator_loss(model, batch, noise):
    return -model["critic"](model["generator"](noise[0])).mean()


def test_turns_equal_a_plain_game():
    turns = [("critic", critic_loss), ("critic", critic_loss), ("generator", generator_loss)]
    run = rp.train(
        gan,
        ring,
        steps=10,
        batch_size=8,
        turns=turns,
        optimizer={"critic": rp.adam(0.02, betas=(0.5, 0.9)), "generator": rp.sgd([0.1, 0.2])},
        noise=latents,
        replicas=[0, 6],
        seed=SEED,
        evaluate=lambda model, x, z: {"spread": model["generator"](z).var()},
    )
    assert run.losses.shape == (10, 3, 2)
    assert list(run.table().filter(like="loss")) == ["loss 0", "loss 1", "loss 2"]
    for column, replica in enumerate([0, 6]):
        split = ring(stream("split", replica, seed=SEED))
        drawn = stream("noise", replica, seed=SEED)
        rows = batches(replica, 40, 8)
        model = built(gan, replica)
        optimizers = {
            "critic": torch.optim.Adam(model["critic"].parameters(), 0.02, betas=(0.5, 0.9)),
            "generator": torch.optim.SGD(model["generator"].parameters(), [0.1, 0.2][column]),
        }
        losses = []
        for _ in range(10):
            for part, loss in turns:
                batch = (split.train[0][next(rows)],)
                z = latents(drawn)
                model.zero_grad()
                if loss is critic_loss:
                    # The penalty by double backward, a route of its own.
                    real = batch[0].clone().requires_grad_()
                    (slopes,) = torch.autograd.grad(
                        model["critic"](real).sum(), real, create_graph=True
                    )
                    value = (slopes.norm(dim=1) - 1).square().mean()
                    value = value + model["critic"](model["generator"](*z)).mean()
                    value = value - model["critic"](batch[0]).mean()
                else:
                    value = loss(model, batch, z)
                value.backward()
                optimizers[part].step()
                losses.append(value.item())
        np.testing.assert_allclose(run.losses[:, :, column].ravel(), losses, atol=1e-9)
        for name, value in model.state_dict().items():
            torch.testing.assert_close(
                run.module(column).state_dict()[name], value, atol=1e-9, rtol=0
            )
        spread = model.eval()["generator"](split.test[1]).var().item()
        assert run.test["spread"][column] == pytest.approx(spread)


NAN = Split(*[(torch.full((8, 6), torch.nan).double(), torch.zeros(8, dtype=int))] * 3)


widths = count(3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 41}, "batch_size must be at most .*40, not 41"),
        ({"every": 0}, "every must be at least 1"),
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"replicas": 0}, "replicas must be at least 1"),
        ({"replicas": []}, "replicas must hold at least one index"),
        ({"clip": 0.0}, "clip must be positive"),
        ({"optimizer": rp.sgd([0.1] * 3)}, "lr must hold one rate for each of 2 replicas, not 3"),
        ({"data": NAN}, r"data.train\[0\] must be finite"),
        (
            {"data": lambda g: blobs(train=int(40 + torch.randint(9, (), generator=g)))(g)},
            "data.tr",
        ),
        ({"build": lambda: mlp(next(widths))}, r"values only: .*0.*is .*replica 0.*in replica 1"),
        ({"build": lambda: nn.LeakyReLU(next(widths) / 9)}, "the network is LeakyReLU"),
        ({"build": nn.ReLU}, "build must return trainable parameters"),
        ({"build": lambda: nn.LazyLinear(3)}, "weight is lazy"),
        ({"build": lambda: nn.Linear(6, 3, device="meta")}, "weight is on the meta device"),
        (
            {"build": lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(mlp()[0]))},
            "0.parametrizations.weight.0 has spectral norm",
        ),
        ({"build": lambda: nn.utils.spectral_norm(mlp()[0])}, "has spectral norm"),
        ({"turns": [("critic", shown)]}, "trainable parameters in part 'critic'"),
        ({"turns": [("0", shown)], "optimizer": {"2": rp.sgd(0.1)}}, "optimizer must hold one"),
        ({"turns": [("0", shown)], "loss": shown}, "loss must be left out"),
        ({"loss": lambda model, batch, noise: model(batch[0])}, r"scalar, not shape \(16, 3\)"),
        ({"evaluate": lambda model, x, y: {"out": model(x)}}, r"scalars, not out \(12, 3\)"),
    ],
)
def test_errors_name_the_argument(changes, message):
    settings = {
        "build": mlp,
        "data": blobs(),
        "steps": 2,
        "batch_size": 16,
        "optimizer": rp.sgd(0.1),
        "replicas": 2,
        "seed": SEED,
    }
    with pytest.raises(ValueError, match=message):
        rp.train(**settings | changes)


def test_errors_of_kind():
    settings = {"steps": 2, "batch_size": 16, "optimizer": rp.sgd(0.1), "replicas": 2}
    with pytest.raises(TypeError, match=r"loss must return a tensor, not 1\.0"):
        rp.train(mlp, blobs(), loss=lambda model, batch, noise: 1.0, **settings)
    with pytest.raises(TypeError, match=r"build must return an nn\.Module, not float"):
        rp.train(float, blobs(), **settings)
    with pytest.raises(TypeError, match="noise must be a tuple of tensors, not Tensor"):
        rp.train(mlp, blobs(), noise=lambda g: torch.zeros(3), **settings)
