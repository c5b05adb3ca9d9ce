"""Gradients by the inputs of calls, against autograd's own, whatever runs again or twice."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from actnorm.probe import probe

pytestmark = pytest.mark.filterwarnings("ignore:.*amp.autocast:FutureWarning")  # torch 2.4's own


def gradients(seen):
    """Mean gradient of each row, None where there is none."""
    names = seen.table()["name"]
    return {name: seen.units(name).get("gradient_mean") for name in names}


def agree(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


class Blocks(nn.Module):
    """Calls in blocks, and one of the model's own between them."""

    def __init__(self, reentrant):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.LayerNorm(4))
            for _ in range(3)
        )
        self.reentrant = reentrant

    def forward(self, x):
        for block in self.blocks:
            if self.reentrant is None:
                x = block(x)
            else:
                x = checkpoint(block, x, use_reentrant=self.reentrant)
            x = F.softplus(x)
        return x


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_measure_what_a_plain_pass_does(reentrant, passes):
    torch.manual_seed(0)
    model, x = Blocks(None), torch.randn(passes, 5, 4, requires_grad=True)
    seen = []
    for model.reentrant in (None, reentrant):
        with probe(model) as one:
            for batch in x:
                model(batch).square().sum().backward()
        seen.append(one)
    plain, again = seen
    assert again.table()["n"].tolist() == plain.table()["n"].tolist()
    agree(gradients(again), gradients(plain))
    assert not again.unrecognised


def test_a_checkpoint_outside_of_the_model():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    x = torch.randn(5, 4, requires_grad=True)
    with probe(model) as seen:
        checkpoint(model, x, use_reentrant=True).sum().backward()
    expected = (model[0](x) > 0).double().mean(0)
    torch.testing.assert_close(seen.units("1")["gradient_mean"], expected)


def test_accumulated_passes_run_again_in_reverse():
    model = Blocks(True)
    x = torch.randn(2, 5, 4, requires_grad=True)
    with probe(model) as seen:
        sum(model(batch).sum() for batch in x).backward()
    model.reentrant = None
    with probe(model) as plain:
        sum(model(batch).sum() for batch in x).backward()
    agree(gradients(seen), gradients(plain))


def test_what_a_checkpoint_does_not_tell_apart_is_named():
    """One activation in two checkpoints: the second runs again first, as the first call."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Tanh()
            self.parts = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), self.act) for _ in range(2))

        def forward(self, x):
            for part in self.parts:
                x = checkpoint(part, x, use_reentrant=True)
            return x

    model = Twice()
    with probe(model) as seen:
        model(torch.randn(5, 4, requires_grad=True)).sum().backward()
    assert gradients(seen) == {"act": None, "act #2": None}
    assert seen.unrecognised == {"act: gradient of tanh (in a checkpoint)": 2}


def test_what_enters_a_checkpoint_is_measured_over_all_its_uses():
    class Residual(nn.Module):
        def __init__(self, reentrant):
            super().__init__()
            self.block = nn.Sequential(nn.Tanh(), nn.Linear(4, 4))
            self.reentrant = reentrant

        def forward(self, x):
            y = checkpoint(self.block, x, use_reentrant=True) if self.reentrant else self.block(x)
            return 3 * x + y

    model, x = Residual(False), torch.randn(5, 4, requires_grad=True)
    seen = []
    for model.reentrant in (False, True):
        with probe(model) as one:
            model(1 * x).square().sum().backward()
            model(x).square().sum().backward()
        seen.append(gradients(one))
    agree(seen[1], seen[0])


def test_passes_that_are_not_measured_are_not_when_they_run_again():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with probe(model, every=2) as seen:
        for scale in (1, 100):
            x = torch.ones(5, 4, requires_grad=True)
            (scale * checkpoint(model, x, use_reentrant=True)).sum().backward()
    assert seen.units("1")["gradient_max"].max() <= 1


class Penalised(nn.Module):
    """Differentiates itself, as energies and forces do."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x):
        x = x.requires_grad_()
        return torch.autograd.grad(self.net(x).sum(), x, create_graph=True)[0]


def pre_activation(model, loss):
    """The gradient by what enters the activation, by autograd."""
    kept = []
    handle = model[1].register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    value = loss()
    handle.remove()
    return torch.autograd.grad(value, kept[0])[0].mean(0)


@pytest.mark.parametrize("inside", [False, True])
def test_a_gradient_that_is_differentiated_is_not_the_outcome(inside):
    torch.manual_seed(0)
    model = Penalised().double()
    x = torch.randn(6, 3).double()

    def loss():
        xi = x.clone().requires_grad_()
        if inside:
            g = model(xi)
        else:
            (g,) = torch.autograd.grad(model.net(xi).sum(), xi, create_graph=True)
        return (g.norm(dim=1) - 1).square().mean()

    with probe(model) as seen:
        loss().backward()
    agree(gradients(seen), {"net.1": pre_activation(model.net, loss)})


