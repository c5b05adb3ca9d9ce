"""What networks hold beside parameters moves as in a plain loop, and nothing else is touched."""

from __future__ import annotations

import copy
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from loops import SEED, assert_same, blobs, built, mlp, plain
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

from actnorm import replicas as rp
from actnorm import stateless
from actnorm.data import Split

make = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
train = partial(
    rp.train, steps=6, batch_size=16, optimizer=rp.sgd(0.1, momentum=0.9), replicas=3, seed=SEED
)


def linear() -> nn.Module:
    return nn.Linear(6, 3).double()


def assert_all_same(run: rp.Run, build, draw, replicas) -> None:
    """Compare everything that networks hold with the plain loop, and metrics in eval mode."""
    for column, replica in enumerate(replicas):
        losses, model, split = plain(build, draw, replica, steps=6, size=16, make=make)
        np.testing.assert_allclose(run.losses[:, column], losses, rtol=0, atol=1e-9)
        found, expected = run.module(column), stateless.tensors(model)
        assert stateless.tensors(found).keys() == expected.keys()
        for name, value in stateless.tensors(found).items():
            torch.testing.assert_close(value, expected[name].detach(), rtol=0, atol=1e-9)
        assert stateless.numbers(found) == stateless.numbers(model)
        logits = model.eval()(split.test[0].clone())
        loss = F.cross_entropy(logits, split.test[1]).item()
        assert run.test["loss"][column] == pytest.approx(loss, abs=1e-9)


# --- Buffers, attributes, numbers ----------------------------------------------------------------


class Average(nn.Module):
    """Subtracts a running mean of its outputs, which it keeps in one of many ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.linear, self.how, self.calls = nn.Linear(6, 3), how, 0
        if how == "attribute":
            self.mean = torch.zeros(3)
        elif how == "new attribute":
            self.mean = None
        else:
            self.register_buffer("mean", None if how == "new" else torch.zeros(3))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        y = self.linear(x)
        if self.training:
            self.calls += 1
            now = y.detach().mean(0)
            if self.how == "in place":
                self.mean.mul_(0.9).add_(0.1 * now)
                self.count += 1
            elif self.mean is None:
                self.mean = now
            else:
                self.mean = 0.9 * self.mean + 0.1 * now
                self.count = self.count + 1
        return y / (1 + self.calls + self.count) if self.mean is None else (y - self.mean)


class Own(nn.Module):
    """Plain tensors that differ between replicas."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.random, self.order = nn.Linear(6, 3), torch.randn(6, 6), torch.randperm(6)

    def forward(self, x):
        return self.linear((x @ self.random.to(x.dtype))[:, self.order].tanh())


class Initialized(nn.Module):
    """Sets its scale from the first batch that it sees (T. Salimans and D. Kingma, 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.scale, self.ready = nn.Linear(6, 3), nn.Parameter(torch.ones(3)), False

    def forward(self, x):
        y = self.linear(x)
        if self.training and not self.ready:
            self.ready = True
            with torch.no_grad():
                self.scale.copy_(1 / y.std(0))
        return y * self.scale


class Ticks(nn.Module):
    """Counts in a tensor that it makes itself, the same for all replicas."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.ticks = nn.Linear(6, 3), None

    def forward(self, x):
        if self.ticks is None:
            self.ticks = torch.zeros(3)
        elif self.training:
            self.ticks.add_(1)
        return self.linear(x) / (1 + self.ticks)


def old_weight_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 3)))


def pruned() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    prune.random_unstructured(model[0], "weight", 0.4)
    return model


class Recurrent(nn.Module):
    def __init__(self, kind: type) -> None:
        super().__init__()
        self.memory, self.norm, self.head = kind(2, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.norm(self.memory(x.view(-1, 3, 2).transpose(0, 1))[0][-1]))


HOLDERS = {
    **{
        how: partial(Average, how)
        for how in ("assigned", "in place", "new", "attribute", "new attribute")
    },
    "plain tensors": Own,
    "initialized from data": Initialized,
    "ticks": Ticks,
    "old weight norm": old_weight_norm,
    "pruned": pruned,
    "rnn and batch norm": partial(Recurrent, nn.RNN),
    "lstm and batch norm": partial(Recurrent, nn.LSTM),
    "gru and batch norm": partial(Recurrent, nn.GRU),
}


@pytest.mark.parametrize("name", HOLDERS)
@pytest.mark.parametrize("replicas", [[4, 9, 2], [9]], ids=["three", "alone"])
@pytest.mark.parametrize("every", [1, 6])
def test_what_networks_hold_moves_as_in_a_plain_loop(name, replicas, every):
    build = partial(lambda make: make().double(), HOLDERS[name])
    run = train(build, blobs(), replicas=replicas, every=every)
    assert_all_same(run, build, blobs(), replicas)
    for column in range(len(replicas)):
        copy.deepcopy(run.module(column))
        pickle.loads(pickle.dumps(run.module(column)))


