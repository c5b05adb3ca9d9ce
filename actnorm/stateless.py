"""A module as a function of every tensor that it holds, which leaves none behind."""

from __future__ import annotations

import inspect
import warnings
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

Slot = dict[str, Any]
_ABSENT = object()
_USUAL = vars(nn.Module()).keys()  # hooks and the like, most often empty
_CONTAINERS = {dict, OrderedDict, defaultdict, list, set, deque}


def _slots(model: nn.Module) -> list[tuple[str, Slot]]:
    """Return the dictionaries in which a module and those inside it hold tensors, by path."""
    return [
        (path and f"{path}.", slot)
        for path, module in model.named_modules()
        for slot in (module._parameters, module._buffers, vars(module))
    ]


def _held(model: nn.Module) -> Iterator[tuple[str, Slot, str, Tensor]]:
    """Yield path, dictionary, key and value for each place at which a module holds a tensor."""
    for prefix, slot in _slots(model):
        for key, value in slot.items():
            if isinstance(value, Tensor):
                yield prefix + key, slot, key, value


def names(model: nn.Module) -> dict[str, str]:
    """Return the name of the tensor at each place: that of the first place where it stands."""
    first: dict[int, str] = {}
    return {where: first.setdefault(id(value), where) for where, _, _, value in _held(model)}


