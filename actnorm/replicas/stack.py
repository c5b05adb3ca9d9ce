"""Networks that become one stack, and come back from it; what cannot is refused by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_map

from actnorm import stateless
from actnorm.replicas.device import drawing, seed

Tensors = dict[str, Tensor]
RULE = "build must return a stackable network"


@dataclass(frozen=True)
class Stack:
    """Networks as one: all run through the first, on all tensors ``(replicas, ...)`` by name.

    Buffers and attributes that a forward assigns enter ``state``.
    """

    replicas: tuple[int, ...]
    networks: tuple[nn.Module, ...]
    state: Tensors
    parameters: frozenset[str]

    def trainable(self, part: str = "") -> list[str]:
        """Return the names of the parameters of a part that require gradients."""
        held = stateless.tensors(self.networks[0])
        prefix = part and f"{part}."
        mine = [name for name, v in held.items() if _trains(v) and name.startswith(prefix)]
        if not mine:
            where = part and f" in part {part!r}"
            raise ValueError(f"build must return trainable parameters{where}")
        return mine


class Seen:
    """What earlier networks hold: modules with tensors, and memory that is trained."""

    def __init__(self) -> None:
        self.holders: dict[int, nn.Module] = {}
        self.trained: dict[tuple, list[_Span]] = defaultdict(list)


def build_stack(
    build: Callable[[], nn.Module],
    generators: list[torch.Generator],
    replicas: list[int],
    device: torch.device,
    seen: Seen,
) -> Stack:
    """Build each replica's network under its stream, and refuse by name what cannot be stacked."""
    networks = []
    for generator, replica in zip(generators, replicas, strict=True):
        seed(device, generator.initial_seed())
        with drawing():
            model = build()
        if not isinstance(model, nn.Module):
            raise TypeError(f"build must return an nn.Module, not {type(model).__name__}")
        _stackable(model)
        networks.append(_apart(model, replica, seen))
        first, own = _settings(networks[0]), _settings(model)
        for name in first | own:
            if first.get(name) != own.get(name):
                raise ValueError(
                    "build must return networks that differ in values only: "
                    f"{name or 'the network'} is {first.get(name)} in replica {replicas[0]} "
                    f"and {own.get(name)} in replica {replica}"
                )
    held = [stateless.tensors(network) for network in networks]
    state = {name: torch.stack([own[name].detach() for own in held]).to(device) for name in held[0]}
    parameters = {name for name, v in held[0].items() if isinstance(v, nn.Parameter)}
    return Stack(tuple(replicas), tuple(networks), state, frozenset(parameters))


def nudge(stack: Stack) -> None:
    """Move every parameter of a stack to the next number of its precision."""
    for name in stack.parameters:
        value = stack.state[name]
        if value.is_floating_point():
            value.copy_(torch.nextafter(value, torch.full_like(value, torch.inf)))


def unstack(stack: Stack, numbers: dict[str, float]) -> tuple[nn.Module, ...]:
    """Return the networks, in eval mode, with their tensors and with these other attributes."""
    state = {name: values.detach().cpu() for name, values in stack.state.items()}
    for row, network in enumerate(stack.networks):
        places = defaultdict(list)
        for where, name in stateless.names(network).items():
            places[name].append(where)
        for name, values in state.items():
            value = values[row].clone()
            for where in places[name] or [name]:
                slot, key = stateless.place(network, where)
                if isinstance(slot.get(key), nn.Parameter):
                    slot[key].data.copy_(value)
                else:
                    slot[key] = value
        for name, number in numbers.items():
            slot, key = stateless.place(network, name)
            slot[key] = number
    return tuple(network.eval() for network in stack.networks)


def each(function: Callable, network: nn.Module, count: int) -> Callable:
    """Map a function over replicas, its first argument a dictionary of what can be trained.

    A lone replica needs no vmap.
    """
    if count == 1:
        return lambda *args: tree_map(
            lambda value: value.unsqueeze(0),
            function(*tree_map(lambda value: value.squeeze(0), args)),
        )
    if any(isinstance(module, nn.RNNBase | nn.RNNCellBase) for module in network.modules()):
        # vmap has no rule for fused recurrent layers; below grad they fall apart into plain ones.
        fused = function
        beside = grad(lambda *args: (torch.zeros((), device="cpu"), fused(*args)), has_aux=True)

        def function(*args: Any) -> Any:
            return beside(*args)[1]

    return vmap(function, randomness="different")


def _trains(value: Tensor) -> bool:
    return isinstance(value, nn.Parameter) and value.requires_grad


def _stackable(model: nn.Module) -> None:
    for name, module in model.named_modules():
        kinds = {type(part).__name__ for part in (module, *module._forward_pre_hooks.values())}
        if kinds & {"SpectralNorm", "_SpectralNorm"}:
            raise ValueError(f"{RULE}: {name} has spectral norm")
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(f"{RULE}: {name or 'it'} is scripted")
    for name, value in chain(model.named_parameters(), model.named_buffers()):
        if is_lazy(value):
            raise ValueError(f"{RULE}: {name} is lazy")
        if value.layout != torch.strided:
            raise ValueError(f"{RULE}: {name} is of layout {value.layout}")
    for name, value in stateless.tensors(model).items():
        if value.is_meta:
            raise ValueError(f"{RULE}: {name} is on the meta device, where nothing has a value")


def _settings(model: nn.Module) -> dict[str, Any]:
    return {
        name: f"{type(module).__name__}({module.extra_repr()})"
        for name, module in model.named_modules()
    } | {
        name: f"{tuple(value.shape)} {value.dtype}{' that trains' * _trains(value)}"
        for name, value in stateless.tensors(model).items()
    }


def _apart(model: nn.Module, replica: int, seen: Seen) -> nn.Module:
    """Return a network on the CPU that shares no module with one before.

    Memory that is trained and shared is refused.
    """
    own: dict[tuple, list[_Span]] = defaultdict(list)
    held = stateless.tensors(model)
    for name, value in held.items():
        storage = value.device, value.untyped_storage().data_ptr()
        if not (value.numel() and storage[1]):
            continue
        span = _Span(name, value)
        if any(span.meets(other) for other in seen.trained[storage]):
            raise ValueError(
                "build must return a new network for each replica, such as a copy.deepcopy: "
                f"{name} of replica {replica} is that of another"
            )
        for other in own[storage]:
            if span.meets(other):
                raise ValueError(f"{RULE}: {other.name} and {name} share memory")
        own[storage].append(span)
    for storage, spans in own.items():
        seen.trained[storage] += [span for span in spans if span.trains]
    holders = {id(module): module for module in model.modules() if stateless.holds(module)}
    if holders.keys() & seen.holders.keys() or any(v.device.type != "cpu" for v in held.values()):
        return stateless.copied(model, torch.device("cpu"))
    seen.holders |= holders
    return model


class _Span:
    """Where a tensor lies in memory, which is held so that it is not given out again."""

    def __init__(self, name: str, value: Tensor) -> None:
        self.memory = value.untyped_storage()
        self.name, self.trains, self.start = name, _trains(value), value.data_ptr()
        steps = sum((n - 1) * stride for n, stride in zip(value.shape, value.stride(), strict=True))
        self.stop = self.start + (steps + 1) * value.element_size()

    def meets(self, other: _Span) -> bool:
        """Return whether two tensors overlap, and one of them is trained."""
        overlap = self.start < other.stop and other.start < self.stop
        return overlap and (self.trains or other.trains)
