"""What a run leaves: losses, metrics and networks, one column per replica."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import nn


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
        independent between replicas and repeatable, but depend on what else is in the chunk. Such
        networks are compared with single ones in eval mode only.
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
        values = known(getattr(self, part), metric)
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
        curve = known(self.validation, metric)
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


def known(values: Mapping[str, np.ndarray], metric: str) -> np.ndarray:
    if metric not in values:
        raise KeyError(f"metric must be one of {', '.join(values) or '(none)'}, not {metric!r}")
    return values[metric]
