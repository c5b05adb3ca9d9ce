"""What the sliders of the shape of an activation show, by the library."""

import json

import numpy as np
from scipy.special import expit, log_expit

from actnorm import activation, evidence, gaussian


def shares(layers, leak):
    """Constant, linear and curved share of a signal behind layers of leaky ReLU."""
    leaky = activation("leaky_relu", slope=leak)
    energy, cosine, linear = gaussian.length_map(leaky, 1.0, 1.0), 0.0, 1.0
    for _ in range(int(layers)):
        slopes = gaussian.expectation2(leaky.slope, cosine, 1.0, (0.0,))
        linear *= slopes / energy
        cosine = gaussian.correlation_map(leaky, cosine)
    return cosine, linear, 1 - cosine - linear


def race(updates):
    """Mean validation accuracy of ReLU and GELU after some updates, the lower one first."""
    record = evidence.records()["activation-shape/the-race"]
    around = {e["call"]: e["result"] for e in record["recorded"] if e["name"] == "around"}
    calls = ([["MNIST-1D", arm], {}] for arm in ("ReLU", "GELU"))
    curves = [around[json.dumps(call, sort_keys=True)][1]["curve"] for call in calls]
    return sorted(curve[int(updates) // 20] for curve in curves)


def noisy(function, bias, variance):
    """Mean of a function of b + z, z ~ N(0, variance)."""
    std = variance**0.5
    return gaussian.expectation(lambda z: function(bias + z), std=std, kinks=(-bias,))


def loudness(bias):
    """Variance that the gates of a wide LSTM read: its input's, and a third of its output's."""
    half, variance = gaussian.expectation, 1.0
    for _ in range(200):
        opens = noisy(lambda u: expit(u) ** 2, 0.0, variance)
        keeps = noisy(lambda u: expit(u) ** 2, bias, variance)
        cell = opens * half(lambda u: np.tanh(u) ** 2, std=variance**0.5) / (1 - keeps)
        variance = 1 + opens * half(lambda c: np.tanh(c) ** 2, std=cell**0.5) / 3
    return variance


def step_back(gain, bias):
    """A plain network's factor of a step; what gates keep, as a logarithm; the gate's signal."""
    factor = gaussian.chi("sigmoid", gain**2, 1.0) ** 0.5
    variance = loudness(bias)
    share = noisy(expit, bias, variance)
    slope = noisy(lambda u: expit(u) * expit(-u), bias, variance)
    return factor, noisy(log_expit, bias, variance), 40 * share**39 * slope


LAWS = {"the-race": (shares, race), "memory": step_back}
