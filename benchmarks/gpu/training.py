"""Training on a card equals training on the CPU: streams bit by bit, curves to rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import actnorm as an
from actnorm.data import Split
from actnorm.replicas import Run
from benchmarks.gpu.problems import CONV, CPU, MLP, PROBLEMS, SEED, Problem, clouds, dropout_net
from benchmarks.gpu.report import Check, apart

EXACT, SINGLE = 1e-9, 1e-4


def course(run: Run, *, whole: bool = True) -> dict[str, Any]:
    """Return what a run measured; its curves alone, or its divergences and networks too."""
    curves = {"losses": run.losses, "loss": run.validation.get("loss", 0.0)}
    if not whole:
        return curves
    return curves | {
        "finite_steps": run.finite_steps,
        "diverged": run.diverged,
        "validation": dict(run.validation),
        "test": dict(run.test),
        "networks": [dict(run.module(i).state_dict()) for i in range(len(run.replicas))],
    }


def against_the_cpu(
    problem: Problem, device: torch.device, dtype: torch.dtype, **changes: Any
) -> float:
    runs = [problem.train(place, dtype, **changes) for place in (device, CPU)]
    return apart(*(course(run, whole=dtype == torch.float64) for run in runs))


# Streams ------------------------------------------------------------------------------------------


class Witness(nn.Module):
    """Its parameters hardly move, so that they come back as they were drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, dtype=torch.float64))


def seen(model: nn.Module, batch: tuple, noise: tuple) -> Tensor:
    """Return which four examples are in a batch, as one whole number."""
    place = torch.tensor([1.0, 64.0, 64.0**2, 64.0**3], device=batch[0].device)
    return (batch[0] * place).sum() + 0 * model.weight.sum()


def heard(model: nn.Module, batch: tuple, noise: tuple) -> Tensor:
    return noise[0] + 0 * model.weight.sum()


def numbered(generator: torch.Generator) -> Split:
    order = torch.randperm(30, generator=generator).double()
    return Split((order[:20],), (order[20:25],), (order[25:],))


def single(generator: torch.Generator) -> tuple[Tensor]:
    return (torch.randn((), generator=generator, dtype=torch.float64),)


def drawn(device: torch.device, loss: Callable, **changes: Any) -> Run:
    settings: dict[str, Any] = {"steps": 11, "batch_size": 4, "replicas": 6, "seed": SEED}
    settings |= {"optimizer": an.sgd(1e-300), "noise": single, "loss": loss, "device": device}
    torch.rand(1)  # what the caller's generator has drawn must not matter
    return an.train(Witness, numbered, **settings | changes)


def weights(run: Run) -> Tensor:
    return torch.stack([run.module(i).weight for i in range(len(run.replicas))])


def different(ours: Any, theirs: Any) -> float:
    """Return how many numbers are not the same bit by bit."""
    return float(np.sum(np.asarray(ours) != np.asarray(theirs)))


def initialization(device: torch.device) -> float:
    return different(*(weights(drawn(place, seen)).detach() for place in (device, CPU)))


def stream(loss: Callable, device: torch.device) -> float:
    return different(*(drawn(place, loss).losses for place in (device, CPU)))


def company(device: torch.device) -> float:
    """Return how many draws a replica owes to what is trained beside it."""
    together, beside = drawn(device, seen), [2, 5]
    runs = [drawn(device, seen, replicas=beside), drawn(device, seen, chunk=4)]
    columns = [beside, range(6)]
    return sum(
        different(run.losses, together.losses[:, list(chosen)])
        for run, chosen in zip(runs, columns, strict=True)
    )


# Training -----------------------------------------------------------------------------------------


def alone_together_in_chunks(problem: Problem, device: torch.device) -> float:
    together = problem.train(device, torch.float64, replicas=6)
    chunks = problem.train(device, torch.float64, replicas=6, chunk=4)
    alone = problem.train(device, torch.float64, replicas=[4])
    return max(
        apart(course(chunks), course(together)),
        apart(alone.losses, together.losses[:, 4:5]),
        apart(dict(alone.module(0).state_dict()), dict(together.module(4).state_dict())),
    )


