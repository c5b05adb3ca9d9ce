"""Gradient descent on least squares, solved exactly from the spectrum of the features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.optimize import brentq
from torch import Tensor


@dataclass(frozen=True)
class Descent:
    """The course of gradient descent for one linear readout, from zero weights.

    ``eigenvalues (k,)`` are those of the Gram matrix divided by the number of examples, largest
    first; ``energy (k,)`` is the part of the loss above its minimum that lies along each.
    """

    eigenvalues: Tensor
    energy: Tensor

    def excess(self, steps: float | Tensor) -> Tensor:
        """Return the excess loss after so many steps of size 1 / largest eigenvalue, from 1.

        Along an eigenvector the error shrinks by 1 - eigenvalue / largest at each step, and the
        loss by its square (LeCun, Kanter and Solla, 1991).
        """
        t = torch.as_tensor(steps, dtype=torch.float64, device=self.eigenvalues.device)
        shrink = (1 - self.eigenvalues / self.eigenvalues[0]).clamp_min(0)
        return (self.energy * shrink ** (2 * t[..., None])).sum(-1) / self.energy.sum()

    def steps_to(self, level: float = 0.1) -> float:
        """Return the number of steps, not rounded, until the excess loss is ``level``."""
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, not {level}")
        last = 1.0
        while self.excess(last) > level:
            last *= 2
            if last > 1e15:
                raise ValueError(f"the excess loss does not reach {level} in 1e15 steps")
        return brentq(lambda t: float(self.excess(t)) - level, 0.0, last, xtol=1e-9)


def least_squares(features: Tensor, targets: Tensor, *, bias: bool = True) -> Descent:
    """Return the exact descent of a linear readout on the mean squared error.

    Parameters
    ----------
    features
        Shape ``(examples, features)``, finite.
    targets
        Shape ``(examples,)`` or ``(examples, outputs)``, finite.
    bias
        Whether the readout has a bias, learned at the same rate.
    """
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(
            f"features must have shape (examples, features), not {tuple(features.shape)}"
        )
    if len(targets) != len(features):
        raise ValueError(f"targets must have {len(features)} rows, not {len(targets)}")
    if targets.device != features.device:
        raise ValueError(
            f"targets must lie on {features.device}, as features, not {targets.device}"
        )
    x, y = features.double(), targets.double().reshape(len(targets), -1)
    for name, tensor in (("features", x), ("targets", y)):
        if not tensor.isfinite().all():
            raise ValueError(f"{name} must be finite")
    if bias:
        x = torch.cat([torch.ones_like(x[:, :1]), x], 1)
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    keep = s > s[0] * max(x.shape) * torch.finfo(s.dtype).eps
    return Descent(s[keep].square() / len(x), (u.T @ y).square().sum(1)[keep] / len(x))


def offset_eigenvalues(mean: float, variance: float, width: int) -> tuple[float, float]:
    """Return the two eigenvalues that a common mean creates among independent features.

    The Gram matrix of a bias and ``width`` independent features with one mean and variance has
    ``width - 1`` eigenvalues equal to the variance, and two roots of
    ``x**2 - T x + variance`` with ``T = 1 + variance + width * mean**2``.

    Returns
    -------
    The larger root, which grows like ``width * mean**2``, and the smaller.
    """
    if not variance > 0:
        raise ValueError(f"variance must be positive, not {variance}")
    if width < 1:
        raise ValueError(f"width must be at least 1, not {width}")
    trace = 1 + variance + width * mean**2
    large = (trace + math.sqrt(max(0.0, trace**2 - 4 * variance))) / 2
    return large, variance / large
