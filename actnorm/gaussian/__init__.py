"""Exact theory: what an activation does to a Gaussian pre-activation, in float64.

All integrals are Gauss–Legendre sums on panels that split at the kinks and halve towards each kink
and towards 0, so that a sigmoid under a standard deviation of 1,000 and a Gaussian of standard
deviation 0.001 are both resolved. Gauss–Hermite sums resolve neither, nor a kink.
"""

from actnorm.gaussian.expectations import (
    Moments,
    expectation,
    expectation2,
    mean_slope,
    moments,
    slope_energy,
)
from actnorm.gaussian.lengths import (
    chi,
    correlation_map,
    critical_gain,
    critical_init,
    fixed_point,
    length_map,
)

__all__ = [
    "Moments",
    "chi",
    "correlation_map",
    "critical_gain",
    "critical_init",
    "expectation",
    "expectation2",
    "fixed_point",
    "length_map",
    "mean_slope",
    "moments",
    "slope_energy",
]
