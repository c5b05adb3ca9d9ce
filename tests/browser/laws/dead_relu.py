"""What the sliders of dead ReLU show, by the library."""

import math

from scipy.special import ndtr

from actnorm import gaussian


def death(cosine, n, kappa):
    """Chance that a fresh unit is dead, and that one step kills a live one."""
    slope = math.sqrt(cosine / (1 - cosine))
    born = gaussian.expectation(lambda z: ndtr(-slope * z) ** n)
    return born, math.atan(kappa) / math.pi


def waking(depth, slope):
    """Time until a unit wakes under a pull of one: with ELU, and with a leak."""
    return math.expm1(depth), depth / slope


LAWS = {"anatomy-of-death": death, "smooth-cures": waking}
