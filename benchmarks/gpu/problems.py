"""Small networks and data, of every kind that a chapter trains, in a given floating-point type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import actnorm as an
from actnorm.data import Split
from actnorm.replicas import Run

SEED = 7
CPU = torch.device("cpu")


def clouds(*shape: int, dtype: torch.dtype) -> Callable[[torch.Generator], Split]:
    """Return a draw of a classification problem: three clouds, 96 examples to train on."""

    def draw(generator: torch.Generator) -> Split:
        targets = torch.randint(3, (144,), generator=generator)
        centres = torch.randn(3, *shape, generator=generator, dtype=torch.float64)
        noise = torch.randn(144, *shape, generator=generator, dtype=torch.float64)
        inputs = (centres[targets] + noise).to(dtype)
        parts = zip(inputs.split([96, 24, 24]), targets.split([96, 24, 24]), strict=True)
        return Split(*parts)

    return draw


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)
    )


def conv_net() -> nn.Module:
    """Return convolutions under BatchNorm, whose buffers train too."""
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.Conv2d(4, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32, 3)),
    )


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.memory, self.head = kind(4, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).mean(1))


def dropout_net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))


def game() -> nn.Module:
    """Return two networks that play against each other."""
    return nn.ModuleDict(
        {
            "critic": nn.Sequential(nn.Linear(6, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1)),
            "generator": nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 6)),
        }
    )


def detect(model: nn.Module, batch: tuple, noise: tuple) -> Tensor:
    fake, real = model["critic"](model["generator"](noise[0])), model["critic"](batch[0])
    return nn.functional.softplus(fake).mean() + nn.functional.softplus(-real).mean()


def fool(model: nn.Module, batch: tuple, noise: tuple) -> Tensor:
    return nn.functional.softplus(-model["critic"](model["generator"](noise[0]))).mean()


def jittered(model: nn.Module, batch: tuple, noise: tuple) -> Tensor:
    """Return the cross-entropy of inputs with noise added."""
    return nn.functional.cross_entropy(model(batch[0] + noise[0]), batch[1])


def normal(*shape: int, dtype: torch.dtype) -> Callable[[torch.Generator], tuple[Tensor]]:
    return lambda generator: (torch.randn(*shape, generator=generator, dtype=dtype),)


@dataclass(frozen=True)
class Problem:
    """What `train` is called with, but for the device and the number of steps."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = (6,)
    options: Mapping[str, Any] = field(default_factory=dict)
    noise: tuple[int, ...] | None = None

    def train(self, device: torch.device, dtype: torch.dtype, **changes: Any) -> Run:
        settings: dict[str, Any] = {"optimizer": an.sgd(0.1), "replicas": [0, 1, 2, 5]}
        settings |= {"batch_size": 16, "seed": SEED, "every": 5, "device": device, "steps": 20}
        if self.noise is not None:
            settings["noise"] = normal(*self.noise, dtype=dtype)
        build = partial(_typed, self.build, dtype)
        data = changes.pop("data", None) or clouds(*self.shape, dtype=dtype)
        return an.train(build, data, **settings | self.options | changes)


def _typed(build: Callable[[], nn.Module], dtype: torch.dtype) -> nn.Module:
    return build().to(dtype)


MLP = Problem(mlp)
CONV = Problem(conv_net, (1, 6, 6))
PROBLEMS = {
    "mlp, sgd": MLP,
    "mlp, momentum and decay": Problem(
        mlp, options={"optimizer": an.sgd(0.05, momentum=0.9, weight_decay=0.01)}
    ),
    "mlp, adam": Problem(mlp, options={"optimizer": an.adam(0.01)}),
    "mlp, adamw": Problem(mlp, options={"optimizer": an.adamw(0.01)}),
    "convolution and BatchNorm": CONV,
    "attention": Problem(Attention, (5, 8)),
    "lstm": Problem(partial(Recurrent, nn.LSTM), (5, 4)),
    "gru": Problem(partial(Recurrent, nn.GRU), (5, 4)),
    "two networks in turns": Problem(
        game,
        options={
            "turns": [("critic", detect), ("generator", fool)],
            "optimizer": {"critic": an.adam(0.01), "generator": an.sgd(0.1)},
        },
        noise=(16, 3),
    ),
    "clip and schedule": Problem(
        mlp, options={"clip": 0.3, "schedule": lambda step: 1 / (1 + step / 10)}
    ),
    "noise": Problem(mlp, options={"loss": jittered}, noise=(16, 6)),
    "a rate for each replica": Problem(mlp, options={"optimizer": an.adam([0.1, 0.01, 0.01, 0.1])}),
}
