"""Per-sample gradients and their moments, against a loop with autograd and BackPACK."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from actnorm import gradients


def loop(model, inputs, targets, loss=F.cross_entropy):
    """Per-sample gradients by one backward pass for each sample."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    rows = [
        torch.autograd.grad(
            loss(model(inputs[i : i + 1]), targets[i : i + 1]), list(parameters.values())
        )
        for i in range(len(inputs))
    ]
    return {
        name: torch.stack(g) for name, g in zip(parameters, zip(*rows, strict=True), strict=True)
    }


class Tied(nn.Module):
    """A weight that a linear layer uses and that the forward pass uses again, transposed."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 5)
        self.out = nn.Linear(6, 4)

    def forward(self, x):
        return self.out(F.linear(self.inner(x).tanh(), self.inner.weight.T))


class Twice(nn.Module):
    """A layer applied twice, and outputs in a dictionary."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.out = nn.Linear(6, 4, bias=False)

    def forward(self, x):
        return {"logits": self.out(self.inner(F.relu(self.inner(x))))}


def mlp():
    return nn.Sequential(
        nn.Linear(6, 8), nn.PReLU(), nn.LayerNorm(8), nn.Linear(8, 8, bias=False), nn.Tanh(),
        nn.Linear(8, 4),
    )  # fmt: skip


def frozen():
    model = mlp()
    model[0].weight.requires_grad_(False)
    model[5].bias.requires_grad_(False)
    return model


def sequence():
    layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True)
    return nn.Sequential(
        nn.Unflatten(1, (3, 2)), nn.Linear(2, 6), layer, nn.Flatten(), nn.Linear(18, 4)
    )


def conv():
    return nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 3, 3), nn.BatchNorm1d(3), nn.ReLU(inplace=True),
        nn.Flatten(), nn.Linear(12, 4),
    ).eval()  # fmt: skip


def tied_modules():
    model = nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.Linear(6, 6), nn.Linear(6, 4))
    model[2].weight = model[0].weight
    return model


def tied_bias():
    model = nn.Sequential(nn.Linear(6, 6), nn.Softplus(), nn.Linear(6, 6), nn.Linear(6, 4))
    model[2].bias = model[0].bias
    return model


def dictionary(outputs, targets):
    return F.cross_entropy(outputs["logits"], targets)


PROBLEMS = {
    "mlp": (mlp, F.cross_entropy),
    "frozen": (frozen, F.cross_entropy),
    "linear": (lambda: nn.Linear(6, 4), F.cross_entropy),
    "tied": (Tied, F.cross_entropy),
    "twice": (Twice, dictionary),
    "conv": (conv, F.cross_entropy),
    "transformer": (sequence, F.cross_entropy),
    "tied modules": (tied_modules, F.cross_entropy),
    "tied bias": (tied_bias, F.cross_entropy),
    "shared module": (
        lambda: nn.Sequential(*[nn.Linear(6, 6)] * 2, nn.SELU(), nn.Linear(6, 4)),
        F.cross_entropy,
    ),
}


@pytest.fixture(params=PROBLEMS)
def problem(request):
    torch.manual_seed(0)
    build, loss = PROBLEMS[request.param]
    return build().double(), torch.randn(11, 6).double(), torch.randint(4, (11,)), loss


@pytest.mark.parametrize("chunk", [None, 4])
def test_per_sample_is_the_loop(problem, chunk):
    expected = loop(*problem)
    found = gradients.per_sample(*problem, chunk=chunk)
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


@pytest.mark.parametrize("chunk", [None, 4])
def test_moments_are_those_of_the_loop(problem, chunk):
    expected = loop(*problem)
    found = gradients.moments(*problem, chunk=chunk)
    assert list(found.mean) == list(found.variance) == list(expected)
    for name, g in expected.items():
        torch.testing.assert_close(found.mean[name], g.mean(0))
        torch.testing.assert_close(found.variance[name], g.var(0, correction=0))
    norms = torch.stack([torch.cat([g[i].flatten() for g in expected.values()]) for i in range(11)])
    torch.testing.assert_close(found.squared_norms, norms.norm(dim=1) ** 2)


def test_variance_far_below_the_squared_mean_survives_float32():
    """Gradients of the loss o * t by a weight are a * t: chosen here to be 1,000 +- 0.25."""
    model = nn.Linear(1, 1)
    inputs = torch.tensor([[999.75], [1000.25]]).repeat(500, 1)
    found = gradients.moments(model, inputs, torch.ones(1000, 1), lambda o, t: (o * t).sum())
    torch.testing.assert_close(found.variance["weight"], torch.tensor([[0.0625]]))
    assert found.variance["bias"].item() == 0