def divergence(device: torch.device) -> float:
    """Two of four replicas overflow: the same ones, at the same updates."""

    def square(model: nn.Module, batch: tuple, noise: tuple) -> Tensor:
        return (model(batch[0]) - 1).square().mean()

    runs = [
        MLP.train(
            place, torch.float64, optimizer=an.sgd([0.01, 1e3, 1e6, 0.02]), loss=square, steps=60
        )
        for place in (device, CPU)
    ]
    if runs[1].diverged.sum() != 2:
        raise AssertionError("the CPU's own run was meant to diverge in two replicas")
    sound = [run.losses[:, ~run.diverged] for run in runs]
    ends = [(run.finite_steps, run.diverged) for run in runs]
    return max(apart(*sound), apart(*ends))


def dropout(device: torch.device) -> float:
    """Dropout draws on the card: the run says so, repeats, and differs between replicas."""
    first, again = (
        Problem(dropout_net).train(device, torch.float64, replicas=[3, 3]) for _ in range(2)
    )
    plain = MLP.train(device, torch.float64)
    if plain.tied or not first.tied or np.array_equal(*first.losses.T):
        return np.inf
    return apart(course(again), course(first))


def tuning(device: torch.device) -> float:
    """Return how far values lie apart; infinite where another rate is chosen."""
    found = [
        an.tune(
            lambda: PROBLEMS["mlp, sgd"].build().double(),
            clouds(6, dtype=torch.float64),
            rates=[0.02, 0.1, 0.5],
            metric="loss",
            lower_is_better=True,
            seeds=3,
            seed=SEED,
            steps=10,
            batch_size=16,
            device=place,
        )
        for place in (device, CPU)
    ]
    chosen = [(tuned.rate, tuned.learns, tuned.interior) for tuned in found]
    return apart(*(tuned.values for tuned in found)) if chosen[0] == chosen[1] else np.inf


def bfloat16(device: torch.device) -> float:
    """Return the last loss over the first, in the mean; float32 measures both."""

    def loss(model: nn.Module, batch: tuple, noise: tuple) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]).float(), batch[1])

    run = MLP.train(device, torch.bfloat16, loss=loss, steps=30, optimizer=an.adam(0.01))
    return float(run.losses[-5:].mean() / run.losses[0].mean())


def compiled(problem: Problem, device: torch.device) -> float:
    runs = [problem.train(device, torch.float64, compile=True), problem.train(CPU, torch.float64)]
    return apart(*map(course, runs))


def checks(device: torch.device) -> Iterator[Check]:
    """Yield every check of training, what matters most first."""
    bits = "numbers of card and CPU that differ in a bit"
    yield Check("streams: initialization", bits, 0, partial(initialization, device))
    yield Check("streams: split and batches", bits, 0, partial(stream, seen, device))
    yield Check("streams: noise", bits, 0, partial(stream, heard, device))
    yield Check("streams: company", "draws that depend on company", 0, partial(company, device))
    both = "curves, divergences and networks of card and CPU, float64"
    for name, problem in PROBLEMS.items():
        measure = partial(against_the_cpu, problem, device, torch.float64)
        yield Check(f"training: {name}", both, EXACT, measure)
    for name, problem in {"mlp": MLP, "convolution and BatchNorm": CONV}.items():
        measure = partial(alone_together_in_chunks, problem, device)
        compared = "a replica alone, together and in chunks, on the card, float64"
        yield Check(f"replicas: {name}", compared, EXACT, measure)
    yield Check("training: divergence", "who diverges, when", EXACT, partial(divergence, device))
    yield Check("training: dropout", "two runs on the card", EXACT, partial(dropout, device))
    yield Check("tune", "the rate chosen, and all values", EXACT, partial(tuning, device))
    curves = "curves of card and CPU, float32"
    for name in ("mlp, sgd", "mlp, adam", "convolution and BatchNorm", "attention", "lstm"):
        measure = partial(against_the_cpu, PROBLEMS[name], device, torch.float32)
        yield Check(f"single: {name}", curves, SINGLE, measure)
    yield Check("bfloat16", "the last loss over the first", 0.8, partial(bfloat16, device))


def compiling(device: torch.device) -> Iterator[Check]:
    """Yield what takes a compiler, and most of a minute."""
    both = "a compiled run on the card, and the CPU's eager one, float64"
    for name, problem in {"mlp": MLP, "convolution and BatchNorm": CONV}.items():
        yield Check(f"compile: {name}", both, EXACT, partial(compiled, problem, device))
