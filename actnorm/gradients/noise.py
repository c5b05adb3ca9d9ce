"""What per-sample gradients say: how far they agree, and the batch size that they call for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from actnorm import streams
from actnorm.gradients.samples import Moments, finite, squared, wide


def sign_coherence(g: Tensor) -> Tensor:
    """Return how far the gradients of each neuron's incoming weights share a sign.

    S = |sum_i sign g_i| / fan_in: 1 when all point one way, 0 when as many go up as down. A zero
    gradient has sign 0: it adds nothing to the sum and still counts in fan_in.

    Parameters
    ----------
    g
        Gradients ``(..., fan_in)``; that of a `torch.nn.Linear` weight has this shape.

    Returns
    -------
    Tensor ``(...)``.

    Raises
    ------
    ValueError
        `g` has no axis, is empty, complex or holds NaN.
    """
    if g.ndim == 0 or g.numel() == 0:
        raise ValueError(f"g must have shape (..., fan_in) and not be empty, not {tuple(g.shape)}")
    if g.is_complex():
        raise ValueError(f"g must be of real numbers, which have a sign, not of {g.dtype}")
    finite(g=g)
    if not g.is_floating_point():
        g = wide(g)
    return g.sign().mean(-1).abs()


def relative_noise(g: Tensor | Mapping[str, Tensor] | Moments) -> float:
    """Return R = tr(Σ) / |G|², the noise of per-sample gradients relative to their mean G.

    The samples given are the whole population (Σ divides by n), so nothing is estimated. It is
    the simple noise scale of S. McCandlish et al. (2018), An Empirical Model of Large-Batch
    Training.

    Parameters
    ----------
    g
        Per-sample gradients ``(n, ...)``, a mapping to such tensors, or their `Moments`.

    Returns
    -------
    float, >= 0; infinite where G = 0 and the gradients differ.

    Raises
    ------
    ValueError
        Empty or non-finite gradients, gradients that are all zero, or of different n.
    """
    if isinstance(g, Moments):
        means, variances = g.mean.values(), g.variance.values()
    else:
        samples = list(g.values()) if isinstance(g, Mapping) else [g]
        if any(t.ndim == 0 for t in samples) or not sum(t.numel() for t in samples):
            raise ValueError("g must hold gradients of shape (n, ...) and not be empty")
        if len(sizes := {len(t) for t in samples}) > 1:
            found = " and ".join(map(str, sorted(sizes)))
            raise ValueError(f"g must hold one number of samples, not {found}")
        finite(**{f"g[{i}]": t for i, t in enumerate(samples)})
        samples = [wide(t) for t in samples if t.numel()]  # a parameter may be empty
        # A power of 2 leaves every digit, and keeps squares from overflow and underflow.
        _, exponent = math.frexp(max(float(t.abs().amax()) for t in samples))
        scale = 0.5 ** min(max(exponent, -1000), 1000)
        samples = [t * scale for t in samples]
        means = [t.mean(0) for t in samples]
        variances = [squared(t - mean).mean(0) for t, mean in zip(samples, means, strict=True)]
    trace = sum(float(v.sum(dtype=torch.float64)) for v in variances)
    square = sum(float(squared(wide(m)).sum()) for m in means)
    if trace == square == 0:
        raise ValueError("g must hold a gradient that is not zero: 0 / 0 is no relative noise")
    return trace / square if square else math.inf


@dataclass(frozen=True)
class NoiseScale:
    """Unbiased estimates of |G|² and tr(Σ); their ratio `scale` is a batch size, in samples.

    `scale` is consistent, not unbiased: average the two ingredients over many batches before
    dividing. It is infinite where the estimate of |G|² is not positive, and negative, no batch
    size, where that of tr(Σ) is and |G|²'s is positive: the noise is too small to be seen.
    """

    squared_gradient: float
    trace: float

    @property
    def scale(self) -> float:
        return self.trace / self.squared_gradient if self.squared_gradient > 0 else math.inf


def noise_scale(
    small: Tensor | float, big: Tensor | float, *, batch_sizes: tuple[int, int]
) -> NoiseScale:
    """Estimate the simple noise scale from the gradients of batches of two sizes.

    E |G_B|² = |G|² + tr(Σ) / B for a batch of B independent samples; two sizes give two
    equations (S. McCandlish et al., 2018, appendix A.1).

    Parameters
    ----------
    small, big
        Squared norms |G_B|² of the gradients of batches of either size: one, or a tensor of any
        number of them, which is averaged. With `Moments` of n samples, ``squared_norms`` are
        those of batches of 1, and |mean|² that of one batch of n.
    batch_sizes
        ``(small, big)``.

    Raises
    ------
    ValueError
        Sizes that are not 1 <= small < big; norms that are negative, empty or not finite.
    """
    b, n = (streams.whole("batch_sizes", size, 0) for size in batch_sizes)
    if not 1 <= b < n:
        raise ValueError(f"batch_sizes must satisfy 1 <= small < big, not {batch_sizes}")
    means = []
    for name, value in (("small", small), ("big", big)):
        square = torch.as_tensor(value)
        if square.is_complex():
            raise ValueError(f"{name} must hold squared norms: real, not of {square.dtype}")
        square = square.double()
        if square.numel() == 0 or not square.isfinite().all() or (square < 0).any():
            raise ValueError(f"{name} must hold squared norms: finite, >= 0 and at least one")
        means.append(float(square.mean()))
    square_b, square_n = means
    return NoiseScale(
        squared_gradient=(n * square_n - b * square_b) / (n - b),
        trace=(square_b - square_n) / (1 / b - 1 / n),
    )
