"""What is computed of a stack: loss and gradient of a batch, and metrics of a part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor
from torch.func import grad_and_value

from actnorm.data import Part
from actnorm.replicas.losses import Evaluate, Loss
from actnorm.replicas.stack import Network, caller, each


def gradient_of(
    network: Network, loss: Loss, mine: dict[str, Tensor], state: dict[str, Tensor], compile: bool
) -> Callable[[Part, Part], tuple[Sequence[Tensor], Tensor]]:
    """Return a function from batch and noise to the gradients of ``mine`` and the losses."""
    count = len(next(iter(mine.values())))
    rest = {name: value for name, value in state.items() if name not in mine}
    mine = {name: value.detach().requires_grad_() for name, value in mine.items()}
    call = caller(network)

    def value(mine: dict[str, Tensor], rest: dict[str, Tensor], batch: Part, noise: Part) -> Tensor:
        scalar = call(mine | rest, loss, batch, noise)
        if scalar.ndim:
            raise ValueError(f"loss must return a scalar, not a shape {tuple(scalar.shape)}")
        return scalar

    if compile:
        graph = torch.compile(each(grad_and_value(value), network, count))

        @torch.no_grad()
        def gradient(batch: Part, noise: Part) -> tuple[Sequence[Tensor], Tensor]:
            gradients, losses = graph(mine, rest, batch, noise)
            return list(gradients.values()), losses
    else:
        forward = each(value, network, count)

        def gradient(batch: Part, noise: Part) -> tuple[Sequence[Tensor], Tensor]:
            losses = forward(mine, rest, batch, noise)
            gradients = torch.autograd.grad(
                losses.sum(), list(mine.values()), materialize_grads=True
            )
            return gradients, losses.detach()

    return gradient


def metrics_of(
    network: Network,
    evaluate: Evaluate | None,
    params: dict[str, Tensor],
    buffers: dict[str, Tensor],
) -> Callable[[Part], dict[str, np.ndarray]]:
    """Return a function from a stacked part to every replica's metrics, in eval mode."""
    still = deepcopy(network).eval()
    call = caller(still)

    def metrics(
        params: dict[str, Tensor], buffers: dict[str, Tensor], part: Part
    ) -> dict[str, Tensor]:
        found = call(params | buffers, evaluate, *part)
        for name, value in found.items():
            if value.ndim:
                raise ValueError(f"evaluate must return scalars, not {name} {tuple(value.shape)}")
        return dict(found)

    mapped = each(metrics, still, len(next(iter(params.values()))))

    @torch.no_grad()
    def measure(part: Part) -> dict[str, np.ndarray]:
        found = mapped(params, buffers, part) if evaluate else {}
        return {name: value.double().cpu().numpy() for name, value in found.items()}

    return measure
