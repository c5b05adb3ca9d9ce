"""Noise and coherence of gradients, against closed forms."""

import math
from itertools import product

import pytest
import torch
from torch import nn

from actnorm import gradients


def test_sign_coherence():
    g = torch.tensor([[1.0, 2, 3, 4], [-1, -2, 3, 4], [0, 0, -3, 4], [0, -1e-30, 0, 0]])
    assert gradients.sign_coherence(g).tolist() == [1, 0, 0, 0.25]
    assert gradients.sign_coherence(g[None, :3]).shape == (1, 3)
    assert gradients.sign_coherence(torch.tensor([[-1, 2], [3, 4]])).tolist() == [0, 1]
    for wrong, message in (
        (torch.tensor(1.0), "not be empty"),
        (torch.ones(2, 0), "not be empty"),
        (torch.tensor([1, math.nan]), "g must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            gradients.sign_coherence(wrong)


def test_sigmoid_inputs_make_the_gradient_of_a_neuron_coherent():
    """At one sample g = delta a: positive inputs give S = 1; random signs have a closed form."""
    fan_in = 16
    signs = torch.tensor(list(product((-1.0, 1.0), repeat=fan_in)))
    exact = math.comb(fan_in - 1, (fan_in - 1) // 2) / 2 ** (fan_in - 1)
    assert gradients.sign_coherence(signs).mean().item() == pytest.approx(exact)
    model = nn.Sequential(nn.Sigmoid(), nn.Linear(fan_in, 3))
    g = gradients.per_sample(model, torch.randn(5, fan_in), torch.tensor([0, 1, 2, 0, 1]))
    assert gradients.sign_coherence(g["1.weight"]).tolist() == [[1.0] * 3] * 5


def test_relative_noise():
    g = torch.tensor([[1.0, 0], [3, 0], [2, 3], [2, -3]])  # mean (2, 0), variances 1/2 and 9/2
    assert gradients.relative_noise(g) == pytest.approx(5 / 4)
    assert gradients.relative_noise({"a": g[:, :1], "b": g[:, 1:]}) == pytest.approx(5 / 4)
    assert gradients.relative_noise(g - torch.tensor([2.0, 0])) == math.inf
    assert gradients.relative_noise(torch.ones(4, 2)) == 0
    assert gradients.relative_noise(torch.tensor([True, False])) == 1
    assert gradients.relative_noise({"a": g, "empty": g[:, :0]}) == pytest.approx(5 / 4)
    for wrong, message in (
        (torch.zeros(3, 2), "is no relative noise"),
        (torch.tensor([math.nan]), "must be finite"),
        ({}, "not be empty"),
        ({"a": g, "b": g[:3]}, "one number of samples, not 3 and 4"),
        (torch.ones(0, 2), "not be empty"),
    ):
        with pytest.raises(ValueError, match=message):
            gradients.relative_noise(wrong)


def test_noise_scale_is_unbiased():
    """Averaged over every batch that could be drawn, the estimates are the population's."""
    torch.manual_seed(0)
    population = torch.randn(4, 3).double() + 1
    squares = {
        size: torch.stack(
            [
                population[list(rows)].mean(0).square().sum()
                for rows in product(range(4), repeat=size)
            ]
        )
        for size in (2, 3)
    }
    estimate = gradients.noise_scale(squares[2], squares[3], batch_sizes=(2, 3))
    assert estimate.squared_gradient == pytest.approx(float(population.mean(0).square().sum()))
    assert estimate.trace == pytest.approx(float(population.var(0, correction=0).sum()))
    assert estimate.scale == pytest.approx(gradients.relative_noise(population))


def test_noise_scale_says_when_noise_hides_the_gradient():
    estimate = gradients.noise_scale(8.0, 1.0, batch_sizes=(1, 4))
    assert estimate.squared_gradient < 0 < estimate.trace
    assert estimate.scale == math.inf


@pytest.mark.parametrize(
    ("small", "big", "sizes", "message"),
    [
        (1.0, 1.0, (4, 4), "1 <= small < big"),
        (1.0, 1.0, (0, 4), "1 <= small < big"),
        (-1.0, 1.0, (1, 4), "small must hold"),
        (1.0, math.nan, (1, 4), "big must hold"),
        (torch.ones(0), 1.0, (1, 4), "small must hold"),
    ],
)
def test_noise_scale_errors(small, big, sizes, message):
    with pytest.raises(ValueError, match=message):
        gradients.noise_scale(small, big, batch_sizes=sizes)
