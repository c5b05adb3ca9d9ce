"""Per-sample gradients of models that write, recur, count, embed and compute in complex numbers."""

import copy
import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from actnorm import gradients, stateless


def loop(model, inputs, targets, loss):
    """Return per-sample gradients, each by a backward pass of a fresh copy of the model."""
    rows = []
    for x, y in zip(inputs.split(1), targets.split(1), strict=True):
        fresh = copy.deepcopy(model)
        parameters = {name: p for name, p in fresh.named_parameters() if p.requires_grad}
        value = loss(fresh)(fresh(x.clone()), y.clone())
        rows.append(torch.autograd.grad(value, list(parameters.values())))
    columns = (torch.stack([g.to_dense() for g in column]) for column in zip(*rows, strict=True))
    return dict(zip(parameters, columns, strict=True))


class Recurrent(nn.Module):
    def __init__(self, kind, **settings):
        super().__init__()
        self.memory = kind(2, 5, batch_first=True, **settings)
        width = settings.get("proj_size", 5) * (1 + settings.get("bidirectional", False))
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        return self.head(self.memory(x.view(len(x), 3, 2))[0][:, -1])


class Cell(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cell, self.head = kind(2, 5), nn.Linear(5, 4)

    def forward(self, x):
        state = None
        for step in x.view(len(x), 3, 2).unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


def partly_frozen():
    model = Recurrent(nn.GRU)
    model.memory.weight_hh_l0.requires_grad_(False)
    return model


class Writes(nn.Module):
    """Writes, while it runs, to what it holds or to its inputs."""

    def __init__(self, how):
        super().__init__()
        self.linear, self.how = nn.Linear(6, 4), how
        self.register_buffer("buffer", torch.ones(4))
        self.plain, self.kept, self.seen, self.calls = torch.ones(4), None, [], 0

    def forward(self, x):
        if self.how == "inputs":
            x -= 1
        y = self.linear(x)
        now = y.detach().mean(0)
        self.calls += 1
        if self.how == "in place":
            self.buffer.mul_(0.9).add_(now)
        elif self.how == "counter":
            self.buffer += 1
        elif self.how == "assigned":
            self.buffer = 0.9 * self.buffer + now
        elif self.how == "attribute":
            self.plain = self.plain + now
        elif self.how == "kept":
            self.kept = self.new = y
            self.seen.append(y)
        return y * self.buffer * self.plain


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 5, dtype=torch.complex128)
        self.outer = nn.Linear(5, 4, dtype=torch.complex128)
        self.scale = nn.Parameter(torch.randn(4, dtype=torch.complex128))

    def forward(self, x):
        return (self.outer(self.inner(x.to(torch.complex128))) * self.scale).abs()


class Words(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        self.table, self.head = nn.Embedding(11, 6, **settings), nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.table(x.abs().mul(3).long()).mean(1))


class Sentences(Words):
    def __init__(self):
        super().__init__(padding_idx=0)
        layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)

    def forward(self, x):
        words = x.abs().mul(3).long()
        words[:, 0] = 0
        mask = words.cumsum(1) == 0
        return self.head(self.encoder(self.table(words), src_key_padding_mask=mask).mean(1))


MODELS = {
    "rnn": partial(Recurrent, nn.RNN),
    "lstm": partial(Recurrent, nn.LSTM),
    "gru": partial(Recurrent, nn.GRU),
    "both ways": partial(Recurrent, nn.GRU, num_layers=2, bidirectional=True, bias=False),
    "projected": partial(Recurrent, nn.LSTM, proj_size=3),
    "partly frozen": partly_frozen,
    "rnn cell": partial(Cell, nn.RNNCell),
    "lstm cell": partial(Cell, nn.LSTMCell),
    "gru cell": partial(Cell, nn.GRUCell),
    **{
        how: partial(Writes, how)
        for how in ("in place", "counter", "assigned", "attribute", "kept", "inputs")
    },
    "complex": Complex,
    "padding": partial(Words, padding_idx=0),
    "sparse": partial(Words, sparse=True),
    "encoder": Sentences,
    "encoder in eval mode": lambda: Sentences().eval(),
}