def test_a_graph_of_the_gradient_that_nothing_differentiates():
    """For a Hessian's sake, say: then it is the outcome."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh()).double()
    x = torch.randn(6, 3).double()

    def loss():
        return model(x).square().sum()

    with probe(model) as seen:
        torch.autograd.grad(loss(), tuple(model.parameters()), create_graph=True)
    agree(gradients(seen), {"1": pre_activation(model, loss)})


def test_outer_and_inner_gradients_under_transforms():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = torch.randn(6, 3).double()
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def penalty(p):
        inner = vmap(grad(lambda xi: functional_call(model, p, (xi,)).sum()))(x)
        return (inner.norm(dim=1) - 1).square().mean()

    with probe(model) as seen:
        grad(penalty)(parameters)

    def loss():
        xi = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(model(xi).sum(), xi, create_graph=True)
        return (g.norm(dim=1) - 1).square().mean()

    found = seen.units("1")["gradient_mean"]
    torch.testing.assert_close(found.mean(0), pre_activation(model, loss))


def test_per_sample_gradients_of_parameters_that_record_too():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    x = torch.randn(6, 3)
    parameters = dict(model.named_parameters())

    def one(p, xi):
        return functional_call(model, p, (xi,)).sum()

    with probe(model) as seen:
        per_sample = vmap(grad(one), (None, 0))(parameters, x)
    slope = 1 - model(x).detach().double() ** 2
    torch.testing.assert_close(seen.units("1")["gradient_mean"], slope, atol=1e-6, rtol=1e-5)
    with probe(model) as seen:
        per_sample = vmap(grad(one), (None, 0))(parameters, x)
        per_sample["0.bias"].sum().backward()
    t = model(x).detach().double()
    torch.testing.assert_close(
        seen.units("1")["gradient_mean"], -2 * t * (1 - t**2), atol=1e-6, rtol=1e-5
    )


def test_leaves_are_measured_once_a_backward_pass_and_keep_no_hook():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Parameter(torch.tensor([0.0, 1, 2]))

        def forward(self, x):
            return x * torch.sigmoid(self.gate)

    model = Gate()
    with probe(model) as seen:
        for scale in (1.0, 2, 3):
            with torch.enable_grad():
                model(torch.ones(1, 3))  # never differentiated
            model(scale * torch.ones(1, 3)).sum().backward()
            assert not model.gate._backward_hooks
        model(torch.ones(1, 3))
        assert model.gate._backward_hooks
    assert not model.gate._backward_hooks
    s = torch.sigmoid(model.gate.detach()).double()
    torch.testing.assert_close(seen.units("(root)")["gradient_mean"], 2 * s * (1 - s))


def test_a_jacobian_of_the_whole():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    x = torch.randn(3)
    with probe(model) as seen:
        jacrev(model)(x)
    slope = 1 - model(x).detach().double() ** 2
    torch.testing.assert_close(seen.units("1")["gradient_mean"], slope.diag(), atol=1e-6, rtol=1e-5)


class Bad(torch.autograd.Function):
    """Its gradient is sparse."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g.to_sparse()


def test_a_gradient_that_cannot_be_measured_is_named():
    class Model(nn.Module):
        def forward(self, x):
            return torch.sparse.sum(torch.relu(Bad.apply(x).to_sparse().to_dense()))

    class Sparse(nn.Module):
        def forward(self, x):
            y = 1 * x
            torch.relu(y)
            return Bad.apply(y)

    model, x = Sparse(), torch.randn(3, 4, requires_grad=True)
    with probe(model) as seen:
        model(x).sum().backward()
    assert seen.unrecognised == {"(root): gradient of relu (sparse_coo)": 1}
    assert torch.equal(x.grad.to_dense(), torch.ones(3, 4))


def test_no_hook_stays_on_a_leaf():
    x = torch.randn(5, 3, requires_grad=True)
    model = nn.ReLU()
    with probe(model):
        model(x).sum().backward()
    assert not x._backward_hooks


def test_what_runs_again_for_a_checkpoint_counts_once():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    x = torch.randn(5, 6, requires_grad=True)
    with probe(model) as seen:
        torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False).sum().backward()
    assert seen.table()["n"].tolist() == [5]
    assert seen.table()["gradient_mean_square"].notna().all()


def test_a_backward_pass_after_the_block_is_not_measured():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    with probe(model) as seen:
        loss = model(torch.randn(5, 6)).sum()
    loss.backward()
    assert "gradient_mean" not in seen.units("1")
