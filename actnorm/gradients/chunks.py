"""The engine: samples go through a model as batches of one, a chunk at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from actnorm import stateless

Loss = Callable[[Any, Tensor], Tensor]
RULE = "model and loss must be ones for torch.vmap, and targets ones for the loss"
Chunk = tuple[dict[str, Tensor], dict[str, tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Survey:
    """What one sample shows of a model and its loss.

    Attributes
    ----------
    call
        `stateless.caller` of the model.
    own, trained
        Every tensor that the model holds, by name; the parameters among them that require
        gradients, detached.
    linears
        Weight to bias, by name, of linear layers used once, on a vector, and nowhere else.
    moved
        Buffers and attributes that a forward writes to.
    writes
        Whether inputs or targets are written to.
    embeds
        Whether embeddings run under `stateless.Embeddings`.
    """

    call: Callable
    own: dict[str, Tensor]
    trained: dict[str, Tensor]
    linears: dict[str, str | None]
    moved: frozenset[str]
    writes: bool
    embeds: bool


def survey(model: nn.Module, input: Tensor, target: Tensor, loss: Loss) -> Survey:
    """Run one sample ``(1, ...)`` on copies of all tensors, and leave everything as it was."""
    call, own = stateless.caller(model), stateless.tensors(model)
    detached = {name: value.detach() for name, value in own.items()}
    trains = {n for n, v in own.items() if isinstance(v, nn.Parameter) and v.requires_grad}
    copies = {name: value.clone() for name, value in detached.items()}
    x, y = input.clone(), target.clone()
    devices = {value.device for value in (x, y, *copies.values())}
    with (
        _on_one(devices),
        torch.random.fork_rng([device for device in devices if device.type == "cuda"]),
        stateless.untouched(model),
        _Uses() as uses,
    ):
        value, moved = call(copies, _loss_of(loss), x, y)
    stateless.scalar(value)
    for name in trains:
        if uses.count[id(own[name])]:
            raise ValueError(
                f"loss and model must reach {name} through the model: one of them holds it itself"
            )
    rest = own.keys() - trains
    for name in rest:
        if own[name].grad_fn is not None and uses.count[id(copies[name])]:
            raise ValueError(
                f"model must compute {name} in its forward: made of parameters before, it would "
                "count as a constant"
            )
    changed = {name for name in rest if stateless.written(copies[name], own[name])}
    return Survey(
        call=call,
        own=own,
        trained={name: value for name, value in detached.items() if name in trains},
        linears=uses.plain_linears({id(copies[name]): name for name in trains}),
        moved=frozenset(changed | moved.keys() & rest),
        writes=stateless.written(x, input) or stateless.written(y, target),
        embeds=uses.embeds,
    )


@contextmanager
def _on_one(devices: set[torch.device]) -> Iterator[None]:
    """Say so where what fails lies on several devices; a model may well bring it together."""
    try:
        yield
    except RuntimeError as error:
        if len(devices) == 1:
            raise
        found = ", ".join(sorted(map(str, devices)))
        raise ValueError(
            f"model, inputs and targets must lie on one device, not {found}: {error}"
        ) from error


def chunks(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Loss,
    chunk: int | None,
    seen: Survey,
    taps: dict[str, str | None],
) -> Iterator[Chunk]:
    """Yield, chunk after chunk, per-sample gradients, and (δ, a) of the tapped linear layers."""
    own, tapped = seen.own, taps.keys() | set(taps.values())
    formed = {name: value for name, value in seen.trained.items() if name not in tapped}
    # Below, vmap writes to what a recurrent layer makes of its weights: they must be batched.
    recurrent = _recurrent(model)
    state = {n: own[n].detach() for n in own if n in seen.moved or n in recurrent - formed.keys()}
    shifts = {name: own[name].detach().new_zeros(len(own[name])) for name in taps}
    names = {id(own[name]): name for name in taps}
    held = sum(v.numel() for v in (*formed.values(), *(state[n] for n in seen.moved)))
    size = chunk or max(1, min(1024, 2**24 // max(1, held)))

    def one(formed: dict, shifts: dict, state: dict, x: Tensor, y: Tensor) -> tuple:
        with ExitStack() as modes:
            tap = modes.enter_context(_Tap(names, shifts))
            if seen.embeds:
                modes.enter_context(stateless.Embeddings())
            value, _ = seen.call(formed | state, _loss_of(loss), x[None], y[None])
        return value, tap.inputs

    axes = {name: 0 if name in recurrent else None for name in formed}, None, 0, 0, 0
    gradient = vmap(grad(one, argnums=(0, 1), has_aux=True), in_dims=axes, randomness="different")
    for x, y in zip(inputs.detach().split(size), targets.detach().split(size), strict=True):
        if seen.writes:
            x, y = x.clone(), y.clone()
        many = {n: v.expand(len(x), *v.shape) if n in recurrent else v for n, v in formed.items()}
        copies = {n: v.expand(len(x), *v.shape) for n, v in state.items()}
        copies |= {name: copies[name].clone() for name in seen.moved}
        try:
            with torch.no_grad(), stateless.vmappable(model), stateless.untouched(model):
                (grads, deltas), a = gradient(many, shifts, copies, x, y)
        except Exception as error:
            raise stateless.refusal(RULE, model, error) from error
        grads |= {bias: deltas[weight] for weight, bias in taps.items() if bias is not None}
        yield grads, {name: (deltas[name], a[name].flatten(1)) for name in taps}


def _recurrent(model: nn.Module) -> set[str]:
    """Return the names of the tensors of recurrent layers and cells."""
    kinds = nn.RNNBase, nn.RNNCellBase
    layers = [(path, m) for path, m in model.named_modules() if isinstance(m, kinds)]
    named = stateless.names(model) if layers else {}
    return {
        named[f"{path}.{key}" if path else key]
        for path, layer in layers
        for key, value in layer._parameters.items()
        if value is not None
    }


def _loss_of(loss: Loss) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    return lambda model, inputs, targets: loss(model(inputs), targets)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple:
    return input, weight, bias


class _Tap(TorchFunctionMode):
    """Shifts the outputs of named linear layers, so that the shift's gradient is δ; keeps a."""

    def __init__(self, names: dict[int, str], shifts: dict[str, Tensor]) -> None:
        super().__init__()
        self.names, self.shifts, self.inputs = names, shifts, {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is F.linear:
            a, weight, _ = _linear(*args, **(kwargs or {}))
            if (name := self.names.get(id(weight))) is not None:
                self.inputs[name] = a
                return out + self.shifts[name]
        return out


class _Uses(stateless.Watch):
    """Counts the uses of tensors, by id, and keeps the linear layers applied to one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[int] = Counter()
        self.linears: list[tuple[int, int | None]] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count.update(map(id, tree_leaves((args, kwargs))))
        if func is F.linear:
            a, weight, bias = _linear(*args, **(kwargs or {}))
            if a.ndim == 2 and len(a) == 1:
                self.linears.append((id(weight), None if bias is None else id(bias)))
        return super().__torch_function__(func, types, args, kwargs)

    def plain_linears(self, names: dict[int | None, str | None]) -> dict[str, str | None]:
        """Map weight to bias for linear layers used once, on vectors, and nowhere else."""
        names = {**names, None: None}
        return {
            names[weight]: names[bias]
            for weight, bias in self.linears
            if weight in names and bias in names and self.count[weight] == 1 >= self.count[bias]
        }
