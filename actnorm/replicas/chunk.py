"""One chunk of replicas, from its streams to its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import stack_module_state

from actnorm import streams
from actnorm.data import Draw, Part, Split
from actnorm.replicas.batches import batches, drawn, stacked
from actnorm.replicas.losses import Evaluate, Loss
from actnorm.replicas.optimizers import Optimizer, clipped, stepper
from actnorm.replicas.run import Record, Run
from actnorm.replicas.stack import networks, trainable
from actnorm.replicas.step import gradient_of, metrics_of


@dataclass(frozen=True)
class Protocol:
    """What all chunks of one run share."""

    build: Callable[[], nn.Module]
    data: Split | Draw
    steps: int
    batch_size: int
    optimizers: Mapping[str, Optimizer]
    rates: Mapping[str, np.ndarray]
    turns: Sequence[tuple[str, Loss]]
    noise: Callable[[torch.Generator], Part] | None
    replicas: Sequence[int]
    seed: int
    schedule: Callable[[int], float] | None
    clip: float | None
    evaluate: Evaluate | None
    every: int
    record: Callable[[nn.Module], AbstractContextManager] | None
    device: torch.device
    compile: bool


def together(protocol: Protocol, columns: np.ndarray, tick: Callable[[], object]) -> Run:
    """Train the replicas of one chunk."""
    indices = [int(protocol.replicas[column]) for column in columns]
    draws = {
        name: [streams.stream(name, index, seed=protocol.seed) for index in indices]
        for name in streams.STREAMS
    }
    parts = drawn(protocol.data, draws["split"], protocol.batch_size, protocol.device)
    built = networks(protocol.build, draws["init"], indices)
    params, buffers = (
        {name: value.detach().to(protocol.device).contiguous() for name, value in stack.items()}
        for stack in stack_module_state(built)
    )
    state = params | buffers
    plays, updates = [], {}
    for part, loss in protocol.turns:
        mine = trainable(built[0], part, params)
        plays.append((part, gradient_of(built[0], loss, mine, state, protocol.compile)))
        optimizer = protocol.optimizers[part]
        updates[part] = stepper(mine, optimizer.make, protocol.rates[part][columns])
    course = _run(
        protocol,
        indices,
        draws,
        parts,
        built[0].model,
        plays,
        updates,
        metrics_of(built[0], protocol.evaluate, params, buffers),
        tick,
    )
    sound = [v.isfinite().reshape(len(v), -1).all(1).cpu().numpy() for v in params.values()]
    for row, network in enumerate(built):
        for name, value in chain(network.named_parameters(), network.named_buffers()):
            value.data.copy_(state[name][row])
    return _result(
        protocol,
        indices,
        course,
        np.all(sound, axis=0),
        [network.model.eval() for network in built],
    )


class _Course(NamedTuple):
    """What was measured along the training of one chunk."""

    losses: np.ndarray
    evaluated: np.ndarray
    curve: list[dict[str, np.ndarray]]
    test: dict[str, np.ndarray]
    records: list[Record]
    tied: bool


def _run(
    protocol: Protocol,
    indices: list[int],
    draws: dict[str, list[torch.Generator]],
    parts: dict[str, Part],
    model: nn.Module,
    plays: list[tuple[str, Callable]],
    updates: dict[str, Callable],
    measure: Callable[[Part], dict[str, np.ndarray]],
    tick: Callable[[], object],
) -> _Course:
    steps, device, noise = protocol.steps, protocol.device, protocol.noise
    feed = batches(parts["train"], protocol.batch_size, draws["batches"])
    # One off, so that dropout does not repeat the numbers of the noise stream.
    torch.manual_seed(draws["noise"][0].initial_seed() + 1)
    untouched = _generator_state(device)
    losses, evaluated, curve, records = [], [], [], []
    for step in range(steps):
        context = nullcontext()
        if step % protocol.every == 0:
            evaluated.append(step)
            curve.append(measure(parts["validation"]))
            if protocol.record is not None:
                context = protocol.record(model)
                records.append(Record(step, tuple(indices), context))
        factor = 1.0 if protocol.schedule is None else protocol.schedule(step)
        for part, gradient in plays:
            noises = [() if noise is None else noise(generator) for generator in draws["noise"]]
            with context:
                gradients, values = gradient(next(feed), stacked("noise", noises, device))
            losses.append(values)
            if protocol.clip is not None:
                gradients = clipped(gradients, protocol.clip)
            updates[part](gradients, factor)
        tick()
    curve.append(measure(parts["validation"]))
    test = measure(parts["test"])
    tied = not torch.equal(untouched, _generator_state(device))
    losses = torch.stack(losses).reshape(steps, len(plays), -1).cpu().numpy()
    return _Course(losses, np.array([*evaluated, steps]), curve, test, records, tied)


def _result(
    protocol: Protocol,
    indices: list[int],
    course: _Course,
    sound: np.ndarray,
    modules: list[nn.Module],
) -> Run:
    """Return the run of a chunk; a replica's metrics are NaN from its divergence on."""
    losses, evaluated = course.losses, course.evaluated
    bad = ~np.isfinite(losses).all(1)
    finite_steps = np.where(bad.any(0), bad.argmax(0), protocol.steps)
    diverged = bad.any(0) | ~sound
    gone = diverged & (evaluated[:, None] >= np.maximum(finite_steps, 1))
    return Run(
        seed=protocol.seed,
        replicas=tuple(indices),
        losses=losses[:, 0] if protocol.turns[0][0] == "" else losses,
        finite_steps=finite_steps,
        diverged=diverged,
        evaluated=evaluated,
        validation={
            name: np.where(gone, np.nan, [values[name] for values in course.curve])
            for name in course.test
        },
        test={name: np.where(diverged, np.nan, values) for name, values in course.test.items()},
        records=tuple(course.records),
        tied=course.tied,
        _modules=tuple(modules),
    )


def _generator_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
