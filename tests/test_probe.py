"""`probe`: a zoo of odd models, and its statistics against the values themselves."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from actnorm.probe import probe


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))

    def forward(self, x):
        for layer in self.layers:
            x = F.relu(layer(x))
        return torch.relu_(torch.tanh(x).sigmoid() - 0.5)


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 4), nn.Linear(4, 3)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.act(self.second(self.act(self.first(x))))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 4)

    def forward(self, x):
        return F.linear(F.elu(self.layer(x)), self.layer.weight.T)


class Dictionary(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(6, 8), nn.GLU())

    def forward(self, x):
        return {"gated": self.gate(x), "nothing": None, "norm": F.normalize(x)}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.cell = nn.GRU(6, 4, batch_first=True), nn.LSTMCell(4, 3)

    def forward(self, x):
        return F.selu(self.cell(self.rnn(x)[0][:, -1])[0])


class Unrolled(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(6, 6)

    def forward(self, x):
        for _ in range(3):
            x = torch.tanh(self.cell(x))
        return x


class Sometimes(nn.Module):
    def forward(self, x):
        return F.relu(x) if x.shape[-1] == 3 else torch.tanh(x)


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


class Arithmetic(nn.Module):
    def forward(self, x):
        return torch.where(x > 0, x, x.exp() - 1) + x.clamp(min=0)


class Squared(nn.Module):
    def forward(self, x):
        return Square.apply(x)


class Residual(nn.Module):
    """Channels stay the units of an image after a gate has spoken of vectors."""

    def __init__(self):
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(5, 5)

    def forward(self, x):
        x = self.conv(x)
        gate = F.hardsigmoid(self.gate(x.mean((2, 3))))
        return F.relu(x * gate[..., None, None] + x)


def norms():
    return nn.Sequential(
        nn.Conv2d(3, 4, (1, 4)), nn.BatchNorm2d(4), nn.GELU(), nn.GroupNorm(2, 4),
        nn.InstanceNorm2d(4), nn.Flatten(), nn.Linear(72, 6), nn.LayerNorm(6), nn.RMSNorm(6),
        nn.Softmax(-1),
    )  # fmt: skip


def transformer(**options):
    layer = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


VECTORS, SEQUENCES, IMAGES = (5, 6), (5, 3, 6), (5, 3, 6, 6)
ENCODER = [
    (f"layers.{i}{part}", kind)
    for i in (0, 1)
    for part, kind in ((".norm1", "layer_norm"), ("", "relu"), (".norm2", "layer_norm"))
]
ZOO = {  # builder, shape of its inputs, rows, what is not recognised
    "modules": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.Sigmoid(), nn.Linear(4, 2), nn.PReLU()),
        VECTORS, [("1", "sigmoid"), ("3", "prelu")], [],
    ),
    "functions": (
        Functional, VECTORS,
        [("(root)", "relu"), ("(root) #2", "relu"), ("(root) #3", "relu"), ("(root) #4", "tanh"),
         ("(root) #5", "sigmoid"), ("(root) #6", "relu")], [],
    ),
    "shared and in place": (Shared, VECTORS, [("act", "relu"), ("act #2", "relu")], []),
    "one module": (lambda: nn.ReLU(), VECTORS, [("(root)", "relu")], []),
    "one module in two places": (
        lambda: nn.Sequential(nn.Linear(6, 6), act := nn.SiLU(inplace=True), nn.Linear(6, 6), act),
        VECTORS, [("1", "silu"), ("1 #2", "silu")], [],
    ),
    "tied weights": (Tied, VECTORS, [("(root)", "elu")], []),
    "no activation": (lambda: nn.Linear(6, 4), VECTORS, [], []),
    "nothing at all": (lambda: nn.Sequential(nn.Identity(), nn.Sequential()), VECTORS, [], []),
    "nested lists": (
        lambda: nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(6, 4), nn.Mish()))),
        VECTORS, [("0.0.1", "mish")], [],
    ),
    "dictionary": (Dictionary, VECTORS, [("gate.1", "glu")], []),
    "recurrent": (Recurrent, SEQUENCES, [("(root)", "selu")], ["rnn: gru", "cell: lstm_cell"]),
    "unrolled": (
        Unrolled, VECTORS, [("(root)", "tanh"), ("(root) #2", "tanh"), ("(root) #3", "tanh")], [],
    ),
    "arithmetic": (
        Arithmetic, VECTORS, [], ["(root): exp", "(root): where", "(root): clamp"],
    ),
    "transformer": (transformer, SEQUENCES, ENCODER, []),
    "transformer, norm first, gelu": (
        lambda: nn.TransformerEncoderLayer(6, 2, 12, 0.0, "gelu", norm_first=True), SEQUENCES,
        [("norm1", "layer_norm"), ("norm2", "layer_norm"), ("(root)", "gelu")], [],
    ),
    "decoder": (
        lambda: Wrapped(nn.TransformerDecoderLayer(6, 2, 12, batch_first=True)), SEQUENCES,
        [("0.norm1", "layer_norm"), ("0.norm2", "layer_norm"), ("0", "relu"),
         ("0.norm3", "layer_norm")], [],
    ),
    "conv1d": (
        lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.LeakyReLU(), nn.MaxPool1d(2), nn.Flatten()),
        (5, 3, 6), [("1", "leaky_relu")], [],
    ),
    "conv2d, unbatched": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (3, 6, 6), [("1", "relu")], [],
    ),
    "transposed conv": (
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.Tanh()), IMAGES, [("1", "tanh")], [],
    ),
    "residual": (Residual, IMAGES, [("(root)", "hardsigmoid"), ("(root) #2", "relu")], []),
    "norms": (
        norms, IMAGES,
        [("1", "batch_norm"), ("2", "gelu"), ("3", "group_norm"), ("4", "instance_norm"),
         ("7", "layer_norm"), ("8", "rms_norm")], [],
    ),
    "dropout": (
        lambda: nn.Sequential(nn.Dropout(), nn.Linear(6, 4), nn.RReLU(), nn.AlphaDropout()),
        VECTORS, [("2", "rrelu")], [],
    ),
    "bfloat16": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.GELU()).bfloat16(), VECTORS,
        [("1", "layer_norm"), ("2", "gelu")], [],
    ),
    "half": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU()).half(), VECTORS, [("1", "relu")], [],
    ),
    "double": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.Softsign()).double(), VECTORS,
        [("1", "softsign")], [],
    ),
}  # fmt: skip


class Wrapped(nn.Sequential):
    def forward(self, x):
        return self[0](x, x)


def forward(model, shape):
    torch.manual_seed(1)
    kind = next((p.dtype for p in model.parameters()), torch.float32)
    return model(torch.randn(shape).to(kind))


def scalar(outputs):
    outputs = outputs["gated"] if isinstance(outputs, dict) else outputs
    return outputs.float().square().sum()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ZOO)
def test_zoo(name, training):
    """Every call is one row; outputs, gradients, buffers, modes and random state are untouched."""
    build, shape, rows, missed = ZOO[name]
    torch.manual_seed(0)
    model = build().train(training)
    plain = copy.deepcopy(model)
    with probe(model) as seen:
        if (loss := scalar(forward(model, shape))).requires_grad:
            loss.backward()
    state = torch.get_rng_state()
    if (expected := scalar(forward(plain, shape))).requires_grad:
        expected.backward()
    table = seen.table()
    assert list(zip(table["name"], table["kind"], strict=True)) == rows
    assert list(seen.unrecognised) == missed
    assert (table["n"] > 0).all()
    assert (table["nonfinite"] == 0).all()
    torch.testing.assert_close(loss, expected)
    assert torch.equal(state, torch.get_rng_state())
    for a, b in zip(model.modules(), plain.modules(), strict=True):
        assert a.training == b.training
        assert not a._forward_hooks
        assert not a._forward_pre_hooks
    for (key, a), (_, b) in zip(model.named_parameters(), plain.named_parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), key
        assert not a._backward_hooks
        torch.testing.assert_close(a.grad, b.grad)
    for a, b in zip(model.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(a, b)


NO_ACTIVATIONS = {"MultiheadAttention", "Softmax", "Softmax2d", "Softmin", "LogSoftmax"}


@pytest.mark.parametrize("name", nn.modules.activation.__all__)
def test_every_activation_of_torch_is_seen(name):
    if name in NO_ACTIVATIONS:
        return
    arguments = (0.1, 20.0) if name == "Threshold" else ()
    module = getattr(nn, name)(*arguments)
    with probe(module) as seen:
        module(torch.randn(4, 6))
    assert len(seen.table()) == 1
    assert not seen.unrecognised


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


@pytest.mark.parametrize(
    ("build", "units"),
    [(norms, [4, 4, 4, 4, 6, 6]), (Residual, [5, 5])],
)
def test_units_are_channels_or_features(build, units):
    model = build()
    with probe(model) as seen:
        model(torch.randn(2, 3, 6, 6))
    assert seen.table()["shape"].tolist() == [(n,) for n in units]


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


def replicas(count):
    torch.manual_seed(0)
    models = [
        nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 3), nn.Tanh())
        for _ in range(count)
    ]
    return models, stack_module_state(models)[0], torch.randn(5, 6)


@pytest.mark.parametrize("way", ["vmap, then backward", "vmap of grad", "grad of vmap"])
def test_under_vmap_each_replica_has_its_statistics(way):
    models, stacked, x = replicas(3)
    detached = {name: p.detach() for name, p in stacked.items()}

    def loss(parameters):
        return functional_call(models[0], parameters, (x,)).square().sum()

    with probe(models[0]) as seen:
        if way == "vmap, then backward":
            vmap(loss)(stacked).sum().backward()
        elif way == "vmap of grad":
            vmap(grad(loss))(detached)
        else:
            grad(lambda p: vmap(loss)(p).sum())(detached)
    assert seen.table()["shape"].tolist() == [(3, 4), (3, 4), (3, 3)]
    for r, model in enumerate(models):
        with probe(model) as alone:
            model(x).square().sum().backward()
        for row in ("1", "2", "4"):
            expected = alone.units(row)
            together = seen.units(row)
            assert together.keys() == expected.keys()
            for statistic, value in expected.items():
                torch.testing.assert_close(together[statistic][r], value, rtol=1e-5, atol=1e-6)


def test_statistics_outlive_the_transform():
    x, model = torch.randn(3, 300, 200), nn.Tanh()
    with probe(model) as seen:
        vmap(grad(lambda x: model(2 * x).sum()))(x)
    found = seen.units("(root)")["input_min"]
    assert not torch._C._functorch.is_functorch_wrapped_tensor(found)
    assert (found.numpy() == 2 * x.amin(1).numpy()).all()


def test_replicas_on_another_axis():
    leaf = torch.randn(5, 3, 2, requires_grad=True)
    x = 2 * leaf
    model = nn.Tanh()
    with probe(model) as seen:
        vmap(model, in_dims=1)(x).sum().backward()
    units = seen.units("(root)")
    torch.testing.assert_close(units["input_mean"], x.detach().double().mean(0))
    slope = 1 - torch.tanh(x.detach()).double() ** 2
    torch.testing.assert_close(units["gradient_mean"], slope.mean(0), rtol=1e-5, atol=1e-6)


def test_no_hook_stays_on_a_leaf():
    x = torch.randn(5, 3, requires_grad=True)
    model = nn.ReLU()
    with probe(model):
        model(x).sum().backward()
    assert not x._backward_hooks


@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("place", ["whole", "part", "in place"])
def test_compiled_models_are_seen_uncompiled(place):
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph

    class Own(nn.Sequential):
        def forward(self, x):
            for layer in self:
                x = layer(x)
            return x

    model = Own(nn.Linear(6, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 3), nn.GELU()))
    x = torch.randn(5, 6)
    expected = model(x)
    if place == "whole":
        model = torch.compile(model, backend=backend)
    elif place == "part":
        model[2] = torch.compile(model[2], backend=backend)
    else:
        model.compile(backend=backend)
    model(x)
    assert len(graphs) == 1
    with probe(model) as seen:
        torch.testing.assert_close(model(x), expected)
    assert seen.table()["name"].tolist() == ["1", "2.1"]
    torch.testing.assert_close(model(x), expected)
    assert len(graphs) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_modules_are_reported():
    model = nn.Sequential(torch.jit.trace(nn.ReLU(), torch.ones(1)), nn.Tanh())
    with probe(model) as seen:
        model(torch.ones(2, 3))
    assert seen.table()["kind"].tolist() == ["tanh"]
    assert list(seen.unrecognised) == ["0: ScriptModule"]


def test_what_runs_again_for_a_checkpoint_counts_once():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    x = torch.randn(5, 6, requires_grad=True)
    with probe(model) as seen:
        torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False).sum().backward()
    assert seen.table()["n"].tolist() == [5]
    assert seen.table()["gradient_mean_square"].notna().all()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_nothing_behind(error):
    class Raises(nn.Module):
        def forward(self, x):
            raise error

    model = nn.Sequential(nn.ReLU(), Raises())
    call = nn.Module.__call__
    seen = probe(model)
    with pytest.raises(error), seen:
        model(torch.ones(2, 3))
    assert not torch.overrides._get_current_function_mode_stack()
    assert nn.Module.__call__ is call
    assert seen.table()["n"].tolist() == [2]
    model[1] = nn.Tanh()
    model(torch.ones(2, 3))
    assert seen.table()["n"].tolist() == [2]


def test_an_exception_caught_in_the_block_ends_its_pass():
    class Picky(nn.Module):
        def forward(self, x):
            if x.sum() < 0:
                raise ValueError("below")
            return x

    model = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Identity(), Picky()), nn.ReLU())
    with probe(model) as seen:
        for sign in (1, -1, 1):
            try:
                model[1](model[2](sign * torch.ones(2, 3)) + sign - 1)
            except ValueError:
                assert not torch.overrides._get_current_function_mode_stack()
    assert seen.table()["name"].tolist() == ["2"]
    assert seen.table()["n"].tolist() == [6]


def test_a_backward_pass_after_the_block_is_not_measured():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    with probe(model) as seen:
        loss = model(torch.randn(5, 6)).sum()
    loss.backward()
    assert "gradient_mean" not in seen.units("1")


def test_probes_nest_and_do_not_see_each_other():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 3), nn.GELU()))
    with probe(model) as outer, probe(model[2]) as inner, probe(model) as again:
        model(torch.randn(5, 6)).sum().backward()
        model(torch.randn(5, 6))
    assert outer.table().equals(again.table())
    assert outer.table()["name"].tolist() == ["1", "2.1"]
    assert inner.table()["name"].tolist() == ["1"]
    assert not outer.unrecognised
    assert not inner.unrecognised
    assert not torch.overrides._get_current_function_mode_stack()


def test_a_probe_entered_again_adds_to_its_evidence():
    model = nn.ReLU()
    seen = probe(model)
    for _ in range(2):
        with seen:
            model(torch.ones(2, 3))
    model(torch.ones(2, 3))
    assert seen.table()["n"].tolist() == [4]
    with seen, pytest.raises(RuntimeError, match="already open"):
        seen.__enter__()


def test_other_models_and_losses_are_not_seen():
    model, other = nn.Sequential(nn.Linear(6, 4), nn.ReLU()), nn.Tanh()
    with probe(model) as seen:
        other(torch.sigmoid(model(torch.randn(5, 6))).exp())
    assert seen.table()["kind"].tolist() == ["relu"]
    assert not seen.unrecognised


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


def test_the_representation_is_the_report():
    model = Recurrent()
    with probe(model) as seen:
        assert "no activation or normalization seen" in repr(seen)
        model(torch.randn(2, 3, 6))
    assert "selu" in repr(seen)
    assert "not recognised: rnn: gru (1), cell: lstm_cell (1)" in repr(seen)


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
