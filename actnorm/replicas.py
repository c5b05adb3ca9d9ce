"""Train R networks at once: replica r of seed s is one network, whatever runs beside it.

Parameters of all replicas are stacked, the module's own forward runs under `torch.func.vmap`, one
backward gives every replica its gradient, and a stock fused `torch.optim` steps the stack.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_map
from tqdm import tqdm

from actnorm import streams
from actnorm.data import Draw, Part, Split

Loss = Callable[[nn.Module, Part, Part], Tensor]
Evaluate = Callable[..., Mapping[str, Tensor]]
Rate = float | Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Optimizer:
    """A learning rate, or one per replica, and how a stock elementwise optimizer is made.

    ``make`` is called with param groups: ``Optimizer(0.01, torch.optim.RMSprop)`` works too.
    """

    lr: Rate
    make: Callable[[list[dict]], torch.optim.Optimizer]

    def __post_init__(self) -> None:
        rates = np.asarray(self.lr, float)
        if rates.ndim > 1 or not np.all((rates > 0) & np.isfinite(rates)):
            raise ValueError(f"lr must be a positive number, or one per replica, not {self.lr!r}")


def sgd(lr: Rate, *, momentum: float = 0.0, weight_decay: float = 0.0) -> Optimizer:
    """Return stochastic gradient descent, as `torch.optim.SGD`."""
    make = partial(torch.optim.SGD, momentum=momentum, weight_decay=weight_decay, fused=True)
    return Optimizer(lr, make)


def adam(
    lr: Rate,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Return Adam (Kingma and Ba, 2015), as `torch.optim.Adam`."""
    make = partial(torch.optim.Adam, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)
    return Optimizer(lr, make)


