"""A replica among others is the replica alone, or it is said which module makes it another."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from loops import SEED, assert_same, blobs, mlp, plain
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from actnorm import replicas as rp
from actnorm.data import Split
from actnorm.replicas import agreement, chunk

train = partial(rp.train, steps=3, batch_size=16, optimizer=rp.sgd(0.1), replicas=3, seed=SEED)


def tokens(generator: torch.Generator) -> Split:
    """Return sequences of words, the first of which is the padding, and classes."""
    parts = []
    for n in (40, 12, 12):
        words = torch.randint(11, (n, 5), generator=generator)
        words[:, 0] = 0
        parts.append((words, torch.randint(3, (n,), generator=generator)))
    return Split(*parts)


# --- Rules of vmap that are wrong -----------------------------------------------------------------


class _Rule(torch.autograd.Function):
    """The identity, whose rule for vmap multiplies some replicas by a factor."""

    generate_vmap_rule = False
    factor = 1.1

    @staticmethod
    def forward(x, wrong):
        return x * 1.0

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, g):
        return g, None

    @classmethod
    def vmap(cls, info, in_dims, x, wrong):
        x = x.movedim(in_dims[0], 0).clone()
        x[wrong] *= cls.factor
        return x, 0


class _Stacked(torch.autograd.Function):
    """The identity on a stack; the gradient of some of its replicas is multiplied by 1.1."""

    @staticmethod
    def forward(ctx, x, wrong):
        ctx.wrong = wrong
        return x * 1.0

    @staticmethod
    def backward(ctx, g):
        g = g.clone()
        g[ctx.wrong] *= 1.1
        return g, None


class _BackwardRule(_Rule):
    """The same with a right value, and the wrong gradient."""

    @staticmethod
    def vmap(info, in_dims, x, wrong):
        return _Stacked.apply(x.movedim(in_dims[0], 0), wrong), 0


class Layer(nn.Module):
    def __init__(self, rule: type, wrong: object) -> None:
        super().__init__()
        self.rule, self.wrong = rule, wrong

    def forward(self, x):
        return self.rule.apply(x, self.wrong)


def between(layer: nn.Module, *more: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), layer, *more, nn.Linear(4, 3))


@pytest.mark.parametrize("count", [2, 3, 64])
@pytest.mark.parametrize("wrong", [[-1], slice(1, None), slice(1, None, 2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_wrong_forward_is_refused_by_the_modules_name(count, wrong, dtype):
    with pytest.raises(ValueError, match=r"build must return .* output of 1, a Layer"):
        train(lambda: between(Layer(_Rule, wrong)).to(dtype), blobs(dtype=dtype), replicas=count)


@pytest.mark.parametrize("wrong", [[-1], slice(1, None)], ids=str)
def test_a_wrong_gradient_is_refused_by_the_parameters_name(wrong):
    # What comes after the layer has the right gradient, what comes before it has not.
    match = r"build must return .* in the gradient by 0.weight, the gradient by 0.bias$"
    with pytest.raises(ValueError, match=match):
        train(lambda: between(Layer(_BackwardRule, wrong)).double(), blobs())
    alone = train(lambda: between(Layer(_BackwardRule, [])).double(), blobs(), replicas=[2])
    together = train(lambda: between(Layer(_BackwardRule, [])).double(), blobs())
    np.testing.assert_allclose(together.losses[:, 2], alone.losses[:, 0], atol=1e-12)


def test_in_what_draws_a_wrong_rule_is_found_in_eval_mode():
    with pytest.raises(ValueError, match=r"output of 2, a Layer"):
        train(lambda: between(nn.Dropout(0.5), Layer(_Rule, [-1])).double(), blobs())


class Single(nn.Module):
    """Runs in single precision only."""

    def forward(self, x):
        return x @ torch.eye(4)


def test_where_float64_cannot_decide_only_what_is_far_off_is_refused(monkeypatch):
    def build():
        return between(Single(), Layer(_Rule, [-1]))

    with pytest.raises(ValueError, match=r"output of 2, a Layer"):
        train(build, blobs(dtype=torch.float32))
    monkeypatch.setattr(_Rule, "factor", 1.01)
    train(build, blobs(dtype=torch.float32))
    with pytest.raises(ValueError, match=r"output of 1, a Layer"):
        train(lambda: between(Layer(_Rule, [-1])), blobs(dtype=torch.float32))


class Count(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls, self.seen = 0, []

    def forward(self, x):
        self.calls += 1
        self.seen.append(x)
        self.last = x
        return x * self.calls


def test_a_refusal_leaves_the_networks_as_they_were():
    networks = []

    def build():
        networks.append(between(Count(), Layer(_Rule, slice(1, None))).double())
        return networks[-1]

    with pytest.raises(ValueError, match=r"output of 2, a Layer"):
        train(build, blobs())
    for network in networks:
        assert (network[1].calls, network[1].seen) == (0, [])
        assert not hasattr(network[1], "last")
        assert network.training


def test_what_draws_in_eval_mode_too_is_not_compared():
    class Always(nn.Module):
        def forward(self, x):
            return F.dropout(x, 0.5)

    assert train(lambda: between(Always()).double(), blobs()).tied


def test_every_turn_is_compared():
    def build():
        return nn.ModuleDict({"right": mlp(), "wrong": between(Layer(_Rule, [-1])).double()})

    def loss(part, model, batch, noise):
        return F.cross_entropy(model[part](batch[0]), batch[1])

    turns = [(part, partial(loss, part)) for part in ("right", "wrong")]
    train(build, blobs(), turns=turns[:1])
    with pytest.raises(ValueError, match=r"output of wrong.1, a Layer"):
        train(build, blobs(), turns=turns)


class Random(nn.Module):
    """Draws from NumPy: one number for all replicas together, another for each alone."""

    draws = np.random.default_rng(0)

    def forward(self, x):
        return x + float(self.draws.random())


class Own(nn.Module):
    """A number of its own, where all replicas run the code of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.rand(()).item()

    def forward(self, x):
        return x * self.factor


