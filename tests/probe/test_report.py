"""The table and the units of a row, against the values themselves."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from actnorm.probe import probe


class Sometimes(nn.Module):
    def forward(self, x):
        return F.relu(x) if x.shape[-1] == 3 else torch.tanh(x)


def reference(x, axis):
    """Statistics of the units on an axis, from all values at once."""
    values = x.detach().double().movedim(axis, 0).flatten(1)
    return {
        "mean": values.mean(1),
        "std": values.std(1, correction=0),
        "mean_square": values.square().mean(1),
        "positive": (values > 0).double().mean(1),
        "zero": (values == 0).double().mean(1),
        "min": values.amin(1),
        "max": values.amax(1),
    }


@pytest.mark.parametrize(
    ("build", "shape", "axis"),
    [
        (lambda: nn.Linear(6, 7), (5, 6), -1),
        (lambda: nn.Linear(6, 7), (200, 40, 6), -1),
        (lambda: nn.Conv1d(3, 7, 2), (5, 3, 6), -2),
        (lambda: nn.Conv2d(3, 7, 2), (5, 3, 6, 6), -3),
        (lambda: nn.Conv2d(3, 7, 2), (3, 6, 6), -3),
        (lambda: nn.ConvTranspose3d(3, 7, 2), (2, 3, 4, 4, 4), -4),
        (lambda: nn.Linear(6, 7), (6,), -1),
    ],
)
@pytest.mark.parametrize("passes", [1, 70])
def test_statistics_are_those_of_the_values(build, shape, axis, passes):
    torch.manual_seed(0)
    view = shape in ((200, 40, 6), (3, 6, 6), (6,))  # whose change in place hides its gradient
    model = nn.Sequential(build(), nn.ReLU(inplace=not view))
    inputs, before, after = [], [], []
    with probe(model) as seen:
        for _ in range(passes):
            x = torch.randn(shape)
            y = model(x)
            (y**3).sum().backward()
            z = model[0](x)
            inputs.append(z)
            before.append(3 * F.relu(z) ** 2)
            after.append(F.relu(z))
    units = seen.units("1")
    for part, values in (("input", inputs), ("output", after), ("gradient", before)):
        for statistic, value in reference(torch.stack(values), axis).items():
            torch.testing.assert_close(
                units[f"{part}_{statistic}"].double(), value, rtol=1e-4, atol=1e-5
            )
    row = seen.table().iloc[0]
    whole = torch.stack(inputs).detach().double()
    assert row["n"] == whole.numel() // 7
    assert row["shape"] == (7,)
    assert row["input_mean"] == pytest.approx(whole.mean().item(), abs=1e-6)
    assert row["input_std"] == pytest.approx(whole.std(correction=0).item(), rel=1e-5)
    assert row["input_positive"] == pytest.approx((whole > 0).double().mean().item())
    assert row["output_zero"] == pytest.approx((whole <= 0).double().mean().item())
    assert row["gradient_zero"] == pytest.approx((whole <= 0).double().mean().item())
    assert row["input_min"] == pytest.approx(whole.min().item())
    assert row["output_max"] == pytest.approx(F.relu(whole).max().item())


@pytest.mark.parametrize(
    ("build", "shape", "axis"),
    [
        (lambda: nn.BatchNorm2d(7), (5, 7, 6, 6), -3),
        (lambda: nn.BatchNorm2d(7, eps=1e-2), (7, 7, 4, 4), -3),
        (lambda: nn.BatchNorm2d(7, affine=False), (5, 7, 6, 6), -3),
        (lambda: nn.BatchNorm2d(7, affine=False, track_running_stats=False), (5, 7, 6, 6), -3),
        (lambda: nn.BatchNorm2d(7).double(), (5, 7, 6, 6), -3),
        (lambda: nn.BatchNorm2d(7).bfloat16(), (5, 7, 6, 6), -3),
        (lambda: nn.BatchNorm1d(7), (5, 7), -1),
        (lambda: nn.BatchNorm1d(7), (10_000, 7), -1),
        (lambda: nn.GroupNorm(7, 7), (5, 7, 6, 6), -3),
        (lambda: nn.InstanceNorm2d(7, affine=True, track_running_stats=True), (5, 7, 6, 6), -3),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_what_leaves_a_normalization_is_that_of_its_values(build, shape, axis, training):
    """Of a batch normalization's output, moments follow from those of the input."""
    torch.manual_seed(0)
    model = nn.Sequential(build(), nn.ReLU())
    norm = model[0]
    for name, tensor in [*norm.named_parameters(), *norm.named_buffers()]:
        if tensor.is_floating_point():
            tensor.data = torch.rand_like(tensor) + (0.1 if name == "running_var" else -0.5)
    model.train(training)
    outputs = []
    for module in model:
        module.register_forward_hook(lambda _, __, out: outputs.append(out))
    spread, shift = torch.rand(2, 7).view(2, 7, *[1] * (-1 - axis))
    dtype = next(iter(norm.parameters()), torch.empty(0)).dtype
    with probe(model) as seen:
        for _ in range(3):
            model((5 * spread * torch.randn(shape) + 100 * shift).to(dtype))
    for name, values in (("0", outputs[::2]), ("1", outputs[1::2])):
        units = seen.units(name)
        for statistic, value in reference(torch.stack(values), axis).items():
            found = units[f"output_{statistic}"].double()
            torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-4)


