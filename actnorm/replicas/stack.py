"""Networks that become one stack: built, refused by name, called as functions of their tensors."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_map


class Network(nn.Module):
    """A network whose forward is a function of it, so that `functional_call` reaches all of it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable, *args: Any) -> Any:
        return function(self.model, *args)


def networks(
    build: Callable[[], nn.Module], generators: list[torch.Generator], replicas: list[int]
) -> list[Network]:
    """Build each replica's network under its stream, and refuse by name what cannot be stacked."""
    networks = []
    for generator, replica in zip(generators, replicas, strict=True):
        torch.default_generator.manual_seed(generator.initial_seed())
        model = build()
        if not isinstance(model, nn.Module):
            raise TypeError(f"build must return an nn.Module, not {type(model).__name__}")
        _stackable(model)
        networks.append(Network(model))
        first, own = _settings(networks[0].model), _settings(model)
        for name in first | own:
            if first.get(name) != own.get(name):
                raise ValueError(
                    "build must return networks that differ in values only: "
                    f"{name or 'the network'} is {first.get(name)} in replica {replicas[0]} "
                    f"and {own.get(name)} in replica {replica}"
                )
    return networks


def _stackable(model: nn.Module) -> None:
    for name, module in model.named_modules():
        kinds = {type(part).__name__ for part in (module, *module._forward_pre_hooks.values())}
        if kinds & {"SpectralNorm", "_SpectralNorm"}:
            raise ValueError(f"build must return a stackable network: {name} has spectral norm")
    for name, value in chain(model.named_parameters(), model.named_buffers()):
        if is_lazy(value):
            raise ValueError(f"build must return a stackable network: {name} is lazy")


def _settings(model: nn.Module) -> dict[str, Any]:
    tensors = chain(model.named_parameters(), model.named_buffers())
    return {
        name: f"{type(module).__name__}({module.extra_repr()})"
        for name, module in model.named_modules()
    } | {name: tuple(value.shape) for name, value in tensors}


def trainable(network: Network, part: str, params: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters of a part that require gradients."""
    prefix = f"model.{part}." if part else "model."
    mine = {
        name: params[name]
        for name, value in network.named_parameters()
        if name.startswith(prefix) and value.requires_grad
    }
    if not mine:
        raise ValueError(f"build must return trainable parameters{part and f' in part {part!r}'}")
    return mine


def caller(network: Network) -> Callable[..., Any]:
    """Return the network's forward as a function of its tensors by name, then its arguments.

    Every module is named once and every place of a tied tensor is filled by name:
    `functional_call`'s own tying leaves tensors behind in a module that is registered twice.
    """
    names = {id(v): k for k, v in chain(network.named_parameters(), network.named_buffers())}
    places = {
        f"{path}.{key}": names[id(value)]
        for path, module in network.named_modules()
        for key, value in chain(
            module.named_parameters(recurse=False, remove_duplicate=False),
            module.named_buffers(recurse=False, remove_duplicate=False),
        )
    }

    def call(tensors: dict[str, Tensor], *args: Any) -> Any:
        filled = {place: tensors[name] for place, name in places.items()}
        return functional_call(network, filled, args, tie_weights=False)

    return call


def each(function: Callable, network: nn.Module, count: int) -> Callable:
    """Map a function of (params, ...) over the replicas; a lone one needs no vmap."""
    if count == 1:
        return lambda *args: tree_map(
            lambda value: value.unsqueeze(0),
            function(*tree_map(lambda value: value.squeeze(0), args)),
        )
    if any(isinstance(module, nn.RNNBase | nn.RNNCellBase) for module in network.modules()):
        # vmap has no rule for fused recurrent layers; below grad they fall apart into plain ones.
        fused = function
        beside = grad(lambda *args: (torch.zeros(()), fused(*args)), has_aux=True)

        def function(*args: Any) -> Any:
            return beside(*args)[1]

    return vmap(function, randomness="different")
