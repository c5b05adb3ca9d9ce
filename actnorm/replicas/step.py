"""What is computed of a stack: loss and gradient of a batch, and metrics of a part."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache, partial
from types import CodeType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from actnorm import stateless
from actnorm.data import Part
from actnorm.replicas.losses import Evaluate, Loss
from actnorm.replicas.stack import RULE, Stack, Tensors, each

Gradient = Callable[[Tensors, Tensors, Part, Part], tuple[list[Tensor], Tensor, Tensors]]


def leaves(state: Tensors, trained: list[str]) -> tuple[Tensors, Tensors]:
    """Return what is trained, as leaves of a graph in the same memory, and all else."""
    mine = {name: state[name].detach().requires_grad_() for name in trained}
    return mine, {name: value for name, value in state.items() if name not in mine}


def scalar_of(loss: Loss, model: nn.Module, batch: Part, noise: Part) -> Tensor:
    """Return a loss, once it is one that can be trained on."""
    return stateless.scalar(loss(model, batch, noise))


def numeric(value: Tensor) -> Tensor:
    """Return a tensor in a precision that NumPy has."""
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value


def gradient_of(
    network: nn.Module, loss: Loss, count: int, *, compile: bool = False, embeds: bool = False
) -> Gradient:
    """Return a function of trained tensors, other tensors, batch and noise, of a stack of so many.

    It returns the gradients, the losses, and what the forward assigned. With ``embeds``,
    embeddings run under `stateless.Embeddings`.
    """
    call = stateless.caller(network, attributes=not compile)

    def scalar(batch: Part, noise: Part, model: nn.Module) -> Tensor:
        with stateless.Embeddings() if embeds else nullcontext():
            return scalar_of(loss, model, batch, noise)

    def value(mine: Tensors, rest: Tensors, batch: Part, noise: Part) -> tuple[Tensor, Tensors]:
        return call({**mine, **rest}, partial(scalar, batch, noise))

    def alone(mine: Tensors, rest: Tensors, batch: Part, noise: Part) -> tuple:
        def both(model: nn.Module) -> tuple[list[Tensor], Tensor]:
            loss = scalar(batch, noise, model)
            return slopes(loss, mine), loss.detach()

        (gradients, loss), moved = call(mine | rest, both)
        return gradients, loss, moved

    if compile:
        graph = compiled(each(grad_and_value(value, has_aux=True), network, count))

        @torch.no_grad()
        def gradient(mine: Tensors, rest: Tensors, batch: Part, noise: Part) -> tuple:
            gradients, (losses, moved) = graph(mine, rest, batch, noise)
            return list(gradients.values()), losses, moved
    elif count == 1:
        gradient = each(alone, network, count)
    else:
        forward = each(value, network, count)

        def gradient(mine: Tensors, rest: Tensors, batch: Part, noise: Part) -> tuple:
            losses, moved = forward(mine, rest, batch, noise)
            return slopes(losses.sum(), mine), losses.detach(), moved

    return gradient


_SHARED = 4  # torch goes back to eager, without an error, where code was compiled 8 times
_compiled = itertools.count()


@lru_cache(maxsize=1)
def _renewed(code: CodeType, age: int) -> CodeType:
    return code.replace()


def compiled(function: Callable) -> Callable:
    """Compile a function for the shapes that it is given, whatever was compiled before.

    Neighbours share what is compiled where their graphs are the same, as chunks of one run do.
    """

    def call(*args: Any) -> Any:
        return function(*args)

    call.__code__ = _renewed(call.__code__, next(_compiled) // _SHARED)
    return torch.compile(call, dynamic=False)


def slopes(loss: Tensor, mine: Tensors) -> list[Tensor]:
    """Return the gradients of a loss, zeros by what it does not use.

    A network by itself must hold these tensors meanwhile: a checkpoint runs it again.
    """
    return list(torch.autograd.grad(loss, list(mine.values()), materialize_grads=True))


def metrics_of(
    stack: Stack, evaluate: Evaluate | None, part: Part
) -> Callable[[Part], dict[str, np.ndarray]]:
    """Return a function from a stacked part to every replica's metrics, in eval mode.

    Measuring changes nothing: what the first replica alone writes to, on the part given here, is
    copied from then on.
    """
    if evaluate is None:
        return lambda part: {}
    network = stack.networks[0]
    call = stateless.caller(network)
    trained = stack.trainable()

    def metrics(mine: Tensors, rest: dict[str | int, Tensor]) -> Tensors:
        state = mine | {name: value for name, value in rest.items() if isinstance(name, str)}
        found, _ = call(state, evaluate, *(rest[index] for index in range(len(part))))
        return {name: _metric(name, value) for name, value in found.items()}

    def quietly(function: Callable, given: dict[str | int, Tensor]) -> Tensors:
        mine = {name: given[name] for name in trained}
        with torch.no_grad(), stateless.untouched(network):
            network.eval()
            return function(mine, {key: v for key, v in given.items() if key not in mine})

    first = {key: value[0] for key, value in (stack.state | dict(enumerate(part))).items()}
    copies = {key: value.clone() for key, value in first.items()}
    quietly(metrics, copies)
    writes = {key for key, value in copies.items() if stateless.written(value, first[key])}
    mapped = each(metrics, network, len(stack.replicas))

    def measure(part: Part) -> dict[str, np.ndarray]:
        given = stack.state | dict(enumerate(part))
        try:
            found = quietly(mapped, given | {key: given[key].clone() for key in writes})
        except Exception as error:
            raise stateless.refusal(RULE, network, error) from error
        return {name: value.double().cpu().numpy() for name, value in found.items()}

    return measure


def _metric(name: str, value: Tensor | float) -> Tensor:
    value = (
        value
        if isinstance(value, Tensor)
        else torch.tensor(value, dtype=torch.float64, device="cpu")
    )
    if value.ndim:
        raise ValueError(f"evaluate must return scalars, not {name} {tuple(value.shape)}")
    if value.is_complex():
        raise ValueError(f"evaluate must return real scalars, not {name} of {value.dtype}")
    return value