def test_the_variance_of_equal_gradients_is_not_negative():
    torch.manual_seed(0)
    inputs, targets = torch.randn(1, 6).double().expand(7, 6), torch.zeros(7, dtype=torch.int64)
    found = gradients.moments(mlp().double(), inputs, targets)
    assert all((variance >= 0).all() for variance in found.variance.values())
    assert gradients.relative_noise(found) < 1e-14


def test_the_model_is_left_as_it_was(problem):
    model = problem[0]
    parameters = dict(model.named_parameters())
    before = {name: t.clone() for name, t in model.state_dict().items()}
    for p in parameters.values():
        p.grad = torch.ones_like(p)
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    gradients.moments(*problem)
    gradients.per_sample(*problem)
    assert all(p is parameters[name] for name, p in model.named_parameters())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in parameters.values())
    assert modes == [m.training for m in model.modules()]
    assert torch.equal(state, torch.get_rng_state())


def test_dropout_draws_anew_for_each_sample():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 4))
    inputs, targets = torch.ones(200, 6), torch.zeros(200, dtype=torch.int64)
    g = gradients.per_sample(model, inputs, targets)["1.weight"][:, 1]
    assert len(g.ne(0).unique(dim=0)) > 40  # of 64 patterns
    assert gradients.moments(model, inputs, targets).variance["1.weight"].min() > 0


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_backpack_agrees():
    backpack = pytest.importorskip("backpack")
    from backpack.extensions import BatchGrad, Variance

    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 4)).double()
    inputs, targets = torch.randn(32, 6).double(), torch.randint(4, (32,))
    each = gradients.per_sample(layers, inputs, targets)
    found = gradients.moments(layers, inputs, targets)
    model, criterion = backpack.extend(layers), backpack.extend(nn.CrossEntropyLoss())
    with backpack.backpack(BatchGrad(), Variance()):  # theirs are of loss / n
        criterion(model(inputs), targets).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(each[name], p.grad_batch * 32)
        torch.testing.assert_close(found.variance[name], p.variance * 32**2)


@pytest.mark.parametrize("call", [gradients.per_sample, gradients.moments])
def test_errors_name_the_argument(call):
    model, inputs, targets = mlp(), torch.randn(3, 6), torch.tensor([0, 1, 2])
    nan = inputs.clone()
    nan[1, 1] = math.nan
    with pytest.raises(ValueError, match="inputs must be finite"):
        call(model, nan, targets)
    with pytest.raises(ValueError, match="not 3 and 2"):
        call(model, inputs, targets[:2])
    with pytest.raises(ValueError, match="not 0 and 0"):
        call(model, inputs[:0], targets[:0])
    with pytest.raises(ValueError, match="chunk must be at least 1, not 0"):
        call(model, inputs, targets, chunk=0)
    with pytest.raises(ValueError, match=r"scalar, not shape \(1, 4\)"):
        call(model, inputs, targets, lambda o, t: o)
    with pytest.raises(ValueError, match=r"real scalar in floating point, not torch\.int64"):
        call(model, inputs, targets, lambda o, t: o.argmax())
    with pytest.raises(TypeError, match=r"loss must return a tensor, not 1\.0"):
        call(model, inputs, targets, lambda o, t: 1.0)
    with pytest.raises(ValueError, match="requires a gradient"):
        call(nn.ReLU(), inputs, targets)
    with pytest.raises(ValueError, match="must be finite"):
        call(model, inputs, targets, lambda o, t: (o - o.detach()).abs().sqrt().sum())


@pytest.mark.parametrize("call", [gradients.per_sample, gradients.moments])
def test_batch_statistics_are_refused_by_name(call):
    inputs, targets = torch.randn(3, 6), torch.tensor([0, 1, 2])
    with pytest.raises(ValueError, match=r"'2' is a BatchNorm1d .* model.eval\(\)"):
        call(conv().train(), inputs, targets)
    with pytest.raises(ValueError, match="'0' is a BatchNorm1d"):
        call(nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False)).eval(), inputs, targets)


def test_relative_noise_of_moments_follows_from_the_norms(problem):
    """R + 1 = E |g_i|^2 / |G|^2."""
    found = gradients.moments(*problem)
    square = sum(mean.square().sum() for mean in found.mean.values())
    expected = float(found.squared_norms.mean() / square) - 1
    assert gradients.relative_noise(found) == pytest.approx(expected)
    assert gradients.relative_noise(gradients.per_sample(*problem)) == pytest.approx(expected)


def test_noise_scale_of_moments_is_the_sample_covariance(problem):
    found, n = gradients.moments(*problem), 11
    square = sum(mean.square().sum() for mean in found.mean.values())
    estimate = gradients.noise_scale(found.squared_norms, square, batch_sizes=(1, n))
    trace = sum(float(g.var(0).sum()) for g in loop(*problem).values())
    assert estimate.trace == pytest.approx(trace)
    assert estimate.squared_gradient == pytest.approx(float(square) - trace / n)