def place(model: nn.Module, name: str) -> tuple[Slot, str]:
    """Return the dictionary and the key under which a module holds the tensor of a name."""
    path, _, key = name.rpartition(".")
    module = model.get_submodule(path)
    for slot in (module._parameters, module._buffers):
        if key in slot:
            return slot, key
    return vars(module), key


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return every tensor that a module holds, by name: parameters, buffers, plain attributes."""
    first: dict[int, tuple[str, Tensor]] = {}
    for where, _, _, value in _held(model):
        first.setdefault(id(value), (where, value))
    return dict(first.values())


def copied(model: nn.Module, device: torch.device) -> nn.Module:
    """Return a deep copy of a module whose tensors lie on a device."""
    memo: dict[int, Tensor] = {}
    for value in tensors(model).values():
        copy = value.detach().to(device, copy=True)
        trained = isinstance(value, nn.Parameter)
        memo[id(value)] = nn.Parameter(copy, value.requires_grad) if trained else copy
    return deepcopy(model, memo)


def holds(module: nn.Module) -> bool:
    """Return whether a module holds a tensor itself, and not in a module inside it."""
    slots = module._parameters, module._buffers, vars(module)
    return any(isinstance(value, Tensor) for slot in slots for value in slot.values())


def numbers(model: nn.Module) -> dict[str, float]:
    """Return the numbers among the attributes of a module, which a forward may count with."""
    return {
        prefix + key: value
        for prefix, slot in _slots(model)
        for key, value in slot.items()
        if isinstance(value, int | float) and key != "training"
    }


def caller(
    model: nn.Module, *, attributes: bool = True
) -> Callable[..., tuple[Any, dict[str, Tensor]]]:
    """Return ``call(tensors, function, *args)``: ``function(model, *args)`` on tensors by name.

    A call returns its result and, by name and without their graph, the tensors that were assigned
    to buffers and (unless told not to look) attributes meanwhile. After it the module holds its
    own tensors.
    """
    named = names(model)
    homes: dict[str, list[tuple[Slot, str, Tensor]]] = {}
    for where, slot, key, own in _held(model):
        homes.setdefault(named[where], []).append((slot, key, own))
    looked = [
        (path and f"{path}.", slot)
        for path, module in model.named_modules()
        for slot in ((module._buffers, vars(module)) if attributes else (module._buffers,))
        if slot or attributes
    ]

    def call(tensors: dict[str, Tensor], function: Callable, *args: Any) -> Any:
        for name in [name for name in tensors if name not in homes]:  # old torch compiles this
            slot, key = place(model, name)
            homes[name] = [(slot, key, slot.get(key, _ABSENT))]
        before = [dict(slot) for _, slot in looked]
        for name, value in tensors.items():
            for slot, key, _ in homes[name]:
                slot[key] = value
        left = {}
        try:
            result = function(model, *args)
        finally:
            for (prefix, slot), own in zip(looked, before, strict=True):
                for key, value in list(slot.items()):
                    if isinstance(value, Tensor) and value is not own.get(key):
                        left[named.get(prefix + key, prefix + key)] = value
                        _put(slot, key, own.get(key, _ABSENT))
            for name in tensors:
                for slot, key, own in homes[name]:
                    _put(slot, key, own)
        return result, {
            name: value.detach()
            for name, value in left.items()
            if value is not tensors.get(name) and not isinstance(value, nn.Parameter)
        }

    return call


def _put(slot: Slot, key: str, value: Any) -> None:
    if value is _ABSENT:
        slot.pop(key, None)
    else:
        slot[key] = value


def written(copy: Tensor, original: Tensor) -> bool:
    """Return whether a new copy of a tensor has been written to."""
    return copy._version > 0 or not torch.equal(copy, original)


@contextmanager
def untouched(*models: nn.Module) -> Iterator[None]:
    """Give modules their attributes back, and the lists and dictionaries there their contents."""
    found: list[Any] = [vars(module) for model in models for module in model.modules()]
    inside = [
        value
        for attributes in found
        for key, value in attributes.items()
        if type(value) in _CONTAINERS and (value or key not in _USUAL)
    ]
    known = {id(container) for container in found}
    for container in inside:  # which grows
        if id(container) not in known:
            known.add(id(container))
            found.append(container)
            parts = container.values() if isinstance(container, dict) else container
            inside += [part for part in parts if type(part) in _CONTAINERS]
    kept = [container.copy() for container in found]
    try:
        yield
    finally:
        for container, own in zip(found, kept, strict=True):
            if container or own:
                container.clear()
                (container.extend if isinstance(container, list | deque) else container.update)(own)


@contextmanager
def vmappable(model: nn.Module) -> Iterator[None]:
    """Let a module call what torch has `vmap` rules for, where there is a choice."""
    fast, cudnn = torch.backends.mha.get_fastpath_enabled(), torch.backends.cudnn.enabled
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        # An operation without a rule is looped over: slow, and right.
        warnings.filterwarnings("ignore", message="There is a performance drop")
        # Fused transformer layers make nested tensors, which have none.
        torch.backends.mha.set_fastpath_enabled(False)
        # Nor are there any for whole recurrent layers of cuDNN, only for torch's own cells.
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            torch.backends.cudnn.enabled = False
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            torch.backends.cudnn.enabled = cudnn


class Watch(TorchFunctionMode):
    """Notes the coarsest precision of what is computed, and embeddings that `Embeddings` mends."""

    def __init__(self) -> None:
        super().__init__()
        self.eps = 0.0
        self.embeds = False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is F.embedding:
            options = inspect.signature(func).bind(*args, **kwargs).arguments
            self.embeds |= options.get("padding_idx") is not None or options.get("sparse", False)
        out = func(*args, **kwargs)
        if isinstance(out, Tensor) and (out.is_floating_point() or out.is_complex()):
            self.eps = max(self.eps, torch.finfo(out.dtype).eps)
        return out


class Embeddings(TorchFunctionMode):
    """Gives embeddings dense gradients, and padding rows none, under `torch.func` too.

    torch's rule for `vmap` protects the padding row of the first of a stack of tables, and knows
    no sparse gradients.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.embedding:
            return _embedding(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    out = F.embedding(input, weight, None, max_norm, norm_type, scale_grad_by_freq)
    if padding_idx is None:
        return out
    padding = (input == padding_idx % len(weight)).unsqueeze(-1)
    return torch.where(padding, out.detach(), out)


def scalar(value: Any) -> Tensor:
    """Return what a loss returned, once it is one number that a gradient can be taken of."""
    if not isinstance(value, Tensor):
        raise TypeError(f"loss must return a tensor, not {value!r}")
    if value.ndim:
        raise ValueError(f"loss must return a scalar, not shape {tuple(value.shape)}")
    if not value.is_floating_point():
        raise ValueError(f"loss must return a real scalar in floating point, not {value.dtype}")
    return value


def refusal(rule: str, model: nn.Module, error: Exception) -> Exception:
    """Return what to raise where a model raises an error under `vmap`, and alone it does not.

    Its message is the rule, and the innermost of the model's modules that was running.
    """
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return error
    paths = {id(module): path for path, module in model.named_modules()}
    found, trace = model, error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        first = frame.f_locals.get(next(iter(frame.f_code.co_varnames), ""))
        found = first if id(first) in paths else found
        trace = trace.tb_next
    where = f"{paths[id(found)] or 'it'} ({type(found).__name__})"
    return ValueError(
        f"{rule}: {where} cannot run under torch.vmap: {str(error).partition(chr(10))[0]}"
    )
