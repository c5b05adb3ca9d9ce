"""Units of networks that move their axes about, each at its smallest."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from actnorm.probe import probe


def units(model, *inputs):
    """The units' number in each row, with their means checked against the values themselves."""
    with probe(model) as seen:
        model(*inputs)
    return [shape[-1] for shape in seen.table()["shape"]]


class Mamba(nn.Module):
    """Multiplies by a part's weight itself; a gate that was split off comes after a convolution."""

    def __init__(self):
        super().__init__()
        self.inner, self.conv = nn.Linear(3, 10, bias=False), nn.Conv1d(5, 5, 2, groups=5)

    def forward(self, x):  # (samples, length, features)
        n, length, _ = x.shape
        y = (self.inner.weight @ x.reshape(n * length, 3).T).reshape(10, n, length).transpose(0, 1)
        y, gate = y.chunk(2, dim=1)
        return F.silu(self.conv(y)) * F.silu(gate)[..., 1:]


def test_units_of_replicas_of_mamba():
    models, x = [Mamba(), Mamba()], torch.randn(2, 7, 3)
    assert units(models[0], x) == [5, 5]
    stacked, _ = stack_module_state(models)
    with probe(models[0]) as seen:
        vmap(lambda p: functional_call(models[0], p, (x,)))(stacked)
    assert seen.table()["shape"].tolist() == [(2, 5), (2, 5)]


class ConvNeXt(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.depth, self.norm = nn.Conv2d(6, 6, 3, padding=1, groups=6), norm
        self.up, self.down = nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x):
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = self.down(F.gelu(self.up(y))).permute(0, 3, 1, 2)
        return F.relu(x + y)


class Wav2Vec2(nn.Module):
    """Layers of its feature encoder, and of Whisper's: norms by feature, activations between."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv1d(3, 5, 3), nn.Conv1d(5, 6, 3)
        self.norm, self.last = nn.LayerNorm(5), nn.LayerNorm(6)

    def forward(self, x):
        x = self.norm(self.first(x).transpose(-2, -1)).transpose(-2, -1)
        x = F.gelu(self.second(F.gelu(x)))
        return torch.tanh(self.last(x.permute(0, 2, 1)))


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.norm = nn.Conv2d(3, 5, 4, 4), nn.LayerNorm(5)
        self.tokens, self.channels = nn.Linear(4, 9), nn.Linear(5, 11)

    def forward(self, x):
        x = self.norm(self.patch(x).flatten(2).mT)
        y = F.gelu(self.tokens(x.mT))
        return F.silu(self.channels(x)), F.relu(y.mT)


class Shuffle(nn.Module):
    """Channels split in groups and merged again; a squeeze-and-excitation gate."""

    def __init__(self):
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.Conv2d(6, 6, 1)

    def forward(self, x):
        x = F.relu(self.conv(x).view(2, 3, 2, 8, 8).transpose(1, 2).reshape(2, 6, 8, 8))
        return x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))


class NonLocal(nn.Module):
    """Attention over positions of an image: its products mix no channels."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Conv2d(3, n, 1) for n in (4, 4, 5))

    def forward(self, x):
        q, k, v = (part(x).flatten(2) for part in (self.q, self.k, self.v))
        a = torch.bmm(q.permute(0, 2, 1), k).softmax(-1)
        return F.relu(torch.bmm(v, a.permute(0, 2, 1)).view(2, 5, 8, 8))


@pytest.mark.parametrize(
    ("build", "shape", "expected"),
    [
        (lambda: ConvNeXt(nn.LayerNorm(6)), (2, 6, 7, 9), [6, 12, 6]),
        (lambda: ConvNeXt(nn.RMSNorm(6)), (2, 6, 7, 9), [6, 12, 6]),
        (Wav2Vec2, (2, 3, 20), [5, 5, 6, 6, 6]),
        (Mixer, (2, 3, 8, 8), [5, 9, 11, 9]),
        (Shuffle, (2, 3, 8, 8), [6, 6]),
        (NonLocal, (2, 3, 8, 8), [5]),
    ],
)
def test_units_in_architectures(build, shape, expected):
    assert units(build(), torch.randn(shape)) == expected


def test_the_same_in_inference_mode_and_under_other_probes():
    model = ConvNeXt(nn.LayerNorm(6))
    with torch.inference_mode(), probe(model) as outer, probe(model.norm) as inner:
        model(torch.randn(2, 6, 7, 9))
    assert outer.table()["shape"].tolist() == [(6,), (12,), (6,)]
    assert inner.table()["shape"].tolist() == [(6,)]