@pytest.mark.parametrize("layer", [Random, Own])
def test_what_is_not_a_tensor_cannot_differ_between_replicas(layer):
    with pytest.raises(ValueError, match=rf"output of 1, a {layer.__name__}"):
        train(lambda: between(layer()).double(), blobs())
    train(lambda: between(layer()).double(), blobs(), replicas=[3])


class Penalized(nn.Module):
    """Its penalty reaches the weight past the module."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3).double()
        weight = self.linear.weight
        self.penalty = lambda: weight.square().sum()

    def forward(self, x):
        return self.linear(x) + self.penalty()


@pytest.mark.parametrize("replicas", [[0, 1], [1]])
def test_a_parameter_that_is_used_past_the_network_is_refused(replicas):
    with pytest.raises(ValueError, match=r"build must return .* uses linear.weight other than"):
        train(Penalized, blobs(), replicas=replicas)


# --- What is right is not refused -----------------------------------------------------------------


def rounding(monkeypatch) -> list[int]:
    """Count the comparisons, and those that were repeated in float64."""
    counts = [0, 0]
    gaps = agreement._gaps

    def counted(*args):
        found = gaps(*args)
        counts[0] += 1
        counts[1] += bool(found)
        return found

    monkeypatch.setattr(agreement, "_gaps", counted)
    return counts


def test_rounding_at_a_kink_is_not_refused(monkeypatch):
    """The rectified values are 0 but for rounding: the order of a sum decides on their slope."""

    class Kink(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.head = nn.Linear(6, 3000), nn.Linear(1, 3)

        def forward(self, x):
            y = self.wide(x)
            off = (y * y.new_ones(3000, 1).squeeze()).sum(1) - y @ y.new_ones(3000, 1).squeeze()
            return self.head((1e6 * off).relu()[:, None] + y[:, :1])

    counts = rounding(monkeypatch)
    train(Kink, blobs(dtype=torch.float32), replicas=8)
    assert counts[1] > 0


@pytest.mark.parametrize("gain", [0.3, 3.0])
def test_deep_networks_are_not_refused(gain):
    def build():
        layers = [nn.Linear(6, 6) for _ in range(60)]
        for layer in layers:
            nn.init.normal_(layer.weight, std=gain / 6**0.5)
        return nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))[:-1]

    train(build, blobs(classes=6, dtype=torch.float32), replicas=8)


def test_half_precision_within_is_not_refused():
    class Autocast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 3))

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.layers(x)

    train(Autocast, blobs(dtype=torch.float32), replicas=8)


def test_networks_that_overflow_are_not_refused():
    def loss(model, batch, noise):
        return (1e30 * model(batch[0])).square().sum()

    run = train(lambda: nn.Linear(6, 3), blobs(dtype=torch.float32), loss=loss)
    assert run.diverged.all()


def test_a_loss_without_a_gradient_is_refused():
    with pytest.raises(ValueError, match="loss must depend on the parameters that are trained"):
        train(mlp, blobs(), loss=lambda model, batch, noise: model(batch[0]).detach().sum())


class Restless(nn.Module):
    """Moves all that a module can hold, and draws."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(6, 4), nn.BatchNorm1d(4)
        self.words, self.head = nn.Embedding(5, 4, max_norm=0.5), nn.Linear(4, 3)
        self.register_buffer("ema", torch.zeros(4))
        self.calls, self.seen = 0, []

    def forward(self, x):
        self.calls += 1
        self.seen.append(self.calls)
        y = F.dropout(self.norm(self.linear(x)), 0.1, self.training) * self.calls**0.5
        self.ema = 0.9 * self.ema + 0.1 * y.detach().mean(0)
        return self.head(y - self.ema + self.words(x[:, 0].abs().long() % 5))


