"""Gradients one sample at a time: their signs, their spread, and the batch size they call for."""

from actnorm.gradients.noise import NoiseScale, noise_scale, relative_noise, sign_coherence
from actnorm.gradients.samples import Loss, Moments, moments, per_sample

__all__ = [
    "Loss",
    "Moments",
    "NoiseScale",
    "moments",
    "noise_scale",
    "per_sample",
    "relative_noise",
    "sign_coherence",
]
