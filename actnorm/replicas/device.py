"""The device on which replicas are trained: which one, its generators, its arithmetic."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

Device = str | int | torch.device


def chosen(device: Device | None) -> torch.device:
    """Return the device that is asked for, by ``ACTNORM_DEVICE`` where None is, once it computes.

    Raises
    ------
    ValueError
        Naming what asked for a device that this machine does not have, or without double precision.
    """
    name = "device"
    if device is None:
        name, device = "ACTNORM_DEVICE", os.environ.get("ACTNORM_DEVICE", "cpu")
    try:
        here = torch.zeros((), dtype=torch.float64, device=torch.device(device))
        here.cpu()
    except (AssertionError, RuntimeError, TypeError) as error:
        rule = f"{name} must be a device of this machine, such as cpu or cuda"
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{rule}, not {device!r}: {reason}") from error
    return here.device


def chunk(device: torch.device) -> int:
    """Return how many replicas keep a device busy.

    A card is bound by launches for small networks; ``benchmarks/results/gpu.json`` has the rates.
    """
    return 64 if device.type == "cpu" else 1024


def drawing() -> AbstractContextManager:
    """Make tensors on the CPU, where streams draw, whatever torch's default device."""
    return nullcontext() if torch.empty(0).device.type == "cpu" else torch.device("cpu")


def forked(device: torch.device) -> AbstractContextManager:
    """Give torch's own generators, of the CPU and of a device, back as they were."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def seed(device: torch.device, number: int) -> None:
    """Seed torch's own generators of the CPU and of a device, and of no other."""
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(number)


def generator_state(device: torch.device) -> Tensor:
    """Return the state of torch's own generators of the CPU and of a device."""
    cards = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return torch.cat([torch.get_rng_state(), *cards])


@contextmanager
def without_tf32() -> Iterator[None]:
    """Let cuDNN compute float32 as float32: by default torch has it round to ten bits."""
    cudnn = torch.backends.cudnn
    kinds = [getattr(cudnn, name, None) for name in ("conv", "rnn")]  # from torch 2.9 on
    precisions = [(kind, kind.fp32_precision) for kind in kinds if hasattr(kind, "fp32_precision")]
    try:
        legacy = cudnn.allow_tf32
    except RuntimeError:  # it differs between kinds
        legacy = False
    try:
        if legacy:
            cudnn.allow_tf32 = False
        for kind, _ in precisions:
            kind.fp32_precision = "ieee"
        yield
    finally:
        if legacy:
            cudnn.allow_tf32 = True
        for kind, before in precisions:
            kind.fp32_precision = before