def adamw(
    lr: Rate,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> Optimizer:
    """Return Adam with decoupled decay (Loshchilov and Hutter, 2019), as `torch.optim.AdamW`."""
    make = partial(torch.optim.AdamW, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)
    return Optimizer(lr, make)


def cross_entropy(model: nn.Module, batch: Part, noise: Part) -> Tensor:
    """Return the mean cross-entropy of a batch ``(inputs, targets)``: the default loss.

    No target is ignored, as torch ignores -100.
    """
    inputs, targets = batch
    return _cross_entropy(model(inputs), targets)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return torch's cross-entropy to rounding; its softmax over a short last axis is slow."""
    if logits.ndim == 2 and targets.ndim == 1:
        logs = nn.functional.log_softmax(logits.t(), 0)
        return -logs.gather(0, targets[None]).mean()
    return nn.functional.cross_entropy(logits, targets)


def classification(model: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return accuracy (a share) and cross-entropy (nats): the default of ``evaluate``."""
    logits = model(inputs)
    return {
        "accuracy": (logits.argmax(-1) == targets).to(logits.dtype).mean(),
        "loss": _cross_entropy(logits, targets),
    }


class Reached(NamedTuple):
    """Steps that each replica took to a level (the whole budget if never), and who reached it."""

    steps: np.ndarray
    reached: np.ndarray


class Record(NamedTuple):
    """What ``record`` opened around one update of the replicas of one chunk."""

    step: int
    replicas: tuple[int, ...]
    context: Any


@dataclass(frozen=True)
class Run:
    """What `train` measured, one column per replica, in the order of ``replicas``.

    Attributes
    ----------
    seed, replicas
        What names each network.
    losses
        Training loss of each step before its update, ``(steps, R)``; with turns
        ``(steps, turns, R)``.
    finite_steps
        Steps before the first loss that is not finite, ``(R,)``.
    diverged
        Whether a loss or, at the end, a parameter was not finite, ``(R,)``.
    evaluated
        Numbers of updates after which ``validation`` was measured, ``(times,)``.
    validation, test
        By metric: ``(times, R)`` along training and ``(R,)`` at its end. A replica's values are
        NaN from its divergence on.
    records
        What ``record`` saw, by chunk and update.
    tied
        Whether the networks drew from torch's own generator, as dropout does. Such draws are
        independent between replicas and repeatable, but depend on what else is in the chunk.
    """

    seed: int
    replicas: tuple[int, ...]
    losses: np.ndarray
    finite_steps: np.ndarray
    diverged: np.ndarray
    evaluated: np.ndarray
    validation: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    records: tuple[Record, ...]
    tied: bool
    _modules: tuple[nn.Module, ...]

    def module(self, column: int) -> nn.Module:
        """Return a trained network, in eval mode, on the CPU."""
        return self._modules[column]

    @property
    def metrics(self) -> pd.DataFrame:
        """Tidy metrics: column, replica, step, part, metric, value."""
        columns = np.arange(len(self.replicas))
        measured = [
            ("validation", name, step, values)
            for name, curve in self.validation.items()
            for step, values in zip(self.evaluated, curve, strict=True)
        ] + [("test", name, len(self.losses), values) for name, values in self.test.items()]
        frame = pd.DataFrame(measured, columns=["part", "metric", "step", "value"])
        frame = frame.assign(column=[columns] * len(frame), replica=[self.replicas] * len(frame))
        tidy = frame.explode(["value", "column", "replica"], ignore_index=True)
        return tidy.astype({"value": float, "column": int, "replica": int})

    def table(self) -> pd.DataFrame:
        """Return one row per replica: how far it came, its last finite losses, final metrics."""
        losses = self.losses.reshape(len(self.losses), -1, len(self.replicas))
        names = ["loss"] if losses.shape[1] == 1 else [f"loss {i}" for i in range(losses.shape[1])]
        rows = np.maximum(self.finite_steps - 1, 0), np.arange(len(self.replicas))
        last = {
            name: np.where(self.finite_steps > 0, losses[rows[0], turn, rows[1]], np.nan)
            for turn, name in enumerate(names)
        }
        return pd.DataFrame(
            {"replica": self.replicas, "finite_steps": self.finite_steps, "diverged": self.diverged}
            | last
            | {f"validation {name}": values[-1] for name, values in self.validation.items()}
            | {f"test {name}": values for name, values in self.test.items()}
        )

    def final(self, metric: str, part: str = "test", *, chance: float | None = None) -> np.ndarray:
        """Return a metric at the end of training, ``(R,)``; diverged replicas count as ``chance``.

        Raises
        ------
        ValueError
            If replicas diverged and ``chance`` is not given.
        """
        if part not in ("validation", "test"):
            raise ValueError(f"part must be validation or test, not {part!r}")
        values = _known(getattr(self, part), metric)
        if chance is None:
            if self.diverged.any():
                raise ValueError(
                    f"chance must say what the {self.diverged.sum()} diverged of "
                    f"{len(self.replicas)} replicas count as"
                )
            chance = np.nan
        return np.where(self.diverged, chance, values[-1] if part == "validation" else values)

    def steps_to(self, metric: str, level: float, *, lower_is_better: bool = False) -> Reached:
        """Return the first evaluated step at which the validation metric reached a level.

        A replica that never reaches it, diverged or not, gets the whole budget and
        ``reached = False``: compare by rank.
        """
        curve = _known(self.validation, metric)
        there = curve <= level if lower_is_better else curve >= level
        reached = there.any(0)
        return Reached(
            np.where(reached, self.evaluated[there.argmax(0)], len(self.losses)), reached
        )


def join(runs: Sequence[Run]) -> Run:
    """Return several runs of one protocol (chunks, machines) as one: their columns side by side."""
    first = runs[0]
    protocols = {(run.seed, run.losses.shape[:-1], tuple(run.evaluated), *run.test) for run in runs}
    if len(protocols) > 1:
        raise ValueError("runs must share seed, steps, turns, evaluated steps and metrics")

    def beside(get: Callable[[Run], np.ndarray]) -> np.ndarray:
        return np.concatenate([get(run) for run in runs], axis=-1)

    def after(get: Callable[[Run], tuple]) -> tuple:
        return tuple(chain.from_iterable(map(get, runs)))

    return Run(
        seed=first.seed,
        replicas=after(lambda run: run.replicas),
        losses=beside(lambda run: run.losses),
        finite_steps=beside(lambda run: run.finite_steps),
        diverged=beside(lambda run: run.diverged),
        evaluated=first.evaluated,
        validation={k: beside(lambda run, k=k: run.validation[k]) for k in first.validation},
        test={k: beside(lambda run, k=k: run.test[k]) for k in first.test},
        records=after(lambda run: run.records),
        tied=any(run.tied for run in runs),
        _modules=after(lambda run: run._modules),
    )


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
    device: str | torch.device | None = None,
    compile: bool = False,
    chunk: int = 64,
) -> Run:
    """Train one network per replica, all at once.

    Replica r of seed s has the same split, initialisation, batches and noise (bit by bit) and the
    same curves (to rounding) whatever it is trained beside. Randomness inside a module, such as
    dropout, is the exception: see `Run.tied`.

    Parameters
    ----------
    build
        Returns a new `nn.Module`; called once per replica under its ``init`` stream. Networks may
        differ in the values of parameters and buffers only.
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
        the test part after the last. Default: `classification` with the default loss, else none.
    record
        Opens a context, such as `probe`, around losses and gradients of update 0, ``every``,
        2 ``every``, …; it is called with the network through which all replicas of the chunk run.
        See `Run.records`.
    device
        Defaults to ``ACTNORM_DEVICE``, or the CPU. Streams are drawn on the CPU everywhere.
    compile
        Compile loss and gradient of the stack as one graph: for long runs of dense layers.
    chunk
        Most replicas that are trained together; bounds the memory.

    Raises
    ------
    ValueError, TypeError
        Naming the argument. Not every module can be stacked: spectral norm, lazy modules, and
        networks that differ in shapes or settings between replicas are refused.
    """
    every = steps if every is None else every
    _at_least_one(steps=steps, batch_size=batch_size, every=every, chunk=chunk)
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be positive, not {clip}")
    if isinstance(replicas, int):
        _at_least_one(replicas=replicas)
        replicas = streams.replicas(replicas)
    if len(replicas) == 0:
        raise ValueError("replicas must hold at least one index")
    if isinstance(optimizer, Mapping) and set(optimizer) != {part for part, _ in turns or ()}:
        raise ValueError(f"optimizer must hold one for each part of turns, not {list(optimizer)}")
    if turns is not None and loss is not None:
        raise ValueError("loss must be left out where turns hold the losses")
    if evaluate is None and loss is None and turns is None:
        evaluate = classification
    turns = [("", loss or cross_entropy)] if turns is None else turns
    optimizers = {
        part: optimizer[part] if isinstance(optimizer, Mapping) else optimizer for part, _ in turns
    }
    rates = {part: _rates(chosen.lr, len(replicas)) for part, chosen in optimizers.items()}
    device = torch.device(device or os.environ.get("ACTNORM_DEVICE", "cpu"))
    seed = streams.seed() if seed is None else seed
    chunks = np.array_split(np.arange(len(replicas)), -(-len(replicas) // chunk))

    def together(columns: np.ndarray) -> Run:
        indices = [int(replicas[column]) for column in columns]
        draws = {
            name: [streams.stream(name, index, seed=seed) for index in indices]
            for name in streams.STREAMS
        }
        parts = _parts(data, draws["split"], batch_size, device)
        batches = _batches(parts["train"], batch_size, draws["batches"])
        networks = _networks(build, draws["init"], indices)
        params, buffers = (
            {name: value.detach().to(device).contiguous() for name, value in stack.items()}
            for stack in stack_module_state(networks)
        )
        state = params | buffers
        plays, updates = [], {}
        for part, loss in turns:
            mine = _trainable(networks[0], part, params)
            plays.append((part, _gradient(networks[0], loss, mine, state, compile)))
            updates[part] = _update(mine, optimizers[part].make, rates[part][columns])
        measure = _measure(networks[0], evaluate, params, buffers)

        # One off, so that dropout does not repeat the numbers of the noise stream.
        torch.manual_seed(draws["noise"][0].initial_seed() + 1)
        untouched = _generator_state(device)
        losses, evaluated, curve, records = [], [], [], []
        for step in range(steps):
            context = nullcontext()
            if step % every == 0:
                evaluated.append(step)
                curve.append(measure(parts["validation"]))
                if record is not None:
                    context = record(networks[0].model)
                    records.append(Record(step, tuple(indices), context))
            factor = 1.0 if schedule is None else schedule(step)
            for part, gradient in plays:
                drawn = [() if noise is None else noise(generator) for generator in draws["noise"]]
                with context:
                    gradients, values = gradient(next(batches), _stack("noise", drawn, device))
                losses.append(values)
                updates[part](gradients if clip is None else _clip(gradients, clip), factor)
            bar.update()
        evaluated = np.array([*evaluated, steps])
        curve.append(measure(parts["validation"]))
        test = measure(parts["test"])
        tied = not torch.equal(untouched, _generator_state(device))

        losses = torch.stack(losses).reshape(steps, len(plays), -1).cpu().numpy()
        bad = ~np.isfinite(losses).all(1)
        finite_steps = np.where(bad.any(0), bad.argmax(0), steps)
        sound = [v.isfinite().reshape(len(v), -1).all(1).cpu().numpy() for v in params.values()]
        diverged = bad.any(0) | ~np.all(sound, axis=0)
        gone = diverged & (evaluated[:, None] >= np.maximum(finite_steps, 1))
        for row, network in enumerate(networks):
            for name, value in chain(network.named_parameters(), network.named_buffers()):
                value.data.copy_(state[name][row])
        return Run(
            seed=seed,
            replicas=tuple(indices),
            losses=losses[:, 0] if turns[0][0] == "" else losses,
            finite_steps=finite_steps,
            diverged=diverged,
            evaluated=evaluated,
            validation={
                name: np.where(gone, np.nan, [values[name] for values in curve]) for name in test
            },
            test={name: np.where(diverged, np.nan, values) for name, values in test.items()},
            records=tuple(records),
            tied=tied,
            _modules=tuple(network.model.eval() for network in networks),
        )

    with (
        warnings.catch_warnings(),
        tqdm(total=steps * len(chunks), disable=None, delay=2) as bar,
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        sdpa_kernel(SDPBackend.MATH),  # the fused one has no vmap rule: a loop over replicas
    ):
        # An operation without a vmap rule is looped over the replicas: slow, and right.
        warnings.filterwarnings("ignore", message="There is a performance drop")
        streams.SPENT["replica-steps"] += steps * len(turns) * len(replicas)
        return join([together(columns) for columns in chunks])


@dataclass(frozen=True)
class Tuning:
    """What `tune` measured.

    Attributes
    ----------
    rate
        The best rate by the mean over seeds; of equals, the middle one.
    learns
        Whether that rate beats the untrained networks, seed by seed (one-sided paired t, 1 % over
        all rates). If not, ``rate`` means nothing.
    interior
        Whether a worse rate was tried on both sides of it.
    values
        The judged metric at the end, one row per rate, one column per seed. A run that diverged
        counts as its own untrained network.
    diverged
        Which runs those were, in the same shape.
    """

    rate: float
    learns: bool
    interior: bool
    values: pd.DataFrame
    diverged: pd.DataFrame


def tune(
    build: Callable[[], nn.Module],
    data: Split | Draw,
    *,
    rates: Sequence[float],
    metric: str,
    level: float | None = None,
    lower_is_better: bool = False,
    optimizer: Callable[[np.ndarray], Optimizer | Mapping[str, Optimizer]] = sgd,
    seeds: int = 8,
    seed: int | None = None,
    extend: int = 4,
    **options: Any,
) -> Tuning:
    """Choose a learning rate on the validation part, by the metric that will be judged.

    The whole grid is one call of `train`, and every rate sees the same replicas. Where the best
    rate is the lowest or highest of the grid, or nothing learns yet, the grid grows by its own
    ratio on that side, but not beyond a rate at which all runs diverge.

    Parameters
    ----------
    rates
        At least two; a ratio of at most 2 between neighbours makes fair arms.
    metric, lower_is_better
        A name that ``evaluate`` measures, and its direction.
    level
        Judge by the steps to this level of the metric (`Run.steps_to`) instead of its last value.
    optimizer
        Makes the optimizer of an array of rates: `sgd`, `adam`, or a function of yours.
    seeds
        Replicas at each rate, at least two.
    seed
        Defaults to 1000 + `streams.seed`: tuning never sees the replicas that are judged.
    extend
        How many times the grid may grow.
    options
        The rest of `train`'s arguments.
    """
    if len(set(rates)) < 2:
        raise ValueError(f"rates must hold at least two different ones, not {rates!r}")
    if seeds < 2:
        raise ValueError(f"seeds must be at least 2, not {seeds}")
    seed = 1000 + streams.seed() if seed is None else seed
    better = -1 if lower_is_better or level is not None else 1
    fresh = sorted({float(rate) for rate in rates})
    values, diverged = {}, {}
    for left in reversed(range(extend + 1)):
        run = train(
            build,
            data,
            optimizer=optimizer(np.repeat(fresh, seeds)),
            replicas=list(range(seeds)) * len(fresh),
            seed=seed,
            **options,
        )
        curve = _known(run.validation, metric)
        if level is None:
            start, end = curve[0], np.where(np.isfinite(curve[-1]), curve[-1], curve[0])
        else:
            start = np.full(len(run.replicas), len(run.losses))
            end = run.steps_to(metric, level, lower_is_better=lower_is_better).steps
        if not np.isfinite(start).all():
            raise ValueError(f"{metric} must be finite before training, not {start[:seeds]}")
        values |= dict(zip(fresh, end.reshape(-1, seeds), strict=True))
        diverged |= dict(zip(fresh, run.diverged.reshape(-1, seeds), strict=True))

        grid = sorted(values)
        gains = better * (np.array([values[rate] for rate in grid]) - start[:seeds])
        means = gains.mean(1)
        ties = np.flatnonzero(means == means.max())
        best = int(ties[len(ties) // 2])
        error = gains[best].std(ddof=1) / np.sqrt(seeds)
        learns = bool(means[best] > stats.t.ppf(1 - 0.01 / len(grid), seeds - 1) * error)
        down = best == 0 or not learns
        up = (best == len(grid) - 1 or not learns) and not diverged[grid[-1]].all()
        fresh = [grid[0] ** 2 / grid[1]] * down + [grid[-1] ** 2 / grid[-2]] * up
        if not fresh or not left:
            break
    frames = (
        pd.DataFrame(np.array([d[rate] for rate in grid]), index=grid) for d in (values, diverged)
    )
    return Tuning(grid[best], learns, bool(0 < best < len(grid) - 1), *frames)


class _Network(nn.Module):
    """A network whose forward is a function of it, so that `functional_call` reaches all of it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable, *args: Any) -> Any:
        return function(self.model, *args)


def _caller(network: _Network) -> Callable[..., Any]:
    """Return the network's forward as a function of its tensors by name, then its arguments.

    Every module is named once and every place of a tied tensor is filled by name:
    `functional_call`'s own tying leaves tensors behind in a module that is registered twice.
    """
    names = {id(v): k for k, v in chain(network.named_parameters(), network.named_buffers())}
    places = {
        f"{path}.{key}": names[id(value)]
        for path, module in network.named_modules()
        for key, value in chain(
            module.named_parameters(recurse=False, remove_duplicate=False),
            module.named_buffers(recurse=False, remove_duplicate=False),
        )
    }

    def call(tensors: dict[str, Tensor], *args: Any) -> Any:
        filled = {place: tensors[name] for place, name in places.items()}
        return functional_call(network, filled, args, tie_weights=False)

    return call


def _at_least_one(**named: int) -> None:
    for name, value in named.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")


def _known(values: Mapping[str, np.ndarray], metric: str) -> np.ndarray:
    if metric not in values:
        raise KeyError(f"metric must be one of {', '.join(values) or '(none)'}, not {metric!r}")
    return values[metric]


def _rates(lr: Rate, count: int) -> np.ndarray:
    rates = np.asarray(lr, float)
    if rates.ndim and len(rates) != count:
        raise ValueError(f"lr must hold one rate for each of {count} replicas, not {len(rates)}")
    return np.broadcast_to(rates, count)


def _stack(name: str, parts: Sequence[Part], device: torch.device) -> Part:
    """Return tensors ``(replicas, ...)``; what all replicas share is not copied."""
    if not all(isinstance(part, tuple) for part in parts):
        raise TypeError(f"{name} must be a tuple of tensors, not {type(parts[0]).__name__}")

    def stack(tensors: tuple[Tensor, ...]) -> Tensor:
        first = tensors[0]
        if all(tensor is first for tensor in tensors):
            return first.to(device).expand(len(tensors), *first.shape)
        return torch.stack(tensors).to(device)

    try:
        return tuple(stack(tensors) for tensors in zip(*parts, strict=True))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{name} must have the same shapes in all replicas: {error}") from None


def _parts(
    data: Split | Draw,
    generators: list[torch.Generator],
    batch_size: int,
    device: torch.device,
) -> dict[str, Part]:
    if isinstance(data, Split):
        splits = [data] * len(generators)
    else:
        splits = [data(generator) for generator in generators]
    parts = {}
    for name in ("train", "validation", "test"):
        parts[name] = _stack(f"data.{name}", [getattr(split, name) for split in splits], device)
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


def _batches(train: Part, size: int, generators: list[torch.Generator]) -> Iterator[Part]:
    examples = train[0].shape[1]
    first = examples * torch.arange(len(generators), device=train[0].device)[:, None]
    # A shared tensor holds its rows once. Whole rows are several times faster to select by one
    # index than by two.
    pools = [(t[0], 0) if t.stride(0) == 0 else (t.flatten(0, 1), first) for t in train]
    while True:
        order = torch.stack([torch.randperm(examples, generator=g) for g in generators])
        for chosen in order.to(first.device).split(size, dim=1)[: examples // size]:
            yield tuple(
                pool.index_select(0, (chosen + start).flatten()).unflatten(0, chosen.shape)
                for pool, start in pools
            )


def _networks(
    build: Callable[[], nn.Module], generators: list[torch.Generator], replicas: list[int]
) -> list[_Network]:
    """Build each replica's network under its stream, and refuse by name what cannot be stacked."""
    networks = []
    for generator, replica in zip(generators, replicas, strict=True):
        torch.default_generator.manual_seed(generator.initial_seed())
        model = build()
        if not isinstance(model, nn.Module):
            raise TypeError(f"build must return an nn.Module, not {type(model).__name__}")
        _stackable(model)
        networks.append(_Network(model))
        first, own = _settings(networks[0].model), _settings(model)
        for name in first | own:
            if first.get(name) != own.get(name):
                raise ValueError(
                    "build must return networks that differ in values only: "
                    f"{name or 'the network'} is {first.get(name)} in replica {replicas[0]} "
                    f"and {own.get(name)} in replica {replica}"
                )
    return networks


def _stackable(model: nn.Module) -> None:
    for name, module in model.named_modules():
        kinds = {type(part).__name__ for part in (module, *module._forward_pre_hooks.values())}
        if kinds & {"SpectralNorm", "_SpectralNorm"}:
            raise ValueError(f"build must return a stackable network: {name} has spectral norm")
    for name, value in chain(model.named_parameters(), model.named_buffers()):
        if is_lazy(value):
            raise ValueError(f"build must return a stackable network: {name} is lazy")


def _settings(model: nn.Module) -> dict[str, Any]:
    tensors = chain(model.named_parameters(), model.named_buffers())
    return {
        name: f"{type(module).__name__}({module.extra_repr()})"
        for name, module in model.named_modules()
    } | {name: tuple(value.shape) for name, value in tensors}


def _trainable(network: _Network, part: str, params: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"model.{part}." if part else "model."
    mine = {
        name: params[name]
        for name, value in network.named_parameters()
        if name.startswith(prefix) and value.requires_grad
    }
    if not mine:
        raise ValueError(f"build must return trainable parameters{part and f' in part {part!r}'}")
    return mine


def _each(function: Callable, network: nn.Module, count: int) -> Callable:
    """Map a function of (params, ...) over the replicas; a lone one needs no vmap."""
    if count == 1:
        return lambda *args: tree_map(
            lambda value: value.unsqueeze(0),
            function(*tree_map(lambda value: value.squeeze(0), args)),
        )
    if any(isinstance(module, nn.RNNBase | nn.RNNCellBase) for module in network.modules()):
        # vmap has no rule for fused recurrent layers; below grad they fall apart into plain ones.
        fused = function
        beside = grad(lambda *args: (torch.zeros(()), fused(*args)), has_aux=True)

        def function(*args: Any) -> Any:
            return beside(*args)[1]

    return vmap(function, randomness="different")


def _gradient(
    network: _Network, loss: Loss, mine: dict[str, Tensor], state: dict[str, Tensor], compile: bool
) -> Callable[[Part, Part], tuple[Sequence[Tensor], Tensor]]:
    """Return a function from batch and noise to the gradients of ``mine`` and the losses."""
    count = len(next(iter(mine.values())))
    rest = {name: value for name, value in state.items() if name not in mine}
    mine = {name: value.detach().requires_grad_() for name, value in mine.items()}
    call = _caller(network)

    def value(mine: dict[str, Tensor], rest: dict[str, Tensor], batch: Part, noise: Part) -> Tensor:
        scalar = call(mine | rest, loss, batch, noise)
        if scalar.ndim:
            raise ValueError(f"loss must return a scalar, not a shape {tuple(scalar.shape)}")
        return scalar

    if compile:
        graph = torch.compile(_each(grad_and_value(value), network, count))

        @torch.no_grad()
        def gradient(batch: Part, noise: Part) -> tuple[Sequence[Tensor], Tensor]:
            gradients, losses = graph(mine, rest, batch, noise)
            return list(gradients.values()), losses
    else:
        forward = _each(value, network, count)

        def gradient(batch: Part, noise: Part) -> tuple[Sequence[Tensor], Tensor]:
            losses = forward(mine, rest, batch, noise)
            gradients = torch.autograd.grad(
                losses.sum(), list(mine.values()), materialize_grads=True
            )
            return gradients, losses.detach()

    return gradient


def _clip(gradients: Sequence[Tensor], limit: float) -> list[Tensor]:
    """Scale each replica's gradients as `torch.nn.utils.clip_grad_norm_` does."""
    squares = [gradient.reshape(len(gradient), -1).square().sum(1) for gradient in gradients]
    factor = (limit / (torch.stack(squares).sum(0).sqrt() + 1e-6)).clamp(max=1)
    return [gradient * factor.view(-1, *[1] * (gradient.ndim - 1)) for gradient in gradients]


def _update(
    params: dict[str, Tensor], make: Callable, rates: np.ndarray
) -> Callable[[Sequence[Tensor], float], None]:
    """Return a function that steps the stack; neighbours with one rate share a param group."""
    groups, stop = [], 0
    for rate, run in groupby(rates):
        rows = slice(stop, stop := stop + len(list(run)))
        leaves = [value.detach()[rows] for value in params.values()]
        groups.append({"params": leaves, "lr": rate, "rate": rate, "rows": rows})
    stock = make(groups)

    def update(gradients: Sequence[Tensor], factor: float) -> None:
        for group in stock.param_groups:
            group["lr"] = group["rate"] * factor
            for leaf, gradient in zip(group["params"], gradients, strict=True):
                # Fused optimizers read memory in order, whatever the strides.
                leaf.grad = gradient[group["rows"]].contiguous()
        stock.step()

    return update


def _measure(
    network: _Network,
    evaluate: Evaluate | None,
    params: dict[str, Tensor],
    buffers: dict[str, Tensor],
) -> Callable[[Part], dict[str, np.ndarray]]:
    """Return a function from a stacked part to every replica's metrics, in eval mode."""
    still = deepcopy(network).eval()
    call = _caller(still)

    def metrics(
        params: dict[str, Tensor], buffers: dict[str, Tensor], part: Part
    ) -> dict[str, Tensor]:
        found = call(params | buffers, evaluate, *part)
        for name, value in found.items():
            if value.ndim:
                raise ValueError(f"evaluate must return scalars, not {name} {tuple(value.shape)}")
        return dict(found)

    mapped = _each(metrics, still, len(next(iter(params.values()))))

    @torch.no_grad()
    def measure(part: Part) -> dict[str, np.ndarray]:
        found = mapped(params, buffers, part) if evaluate else {}
        return {name: value.double().cpu().numpy() for name, value in found.items()}

    return measure


def _generator_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
