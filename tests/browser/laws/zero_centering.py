"""What the sliders of zero-centering show, by the library."""

import json
import math

import numpy as np

from actnorm import descent, evidence, gaussian


def readout(mean, variance, width):
    """Largest eigenvalue, and the steps to a tenth in the others' direction."""
    largest, _ = descent.offset_eigenvalues(mean, variance, width)
    return largest, math.log(0.1) / (2 * math.log(1 - variance / largest))


def walk(mean, updates):
    """Two weights after some updates by hand, each of the best fixed size, and the loss left."""
    gram = gaussian.moments("sigmoid").variance * np.eye(2) + mean**2
    goal = np.array([1.1, -0.6])
    error = -goal
    rate, first = 2 / np.linalg.eigvalsh(gram).sum(), error @ gram @ error
    for _ in range(int(updates)):
        error = error - rate * gram @ error
    return *(error + goal), error @ gram @ error / first


def mean_slopes(std):
    return gaussian.mean_slope("tanh", std=std), gaussian.mean_slope("sigmoid", std=std)


def two_maps(place):
    """Loss that is left after 24 updates of a weight and a bias, by tanh and by its equivalent."""
    s2, angle = gaussian.moments("tanh").variance, 2 * np.pi * (place - 1) / 12 + 0.2
    weight, bias = np.cos(angle) / math.sqrt(s2), np.sin(angle)
    maps = {
        "tanh": (np.array([weight, bias]), np.diag([s2, 1.0])),
        "sigmoid": (np.array([2 * weight, bias - weight]), np.array([[1 + s2, 2], [2, 4]]) / 4),
    }
    left = []
    for error, gram in maps.values():
        for _ in range(24):
            error = error - 0.5 / np.linalg.eigvalsh(gram)[-1] * gram @ error
        left.append(error @ gram @ error)
    return tuple(left)


def remapped(width):
    forward = np.diag([4.0] * int(width) + [2.0])
    forward[-1, :-1] = -2
    steps = readout(0.5, gaussian.moments("tanh").variance / 4, int(width))[1]
    return np.linalg.cond(forward) ** 2, steps


def part_of_the_mean(share):
    sigmoid = gaussian.moments("sigmoid")
    return readout((1 - share) * sigmoid.mean, sigmoid.variance, 64)


def blocks(gain, depth):
    """Variance, memory and gradient of a residual network whose first block is plain."""
    variance, kept, energy = 2.0, 1.0, 1 + math.pi / (math.pi - 1)
    for _ in range(int(depth) - 1):
        energy *= gain + math.pi / (math.pi - 1) / variance
        variance, kept = gain * variance + 1, gain * kept
    return variance, math.sqrt(kept / variance), math.sqrt(energy)


def fresh_relu(gain, depth):
    q, c = gain**2, 0.0
    for _ in range(int(depth) - 1):
        c = gaussian.correlation_map("relu", c, q)
        q = gaussian.length_map("relu", q, gain**2)
    return q, q * (1 - c)


def left_in_the_record(replica):
    """What two generators leave of the distance, against a discriminator with three layers."""
    record = evidence.records()["zero-centering/variance-decay"]
    judged = {e["call"]: e["result"] for e in record["recorded"] if e["name"] == "judged"}
    calls = ([[arm, "discriminator", "adam", 3], {"count": 32}] for arm in ("He", "N(0, 0.02²)"))
    return [judged[json.dumps(call, sort_keys=True)]["left"][int(replica)] for call in calls]


LAWS = {
    "sign-coherence": (
        walk,
        lambda offset: readout(offset, gaussian.moments("tanh").variance, 64),
    ),
    "slope-at-the-origin": mean_slopes,
    "two-curves-one-family": (two_maps, remapped),
    "forced-centring": part_of_the_mean,
    "residual-alignment": blocks,
    "variance-decay": (fresh_relu, left_in_the_record),
}
