"""Tuning finds what is known to be best, on seeds that judge nothing."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from loops import mlp
from torch import nn

from actnorm import replicas as rp
from actnorm.data import Split
from actnorm.streams import stream

pytestmark = pytest.mark.usefixtures("one_thread")


class Parabola(nn.Module):
    """Gradient descent multiplies its distance from 0 by ``1 - rate`` each step: best rate 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(1 + torch.rand((), dtype=torch.float64))


def height(model, batch, noise):
    return model.weight.square() / 2


tune = partial(
    rp.tune,
    Parabola,
    Split((torch.zeros(4),), (torch.zeros(4),), (torch.zeros(4),)),
    steps=12,
    batch_size=4,
    loss=height,
    evaluate=lambda model, x: {"height": height(model, x, ())},
    metric="height",
    lower_is_better=True,
)


@pytest.mark.parametrize("rates", [[0.5, 1.0, 2.0], [0.0625, 0.125], [8.0, 4.0], [1.0, 0.5]])
def test_tuning_finds_a_known_rate(rates):
    found = tune(rates=rates)
    assert found.rate == 1
    assert found.learns
    assert found.interior
    assert (np.diff(found.values.index) > 0).all()
    # A rate of 2 reflects the weight and keeps its height; 0.5 halves it at each step.
    ratio = found.values.loc[0.5] / found.values.loc[2.0]
    np.testing.assert_allclose(ratio, 0.5**24, rtol=1e-9)


def test_rates_may_come_from_a_generator():
    found = tune(rates=(rate for rate in (0.5, 1.0)), extend=0, seeds=2)
    assert list(found.values.index) == [0.5, 1.0]


def test_tuning_by_steps_to_a_level():
    found = tune(rates=[0.125, 0.25], level=1e-6, every=1)
    assert found.rate == 1
    assert found.learns
    assert (found.values.loc[1.0] == 1).all()
    assert (found.values.loc[0.125] == 12).all()


def test_of_equal_rates_the_middle_one_is_chosen():
    found = tune(rates=[0.125, 0.5, 1.0, 1.5, 1.9], level=1e-3, every=6)
    assert (found.values.loc[0.5:1.5] == 6).all(axis=None)
    assert found.rate == 1
    assert len(found.values) == 5


def test_rounding_makes_no_rate_better_than_its_equals():
    shares = np.array([0.99, 0.98, 0.97, 0.96])
    flat = pd.DataFrame([shares, shares - 1e-9, shares + 1e-9], index=[0.1, 0.2, 0.4])
    assert rp.Tuning(0.2, True, True, flat, flat > 10).wins()[0.2] == 1


def coins(generator: torch.Generator) -> Split:
    """Return inputs with labels that know nothing of them."""
    parts = [torch.randn(n, 6, generator=generator, dtype=torch.float64) for n in (40, 200, 12)]
    return Split(*((x, torch.randint(3, (len(x),), generator=generator)) for x in parts))


def test_tuning_says_how_often_each_rate_would_have_won():
    values = pd.DataFrame([[1.0, 1.0, 1.0], [0.0, 0.0, 9.0]], index=[0.1, 0.2])
    found = rp.Tuning(0.2, True, False, values, values > 10)
    # the second rate loses where the third seed is never drawn: (2/3)³ of all draws
    assert found.wins(20_000)[0.1] == pytest.approx(8 / 27, abs=0.01)
    lower = rp.Tuning(0.1, True, False, values, values > 10, lower_is_better=True)
    assert lower.wins(20_000)[0.2] == pytest.approx(8 / 27, abs=0.01)
    kept = found.summary()
    assert kept["values"] == values.to_numpy().tolist()
    assert (kept["rate"], kept["rates"], kept["learns"]) == (0.2, [0.1, 0.2], True)
    assert sum(kept["wins"]) == pytest.approx(1)
    with pytest.raises(ValueError, match="resamples must be at least 1, not 0"):
        found.wins(0)


def test_tuning_says_when_nothing_learns():
    found = rp.tune(
        mlp, coins, rates=[0.01, 0.02], metric="accuracy", steps=20, batch_size=16, extend=2
    )
    assert not found.learns
    assert len(found.values) == 2 + 2 * 2


def test_tuning_does_not_climb_past_divergence():
    found = tune(rates=[1e60, 2e60], extend=3, steps=12)
    assert found.diverged.loc[2e60].all()
    assert found.values.index.max() == 2e60
    assert len(found.values) == 5
    assert not found.learns
    # A run that diverged counts as its untrained network.
    assert found.values.loc[2e60].between(0.5, 2).all()


def test_tuning_stays_away_from_judged_replicas_and_leaves_the_count_alone(monkeypatch):
    monkeypatch.setenv("ACTNORM_REPLICAS", "x2")
    found = tune(rates=[1e-9, 2e-9], extend=0, seeds=3)
    assert found.values.shape == (2, 3)
    for replica in range(3):
        generator = stream("init", replica, seed=1000)
        start = 1 + torch.rand((), generator=generator, dtype=torch.float64)
        assert found.values.loc[1e-9, replica] == pytest.approx(start.item() ** 2 / 2, rel=1e-6)
    assert not found.interior


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rates": [0.1]}, ValueError, "rates must hold at least two"),
        ({"rates": [0.1, 0.2], "seeds": 1}, ValueError, "seeds must be at least 2"),
        ({"rates": [0.1, 0.2], "metric": "speed"}, KeyError, "metric must be one of height"),
        ({"rates": "12"}, TypeError, "rates must be a real number, not '1'"),
        ({"rates": [0.1, np.nan]}, ValueError, "rates must be a finite number, not nan"),
        ({"rates": [0.1, 0.2], "level": np.nan}, ValueError, "level must be a finite number"),
        ({"rates": [0.1, 0.0]}, ValueError, "lr must be a positive number"),
    ],
)
def test_tuning_errors(changes, error, message):
    with pytest.raises(error, match=message):
        tune(**changes)
