"""What the sliders of dead ReLU show, by the library."""

import math

from scipy import stats
from scipy.special import ndtr

from actnorm import activation, gaussian


def death(cosine, n, kappa):
    """Chance that a fresh unit is dead, and that one step kills a live one."""
    slope = math.sqrt(cosine / (1 - cosine))
    born = gaussian.expectation(lambda z: ndtr(-slope * z) ** n)
    return born, math.atan(kappa) / math.pi


def waking(depth, slope):
    """Time until a unit wakes under a pull of one: with ELU, and with a leak."""
    return math.expm1(depth), depth / slope


def learned(slope, dead):
    """The slope, and the share of dead units whose slope a first step raises (10 classes)."""
    offset = 25 * slope**2 * dead / 64
    turned = (
        offset / (offset + 0.01 + (64 - dead) / 400) / dead
    )  # the squared sine; Student's law with 9 degrees
    return slope, stats.t.sf(math.sqrt(9 * turned / (1 - turned)), 9)


def alike(slope):
    """Cosines after a wide layer, of strangers (0) and of near twins (0.9)."""
    leak = activation("leaky_relu", slope=slope)
    return tuple(gaussian.correlation_map(leak, c) for c in (0.0, 0.9))


LAWS = {
    "anatomy-of-death": death,
    "smooth-cures": waking,
    "learned-leak": (learned, alike),
}
