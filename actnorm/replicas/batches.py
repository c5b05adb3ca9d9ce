"""The data of a stack: its parts, stacked and checked, and batches drawn from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from actnorm.data import Draw, Part, Split
from actnorm.replicas.device import drawing


def stacked(
    name: str, parts: Sequence[Part], device: torch.device, *, shared: bool = False
) -> Part:
    """Return tensors ``(replicas, ...)``; of one that all share, only if asked, not copied."""
    if not all(isinstance(part, tuple) for part in parts):
        raise TypeError(f"{name} must be a tuple of tensors, not {type(parts[0]).__name__}")

    def stack(tensors: tuple[Tensor, ...]) -> Tensor:
        first = tensors[0]
        if shared and all(tensor is first for tensor in tensors):
            return first.to(device).expand(len(tensors), *first.shape)
        return torch.stack(tensors).to(device)

    try:
        return tuple(stack(tensors) for tensors in zip(*parts, strict=True))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{name} must have the same shapes in all replicas: {error}") from None


def drawn(
    data: Split | Draw,
    generators: list[torch.Generator],
    batch_size: int,
    device: torch.device,
) -> dict[str, Part]:
    """Return each part of the replicas' splits, stacked and finite."""
    if isinstance(data, Split):
        splits = [data] * len(generators)
    else:
        with drawing():
            splits = [data(generator) for generator in generators]
    parts = {}
    for name in ("train", "validation", "test"):
        pieces = [getattr(split, name) for split in splits]
        parts[name] = stacked(f"data.{name}", pieces, device, shared=True)
        for index, tensor in enumerate(parts[name]):
            # A shared tensor is looked at once.
            seen = tensor[:1] if tensor.stride(0) == 0 else tensor
            if not seen.isfinite().all():
                raise ValueError(f"data.{name}[{index}] must be finite, not NaN or infinite")
    examples = parts["train"][0].shape[1]
    if batch_size > examples:
        raise ValueError(
            f"batch_size must be at most len(data.train) = {examples}, not {batch_size}"
        )
    return parts


def batches(train: Part, size: int, generators: list[torch.Generator]) -> Iterator[Part]:
    """Yield batches ``(replicas, size, ...)`` without end: epochs without replacement."""
    examples = train[0].shape[1]
    first = examples * torch.arange(len(generators), device=train[0].device)[:, None]
    # A shared tensor holds its rows once. Whole rows are several times faster to select by one
    # index than by two.
    pools = [(t[0], 0) if t.stride(0) == 0 else (t.flatten(0, 1), first) for t in train]
    while True:
        order = torch.stack(
            [torch.randperm(examples, generator=g, device="cpu") for g in generators]
        )
        for chosen in order.to(first.device).split(size, dim=1)[: examples // size]:
            yield tuple(
                pool.index_select(0, (chosen + start).flatten()).unflatten(0, chosen.shape)
                for pool, start in pools
            )
