"""What the sliders of dead ReLU show, by the library."""

import json
import math

from scipy.special import ndtr

from actnorm import activation, evidence, gaussian


def death(cosine, n, kappa):
    """Chance that a fresh unit is dead, and that one step kills a live one."""
    slope = math.sqrt(cosine / (1 - cosine))
    born = gaussian.expectation(lambda z: ndtr(-slope * z) ** n)
    return born, math.atan(kappa) / math.pi


def waking(depth, slope):
    """Time until a unit wakes under a pull of one: with ELU, and with a leak."""
    return math.expm1(depth), depth / slope


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
    "gan-generator": (bent, canvas),
}