def held(model):
    return {name: (id(t), t.clone()) for name, t in stateless.tensors(model).items()}


def assert_equal_to_the_loop(model, inputs, targets, loss, chunk):
    expected = loop(model, inputs, targets, loss)
    found = gradients.per_sample(model, inputs, targets, loss(model), chunk=chunk)
    moments = gradients.moments(model, inputs, targets, loss(model), chunk=chunk)
    assert list(found) == list(moments.mean) == list(moments.variance) == list(expected)
    for name, g in expected.items():
        torch.testing.assert_close(found[name], g)
        torch.testing.assert_close(moments.mean[name], g.mean(0))
        spread = (g - g.mean(0)).abs().square().mean(0)
        torch.testing.assert_close(moments.variance[name], spread)
    norms = sum(g.abs().square().reshape(len(g), g[0].numel()).sum(1) for g in expected.values())
    torch.testing.assert_close(moments.squared_norms, norms)
    square = sum(g.mean(0).abs().square().sum() for g in expected.values())
    noise = float(norms.mean() / square) - 1
    assert gradients.relative_noise(found) == pytest.approx(noise)
    assert gradients.relative_noise(moments) == pytest.approx(noise)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chunk", [None, 4])
def test_any_model_is_the_loop_and_is_left_as_it_was(name, chunk):
    torch.manual_seed(0)
    model = MODELS[name]().double()
    inputs, targets = torch.randn(9, 6).double(), torch.randint(4, (9,))
    before, attributes = held(model), {m: dict(vars(m)) for m in model.modules()}
    x, y, state = inputs.clone(), targets.clone(), torch.get_rng_state()
    assert_equal_to_the_loop(model, inputs, targets, lambda _: F.cross_entropy, chunk)
    assert torch.equal(inputs, x)
    assert torch.equal(targets, y)
    assert torch.equal(torch.get_rng_state(), state)
    after = held(model)
    assert before.keys() == after.keys()
    for key, (identity, value) in before.items():
        assert after[key][0] == identity
        assert torch.equal(after[key][1], value)
    for module, kept in attributes.items():
        assert vars(module) == kept or vars(module).keys() == kept.keys()
    assert not getattr(model, "seen", ())
    assert getattr(model, "calls", 0) == 0
    assert getattr(model, "kept", None) is None
    copy.deepcopy(model)
    pickle.dumps(model)


def test_dropout_draws_as_vmap_does_and_no_more():
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 4)).double(), torch.randn(5, 6)
    inputs, targets = inputs.double(), torch.randint(4, (5,))
    weight = model[1].weight.detach()

    def loss(weight, x, y):
        x = F.dropout(x[None], 0.5)
        return F.cross_entropy(F.linear(x, weight, model[1].bias.detach()), y[None])

    torch.manual_seed(1)
    gradient = torch.func.vmap(torch.func.grad(loss), (None, 0, 0), randomness="different")
    expected = gradient(weight, inputs, targets)
    torch.manual_seed(1)
    torch.testing.assert_close(gradients.per_sample(model, inputs, targets)["1.weight"], expected)
    torch.manual_seed(1)
    mean = gradients.moments(model, inputs, targets).mean["1.weight"]
    torch.testing.assert_close(mean, expected.mean(0))


PENALTIES = {
    "all": lambda model: sum(p.square().sum() for p in model.parameters()),
    "one": lambda model: model[0].weight.abs().sum(),
    "again": lambda model: model(torch.ones(1, 6).double()).square().sum(),
}


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("chunk", [None, 4])
def test_a_loss_may_use_the_model(name, chunk):
    def loss(model):
        return lambda o, t: F.cross_entropy(o, t) + 0.5 * PENALTIES[name](model)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    inputs, targets = torch.randn(9, 6).double(), torch.randint(4, (9,))
    assert_equal_to_the_loop(model, inputs, targets, loss, chunk)


