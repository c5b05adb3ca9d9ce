"""Whatever the user has switched on, the model computes what it would, and the probe says what it
could not measure.
"""

import contextlib
import copy

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functionalize, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from actnorm.probe import probe


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(2, 3, 2), nn.BatchNorm1d(3), nn.Softplus(), nn.Flatten(), nn.Linear(9, 4),
        nn.ReLU(), nn.LayerNorm(4), nn.Tanh(),
    )  # fmt: skip


KINDS = ["batch_norm", "softplus", "relu", "layer_norm", "tanh"]


def inputs():
    return torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(1))


class Wrapper(torch.Tensor):
    """A tensor of the user's that holds another, as distributed and quantized ones do."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner
        self.calls = []

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        plain = [a.inner if isinstance(a, cls) else a for a in args]
        out = cls(func(*plain, **(kwargs or {})))
        for a in args:
            if isinstance(a, cls):
                a.calls.append(func.__name__)
        return out


FOREIGN = {
    "nested": lambda: torch.nested.nested_tensor([torch.randn(2, 4), torch.randn(3, 4)]),
    "NestedTensor": lambda: torch.nested.nested_tensor(
        [torch.randn(2, 4), torch.randn(3, 4)], layout=torch.jagged
    ),
    "sparse_coo": lambda: torch.eye(4).to_sparse(),
    "sparse_csr": lambda: torch.eye(4).to_sparse_csr(),
    "mkldnn": lambda: torch.randn(3, 4).to_mkldnn(),
    "meta": lambda: torch.randn(3, 4, device="meta"),
    "FakeTensor": lambda: FakeTensorMode().from_tensor(torch.randn(3, 4)),
    "Wrapper": lambda: Wrapper(torch.randn(3, 4)),
    "": lambda: torch.quantize_per_tensor(torch.randn(3, 4), 0.1, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore")  # of prototypes, in torch
@pytest.mark.parametrize("name", FOREIGN)
def test_tensors_that_cannot_be_measured_are_named(name):
    make, model = FOREIGN[name], nn.Sequential(nn.ReLU())
    model(make())
    with probe(model) as seen:
        out = model(x := make())
    assert type(out) is type(x)
    assert seen.table().empty
    assert "no activation" in repr(seen)
    assert seen.unrecognised == {f"0: relu ({name})" if name else "0: relu": 1}
    if name == "Wrapper":
        assert x.calls == ["relu.default"]


@pytest.mark.filterwarnings("ignore")
def test_complex_numbers_are_named():
    model = nn.Sequential(nn.Tanh())
    with probe(model) as seen:
        model(torch.randn(3, 4, dtype=torch.complex64))
    assert seen.unrecognised == {"0: tanh": 1}


class Plain(torch.Tensor):
    """A subclass that changes nothing."""


def test_a_plain_subclass_is_measured():
    model, x = net(), inputs()
    with probe(model) as seen:
        out = model(x.as_subclass(Plain))
    assert type(out) is Plain
    assert seen.table()["kind"].tolist() == KINDS
    assert not seen.unrecognised


def test_float8_is_measured():
    class Quantized(nn.Module):
        def forward(self, x):
            return F.hardtanh(x.to(torch.float8_e4m3fn).float())

    model = Quantized()
    with probe(model, watch=[model]) as seen:
        model(torch.ones(2, 3))
    assert seen.table()["output_mean"].tolist() == [1]


class Ops(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_mode_of_the_user_sees_the_models_work_and_nothing_else():
    model = net()
    with Ops() as plain:
        model(inputs()).sum().backward()
    model.zero_grad()
    with probe(model) as seen, Ops() as watched:
        model(inputs()).sum().backward()
    assert watched.names == plain.names
    assert seen.table()["kind"].tolist() == KINDS
    assert seen.table()["gradient_zero"].notna().all()


def test_fake_inputs_beside_real_weights():
    model = net()

    def run():
        with FakeTensorMode(allow_non_fake_inputs=True):
            return model(torch.randn(5, 2, 4)).shape

    with probe(model) as seen:
        assert run() == (5, 4)
    assert seen.table().empty
    assert next(iter(seen.unrecognised)) == "1: batch_norm (FakeTensor)"


def test_real_tensors_under_a_fake_mode_are_measured():
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([[1.0, -2]]))

        def forward(self, x):
            return torch.relu(self.scale), torch.relu(x)

    model = Inside()
    with probe(model) as seen, FakeTensorMode(allow_non_fake_inputs=True):
        model(torch.randn(3, 2))
    assert seen.table()["input_mean"].tolist() == [-0.5]
    assert seen.unrecognised == {"(root): relu (FakeTensor)": 1}


def state(model):
    return [t.clone() for t in model.state_dict().values()]


def dual(model, x):
    with forward_ad.dual_level():
        out = model(forward_ad.make_dual(x, torch.ones_like(x)))
        value, tangent = forward_ad.unpack_dual(out)
        return [value.detach().clone(), tangent.detach().clone()]


def dual_backward(model, x):
    """Forward over reverse."""
    x = x.clone().requires_grad_()
    with forward_ad.dual_level():
        out = model(forward_ad.make_dual(x, torch.ones_like(x))).square().sum()
        (g,) = torch.autograd.grad(out, x)
        return [t.detach().clone() for t in forward_ad.unpack_dual(g)]


def backward(model, x):
    model.zero_grad()
    x = x.clone().requires_grad_()
    model(x).square().sum().backward()
    return [x.grad, *(p.grad.clone() for p in model.parameters())]


def within(make):
    def run(model, x):
        with make():
            return backward(model, x)

    return run


@contextlib.contextmanager
def switched(get, switch, value):
    before = get()
    switch(value)
    try:
        yield
    finally:
        switch(before)


def evaluated(run):
    """Running statistics can't be updated under a transform of the inputs."""
    return lambda model, x: run(model.eval(), x)


