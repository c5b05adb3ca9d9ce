"""`probe`: a zoo of odd models, and its statistics against the values themselves."""

import copy

import pytest
import torch
from torch import nn
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


class Arithmetic(nn.Module):
    def forward(self, x):
        return torch.where(x > 0, x, x.exp() - 1) + x.clamp(min=0)


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


@pytest.mark.parametrize(
    ("build", "units"),
    [(norms, [4, 4, 4, 4, 6, 6]), (Residual, [5, 5])],
)
def test_units_are_channels_or_features(build, units):
    model = build()
    with probe(model) as seen:
        model(torch.randn(2, 3, 6, 6))
    assert seen.table()["shape"].tolist() == [(n,) for n in units]


def test_the_representation_is_the_report():
    model = Recurrent()
    with probe(model) as seen:
        assert "no activation or normalization seen" in repr(seen)
        model(torch.randn(2, 3, 6))
    assert "selu" in repr(seen)
    assert "not recognised: rnn: gru (1), cell: lstm_cell (1)" in repr(seen)