def test_half_precision_does_not_overflow():
    model = nn.ReLU()
    with probe(model) as seen:
        model(torch.tensor([[300.0], [-300.0]], dtype=torch.float16))
    assert seen.table()["input_std"].tolist() == [300]


def test_a_large_mean_leaves_the_standard_deviation_accurate():
    """float32 mean squares would give 1e8 +- 8 here, and no variance at all."""
    x = 1e4 + torch.randn(40, 1000, 3, generator=torch.Generator().manual_seed(0))
    model = nn.Tanh()
    with probe(model) as seen:
        for batch in x:
            model(batch)
    found = seen.units("(root)")["input_std"]
    torch.testing.assert_close(
        found, x.double().flatten(0, 1).std(0, correction=0), rtol=1e-4, atol=0
    )


def test_dead_counts_units_that_were_never_positive():
    model = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, 0]]))
    with probe(model) as seen:
        model(torch.tensor([[1.0, -1], [2, -3]]))
        assert seen.table()["dead_at_most"].tolist() == [0.75]
        model(torch.tensor([[1.0, 1]]))
    table = seen.table()
    assert table["dead_at_most"].tolist() == [0.5]
    assert table["n"].tolist() == [3]
    norm = nn.LayerNorm(4)
    with probe(norm) as seen:
        norm(-torch.ones(2, 4))
    assert math.isnan(seen.table()["dead_at_most"][0])


def test_calls_that_differ_from_pass_to_pass_are_told_apart():
    model = Sometimes()
    with probe(model) as seen:
        for width in (3, 4, 3):
            model(torch.ones(2, width))
    assert seen.table()["name"].tolist()[0] == "(root)"
    assert seen.table()["name"].is_unique
    assert seen.table()["shape"].tolist() == [(3,), (4,)]
    assert seen.table()["kind"].tolist() == ["relu", "tanh"]
    assert seen.table()["n"].tolist() == [4, 2]


def test_what_is_not_finite_is_counted():
    model = nn.ReLU()
    with probe(model) as seen:
        model(torch.tensor([[1.0, math.nan, 3, math.inf]]))
    assert seen.table()["nonfinite"].tolist() == [0.5]


def test_every_measures_each_nth_pass():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    with probe(model, every=3) as seen:
        for _ in range(7):
            model(torch.randn(5, 6)).sum().backward()
    assert seen.table()["n"].tolist() == [15]
    with probe(model, gradients=False) as seen:
        model(torch.randn(5, 6)).sum().backward()
    assert "gradient_mean" not in seen.units("1")
    assert math.isnan(seen.table()["gradient_zero"][0])


def test_empty_batches_and_integers_are_not_evidence():
    model = nn.ReLU()
    with probe(model) as seen:
        model(torch.ones(0, 3))
        model(torch.ones(2, 3, dtype=torch.int64))
    assert seen.table().empty
    assert seen.unrecognised == {"(root): relu": 2}


def test_inference_mode():
    model = nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.ReLU())
    with torch.inference_mode(), probe(model) as seen:
        for _ in range(3):
            model(torch.randn(5, 6))
    assert seen.table()["n"].tolist() == [15, 15]
    assert seen.units("2")["input_mean"].shape == (4,)


def test_errors_name_the_argument():
    model = nn.ReLU()
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, not builtin"):
        probe(torch.relu)
    with pytest.raises(ValueError, match="every must be at least 1, not 0"):
        probe(model, 0)
    with pytest.raises(ValueError, match="watch must hold modules of the model"):
        probe(model, watch=[nn.ReLU()])
    with pytest.raises(KeyError, match="no row 'act'; there are: none"):
        probe(model).units("act")
