"""The stack against plain loops over stock modules and optimizers; what a replica promises."""

from __future__ import annotations

from functools import partial
from itertools import count

import numpy as np
import pandas as pd
import pytest
import torch
from loops import SEED, assert_same, batches, blobs, built, mlp, plain
from torch import nn
from torch.nn import functional as F

from actnorm import replicas as rp
from actnorm.data import Split
from actnorm.probe import probe
from actnorm.replicas import step as stepping
from actnorm.streams import stream

pytestmark = pytest.mark.usefixtures("one_thread")


# --- Equality with the plain loop ---------------------------------------------------------------

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


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.memory, self.head = kind(3, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.memory(x)[0][:, -1])


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(3, 5), nn.Linear(5, 3)

    def forward(self, x):
        state = x.new_zeros(len(x), 5)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return self.head(self.decoder(self.encoder(x).tanh()))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.embed, self.head = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.block(self.embed(x)).mean(1))


def repeated() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(6, 3))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False),
        nn.BatchNorm2d(3),
        nn.PReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 2),
        nn.GroupNorm(2, 4),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


ZOO = {
    "convolution": (convolutional, (2, 4, 4)),
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)),
        (6,),
    ),
    "layer norm, one PReLU a unit": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.PReLU(8), nn.Linear(8, 3)),
        (6,),
    ),
    "weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))),
        (6,),
    ),
    "rnn": (lambda: Recurrent(nn.RNN), (4, 3)),
    "lstm": (lambda: Recurrent(nn.LSTM), (4, 3)),
    "gru": (lambda: Recurrent(nn.GRU), (4, 3)),
    "cell": (Cell, (4, 3)),
    "tied weights": (Tied, (6,)),
    "a layer at two places": (repeated, (6,)),
    "attention": (Attention, (4, 3)),
}


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


@pytest.mark.parametrize("shape", [(5, 2), (128, 10), (7, 100), (4, 3, 6)])
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_is_that_of_torch(shape, soft):
    torch.manual_seed(0)
    logits = (10 * torch.randn(2, *shape, dtype=torch.float64)).requires_grad_()
    targets = torch.randint(shape[1], (2, shape[0], *shape[2:]))
    if soft:
        targets = torch.rand_like(logits).softmax(2)
    ours = torch.func.vmap(partial(rp.cross_entropy, nn.Identity()), (0, None))
    losses = ours((logits, targets), ())
    plain = [F.cross_entropy(z, t) for z, t in zip(logits, targets, strict=True)]
    torch.testing.assert_close(losses, torch.stack(plain), rtol=1e-14, atol=0)
    gradients = [torch.autograd.grad(sum(x), logits)[0] for x in (losses, plain)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-15)


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


# --- Turns: a small Wasserstein GAN with gradient penalty -----------------------------------------


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


# --- One network, whatever runs beside it ---------------------------------------------------------


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


def test_a_rate_per_replica_equals_one_call_per_rate():
    rates = [0.1, 0.03, 0.03, 0.1]
    for make in (rp.sgd, rp.adam, partial(rp.sgd, momentum=0.9), rp.adamw):
        train = partial(rp.train, mlp, blobs(), steps=15, batch_size=16, seed=SEED)
        mixed = train(optimizer=make(rates), replicas=[0, 1, 2, 0], schedule=lambda s: 1 / (1 + s))
        for column, (rate, replica) in enumerate(zip(rates, [0, 1, 2, 0], strict=True)):
            one = train(optimizer=make(rate), replicas=[replica], schedule=lambda s: 1 / (1 + s))
            np.testing.assert_allclose(mixed.losses[:, column], one.losses[:, 0], atol=1e-9)


def test_joined_runs_are_one():
    whole = witness()
    halves = rp.join([witness(replicas=range(6)), witness(replicas=range(6, 12))])
    assert np.array_equal(halves.losses, whole.losses)
    assert halves.replicas == whole.replicas
    assert len(halves.table()) == 12
    with pytest.raises(ValueError, match="runs must share seed"):
        rp.join([whole, witness(seed=SEED + 1)])


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


# --- Dropout --------------------------------------------------------------------------------------


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


# --- Divergence -----------------------------------------------------------------------------------


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


# --- Metrics --------------------------------------------------------------------------------------


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


# --- Errors ---------------------------------------------------------------------------------------

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
        ({"loss": lambda model, batch, noise: model(batch[0])}, r"scalar, not a shape \(16, 3\)"),
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
    with pytest.raises(TypeError, match=r"build must return an nn\.Module, not float"):
        rp.train(float, blobs(), **settings)
    with pytest.raises(TypeError, match="noise must be a tuple of tensors, not Tensor"):
        rp.train(mlp, blobs(), noise=lambda g: torch.zeros(3), **settings)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf"), [0.1, 0.0]])
def test_rates_are_positive(rate):
    with pytest.raises(ValueError, match="lr must be a positive number"):
        rp.adam(rate)


