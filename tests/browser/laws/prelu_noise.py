"""What the sliders of PReLU noise show, by the library."""

import json

import numpy as np
import torch

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


def best_scale(slope):
    """The best scale behind PReLU for the target X, and the skewness of its output."""
    act = an.activation("prelu", slope=slope)
    out = an.gaussian.moments(act)
    return an.gaussian.expectation(lambda z: z * act(z)) / np.sqrt(out.variance), out.skewness


LAWS = {"gradient-noise": (parity, along_the_way), "symmetry-and-scale": best_scale}
