"""What the sliders of PReLU noise show, by the library."""

import json
import math
from functools import cache

import numpy as np
import torch
from scipy import integrate, stats

import actnorm as an
from actnorm import evidence


def parity(slope, mix):
    """Relative noise of a wide first layer on mirrored inputs, at a slope and for ReLU."""
    half = torch.randn(200, 10, generator=an.stream("noise", 1)).double().numpy()
    x = np.concatenate([half, -half])
    odd, even = x[:, 0], np.abs(x[:, 1]) - np.abs(x[:, 1]).mean()
    residual = sum(
        share**0.5 * t / np.sqrt(np.mean(t**2)) for share, t in ((1 - mix, odd), (mix, even))
    )
    length = np.linalg.norm(x, axis=1)
    agree = np.outer(residual, residual) * (x @ x.T)
    sign = 2 / np.pi * np.arcsin(np.clip(x @ x.T / np.outer(length, length), -1, 1))

    def noise(a):
        p, q = (1 + a) / 2, (1 - a) / 2
        second = (p**2 + q**2) * np.diag(agree).mean()
        return second / (agree * (p**2 + q**2 * sign)).mean() - 1

    return noise(slope), noise(0)


def along_the_way(replica):
    """Noise of two networks on digits, from the record: geometric mean over matched losses."""
    record = evidence.records()["prelu-noise/gradient-noise"]
    along = {e["call"]: e["result"] for e in record["recorded"] if e["name"] == "along"}
    calls = ([[arm, "digits", 1], {}] for arm in ("ReLU", "slope 0.5"))
    return [
        float(np.exp(np.log(along[json.dumps(call, sort_keys=True)]["noise"][int(replica)]).mean()))
        for call in calls
    ]


@cache
def largest(n):
    """Chance that the largest of n normalized Gaussian values is at most t, on a grid of t."""
    if n == 3:
        t = np.linspace(0.5**0.5, 2**0.5, 40_001)
        return t, 1 - np.arccos(np.clip(t / 2**0.5, 0, 1)) * 3 / np.pi
    below, chance = largest(n - 1)
    t = math.sqrt(n - 1) * np.sin(np.linspace(math.asin(1 / (n - 1)), np.pi / 2, 40_001))
    left = np.clip(1 - t**2 / (n - 1), 1e-18, None)
    others = t * np.sqrt(n / (n - 1) / left)
    density = left ** (n / 2 - 2) * np.interp(others, below, chance, left=0, right=1)
    total = integrate.cumulative_trapezoid(density, t, initial=0)
    return t, total / total[-1]


def valve(shift, slope, count):
    """Gradient that ReLU and PReLU pass behind batch normalization, and P(dead)."""
    n = int(count)
    p = 0.5 * stats.beta.sf(shift**2 / (n - 1), 0.5, (n - 2) / 2)
    return p, p + slope * (1 - p), float(np.interp(shift, *largest(n), left=0, right=1))


def best_scale(slope):
    """The best scale behind PReLU for the target X, and the skewness of its output."""
    act = an.activation("prelu", slope=slope)
    out = an.gaussian.moments(act)
    return an.gaussian.expectation(lambda z: z * act(z)) / np.sqrt(out.variance), out.skewness


def fresh_spread(raised, slope):
    """Spread of a fresh head's embeddings with a raised PReLU, and their mean cosine."""
    out = an.gaussian.moments(an.activation("leaky_relu", slope=slope).shift(raised))
    cosine = out.mean**2 / (out.mean**2 + out.variance)
    return math.sqrt(1 - cosine), cosine


LAWS = {
    "gradient-noise": (parity, along_the_way),
    "prelu-and-batchnorm": (valve,),
    "representation-collapse": fresh_spread,
    "symmetry-and-scale": best_scale,
}
