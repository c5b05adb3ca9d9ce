"""What the sliders of dead ReLU show, by the library."""

import math

from scipy.special import ndtr

from actnorm import gaussian


def death(cosine, n, kappa):
    """Chance that a fresh unit is dead, and that one step kills a live one."""
    slope = math.sqrt(cosine / (1 - cosine))
    born = gaussian.expectation(lambda z: ndtr(-slope * z) ** n)
    return born, math.atan(kappa) / math.pi


LAWS = {"anatomy-of-death": death}
