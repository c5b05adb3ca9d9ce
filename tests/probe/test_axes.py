"""On which axis units lie: the one that the model mixes over, wherever it is moved."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from actnorm.probe import probe


class Then(nn.Module):
    """A mixing module, something between, and an activation."""

    def __init__(self, mix, between, act=torch.tanh):
        super().__init__()
        self.mix, self.between, self.act = mix, between, act

    def forward(self, x):
        return self.act(self.between(self.mix(x)))


def units(model, *inputs):
    """The units' number in each row, with their means checked against the values themselves."""
    with probe(model) as seen:
        model(*inputs)
    return [shape[-1] for shape in seen.table()["shape"]]


def conv(d, channels=5):
    return (nn.Conv1d, nn.Conv2d, nn.Conv3d)[d - 1](3, channels, 3, padding=1)


IMAGE, SERIES, ROWS = (2, 3, 7, 9), (2, 3, 8), (4, 6, 3)

# What stands between the mixing call and the activation, and on which axis the units then lie.
AFTER_CONV2D = {
    "nothing": (lambda x: x, 1),
    "elementwise": (lambda x: (2 * x + x.exp()).clamp(0).contiguous(), 1),
    "permute": (lambda x: x.permute(0, 2, 3, 1), 3),
    "permute, tuple": (lambda x: torch.permute(x, (2, 0, -3, 3)), 2),
    "there and back": (lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2), 1),
    "transpose": (lambda x: x.transpose(1, -1), 3),
    "swapaxes": (lambda x: torch.swapaxes(x, 0, 1), 0),
    "movedim": (lambda x: x.movedim(1, -1), 3),
    "movedim of several": (lambda x: torch.movedim(x, (0, 1), (3, 2)), 2),
    "moveaxis": (lambda x: x.moveaxis(source=-1, destination=0), 2),
    "flatten positions": (lambda x: x.flatten(2), 1),
    "flatten and transpose": (lambda x: x.flatten(2).transpose(1, 2), 2),
    "view": (lambda x: x.view(2, 5, 63), 1),
    "view and back": (lambda x: x.view(2, 5, 63).mT.reshape(2, 63, 5).mT.view(2, 5, 7, 9), 1),
    "reshape": (lambda x: x.permute(0, 2, 3, 1).reshape(-1, 5), 1),
    "unflatten positions": (lambda x: x.flatten(2).unflatten(-1, (9, 7)), 1),
    "mean over positions": (lambda x: x.mean((2, 3)), 1),
    "mean over one": (lambda x: x.mean(dim=-1), 1),
    "sum, axes kept": (lambda x: x.sum(3, keepdim=True), 1),
    "amax over samples": (lambda x: x.amax(0), 0),
    "pooled": (lambda x: F.adaptive_avg_pool2d(x, 1), 1),
    "squeezed": (lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1), 1),
    "unsqueezed": (lambda x: x.mean((2, 3)).unsqueeze(-1).unsqueeze(0), 2),
    "select": (lambda x: x.select(3, 0), 1),
    "one position": (lambda x: x[:, :, 0], 1),
    "one sample": (lambda x: x[0], 0),
    "sliced": (lambda x: x[..., ::2], 1),
    "indexed with None": (lambda x: x[:, None, :, 0, 1:], 2),
    "split": (lambda x: x.split(3, -1)[0], 1),
    "chunk of units": (lambda x: x[:, :4].chunk(2, 1)[0], 1),
    "unbound positions": (lambda x: x.unbind(2)[0], 1),
    "stacked": (lambda x: torch.stack([x, x], 0), 2),
    "stacked last": (lambda x: torch.stack([x, x], -1), 1),
    "concatenated": (lambda x: torch.cat([x, x], 1), 1),
    "expanded": (lambda x: x.expand(4, 2, 5, 7, 9), 2),
    "gated": (lambda x: x * torch.ones(2, 5, 1, 1), 1),
    "gate first": (lambda x: torch.ones(2, 5, 1, 1) * x, 1),
    "rolled": (lambda x: x.roll((1, 1), (2, 3)), 1),
    "windows": (
        lambda x: F.pad(x, (0, 0, 0, 1)).permute(0, 2, 3, 1).view(2, 2, 4, 3, 3, 5).flatten(0, 1),
        4,
    ),
    "in place": (lambda x: x.mul_(2).permute(0, 2, 3, 1).add_(1), 3),
    "by keyword": (lambda x: torch.permute(input=x, dims=(0, 2, 3, 1)), 3),
}


@pytest.mark.parametrize("replicas", [False, True])
@pytest.mark.parametrize("name", AFTER_CONV2D)
def test_units_of_an_image_follow_what_moves_them(name, replicas):
    if replicas and name == "moveaxis":
        return  # torch has no rule for it
    between, axis = AFTER_CONV2D[name]
    model = Then(conv(2), between)
    x = torch.randn(IMAGE)
    with probe(model) as seen:
        vmap(model)(x[None].expand(2, *IMAGE)) if replicas else model(x)
    with torch.no_grad():
        y = between(model.mix(x))
    found = seen.units("(root)")["input_mean"]
    expected = y.double().movedim(axis, 0).flatten(1).mean(1)
    torch.testing.assert_close(found, expected.expand(found.shape), atol=1e-6, rtol=1e-4)


def test_channels_merged_with_positions_are_as_many_units():
    assert units(Then(conv(2), lambda x: x.flatten(1)), torch.randn(IMAGE)) == [5 * 63]