@pytest.mark.parametrize("call", [gradients.per_sample, gradients.moments])
def test_a_loss_that_holds_parameters_itself_is_refused(call):
    model, inputs, targets = nn.Linear(6, 4), torch.randn(5, 6), torch.randint(4, (5,))
    weight, frozen = model.weight, model.bias.requires_grad_(False)
    with pytest.raises(ValueError, match="must reach weight through the model"):
        call(model, inputs, targets, lambda o, t: F.cross_entropy(o, t) + weight.sum())
    call(model, inputs, targets, lambda o, t: F.cross_entropy(o, t) + frozen.sum())


def test_a_loss_that_writes_to_its_targets_leaves_them():
    model, inputs = nn.Linear(6, 4).double(), torch.randn(5, 6).double()
    targets = torch.randn(5, 4).double()
    before = targets.clone()

    def loss(model):
        return lambda o, t: (o - t.mul_(2)).square().sum()

    assert_equal_to_the_loop(model, inputs, targets, loss, 2)
    assert torch.equal(targets, before)


class Item(nn.Linear):
    def forward(self, x):
        y = super().forward(x)
        return y if y.sum() > 0 else -y


class Checkpoint(nn.Linear):
    def forward(self, x):
        return checkpoint(super().forward, x, use_reentrant=False)


@pytest.mark.parametrize("call", [gradients.per_sample, gradients.moments])
@pytest.mark.parametrize("layer", [Item, Checkpoint])
def test_what_vmap_cannot_run_is_refused_by_name(call, layer):
    model, inputs = nn.Sequential(nn.ReLU(), layer(6, 4)), torch.randn(5, 6)
    with pytest.raises(
        ValueError, match=rf"model and loss must be .*: 1 \({layer.__name__}\) cannot run"
    ):
        call(model, inputs, torch.randint(4, (5,)))


class Odd(nn.Linear):
    """Holds a parameter without an axis and one without a number."""

    def __init__(self):
        super().__init__(6, 4, dtype=torch.float64)
        self.scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
        self.empty = nn.Parameter(torch.empty(0, 2, dtype=torch.float64))

    def forward(self, x):
        return super().forward(x) * self.scale + self.empty.sum()


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_parameters_of_any_shape_in_any_mode(mode):
    inputs, targets = torch.randn(5, 6).double().requires_grad_(), torch.randint(4, (5,))
    model = Odd()
    assert_equal_to_the_loop(model, inputs, targets, lambda _: F.cross_entropy, 2)
    expected = gradients.moments(model, inputs, targets)
    assert not expected.squared_norms.requires_grad
    with mode():
        found = gradients.moments(model, inputs.clone(), targets.clone())
        each = gradients.per_sample(model, inputs.clone(), targets.clone())
    torch.testing.assert_close(vars(found), vars(expected))
    assert each["scale"].shape == (5,)


@pytest.mark.parametrize("call", [gradients.per_sample, gradients.moments])
def test_a_target_that_no_class_has_is_not_the_models_fault(call):
    with pytest.raises(ValueError, match=r"targets ones for the loss: .*: index 9 is out of"):
        call(nn.Linear(6, 4), torch.randn(3, 6), torch.tensor([0, 1, 9]))


class Before(nn.Linear):
    """Makes a tensor of its weight when it is built."""

    def __init__(self):
        super().__init__(6, 4)
        self.sum = self.weight.sum()

    def forward(self, x):
        return super().forward(x) * self.sum


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_what_was_made_of_parameters_before_is_refused_where_it_is_used():
    inputs, targets = torch.randn(5, 6), torch.randint(4, (5,))
    for call in (gradients.per_sample, gradients.moments):
        with pytest.raises(ValueError, match="model must compute sum in its forward"):
            call(Before(), inputs, targets)
    renewed = nn.utils.weight_norm(nn.Linear(6, 4))
    assert renewed.weight.grad_fn
    found = gradients.moments(renewed, inputs, targets).mean["weight_v"]
    loss = F.cross_entropy(renewed(inputs), targets)
    torch.testing.assert_close(found, torch.autograd.grad(loss, renewed.weight_v)[0])


