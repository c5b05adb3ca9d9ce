"""What the sliders of the shape of an activation show, by the library."""

import json
import math

import numpy as np
from scipy.optimize import brentq
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


def gates(scale, bias, tokens):
    """Muted by a ReLU gate, and in use under ReLU and under softmax, of very many tokens."""
    del tokens  # it moves the other curves
    once = gaussian.expectation("relu", bias, scale)
    squared = gaussian.expectation(lambda z: np.maximum(z, 0) ** 2, bias, scale)
    muted = 0.5 * math.erfc(bias / scale / math.sqrt(2))
    return muted, once**2 / squared, math.exp(-(scale**2))


def interpolation(half, degree):
    """For tanh on [-half, half], Chebyshev and equispaced points: factors of a degree, and largest
    errors as powers of ten, by the nearest poles."""
    a, n = math.pi / 2, int(degree)
    y = a / half
    factors = math.exp(-math.asinh(y)), 2 * math.exp(-y * (a - math.atan(y))) / math.hypot(1, y)
    edge = 2 * half / (half**2 + a**2)
    peak = 1 / a if half > a else edge
    points = np.linspace(-1, 1, n + 1)
    places = np.linspace(-1, 1, 800) * (1 - 1e-9)
    largest = np.abs(np.prod(places[:, None] - points, axis=1)).max()
    pole = np.sqrt(np.prod(y**2 + points**2))
    errors = peak / math.cosh((n + 1) * math.asinh(y)), edge * largest / pole
    return *factors, *np.log10(errors)


def turning(angle, layers):
    """Likeness of a unit's fields on two images at an angle, and the field's standard deviation."""
    c, kept = math.cos(math.radians(angle)), 1.0
    for _ in range(int(layers) - 1):
        kept *= 1 - math.acos(max(-1.0, min(1.0, c))) / math.pi
        c = gaussian.correlation_map("relu", c)
    return kept, math.sqrt(2 * layers / 3)


def scene(number):
    """Share of strength on the digit's ink in a fresh and a trained network, from the record."""
    record = evidence.records()["activation-shape/receptive-field"]
    call = json.dumps([["ReLU", "digits"], {}], sort_keys=True)
    (maps,) = (
        e["result"]["maps"]
        for e in record["recorded"]
        if (e["name"], e["call"]) == ("judged", call)
    )
    return [shares[int(number) - 1] for shares in maps["share"]]


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


def compound(scale, beta):
    """Swish of some beta: powers of ten of a scaled network's gradient with batch normalization,
    and the share of inputs where its slope is below 0.05."""
    swish = activation("silu").gain(beta).scale(1 / beta)
    factor = gaussian.slope_energy(swish) / gaussian.moments(swish).variance
    layers = round(4 * 1.2**scale) - 1
    u = np.linspace(-12, 4, 1_600_001)
    edges = np.flatnonzero(np.diff(_over_flat(u) < 0))
    places = [brentq(_over_flat, u[k], u[k + 1]) for k in edges]
    far, left, right = (0.5 * math.erfc(-z / beta / math.sqrt(2)) for z in places)
    return layers / 2 * math.log10(factor), far + right - left


def _over_flat(u):
    """How far Swish's slope is from flat, in size: negative where it is smaller than 0.05."""
    return abs(activation("silu").slope(u)) - 0.05


LAWS = {
    "the-race": (shares, race),
    "gates": gates,
    "polynomials": interpolation,
    "receptive-field": (turning, scene),
    "memory": step_back,
    "scaling-up": compound,
}