def test_heads_are_the_inner_part_of_what_was_split():
    model = Then(nn.Linear(3, 8), lambda x: x.view(4, 6, 2, 4).transpose(1, 2), F.elu)
    assert units(model, torch.randn(ROWS)) == [4]
    back = Then(nn.Linear(3, 8), lambda x: x.view(4, 6, 2, 4).mT.mT.reshape(4, 6, 8), F.elu)
    assert units(back, torch.randn(ROWS)) == [8]


def test_channels_that_become_samples_are_no_units():
    model = Then(conv(1), lambda x: x.reshape(-1, 8))
    assert units(model, torch.randn(SERIES)) == [8]


@pytest.mark.parametrize(
    ("build", "shape", "expected"),
    [
        (lambda: Then(nn.Linear(3, 5), lambda x: x.transpose(1, 2)), ROWS, 5),
        (lambda: Then(nn.Linear(3, 5), lambda x: x.mT), ROWS, 5),
        (lambda: Then(nn.Linear(3, 5), lambda x: x.T), (4, 3), 5),
        (lambda: Then(nn.Linear(3, 5), lambda x: x.t().adjoint().H), (4, 3), 5),
        (lambda: Then(nn.Embedding(9, 5), lambda x: x.transpose(1, 2)), None, 5),
        (lambda: Then(conv(1), lambda x: x.permute(0, 2, 1)), SERIES, 5),
        (lambda: Then(conv(3), lambda x: x.flatten(2)), (2, 3, 3, 4, 5), 5),
        (lambda: Then(nn.ConvTranspose1d(3, 5, 2), lambda x: x.mT), SERIES, 5),
        (lambda: Then(conv(2), lambda x: x.permute(1, 2, 0)), (3, 7, 9), 5),
    ],
)
def test_units_of_other_mixing_calls(build, shape, expected):
    x = torch.randint(9, (4, 6)) if shape is None else torch.randn(shape)
    assert units(build(), x) == [expected]


class Product(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.w, self.how = nn.Parameter(torch.randn(5, 3)), how

    def forward(self, x):
        return torch.tanh(self.how(x, self.w))


PRODUCTS = {
    "x @ w": (lambda x, w: x.mT @ w.T, 5),
    "w @ x": (lambda x, w: w @ x, 5),
    "matmul": (lambda x, w: torch.matmul(w, x), 5),
    "mm": (lambda x, w: torch.mm(w, x[0]), 5),
    "addmm": (lambda x, w: torch.addmm(torch.zeros(5, 8), w, x[0]), 5),
    "einsum, channels": (lambda x, w: torch.einsum("bcl,oc->bol", x, w), 5),
    "einsum, weight first": (lambda x, w: torch.einsum("oc, bcl -> blo", w, x), 5),
    "einsum, to the front": (lambda x, w: torch.einsum("bcl,oc->obl", x, w), 5),
    "einsum, a list": (lambda x, w: torch.einsum("bcl,oc->bol", [x, w]), 5),
    "einsum, dots": (lambda x, w: torch.einsum("...cl,oc->...ol", x, w), 5),
}


@pytest.mark.parametrize("replicas", [False, True])
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_weight_of_its_own_tells_the_axis_of_a_product(name, replicas):
    how, expected = PRODUCTS[name]
    model, x = Product(how), torch.randn(2, 3, 8)
    if not replicas:
        assert units(model, x) == [expected]
        return
    stacked, _ = stack_module_state([model, Product(how)])
    with probe(model) as seen:
        vmap(lambda w: functional_call(model, w, (x,)))(stacked)
    assert seen.table()["shape"].tolist() == [(2, expected)]


@pytest.mark.parametrize("norm", [F.layer_norm, F.rms_norm])
def test_a_norm_over_one_axis_knows_its_own(norm):
    """Even where the latest convolution was over another, and by keyword."""
    model = Then(conv(1), lambda x: x, lambda x: F.relu(norm(x, normalized_shape=(8,))))
    assert units(model, torch.randn(2, 3, 8)) == [8, 8]
    wide = Then(conv(2), lambda x: x, lambda x: F.relu(norm(x, (5, 7, 9))))
    assert units(wide, torch.randn(IMAGE)) == [5, 5]


def test_parts_called_from_outside_hand_the_axis_on():
    parts = nn.ModuleList([conv(2), nn.ReLU(), nn.BatchNorm2d(5), nn.GELU()])
    x = torch.randn(IMAGE)
    with probe(parts) as seen:
        for part in parts:
            x = part(x)
    assert seen.table()["shape"].tolist() == [(5,)] * 3


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        with torch._C.DisableTorchFunction():  # as compiled extensions do
            return x + 1

    @staticmethod
    def backward(ctx, g):
        return g


def test_what_nobody_saw_move_lies_where_the_latest_did():
    model = Then(conv(2), Own.apply)
    with torch.no_grad():
        assert units(model, torch.randn(IMAGE)) == [5]


def test_a_dead_tensor_is_not_mistaken_for_a_new_one():
    class Many(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(2)

        def forward(self, x):
            for _ in range(300):
                self.conv(x)
            return [torch.tanh(torch.randn(2, 4)) for _ in range(100)]

    model = Many()
    with torch.no_grad(), probe(model) as seen:
        model(torch.randn(IMAGE))
    assert set(seen.table()["shape"]) == {(4,)}