def test_tiny_and_huge_gradients_keep_their_noise():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    inputs, targets = torch.randn(20, 6), torch.randint(4, (20,))

    def scaled(factor):
        return lambda o, t: factor * F.cross_entropy(o, t)

    expected = gradients.relative_noise(gradients.moments(model, inputs, targets, scaled(1.0)))
    for factor in (1e-25, 1e-12, 1e12, 1e25):
        for measure in (gradients.moments, gradients.per_sample):
            found = gradients.relative_noise(measure(model, inputs, targets, scaled(factor)))
            assert found == pytest.approx(expected, rel=1e-3)
    variance = gradients.moments(model, inputs, targets, scaled(1e-25)).variance["2.bias"]
    g = gradients.per_sample(model, inputs, targets, scaled(1e-25))["2.bias"].double()
    torch.testing.assert_close(variance, g.var(0, correction=0), rtol=1e-5, atol=0)
    assert gradients.moments(model, inputs, targets).variance["2.bias"].dtype == torch.float32


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_relative_noise_does_not_depend_on_the_scale(scale):
    g = torch.tensor([[1.0, 0], [3, 0], [2, 3], [2, -3]]).double()
    assert gradients.relative_noise(g * scale) == pytest.approx(5 / 4)
    assert gradients.relative_noise({"a": g * scale, "b": 0 * g}) == pytest.approx(5 / 4)


def test_complex_gradients():
    g = torch.tensor([1 + 1j, 3 - 1j, 2 + 3j, 2 - 3j])
    # The mean is 2; squared distances from it are 2, 2, 9 and 9.
    assert gradients.relative_noise(g) == pytest.approx(22 / 4 / 4)
    with pytest.raises(ValueError, match="g must be of real numbers, which have a sign"):
        gradients.sign_coherence(g)
    with pytest.raises(ValueError, match="small must hold squared norms: real"):
        gradients.noise_scale(g, 1.0, batch_sizes=(1, 2))
    with pytest.raises(ValueError, match=r"loss must return a real scalar .* not torch\.complex64"):
        gradients.per_sample(
            nn.Linear(2, 2), torch.ones(1, 2), torch.ones(1), lambda o, t: 1j * o.sum()
        )


def test_whole_numbers_of_numpy_are_counts():
    model, inputs, targets = nn.Linear(6, 4), torch.randn(5, 6), torch.randint(4, (5,))
    whole = gradients.per_sample(model, inputs, targets, chunk=np.int64(2))
    torch.testing.assert_close(whole, gradients.per_sample(model, inputs, targets))
    with pytest.raises(TypeError, match=r"chunk must be a whole number, not 2\.5"):
        gradients.moments(model, inputs, targets, chunk=2.5)
    estimate = gradients.noise_scale(8.0, 1.0, batch_sizes=(np.int64(1), np.int32(4)))
    assert estimate.scale == math.inf
    with pytest.raises(TypeError, match=r"batch_sizes must be a whole number, not 1\.5"):
        gradients.noise_scale(8.0, 1.0, batch_sizes=(1.5, 4))


def test_models_and_data_on_two_devices_are_named(elsewhere):
    cpu = {"device": "cpu"}
    inputs, targets = torch.ones(3, 6, **cpu), torch.zeros(3, dtype=torch.int64, **cpu)
    with pytest.raises(ValueError, match="must lie on one device, not cpu, meta: "):
        gradients.per_sample(nn.Linear(6, 4), inputs, targets)

    class Fails(nn.Linear):
        def forward(self, x):
            raise RuntimeError("its own fault")

    with pytest.raises(RuntimeError, match=r"^its own fault$"):
        gradients.per_sample(Fails(6, 4, **cpu), inputs, targets)