def test_state_moves_in_a_compiled_stack(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))

    class Mean(Average):
        def forward(self, x):
            y = self.linear(x)
            self.mean = 0.9 * self.mean + 0.1 * y.detach().mean(0)
            return y - self.mean

    build = partial(lambda: Mean("assigned").double())
    eager, compiled = train(build, blobs()), train(build, blobs(), compile=True)
    np.testing.assert_allclose(eager.losses, compiled.losses, atol=1e-12)
    torch.testing.assert_close(eager.module(2).mean, compiled.module(2).mean)
    with pytest.raises(ValueError, match="compile must be False where a forward sets mean"):
        train(lambda: Mean("attribute").double(), blobs(), compile=True)


class Kept(nn.Module):
    """Leaves what it computed in its attributes, in lists, in dictionaries and by a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.seen, self.by_name = nn.Linear(6, 3), [], {"all": []}
        self.linear.register_forward_hook(_keep)

    def forward(self, x):
        y = self.linear(x)
        self.penalty = y.square().mean()
        self.seen.append(y)
        self.by_name["all"].append(y)
        self.by_name["last"] = y
        return y


def _keep(module, args, output):
    module.output = output


def with_penalty(model, batch, noise):
    return F.cross_entropy(model(batch[0]), batch[1]) + model.penalty + model.linear.output.mean()


@pytest.mark.parametrize("replicas", [[1, 2], [2]], ids=["two", "alone"])
def test_nothing_of_the_stack_is_left_in_the_networks(replicas):
    build = partial(lambda: Kept().double())
    run = train(build, blobs(), replicas=replicas, loss=with_penalty)
    for column, replica in enumerate(replicas):
        losses, model, _ = plain(
            build, blobs(), replica, steps=6, size=16, make=make, loss=with_penalty
        )
        assert_same(run, column, losses, model)
        found = copy.deepcopy(run.module(column))
        assert torch.equal(found.penalty, run.module(column).penalty)
        torch.testing.assert_close(found.penalty, model.penalty.detach(), rtol=0, atol=1e-9)
        assert found.linear.output.shape == (16, 3)
        assert (found.seen, found.by_name) == ([], {"all": []})
        pickle.loads(pickle.dumps(run.module(column)))


def test_nothing_is_left_where_training_fails():
    networks = []

    def build():
        networks.append(Kept().double())
        return networks[-1]

    def schedule(step):
        if step == 2:
            raise RuntimeError("stop")
        return 1.0

    with pytest.raises(RuntimeError, match="stop"):
        train(build, blobs(), schedule=schedule)
    for network, replica in zip(networks, range(3), strict=True):
        assert not network.seen
        assert not hasattr(network, "penalty")
        assert torch.equal(
            network.linear.weight, built(lambda: Kept().double(), replica).linear.weight
        )


class Guard(nn.Module):
    """Its mode is more than a flag."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.sign = nn.Linear(6, 3), 1.0

    def train(self, mode=True):
        self.sign = 1.0 if mode else -1.0
        return super().train(mode)

    def forward(self, x):
        return self.sign * self.linear(x)


def test_measuring_changes_nothing():
    often = train(lambda: Guard().double(), blobs(), every=1)
    once = train(lambda: Guard().double(), blobs())
    assert np.array_equal(often.losses, once.losses)
    assert np.array_equal(often.test["loss"], once.test["loss"])
    assert often.module(0).sign == -1


# --- Inputs ---------------------------------------------------------------------------------------


class Writes(nn.Module):
    def __init__(self, how) -> None:
        super().__init__()
        self.linear, self.how = nn.Linear(6, 3), how

    def forward(self, x):
        self.how(x)
        return self.linear(x)


def tensors_of(split: Split) -> list[torch.Tensor]:
    return [t for part in (split.train, split.validation, split.test) for t in part]