# --- Tuning ---------------------------------------------------------------------------------------


class Parabola(nn.Module):
    """Gradient descent multiplies its distance from 0 by ``1 - rate`` each step: best rate 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(1 + torch.rand((), dtype=torch.float64))


def height(model, batch, noise):
    return model.weight.square() / 2


tune = partial(
    rp.tune,
    Parabola,
    Split((torch.zeros(4),), (torch.zeros(4),), (torch.zeros(4),)),
    steps=12,
    batch_size=4,
    loss=height,
    evaluate=lambda model, x: {"height": height(model, x, ())},
    metric="height",
    lower_is_better=True,
)


@pytest.mark.parametrize("rates", [[0.5, 1.0, 2.0], [0.0625, 0.125], [8.0, 4.0], [1.0, 0.5]])
def test_tuning_finds_a_known_rate(rates):
    found = tune(rates=rates)
    assert found.rate == 1
    assert found.learns
    assert found.interior
    assert (np.diff(found.values.index) > 0).all()
    # A rate of 2 reflects the weight and keeps its height; 0.5 halves it at each step.
    ratio = found.values.loc[0.5] / found.values.loc[2.0]
    np.testing.assert_allclose(ratio, 0.5**24, rtol=1e-9)


def test_tuning_by_steps_to_a_level():
    found = tune(rates=[0.125, 0.25], level=1e-6, every=1)
    assert found.rate == 1
    assert found.learns
    assert (found.values.loc[1.0] == 1).all()
    assert (found.values.loc[0.125] == 12).all()


def test_of_equal_rates_the_middle_one_is_chosen():
    found = tune(rates=[0.125, 0.5, 1.0, 1.5, 1.9], level=1e-3, every=6)
    assert (found.values.loc[0.5:1.5] == 6).all(axis=None)
    assert found.rate == 1
    assert len(found.values) == 5


def coins(generator: torch.Generator) -> Split:
    """Return inputs with labels that know nothing of them."""
    parts = [torch.randn(n, 6, generator=generator, dtype=torch.float64) for n in (40, 200, 12)]
    return Split(*((x, torch.randint(3, (len(x),), generator=generator)) for x in parts))


def test_tuning_says_how_often_each_rate_would_have_won():
    values = pd.DataFrame([[1.0, 1.0, 1.0], [0.0, 0.0, 9.0]], index=[0.1, 0.2])
    found = rp.Tuning(0.2, True, False, values, values > 10)
    # the second rate loses where the third seed is never drawn: (2/3)³ of all draws
    assert found.wins(20_000)[0.1] == pytest.approx(8 / 27, abs=0.01)
    lower = rp.Tuning(0.1, True, False, values, values > 10, lower_is_better=True)
    assert lower.wins(20_000)[0.2] == pytest.approx(8 / 27, abs=0.01)
    kept = found.summary()
    assert kept["values"] == values.to_numpy().tolist()
    assert (kept["rate"], kept["rates"], kept["learns"]) == (0.2, [0.1, 0.2], True)
    assert sum(kept["wins"]) == pytest.approx(1)


def test_tuning_says_when_nothing_learns():
    found = rp.tune(
        mlp, coins, rates=[0.01, 0.02], metric="accuracy", steps=20, batch_size=16, extend=2
    )
    assert not found.learns
    assert len(found.values) == 2 + 2 * 2


def test_tuning_does_not_climb_past_divergence():
    found = tune(rates=[1e60, 2e60], extend=3, steps=12)
    assert found.diverged.loc[2e60].all()
    assert found.values.index.max() == 2e60
    assert len(found.values) == 5
    assert not found.learns
    # A run that diverged counts as its untrained network.
    assert found.values.loc[2e60].between(0.5, 2).all()


def test_tuning_stays_away_from_judged_replicas_and_leaves_the_count_alone(monkeypatch):
    monkeypatch.setenv("ACTNORM_REPLICAS", "x2")
    found = tune(rates=[1e-9, 2e-9], extend=0, seeds=3)
    assert found.values.shape == (2, 3)
    for replica in range(3):
        generator = stream("init", replica, seed=1000)
        start = 1 + torch.rand((), generator=generator, dtype=torch.float64)
        assert found.values.loc[1e-9, replica] == pytest.approx(start.item() ** 2 / 2, rel=1e-6)
    assert not found.interior


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rates": [0.1]}, ValueError, "rates must hold at least two"),
        ({"rates": [0.1, 0.2], "seeds": 1}, ValueError, "seeds must be at least 2"),
        ({"rates": [0.1, 0.2], "metric": "speed"}, KeyError, "metric must be one of height"),
        ({"rates": [0.1, 0.0]}, ValueError, "lr must be a positive number"),
    ],
)
def test_tuning_errors(changes, error, message):
    with pytest.raises(error, match=message):
        tune(**changes)
