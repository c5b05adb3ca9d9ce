"""What the sliders of dead ReLU show, by the library."""

import json
import math

from scipy.special import ndtr

from actnorm import activations, evidence, gaussian


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


def leaking(leak, layers):
    """Cosine after layers with a leak, as many layers of ReLU, and the residual's size."""
    c, act = 0.0, activations.activation("leaky_relu", slope=leak)
    for _ in range(int(layers)):
        c = gaussian.correlation_map(act, c)
    as_relu = layers * (1 - leak) ** 2 / (1 + leak**2)
    return c, as_relu, (1 - leak) / math.sqrt(2)


def of_a_replica(replica):
    """Test accuracies of one replica of six arms on digits, from the record."""
    record = evidence.records()["dead-relu/leak-as-residual"]
    judged = {e["call"]: e["result"] for e in record["recorded"] if e["name"] == "judged"}
    arms = ("ReLU", "leaky 0.01", "leaky 0.3", "leaky 0.6", "linear", "skips")
    calls = [json.dumps([[arm, "digits"], {}], sort_keys=True) for arm in arms]
    return [judged[call][1]["accuracy"][int(replica)] for call in calls]


LAWS = {
    "anatomy-of-death": death,
    "smooth-cures": waking,
    "norm-order": (normalized, around_a_shock),
    "leak-as-residual": (leaking, of_a_replica),
}
