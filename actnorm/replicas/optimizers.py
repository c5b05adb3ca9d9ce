"""Stock optimizers with one rate per replica, and how they clip and step a stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

Rate = float | Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Optimizer:
    """A learning rate, or one per replica, and how a stock elementwise optimizer is made.

    ``make`` is called with param groups: ``Optimizer(0.01, torch.optim.RMSprop)`` works too.
    """

    lr: Rate
    make: Callable[[list[dict]], torch.optim.Optimizer]

    def __post_init__(self) -> None:
        rates = np.asarray(self.lr, float)
        if rates.ndim > 1 or not np.all((rates > 0) & np.isfinite(rates)):
            raise ValueError(f"lr must be a positive number, or one per replica, not {self.lr!r}")


def sgd(lr: Rate, *, momentum: float = 0.0, weight_decay: float = 0.0) -> Optimizer:
    """Return stochastic gradient descent, as `torch.optim.SGD`."""
    make = partial(_fused, torch.optim.SGD, momentum=momentum, weight_decay=weight_decay)
    return Optimizer(lr, make)


def adam(
    lr: Rate,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Return Adam (Kingma and Ba, 2015), as `torch.optim.Adam`."""
    make = partial(_fused, torch.optim.Adam, betas=betas, eps=eps, weight_decay=weight_decay)
    return Optimizer(lr, make)


def adamw(
    lr: Rate,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> Optimizer:
    """Return Adam with decoupled decay (Loshchilov and Hutter, 2019), as `torch.optim.AdamW`."""
    make = partial(_fused, torch.optim.AdamW, betas=betas, eps=eps, weight_decay=weight_decay)
    return Optimizer(lr, make)


def _fused(kind: type, groups: list[dict], **settings: Any) -> torch.optim.Optimizer:
    """Make a stock optimizer, fused where that is right.

    torch's fused SGD takes no complex numbers, and steps half precision wrongly on a CPU.
    """
    params = (value for group in groups for value in group["params"])
    fused = all(value.dtype in (torch.float32, torch.float64) for value in params)
    return kind(groups, fused=fused, **settings)


def rates(lr: Rate, count: int) -> np.ndarray:
    """Return the rate of each replica."""
    rates = np.asarray(lr, float)
    if rates.ndim and len(rates) != count:
        raise ValueError(f"lr must hold one rate for each of {count} replicas, not {len(rates)}")
    return np.broadcast_to(rates, count)


def clipped(gradients: Sequence[Tensor], limit: float) -> list[Tensor]:
    """Scale each replica's gradients as `torch.nn.utils.clip_grad_norm_` does."""
    parts = [_real(gradient) for gradient in gradients]
    norm = _norm(parts)
    if not norm.isfinite().all():  # squares may overflow where the norm does not
        wide = _norm([part.double() for part in parts]).to(norm.dtype)
        norm = torch.where(norm.isfinite(), norm, wide)
    factor = (limit / (norm + 1e-6)).clamp(max=1)
    return [
        gradient * factor.to(gradient.real.dtype).view(-1, *[1] * (gradient.ndim - 1))
        for gradient in gradients
    ]


def _real(value: Tensor) -> Tensor:
    """Return a tensor of real numbers of at least single precision, with the same norm."""
    if value.is_complex():
        return torch.view_as_real(value.resolve_conj())
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value


def _norm(parts: Sequence[Tensor]) -> Tensor:
    squares = [part.reshape(len(part), -1).square().sum(1) for part in parts]
    return torch.stack(squares).sum(0).sqrt()


def stepper(
    params: Sequence[Tensor], make: Callable, rates: np.ndarray
) -> Callable[[Sequence[Tensor], float], None]:
    """Return a function that steps the stack; neighbours with one rate share a param group."""
    groups, stop = [], 0
    for rate, run in groupby(rates):
        rows = slice(stop, stop := stop + len(list(run)))
        leaves = [value.detach()[rows] for value in params]
        groups.append({"params": leaves, "lr": rate, "rate": rate, "rows": rows})
    stock = make(groups)

    def update(gradients: Sequence[Tensor], factor: float) -> None:
        for group in stock.param_groups:
            group["lr"] = group["rate"] * factor
            for leaf, gradient in zip(group["params"], gradients, strict=True):
                # Fused optimizers read memory in order, whatever the strides.
                leaf.grad = gradient[group["rows"]].contiguous()
        stock.step()

    return update
