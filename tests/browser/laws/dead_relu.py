"""What the sliders of dead ReLU show, by the library."""

import json
import math

import numpy as np
import torch
from scipy import stats
from scipy.special import ndtr

from actnorm import evidence, gaussian
from actnorm.activations import Activation, activation


def death(cosine, n, kappa):
    """Chance that a fresh unit is dead, and that one step kills a live one."""
    slope = math.sqrt(cosine / (1 - cosine))
    born = gaussian.expectation(lambda z: ndtr(-slope * z) ** n)
    return born, math.atan(kappa) / math.pi


def waking(depth, slope):
    """Time until a unit wakes under a pull of one: with ELU, and with a leak."""
    return math.expm1(depth), depth / slope


def scorer(bias, keys):
    """Inactive on a pair, silent on a query of so many keys, and the share of interaction."""
    s = np.linspace(-20, 20, 80_001)  # what the query shares, times the root of two
    density = np.exp(-(s**2) / 2) / math.sqrt(2 * math.pi) * 0.0005
    silent = density @ ndtr(-bias * math.sqrt(2) - s) ** keys

    def relu(mean, variance):
        t = mean / math.sqrt(variance)
        return math.sqrt(variance) * (t * ndtr(t) + np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi))

    none, half = relu(bias, 1.0) ** 2, density @ relu(bias + s / math.sqrt(2), 0.5) ** 2
    one = (1 + bias**2) * ndtr(bias) + bias * math.exp(-(bias**2) / 2) / math.sqrt(2 * math.pi)
    return ndtr(-bias), silent, (one - 2 * half + none) / (one - half)


def normalized(shift, scale, doublings):
    """A channel after BN: share active, chance of death, and how far below zero the edges lie."""
    ratio, n = shift / scale, 2**doublings
    return ndtr(ratio), max(ndtr(-ratio) ** n, 1e-12), math.sqrt(n - 1), 1 / math.sqrt(n - 1)


def around_a_shock(update):
    """Dead channels of both orders after a spike and after a drop, from the record."""
    record = evidence.records()["dead-relu/norm-order"]
    films = {e["call"]: e["result"] for e in record["recorded"] if e["name"] == "film"}
    calls = [
        json.dumps([[order, shock, "mnist1d", "plain"], {}], sort_keys=True)
        for shock in ("spike", "drop")
        for order in ("BN-ReLU", "ReLU-BN")
    ]
    return [films[call][int(update) // 3] for call in calls]


def leaking(leak, layers):
    """Cosine after layers with a leak, as many layers of ReLU, and the weight of x."""
    c, act = 0.0, activation("leaky_relu", slope=leak)
    for _ in range(int(layers)):
        c = gaussian.correlation_map(act, c)
    as_relu = layers * (1 - leak) ** 2 / (1 + leak**2)
    return c, as_relu, (1 + leak) / 2


def of_a_replica(replica):
    """Test accuracies of one replica of six arms on digits, from the record."""
    record = evidence.records()["dead-relu/leak-as-residual"]
    judged = {e["call"]: e["result"] for e in record["recorded"] if e["name"] == "judged"}
    arms = ("ReLU", "leaky 0.01", "leaky 0.3", "leaky 0.6", "linear", "skips")
    calls = [json.dumps([[arm, "digits"], {}], sort_keys=True) for arm in arms]
    return [judged[call][1]["accuracy"][int(replica)] for call in calls]


def learned(slope, dead):
    """The slope, and the share of dead units whose slope a first step raises (10 classes)."""
    offset = 25 * slope**2 * dead / 64
    others = 0.005 + (64 - dead) * (1 - slope) ** 2 / (128 * math.pi)
    turned = offset / (offset + others) / dead  # the squared sine; Student's law with 9 degrees
    return slope, stats.t.sf(math.sqrt(9 * turned / (1 - turned)), 9)


def alike(slope):
    """Cosines after a wide layer, of strangers (0) and of near twins (0.9)."""
    leak = activation("leaky_relu", slope=slope)
    return tuple(gaussian.correlation_map(leak, c) for c in (0.0, 0.9))


def back_through(variance, depth):
    """Gradient at layer 1 as a power of ten: softplus, centered, ReLU; and two layers' factors."""
    moved = Activation("moved", lambda z: torch.nn.functional.softplus(z + 1))
    centered = moved.shift(-gaussian.moments(moved).mean)
    told, factors = [], []
    for act, bias in ((activation("softplus"), 0), (centered, gaussian.critical_init(centered)[1])):
        q, power = variance + bias, 0.0
        for layer in range(int(depth)):
            factor = variance * gaussian.slope_energy(act, std=math.sqrt(q))
            power += math.log10(factor) / 2 * (layer < depth - 1)
            q = gaussian.length_map(act, q, variance, bias)
        told.append(power)
        factors.append(factor)
    return *told, (depth - 1) / 2 * math.log10(variance / 2), *factors


def bent(leak, layers):
    """Linear share of a wide fresh generator, and the correlation of its mean output."""
    act, c, slope = activation("leaky_relu", slope=leak), 0.0, 1.0
    for _ in range(int(layers)):
        size = gaussian.expectation2(act, 1.0)
        step = (gaussian.expectation2(act, c), gaussian.expectation2(act.slope, c))
        c, slope = step[0] / size, slope * step[1] / size
    return slope / (1 - c), c


def canvas(replica):
    """Modes that a generator covers with ReLU, and with a leak of 0.2."""
    record = evidence.records()["dead-relu/gan-generator"]
    painted = {e["call"]: e["result"] for e in record["recorded"] if e["name"] == "canvases"}
    calls = [json.dumps([[arm], {}], sort_keys=True) for arm in ("ReLU", "leaky 0.2")]
    return [painted[call]["modes"][int(replica)] for call in calls]


LAWS = {
    "anatomy-of-death": death,
    "smooth-cures": waking,
    "norm-order": (normalized, around_a_shock),
    "attention-scorer": scorer,
    "learned-leak": (learned, alike),
    "deep-softplus": back_through,
    "leak-as-residual": (leaking, of_a_replica),
    "gan-generator": (bent, canvas),
}