@pytest.mark.parametrize("how", [lambda x: x.sub_(1.0), F.relu_], ids=["sub", "relu"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("replicas", [[0, 1], [1]], ids=["two", "alone"])
def test_a_forward_that_writes_to_its_inputs_changes_no_data(how, shared, replicas):
    split = blobs()(torch.Generator().manual_seed(0))
    before = [t.clone() for t in tensors_of(split)]
    data = split if shared else lambda generator: copy.deepcopy(split)
    build = partial(lambda: Writes(how).double())
    run = train(build, data, replicas=replicas, every=1)
    assert all(torch.equal(a, b) for a, b in zip(before, tensors_of(split), strict=True))
    still = train(build, data, replicas=replicas, every=1, optimizer=rp.sgd(1e-300))
    assert np.ptp(still.validation["loss"], axis=0).max() == 0
    for column, replica in enumerate(replicas):
        losses, model, _ = plain(
            build, lambda generator: copy.deepcopy(split), replica, steps=6, size=16, make=make
        )
        assert_same(run, column, losses, model)


@pytest.mark.parametrize("replicas", [[0, 1], [1]], ids=["two", "alone"])
def test_metrics_and_losses_that_write_change_no_data(replicas):
    split = blobs()(torch.Generator().manual_seed(0))
    before = [t.clone() for t in tensors_of(split)]
    constant = torch.ones(16, 6, dtype=torch.float64)

    def evaluate(model, x, y):
        y.add_(1)
        return {"mean": model(x.mul_(2)).mean(), "targets": y.sum(), "one": 1}

    def loss(model, batch, noise):
        return F.cross_entropy(model(batch[0].mul_(2) + noise[0].mul_(3)), batch[1])

    run = train(
        linear,
        split,
        replicas=replicas,
        every=1,
        evaluate=evaluate,
        loss=loss,
        noise=lambda generator: (constant,),
        optimizer=rp.sgd(1e-300),
    )
    assert np.ptp(run.validation["mean"], axis=0).max() == 0
    assert (run.test["targets"] == split.test[1].sum().item() + 12).all()
    assert (run.test["one"] == 1).all()
    assert all(torch.equal(a, b) for a, b in zip(before, tensors_of(split), strict=True))
    assert (constant == 1).all()


def test_training_works_in_the_callers_modes():
    split = blobs()(torch.Generator().manual_seed(0))
    expected = train(linear, split)
    with torch.no_grad():
        assert np.array_equal(train(linear, split).losses, expected.losses)
    with torch.inference_mode():
        inference = blobs()(torch.Generator().manual_seed(0))
        assert np.array_equal(train(linear, inference).losses, expected.losses)
        alone = train(linear, inference, replicas=[0]).losses
    np.testing.assert_allclose(alone, expected.losses[:, :1], atol=1e-12)


# --- Networks that share --------------------------------------------------------------------------


def shared_module():
    one = nn.Linear(6, 3).double()
    return lambda: one


def shared_parameter():
    weight = nn.Parameter(torch.randn(3, 6).double())

    def build():
        model = nn.Linear(6, 3).double()
        model.weight = weight
        return model

    return build


def shared_memory():
    weight = torch.randn(3, 6).double()

    def build():
        model = nn.Linear(6, 3).double()
        model.weight = nn.Parameter(weight)
        return model

    return build


@pytest.mark.parametrize("share", [shared_module, shared_parameter, shared_memory])
@pytest.mark.parametrize("chunk", [1, 64])
def test_networks_that_share_what_is_trained_are_refused(share, chunk):
    with pytest.raises(ValueError, match=r"build must return a new .* weight of replica 9 is"):
        train(share(), blobs(), replicas=[4, 9], chunk=chunk)
    train(share(), blobs(), replicas=[4])


def test_memory_that_is_shared_within_a_network_is_refused():
    def build():
        model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)).double()
        model[2].weight = nn.Parameter(model[0].weight.data)
        return model

    with pytest.raises(ValueError, match=r"build must return .*: 0.weight and 2.weight share"):
        train(build, blobs(classes=6))


def test_a_frozen_backbone_may_be_shared():
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)).double().requires_grad_(False)
    alone, grid, act = copy.deepcopy(backbone), torch.randn(6).double(), nn.ReLU()

    def build(body):
        model = nn.Sequential(body(), act, nn.Linear(6, 3).double())
        model.register_buffer("grid", grid)
        return model

    own = partial(build, lambda: copy.deepcopy(alone))
    run = train(partial(build, lambda: backbone), blobs(), replicas=[4, 9, 2])
    assert_all_same(run, own, blobs(), [4, 9, 2])
    assert run.module(0)[0][1] is not run.module(1)[0][1]


def test_memory_that_a_network_gave_back_may_be_used_again():
    frozen = nn.Linear(6, 6).double().requires_grad_(False)
    run = train(lambda: nn.Sequential(frozen, nn.Linear(6, 3).double()), blobs(), replicas=24)
    assert run.losses.shape == (6, 24)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.requires_grad_(False), r"weight is \(3, 6\) torch.float64 that trains in"),
        (lambda m: m.float(), r"weight is \(3, 6\) torch.float64 that trains in"),
        (lambda m: setattr(m, "extra", torch.ones(2)), r"extra is None in replica 0 and \(2,\)"),
    ],
    ids=["frozen", "precision", "attribute"],
)
def test_networks_that_differ_are_refused(change, message):
    networks = iter(range(3))

    def build():
        model = linear()
        if next(networks) == 1:
            change(model)
        return model

    with pytest.raises(ValueError, match=f"values only: {message}"):
        train(build, blobs())


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_scripts_are_refused():
    with pytest.raises(ValueError, match="build must return a stackable network: it is scripted"):
        train(lambda: torch.jit.script(mlp()), blobs())
