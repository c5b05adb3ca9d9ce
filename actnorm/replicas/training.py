"""Train replicas, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from actnorm import streams
from actnorm.data import Draw, Part, Split
from actnorm.replicas import device as on
from actnorm.replicas.chunk import Protocol, together
from actnorm.replicas.device import Device
from actnorm.replicas.losses import Evaluate, Loss, classification, cross_entropy
from actnorm.replicas.optimizers import Optimizer, rates
from actnorm.replicas.run import Run, join
from actnorm.replicas.stack import Seen


def train(
    build: Callable[[], nn.Module],
    data: Split | Draw,
    *,
    steps: int,
    batch_size: int,
    optimizer: Optimizer | Mapping[str, Optimizer],
    loss: Loss | None = None,
    noise: Callable[[torch.Generator], Part] | None = None,
    turns: Sequence[tuple[str, Loss]] | None = None,
    replicas: int | Sequence[int] = 64,
    seed: int | None = None,
    schedule: Callable[[int], float] | None = None,
    clip: float | None = None,
    evaluate: Evaluate | None = None,
    every: int | None = None,
    record: Callable[[nn.Module], AbstractContextManager] | None = None,
    device: Device | None = None,
    compile: bool = False,
    chunk: int | None = None,
) -> Run:
    """Train one network per replica, all at once.

    Replica r of seed s has the same split, initialisation, batches and noise (bit by bit) and the
    same curves (to rounding) whatever it is trained beside. Before training, loss and gradient of
    the first step are compared with those of the first network, the last and some between, each
    run alone. Randomness inside a module, such as dropout, is the exception: see `Run.tied`.

    Parameters
    ----------
    build
        Returns a new `nn.Module`; called once per replica under its ``init`` stream. Networks may
        differ in the values of parameters, buffers and other tensors only. What a forward does to
        buffers, tensors and numbers among the attributes carries over to the next step, as in a
        loop; lists and other attributes are in the end what they were.
    data
        A `Split` for all replicas, or a draw of one from each replica's ``split`` stream.
    steps, batch_size
        Updates, and examples in each. Batches run through the train part without replacement,
        reshuffled every epoch from the ``batches`` stream; what does not fill a batch is left to
        the next epoch.
    optimizer
        `sgd`, `adam`, `adamw` or any `Optimizer`. Its rate may be one per replica. With turns, a
        mapping from part to optimizer works too.
    loss
        ``loss(model, batch, noise)``, a scalar; ``batch`` is a tuple of tensors, examples first.
        Gradients inside it (a penalty) are taken with `torch.func`. Default: `cross_entropy`.
    noise
        Draws a tuple of tensors of fixed shapes from each replica's ``noise`` stream, once per
        step and turn: latents, augmentations. Without it, losses get ``()``.
    turns
        For networks that play against each other: ``build`` returns an `nn.ModuleDict`, and each
        turn ``(part, loss)`` takes a batch and noise of its own and steps that part only.
    replicas
        A count, which ``ACTNORM_REPLICAS`` may change, or indices.
    seed
        Defaults to `streams.seed`.
    schedule
        Factor on the rate at update 0, 1, ….
    clip
        Largest Euclidean norm of one replica's gradient, over all parameters that are stepped.
    evaluate
        ``evaluate(model, *part)``, a mapping of scalar tensors, measured in eval mode: on the
        validation part before the first update, every ``every`` updates and after the last; on
        the test part after the last. It changes neither networks nor data. Default:
        `classification` with the default loss, else none.
    record
        Opens a context, such as `probe`, around losses and gradients of update 0, ``every``,
        2 ``every``, …; it is called with the network through which all replicas of the chunk run.
        See `Run.records`.
    device
        Defaults to ``ACTNORM_DEVICE``, or the CPU. Streams are drawn on the CPU everywhere, and
        cuDNN computes float32 without TF32, so that a card's numbers are the CPU's to rounding.
    compile
        Compile loss and gradient of the stack as one graph: for long runs of dense layers.
    chunk
        Most replicas that are trained together; bounds the memory. 64 on a CPU, which is busy by
        then, and 1024 elsewhere by default.

    Raises
    ------
    ValueError, TypeError
        Naming the argument. Not every module can be stacked: spectral norm, lazy modules, networks
        that differ in shapes or settings between replicas or share what is trained, what torch
        cannot run under `torch.vmap`, and what is among others not what it is alone are refused.
    """
    steps, device = streams.whole("steps", steps), on.chosen(device)
    chunk = on.chunk(device) if chunk is None else streams.whole("chunk", chunk)
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be positive, not {clip}")
    if evaluate is None and loss is None and turns is None:
        evaluate = classification
    indices = _indices(replicas)
    turns, optimizers = _turns(turns, loss, optimizer)
    protocol = Protocol(
        build=build,
        data=data,
        steps=steps,
        batch_size=streams.whole("batch_size", batch_size),
        optimizers=optimizers,
        rates={part: rates(chosen.lr, len(indices)) for part, chosen in optimizers.items()},
        turns=turns,
        noise=noise,
        replicas=indices,
        seed=streams.seed() if seed is None else streams.whole("seed", seed, 0),
        schedule=schedule,
        clip=clip,
        evaluate=evaluate,
        every=steps if every is None else streams.whole("every", every),
        record=record,
        device=device,
        compile=compile,
    )
    return _run(protocol, chunk)


def _run(protocol: Protocol, chunk: int) -> Run:
    count = len(protocol.replicas)
    chunks, seen = np.array_split(np.arange(count), -(-count // chunk)), Seen()
    with (
        on.forked(protocol.device),
        on.without_tf32(),
        torch.inference_mode(False),
        torch.enable_grad(),
        tqdm(total=protocol.steps * len(chunks), disable=None, delay=2) as bar,
    ):
        streams.SPENT["replica-steps"] += protocol.steps * len(protocol.turns) * count
        return join([together(protocol, columns, seen, bar.update) for columns in chunks])


def _indices(replicas: int | Sequence[int]) -> tuple[int, ...]:
    """Return the indices of a count, which the reader may change, or of a sequence."""
    if isinstance(replicas, Iterable) and getattr(replicas, "ndim", 1):  # a 0-d array is a count
        indices = tuple(streams.whole("replicas", index, 0) for index in replicas)
    else:
        indices = tuple(streams.replicas(streams.whole("replicas", replicas)))
    if not indices:
        raise ValueError("replicas must hold at least one index")
    return indices


def _turns(
    turns: Sequence[tuple[str, Loss]] | None,
    loss: Loss | None,
    optimizer: Optimizer | Mapping[str, Optimizer],
) -> tuple[list[tuple[str, Loss]], dict[str, Optimizer]]:
    """Return the turns of a step and the optimizer of each part; one part alone is named ""."""
    if isinstance(optimizer, Mapping) and set(optimizer) != {part for part, _ in turns or ()}:
        raise ValueError(f"optimizer must hold one for each part of turns, not {list(optimizer)}")
    if turns is None:
        turns = [("", loss or cross_entropy)]
    elif loss is not None:
        raise ValueError("loss must be left out where turns hold the losses")
    elif not turns:
        raise ValueError("turns must hold at least one")
    each = {
        part: optimizer[part] if isinstance(optimizer, Mapping) else optimizer for part, _ in turns
    }
    return list(turns), each
