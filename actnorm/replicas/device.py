"""The device on which replicas are trained: which one."""

from __future__ import annotations

import os

import torch

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
