"""Choose a learning rate on the validation part, by the metric that will be judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from torch import nn

from actnorm import streams
from actnorm.activations import real
from actnorm.data import Draw, Split
from actnorm.replicas.optimizers import Optimizer, sgd
from actnorm.replicas.run import known
from actnorm.replicas.training import train


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
    lower_is_better
        The direction of the metric.
    """

    rate: float
    learns: bool
    interior: bool
    values: pd.DataFrame
    diverged: pd.DataFrame
    lower_is_better: bool = False

    def wins(self, resamples: int = 2000) -> pd.Series:
        """Return how often each rate is the best when the seeds are drawn anew, with replacement.

        The bootstrap (Efron 1979) of the choice. Fresh seeds move a rate more often.
        """
        resamples = streams.whole("resamples", resamples)
        values = self.values.to_numpy() * (-1 if self.lower_is_better else 1)
        rates, seeds = values.shape
        drawn = np.random.default_rng(0).integers(seeds, size=(resamples, seeds))
        best = [_best(values[:, columns].mean(1)) for columns in drawn]
        shares = np.bincount(best, minlength=rates) / resamples
        return pd.Series(shares, self.values.index, name="wins")

    def summary(self) -> dict[str, Any]:
        """Return what a record keeps: the rate, the values by rate and seed, and `wins`."""
        return {
            "rate": self.rate,
            "rates": list(self.values.index),
            "values": self.values.to_numpy().tolist(),
            "wins": self.wins().tolist(),
            "learns": self.learns,
        }


def _best(means: np.ndarray) -> int:
    """Return where the highest mean stands; of equals but for rounding, the middle one."""
    ties = np.flatnonzero(np.isclose(means, means.max(), rtol=1e-6, atol=0))
    return int(ties[len(ties) // 2])


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
    rates = [real("rates", rate) for rate in rates]
    if len(set(rates)) < 2:
        raise ValueError(f"rates must hold at least two different ones, not {rates!r}")
    seeds, extend = streams.whole("seeds", seeds, 2), streams.whole("extend", extend, 0)
    level = None if level is None else real("level", level)
    seed = 1000 + streams.seed() if seed is None else seed
    direction, lower_is_better = lower_is_better, lower_is_better or level is not None
    better = -1 if lower_is_better else 1
    fresh = sorted(set(rates))
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
        curve = known(run.validation, metric)
        if level is None:
            start, end = curve[0], np.where(np.isfinite(curve[-1]), curve[-1], curve[0])
        else:
            start = np.full(len(run.replicas), len(run.losses))
            end = run.steps_to(metric, level, lower_is_better=direction).steps
        if not np.isfinite(start).all():
            raise ValueError(f"{metric} must be finite before training, not {start[:seeds]}")
        values |= dict(zip(fresh, end.reshape(-1, seeds), strict=True))
        diverged |= dict(zip(fresh, run.diverged.reshape(-1, seeds), strict=True))

        grid = sorted(values)
        gains = better * (np.array([values[rate] for rate in grid]) - start[:seeds])
        means = gains.mean(1)
        best = _best(means)
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
    interior = bool(0 < best < len(grid) - 1)
    return Tuning(grid[best], learns, interior, *frames, lower_is_better)