WAYS = {
    "backward": backward,
    "no_grad": lambda model, x: [torch.no_grad()(model)(x)],
    "inference mode": lambda model, x: [torch.inference_mode()(model)(x)],
    "forward derivatives": dual,
    "forward over reverse": dual_backward,
    "jvp": evaluated(lambda m, x: list(jvp(m, (x,), (torch.ones_like(x),)))),
    "vjp": evaluated(lambda m, x: list(vjp(m, x)[1](torch.ones(5, 4)))),
    "grad": evaluated(lambda m, x: [grad(lambda x: m(x).square().sum())(x)]),
    "jacfwd": evaluated(lambda m, x: [jacfwd(m)(x)]),
    "jacrev": evaluated(lambda m, x: [jacrev(m)(x)]),
    "jacrev in chunks": evaluated(lambda m, x: [jacrev(m, chunk_size=3)(x)]),
    "hessian": evaluated(lambda m, x: [hessian(lambda x: m(x).sum())(x)]),
    "vmap": evaluated(lambda m, x: [vmap(m)(x[:, None])]),
    "vmap of jvp": evaluated(lambda m, x: [vmap(lambda x: jvp(m, (x[None],), (x[None],))[1])(x)]),
    "jvp of grad": evaluated(
        lambda m, x: list(jvp(grad(lambda x: m(x).square().sum()), (x,), (x,)))
    ),
    "functionalize": evaluated(lambda m, x: [functionalize(m)(x)]),
    "autocast": within(lambda: torch.autocast("cpu", torch.bfloat16)),
    "deterministic": within(
        lambda: switched(
            torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
        )
    ),
    "default dtype": within(
        lambda: switched(torch.get_default_dtype, torch.set_default_dtype, torch.float64)
    ),
    "default device": within(lambda: torch.device("meta")),
    "saved on hooks": within(
        lambda: torch.autograd.graph.saved_tensors_hooks(lambda x: x.clone(), lambda x: x)
    ),
    "anomalies": within(torch.autograd.detect_anomaly),
    "channels last": lambda m, x: backward(m, x.transpose(1, 2).contiguous().transpose(1, 2)),
    "double backward": lambda m, x: list(
        torch.autograd.grad(
            torch.autograd.grad(m(x.requires_grad_()).sum(), x, create_graph=True)[0].norm(),
            tuple(m.parameters())[:1],
        )
    ),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("name", WAYS)
def test_a_model_computes_what_it_would(name):
    """Values, gradients, tangents and buffers are the same to the last bit."""
    model, way = net(), WAYS[name]
    plain = copy.deepcopy(model)
    expected = way(plain, inputs())
    with probe(model) as seen:
        found = way(model, inputs())
        repr(seen)
        seen.units(seen.table()["name"][0]) if len(seen.table()) else None
    for a, b in zip([*found, *state(model)], [*expected, *state(plain)], strict=True):
        assert torch.equal(a, b)
    if name == "functionalize":
        assert "2: softplus (Functional)" in seen.unrecognised
        return
    assert seen.table()["kind"].tolist() == KINDS
    assert not seen.unrecognised or name == "jacrev in chunks"  # the last is smaller
    assert seen.table()["input_mean"].notna().all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["jit.trace", "make_fx", "symbolic trace", "export"])
def test_a_model_that_is_traced_in_the_block(how):
    """The graph holds the model's calls, and none of the probe's."""
    model = nn.Sequential(
        *(nn.Conv1d(3, 4, 2), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(8, 4), nn.LayerNorm(4)),
    ).eval()
    x = torch.randn(2, 3, 3)

    def traced():
        if how == "jit.trace":
            graph = torch.jit.trace(model, x)
            return graph, [n.kind() for n in graph.inlined_graph.nodes()]
        if how == "make_fx":
            graph = torch.fx.experimental.proxy_tensor.make_fx(model)(x)
        elif how == "symbolic trace":
            graph = torch.fx.symbolic_trace(model)
        else:
            graph = torch.export.export(model, (x,), strict=False).module()
        return graph, [n.name for n in graph.graph.nodes]

    _, expected = traced()
    with probe(model) as seen:
        graph, nodes = traced()
    assert nodes == expected
    torch.testing.assert_close(graph(x), model(x))
    repr(seen)
