"""The default loss and the default metrics: classification."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from actnorm.data import Part

Loss = Callable[[nn.Module, Part, Part], Tensor]
Evaluate = Callable[..., Mapping[str, Tensor]]


def cross_entropy(model: nn.Module, batch: Part, noise: Part) -> Tensor:
    """Return the mean cross-entropy of a batch ``(inputs, targets)``: the default loss.

    No target is ignored, as torch ignores -100.
    """
    inputs, targets = batch
    return mean_cross_entropy(model(inputs), targets)


def mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return torch's cross-entropy to rounding; its softmax over a short last axis is slow."""
    paired = logits.ndim == 2 and targets.ndim == 1 and len(logits) == len(targets)
    if paired and targets.dtype in (torch.int64, torch.int32):
        logs = nn.functional.log_softmax(logits.t(), 0)
        return -logs.gather(0, targets[None]).mean()
    return nn.functional.cross_entropy(logits, targets)


def classification(model: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return accuracy (a share) and cross-entropy (nats): the default of ``evaluate``.

    Targets are classes; logits hold those of an example on axis 1, as torch's cross-entropy does.
    """
    logits = model(inputs)
    guesses = logits.argmax(min(1, logits.ndim - 1))
    if guesses.shape != targets.shape:
        raise ValueError(
            f"targets must be one class for each of {tuple(guesses.shape)} guesses, "
            f"not of shape {tuple(targets.shape)}"
        )
    exact = logits.dtype if logits.dtype == torch.float64 else torch.float32
    return {
        "accuracy": (guesses == targets).to(exact).mean(),
        "loss": mean_cross_entropy(logits, targets),
    }
