"""Statistics of units against the values themselves, at the ends of what a number can hold."""

import pytest
import torch
from torch import nn
from torch.func import vmap

from actnorm.probe import probe

SCALES = [1e-44, 1e-39, 1e-30, 1e-25, 1e-18, 1e-9, 1.0, 1e9, 1e19, 1e20, 1e30, 1e37]


def values(scale, samples, offset=0.0):
    """Units of one scale, one of zeros, one constant, one of a scale far from the others'."""
    x = torch.randn(samples, 6, generator=torch.Generator().manual_seed(0)).clamp(-4, 4) + offset
    x = x * scale
    x[:, 3], x[:, 4], x[:, 5] = 0, scale, x[:, 5] / scale
    return x


def agree(found, part, x, dim=0):
    """As right as float64 is, to the rounding of float32."""
    x = x.detach().double()
    size = x.abs().amax(dim)
    spread = x.std(dim, correction=0)
    assert ((found[f"{part}_std"] - spread).abs() <= 1e-4 * spread + 3e-8 * size).all()
    assert ((found[f"{part}_mean"] - x.mean(dim)).abs() <= 1e-6 * size + 1e-45).all()
    assert (found[f"{part}_min"] == x.amin(dim)).all()
    assert (found[f"{part}_max"] == x.amax(dim)).all()


@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize("samples", [400, 20_000])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", [nn.Tanh, nn.ReLU])
def test_spread_and_mean_are_right_wherever_float64_is(kind, scale, samples, offset):
    x, model = values(scale, samples, offset if scale < 1e36 else 0), kind()
    with probe(model) as seen:
        for batch in x.split(100):
            model(batch)
    agree(seen.units("(root)"), "input", x)
    agree(seen.units("(root)"), "output", model(x))


@pytest.mark.parametrize("scale", SCALES)
def test_gradients_and_replicas_at_every_scale(scale):
    x = torch.stack([values(scale, 50), values(1.0, 50)]).requires_grad_()
    g = torch.stack([values(1.0, 50), values(scale, 50)])
    model = nn.LeakyReLU(1.0)
    with probe(model) as seen:
        vmap(model)(1 * x).backward(g)
    agree(seen.units("(root)"), "input", x, 1)
    agree(seen.units("(root)"), "gradient", g, 1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("scale", SCALES)
def test_what_leaves_a_batch_norm_at_every_scale(scale, training):
    """Where the squares of the normalization itself overflow, its output is what it is."""
    x, model = values(scale, 80)[:, :4], nn.Sequential(nn.BatchNorm1d(4), nn.Tanh())
    x = x.unsqueeze(-1).expand(80, 4, 300)
    model.train(training)
    with probe(model) as seen:
        out = model[0](x)
    out = out.movedim(1, -1).flatten(0, 1).detach().double()
    found = seen.units("0")
    for name, expected in (("mean", out.mean(0)), ("std", out.std(0, correction=0))):
        torch.testing.assert_close(
            found[f"output_{name}"], expected, rtol=1e-3, atol=1e-4, equal_nan=True
        )


def test_a_constant_has_no_spread():
    model = nn.Tanh()
    with probe(model) as seen:
        for _ in range(3):
            model(torch.full((1000, 2), 0.1))
    assert seen.units("(root)")["input_std"].tolist() == [0, 0]


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
def test_what_is_not_finite_stays_in_its_unit(bad):
    x, model = torch.randn(500, 3), nn.Tanh()
    x[7, 1] = bad
    with probe(model) as seen:
        model(x)
    assert seen.table()["nonfinite"].tolist() == pytest.approx([1 / 3])
    found = seen.units("(root)")
    torch.testing.assert_close(found["input_std"][::2], x[:, ::2].double().std(0, correction=0))
    assert found["input_std"][1].isnan()
