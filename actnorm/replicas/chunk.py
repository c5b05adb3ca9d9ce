"""One chunk of replicas, from its streams to its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from actnorm import environment, stateless, streams
from actnorm.data import Draw, Part, Split
from actnorm.replicas import device as on
from actnorm.replicas.agreement import Play, agreed
from actnorm.replicas.batches import batches, drawn, stacked
from actnorm.replicas.losses import Evaluate, Loss
from actnorm.replicas.optimizers import Optimizer, clipped, stepper
from actnorm.replicas.run import Record, Run
from actnorm.replicas.stack import Seen, Stack, Tensors, build_stack, nudge, unstack
from actnorm.replicas.step import Gradient, leaves, metrics_of, numeric


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
    replicas: tuple[int, ...]
    seed: int
    schedule: Callable[[int], float] | None
    clip: float | None
    evaluate: Evaluate | None
    every: int
    record: Callable[[nn.Module], AbstractContextManager] | None
    device: torch.device
    compile: bool


def together(
    protocol: Protocol, columns: np.ndarray, seen: Seen, tick: Callable[[], object]
) -> Run:
    """Train the replicas of one chunk."""
    indices = [protocol.replicas[column] for column in columns]
    draws = {
        name: [streams.stream(name, index, seed=protocol.seed) for index in indices]
        for name in streams.STREAMS
    }
    parts = drawn(protocol.data, draws["split"], protocol.batch_size, protocol.device)
    stack = build_stack(protocol.build, draws["init"], indices, protocol.device, seen)
    if environment.nudged():
        nudge(stack)
    network = stack.networks[0]
    with stateless.untouched(network), stateless.vmappable(network):
        before = stateless.numbers(network)
        course = _trained(protocol, columns, stack, parts, draws, tick)
        numbers = stateless.numbers(network)
    params = [value for name, value in stack.state.items() if name in stack.parameters]
    sound = [v.isfinite().reshape(len(v), -1).all(1).cpu().numpy() for v in params]
    counted = {name: number for name, number in numbers.items() if before.get(name) != number}
    return _result(protocol, indices, course, np.all(sound, axis=0), unstack(stack, counted))


class _Course(NamedTuple):
    """What was measured along the training of one chunk."""

    losses: np.ndarray
    evaluated: np.ndarray
    curve: list[dict[str, np.ndarray]]
    test: dict[str, np.ndarray]
    records: list[Record]
    tied: bool


class _Move(NamedTuple):
    """What a turn trains, how its gradient is taken, and how it is stepped."""

    mine: Tensors
    gradient: Gradient
    update: Callable[[Sequence[Tensor], float], None]


def _feed(
    protocol: Protocol, train: Part, draws: Mapping[str, list[torch.Generator]]
) -> Iterator[tuple[Part, Part]]:
    """Yield batch and noise of one turn after the other."""
    drawing = on.drawing()
    for batch in batches(train, protocol.batch_size, draws["batches"]):
        with drawing:
            noise = [protocol.noise(g) if protocol.noise else () for g in draws["noise"]]
        yield batch, stacked("noise", noise, protocol.device)


def _moves(
    protocol: Protocol, columns: np.ndarray, stack: Stack, given: list[tuple[Part, Part]]
) -> list[_Move]:
    """Return the turns of a step, each compared with networks alone on what it is given."""
    updates, moves = {}, []
    for (part, loss), (batch, noise) in zip(protocol.turns, given, strict=True):
        trained = stack.trainable(part)
        gradient = agreed(Play(stack, loss, trained, batch, noise), compile=protocol.compile)
        if part not in updates:
            params = [stack.state[name] for name in trained]
            updates[part] = stepper(
                params, protocol.optimizers[part].make, protocol.rates[part][columns]
            )
        moves.append(_Move(leaves(stack.state, trained)[0], gradient, updates[part]))
    return moves


def _trained(
    protocol: Protocol,
    columns: np.ndarray,
    stack: Stack,
    parts: Mapping[str, Part],
    draws: Mapping[str, list[torch.Generator]],
    tick: Callable[[], object],
) -> _Course:
    """Train the stack in place."""
    # One off, so that dropout does not repeat the numbers of the noise stream.
    on.seed(protocol.device, draws["noise"][0].initial_seed() + 1)
    before = on.generator_state(protocol.device)
    feed = _feed(protocol, parts["train"], draws)
    given = [next(feed) for _ in protocol.turns]
    with on.forked(protocol.device):
        moves = _moves(protocol, columns, stack, given)
        measure = metrics_of(stack, protocol.evaluate, parts["validation"])
    feed = chain(given, feed)
    losses, evaluated, curve, records = [], [], [], []
    for step in range(protocol.steps):
        context = nullcontext()
        if step % protocol.every == 0:
            evaluated.append(step)
            curve.append(measure(parts["validation"]))
            if protocol.record is not None:
                context = protocol.record(stack.networks[0])
                records.append(Record(step, stack.replicas, context))
        factor = 1.0 if protocol.schedule is None else protocol.schedule(step)
        for mine, gradient, update in moves:
            batch, noise = next(feed)
            rest = {name: value for name, value in stack.state.items() if name not in mine}
            with context:
                gradients, values, moved = gradient(mine, rest, batch, noise)
            # What no replica changed is one tensor for all, which none could change by itself.
            stack.state.update({name: value.contiguous() for name, value in moved.items()})
            losses.append(numeric(values))
            update(
                gradients if protocol.clip is None else clipped(gradients, protocol.clip), factor
            )
        tick()
    evaluated.append(protocol.steps)
    curve.append(measure(parts["validation"]))
    test = measure(parts["test"])
    tied = not torch.equal(before, on.generator_state(protocol.device))
    shape = protocol.steps, len(moves), len(stack.replicas)
    losses = torch.stack(losses).reshape(shape).cpu().numpy()
    return _Course(losses, np.array(evaluated), curve, test, records, tied)


def _result(
    protocol: Protocol,
    indices: list[int],
    course: _Course,
    sound: np.ndarray,
    modules: tuple[nn.Module, ...],
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
        _modules=modules,
    )