@pytest.mark.parametrize("replicas", [[0, 1, 2], [1]])
def test_the_comparison_changes_no_bit(replicas, monkeypatch):
    def noisy(model, batch, noise):
        return F.cross_entropy(model(batch[0].add_(noise[0])), batch[1])

    settings = {
        "build": lambda: Restless().double(),
        "data": blobs(),
        "loss": noisy,
        "noise": lambda g: (torch.randn(16, 6, generator=g, dtype=torch.float64),),
        "evaluate": rp.classification,
        "replicas": replicas,
        "every": 1,
    }
    compared = train(**settings)

    def unseen(play, *, compile):
        count = len(play.stack.replicas)
        return agreement.gradient_of(play.stack.networks[0], play.loss, count)

    monkeypatch.setattr(chunk, "agreed", unseen)
    plain = train(**settings)
    assert np.array_equal(compared.losses, plain.losses)
    assert np.array_equal(compared.validation["loss"], plain.validation["loss"])
    for column in range(len(replicas)):
        for name, value in plain.module(column).state_dict().items():
            assert torch.equal(compared.module(column).state_dict()[name], value)
        assert compared.module(column).calls == 3


# --- What torch cannot run in a stack -------------------------------------------------------------


class Item(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Mask(nn.Module):
    def forward(self, x):
        return x * x[x > 0].mean()


class Checkpoint(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return checkpoint(lambda z: self.inner(z).tanh(), x, use_reentrant=False)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (Item, r"1 \(Item\)"),
        (Mask, r"1 \(Mask\)"),
        (Checkpoint, r"1(\.inner)? \(\w+\)"),
        (partial(nn.BatchNorm1d, 4, momentum=None), r"1 \(BatchNorm1d\)"),
    ],
)
def test_what_torch_cannot_stack_is_refused_before_any_work(layer, name):
    steps = []
    with pytest.raises(ValueError, match=f"build must return a stackable network: {name} cannot"):
        train(lambda: between(layer()).double(), blobs(), schedule=steps.append)
    assert not steps
    losses, model, _ = plain(
        lambda: between(layer()).double(),
        blobs(),
        2,
        steps=3,
        size=16,
        make=partial(torch.optim.SGD, lr=0.1),
    )
    assert_same(train(lambda: between(layer()).double(), blobs(), replicas=[2]), 0, losses, model)


def test_metrics_that_torch_cannot_stack_are_refused():
    def evaluate(model, x, y):
        return {"positive": x[model(x)[:, 0] > 0].sum()}

    with pytest.raises(ValueError, match=r"stackable network: it \(.*\) cannot run"):
        train(mlp, blobs(), evaluate=evaluate)


# --- Embeddings ----------------------------------------------------------------------------------


class Words(nn.Module):
    def __init__(self, **settings) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(11, 4, **settings), nn.Linear(4, 3)

    def forward(self, words):
        return self.head(self.table(words).mean(1))


class Functional(Words):
    def forward(self, words):
        return self.head(F.embedding(words, self.table.weight, 3).mean(1))


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.EmbeddingBag(11, 4, padding_idx=0), nn.Linear(4, 3)

    def forward(self, words):
        return self.head(self.table(words))


class Sentences(nn.Module):
    """An encoder with a padding mask, whose layers run fused in eval mode."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=dropout, batch_first=True)
        self.table, self.encoder = (
            nn.Embedding(11, 8, padding_idx=0),
            nn.TransformerEncoder(layer, 2),
        )
        self.head = nn.Linear(8, 3)

    def forward(self, words):
        mask = words.cumsum(1) == 0
        return self.head(self.encoder(self.table(words), src_key_padding_mask=mask).mean(1))


@pytest.mark.parametrize(
    "build",
    [
        partial(Words, padding_idx=0),
        partial(Words, padding_idx=-1),
        partial(Words, sparse=True),
        partial(Words, scale_grad_by_freq=True),
        partial(Words, padding_idx=2, max_norm=0.5, sparse=True),
        Functional,
        Bag,
        partial(Sentences, 0.0),
    ],
    ids=["first", "last", "sparse", "frequencies", "all", "functional", "bag", "encoder"],
)
@pytest.mark.parametrize("chosen", [[4, 9, 2], [9]], ids=["three", "alone"])
def test_embeddings_equal_the_plain_loop(build, chosen):
    def double():
        return build().double()

    run = train(double, tokens, steps=8, replicas=chosen)
    for column, replica in enumerate(chosen):
        make = partial(torch.optim.SGD, lr=0.1)
        losses, model, split = plain(double, tokens, replica, steps=8, size=16, make=make)
        assert_same(run, column, losses, model)
        logits = model.eval()(split.test[0])
        assert run.test["loss"][column] == pytest.approx(
            F.cross_entropy(logits, split.test[1]).item(), abs=1e-9
        )


def test_padding_rows_stay_where_dropout_draws():
    run = train(lambda: Sentences(0.1).double(), tokens)
    assert all((run.module(column).table.weight[0] == 0).all() for column in range(3))


def test_padding_compiles(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))
    build = partial(lambda: Words(padding_idx=0).double())
    eager, compiled = train(build, tokens), train(build, tokens, compile=True)
    np.testing.assert_allclose(eager.losses, compiled.losses, atol=1e-12)
    assert (compiled.module(2).table.weight[0] == 0).all()
