"""What is seen and what is named; values are measured as they are."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from actnorm.probe import probe


class Residual(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.bn, self.act, self.change = nn.BatchNorm2d(3), nn.ReLU(), change

    def forward(self, x):
        out = self.bn(x)
        return self.act(self.change(out))


class Unseen(torch.autograd.Function):
    """Adds in place, where nobody looks."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        with torch._C.DisableTorchFunction():  # as compiled extensions do
            return x.add_(5)

    @staticmethod
    def backward(ctx, g):
        return g


def by_index(x):
    x[:] = x + 5
    return x


def by_operator(x):
    x += 5
    return x


def by_numpy(x):
    x.detach().numpy()[:] += 5
    return x


def by_view(x):
    x.view(-1)[:].add_(5)
    return x


def by_data(x):
    x.data.add_(5)
    return x


def by_out(x):
    return torch.add(x, 5, out=x)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(
    "change", [by_operator, by_index, by_numpy, by_view, by_data, by_out, Unseen.apply]
)
def test_what_changed_in_place_is_measured_again(change, mode):
    model = Residual(change).eval()
    x = torch.randn(8, 3, 16, 16)
    with mode(), probe(model) as seen:
        model(x)
    expected = model.bn(x).detach().double().mean()
    table = seen.table().set_index("name")
    assert table.loc["bn", "output_mean"] == pytest.approx(expected.item(), abs=1e-5)
    assert table.loc["act", "input_mean"] == pytest.approx(5 + expected.item(), abs=1e-5)


class Returns(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x, *rest, **more):
        return self.make(2 * x)


def test_a_watched_module_may_return_one_tensor_among_others():
    for make in (lambda x: (x, None), lambda x: [3, x], lambda x: x):
        model = nn.Sequential(Returns(make))
        with probe(model, watch=[model[0]]) as seen:
            model(torch.ones(2, 3))
        assert seen.table()["output_mean"].tolist() == [2]
        assert not seen.unrecognised


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda x: (x, x), "Returns returns tuple"),
        (lambda x: {"x": x}, "Returns returns dict"),
        (lambda x: None, "Returns returns NoneType"),
        (lambda x: (3, None), "Returns returns tuple"),
        (lambda x: x.to_sparse(), "output of Returns (sparse_coo)"),
    ],
)
def test_a_watched_module_whose_output_cannot_be_measured_is_named(make, word):
    model = Returns(make)
    with probe(model, watch=[model]) as seen:
        model(torch.ones(2, 3))
    assert seen.table()["input_mean"].tolist() == [1]
    assert seen.table()["output_mean"].isna().all()
    assert seen.unrecognised == {f"(root): {word}": 1}


def test_a_watched_module_may_move_the_units():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(3, 5, 2)

        def forward(self, x):
            return self.conv(x).mT

    model, x = nn.Sequential(nn.Conv1d(2, 3, 1), Last()), torch.randn(4, 2, 7)
    with probe(model, watch=[model[1]]) as seen:
        out = model(x)
    found = seen.units("1")
    torch.testing.assert_close(
        found["input_mean"], model[0](x).double().mean((0, 2)), atol=1e-6, rtol=1e-5
    )
    torch.testing.assert_close(
        found["output_mean"], out.double().mean((0, 1)), atol=1e-6, rtol=1e-5
    )


def test_a_watched_module_may_be_called_by_keyword():
    model = Returns(lambda x: x)
    with probe(model, watch=[model]) as seen:
        model(x=torch.ones(2, 3))
    assert seen.table()["output_mean"].tolist() == [2]


def test_words_of_a_watched_module_count_but_not_what_is_within():
    class Within(nn.Module):
        def forward(self, x):
            return torch.where(x > 0, x, torch.tanh(x))

    model = nn.Sequential(Within(), Within())
    with probe(model, watch=[model[0]]) as seen:
        model(torch.randn(2, 3))
    assert seen.table()["name"].tolist() == ["0", "1"]
    assert seen.table()["kind"].tolist() == ["Within", "tanh"]
    assert seen.unrecognised == {"1: where": 1}


class Energy(nn.Module):
    """Runs a backward pass, with a checkpoint in it, within its forward pass."""

    def __init__(self):
        super().__init__()
        self.act = nn.Softplus()

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = torch.utils.checkpoint.checkpoint(self.act, 2 * x, use_reentrant=False)
            return torch.tanh(torch.autograd.grad(energy.sum(), x)[0])


@pytest.mark.filterwarnings("ignore:.*amp.autocast:FutureWarning")
@pytest.mark.parametrize("watched", [False, True])
def test_what_runs_again_within_a_forward_pass_counts_once(watched):
    model = Energy()
    with probe(model, watch=[model.act] if watched else []) as seen:
        model(torch.randn(2, 3))
    assert seen.table()["n"].tolist() == [2, 2]
    assert seen.table()["name"].tolist() == ["act", "(root)"]
    assert set(seen.unrecognised) <= {
        "(root): requires_grad",
        "(root): grad",
        "(root): is_leaf",
    }


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(0) ** 2

    @staticmethod
    def backward(ctx, g):
        return g


class Squared(nn.Module):
    def forward(self, x):
        return Square.apply(x)


def test_an_output_changed_in_place_is_measured_again():
    class Shifted(nn.Module):
        def forward(self, x):
            x = F.relu(x)
            x -= 2
            return torch.tanh(x)

    model = Shifted()
    with probe(model) as seen:
        model(torch.ones(2, 3))
    assert seen.table()["input_mean"].tolist() == [1, -1]
    assert seen.table()["output_mean"].tolist() == pytest.approx([1, math.tanh(-1)])


def test_watch_measures_a_module_as_a_whole():
    model = nn.Sequential(nn.Linear(6, 4), Swish(), nn.Linear(4, 3), Squared())
    x = torch.randn(5, 6)
    with probe(model) as unwatched:
        model(x)
    assert unwatched.table()["kind"].tolist() == ["sigmoid"]
    with probe(model, watch=[model[1], model[3]]) as seen:
        model(x).sum().backward()
    assert seen.table()["kind"].tolist() == ["Swish", "Squared"]
    torch.testing.assert_close(
        seen.units("1")["output_mean"], F.silu(model[0](x)).mean(0).double(), atol=1e-6, rtol=1e-5
    )
    assert not seen.unrecognised
    assert seen.units("3")["gradient_mean"].tolist() == [1, 1, 1]


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_scripted_modules_are_reported():
    model = nn.Sequential(torch.jit.trace(nn.ReLU(), torch.ones(1)), nn.Tanh())
    with probe(model) as seen:
        model(torch.ones(2, 3))
    assert seen.table()["kind"].tolist() == ["tanh"]
    assert list(seen.unrecognised) == ["0: ScriptModule"]


def test_other_models_and_losses_are_not_seen():
    model, other = nn.Sequential(nn.Linear(6, 4), nn.ReLU()), nn.Tanh()
    with probe(model) as seen:
        other(torch.sigmoid(model(torch.randn(5, 6))).exp())
    assert seen.table()["kind"].tolist() == ["relu"]
    assert not seen.unrecognised
