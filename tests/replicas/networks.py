"""Networks of every kind that a stack should carry."""

from __future__ import annotations

from torch import nn


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.memory, self.head = kind(3, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.memory(x)[0][:, -1])


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(3, 5), nn.Linear(5, 3)

    def forward(self, x):
        state = x.new_zeros(len(x), 5)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return self.head(self.decoder(self.encoder(x).tanh()))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.embed, self.head = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.block(self.embed(x)).mean(1))


def repeated() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(6, 3))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False),
        nn.BatchNorm2d(3),
        nn.PReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 2),
        nn.GroupNorm(2, 4),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


ZOO = {
    "convolution": (convolutional, (2, 4, 4)),
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)),
        (6,),
    ),
    "layer norm, one PReLU a unit": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.PReLU(8), nn.Linear(8, 3)),
        (6,),
    ),
    "weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))),
        (6,),
    ),
    "rnn": (lambda: Recurrent(nn.RNN), (4, 3)),
    "lstm": (lambda: Recurrent(nn.LSTM), (4, 3)),
    "gru": (lambda: Recurrent(nn.GRU), (4, 3)),
    "cell": (Cell, (4, 3)),
    "tied weights": (Tied, (6,)),
    "a layer at two places": (repeated, (6,)),
    "attention": (Attention, (4, 3)),
}
