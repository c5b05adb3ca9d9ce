"""What `probe` returns: a table with one row for each call, and the same for each unit."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable
from typing import Any, Self

import pandas as pd
from torch import Tensor, nn

from actnorm.probe.apart import unseen
from actnorm.probe.modules import Place, Threads, calling
from actnorm.probe.passes import Watcher
from actnorm.probe.sites import Record, Site, Units
from actnorm.probe.standing import put_up, take_down

_COLUMNS = [
    *("name", "kind", "shape", "n"),
    *("input_mean", "input_std", "input_min", "input_max", "input_positive", "dead_at_most"),
    *("output_mean", "output_std", "output_min", "output_max", "output_zero"),
    *("gradient_mean_square", "gradient_zero", "nonfinite"),
]


class Probe:
    """What `probe` returns; its representation is the report. It can be pickled and copied: the
    copy has the evidence, and no model.
    """

    def __init__(
        self, model: nn.Module, every: int, gradients: bool, watch: Iterable[nn.Module]
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
        if every < 1:
            raise ValueError(f"every must be at least 1, not {every}")
        watch = list(watch)
        if any(all(module is not part for part in model.modules()) for module in watch):
            raise ValueError("watch must hold modules of the model")
        self._model = weakref.ref(model)
        self._watch = [weakref.ref(module) for module in watch]
        self._watcher = Watcher(every, gradients)
        self._threads = Threads(self._watcher)
        self._record = self._watcher.record

    def __getstate__(self) -> dict[str, Record]:
        return {"_record": self._record}

    def __setstate__(self, state: dict[str, Record]) -> None:
        self._record, self._watcher = state["_record"], None

    def __enter__(self) -> Self:
        if self._watcher is None:
            raise RuntimeError("this probe is a copy without a model: make another")
        if self._record.open:
            raise RuntimeError("this probe is already open: make another with an.probe(model)")
        model = self._model()
        if model is None:
            self._record.miss("", "the model is gone")
        put_up(self, [] if model is None else self._places(model), calling)
        self._watcher.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self._watcher.close()
        take_down(self)

    def _places(self, model: nn.Module) -> list[Place]:
        watch = [module() for module in self._watch]
        return [
            Place(
                self._threads,
                path.replace("_orig_mod.", "").removesuffix("_orig_mod").rstrip("."),
                module,
                any(module is watched for watched in watch),
            )
            for path, module in model.named_modules()
        ]

    @property
    def unrecognised(self) -> dict[str, int]:
        """Calls that were neither measured nor known to be no activation, and how many of each.

        In brackets stands why a known one was not measured.
        """
        return dict(self._record.missed)

    def units(self, name: str) -> dict[str, Tensor]:
        """Return the statistics of one row for each unit.

        Parameters
        ----------
        name
            As in the table.

        Returns
        -------
        ``input_mean``, ``input_std``, ``input_positive`` and so on, for ``input``, ``output`` and
        ``gradient``: ``mean``, ``std``, ``mean_square``, ``positive``, ``zero``, ``min``, ``max``,
        each of shape ``(units,)``, or ``(replicas, units)`` under `torch.vmap`. What was not seen,
        as a gradient without a backward pass, is absent.

        Raises
        ------
        KeyError
            No such row.
        """
        sites = self._record.units()
        if name not in sites:
            raise KeyError(f"no row {name!r}; there are: {', '.join(sites) or 'none'}")
        return {
            f"{part}_{statistic}": value
            for part, units in sites[name][1].items()
            for statistic, value in units.items()
            if statistic != "n"
        }

    @unseen
    def table(self) -> pd.DataFrame:
        """Return one row for each call, one column for each statistic.

        ``shape`` is ``(units,)``, or ``(replicas, units)`` under `torch.vmap`, and ``n`` counts
        the values of each. ``_mean`` and ``_std`` are over all values of all units, ``_min`` and
        ``_max`` of any. ``dead_at_most`` is the share of units whose pre-activation was never
        positive: an upper bound, since a value beyond these n may still be. ``nonfinite`` is the
        share of units that met NaN or infinity. ``gradient_`` is by the input, over all uses of
        it, of what nothing differentiates further; NaN without a backward pass, and where a view
        is changed in place.
        """
        rows = [_row(site, parts) for site, parts in self._record.units().values()]
        return pd.DataFrame(rows, columns=_COLUMNS)

    def __repr__(self) -> str:
        missed = ", ".join(f"{what} ({n})" for what, n in self.unrecognised.items())
        table = self.table()
        report = "no activation or normalization seen" if table.empty else table.to_string()
        return f"{report}\nnot recognised: {missed}" if missed else report


def _row(site: Site, parts: dict[str, Units]) -> dict[str, Any]:
    shape = tuple(parts["input"]["mean"].shape)
    row = {"name": site.name, "kind": site.call.name, "shape": shape, "n": parts["input"]["n"]}
    for part, units in parts.items():
        spread = units["std"].square().mean() + units["mean"].var(correction=0)
        row |= {
            f"{part}_{statistic}": value.item()
            for statistic, value in {
                "mean": units["mean"].mean(),
                "std": spread.sqrt(),
                "mean_square": units["mean_square"].mean(),
                "positive": units["positive"].mean(),
                "zero": units["zero"].mean(),
                "min": units["min"].min(),
                "max": units["max"].max(),
            }.items()
        }
    dead = (parts["input"]["max"] <= 0).double().mean().item()
    row["dead_at_most"] = math.nan if site.call.normalizes else dead
    row["nonfinite"] = (~parts["input"]["mean"].isfinite()).double().mean().item()
    return row


def probe(
    model: nn.Module,
    every: int = 1,
    *,
    gradients: bool = True,
    watch: Iterable[nn.Module] = (),
) -> Probe:
    """Measure what enters and leaves each activation and normalization while the model runs.

    ``with probe(model) as p: ...`` sees every call that the model makes to one of torch's
    activations or normalizations: by module or by function, in place, in a transformer layer,
    under `torch.func`, in any thread. It keeps running sums for each unit, and no values beyond a
    small block that waits for its turn; the model, what it computes, its hooks, mode and gradients
    and the random state stay as they were. While it is open, fused transformer layers and what is
    compiled run unfused and uncompiled, so that their parts are seen. Probes may be open at the
    same time and be closed in any order.

    A unit is an entry of the axis that the model mixes over: of the last after a linear layer, of
    the channels' after a convolution, wherever they are then moved to; a normalization by channel
    or over one axis knows its own. Calls are told apart by module and by their order in a pass,
    which is one outermost call of the model or of one of its parts, in one thread, until it
    returns. Under `torch.vmap` each replica keeps its own statistics, in chunks too; chunks that
    are cut by hand count as passes of the same replicas.

    A gradient that is differentiated further, as for a penalty, does not count. In a checkpoint
    by ``use_reentrant=True``, calls outside of any module have no gradient. Before torch 2.6, of
    what is compiled, only modules run uncompiled.

    Parameters
    ----------
    model
        Any module.
    every
        Measure every n-th pass of each part that is called from outside; the others run at nearly
        full speed.
    gradients
        Also measure, when a measured pass is differentiated, the gradients by the inputs.
    watch
        Modules of the model to measure as a whole, for activations made of arithmetic or of an
        own `torch.autograd.Function` (which nothing here can see). What they call is not listed.
        They take a tensor first, and return one, alone or among what is none.

    Returns
    -------
    Probe
        ``.table()``, ``.units(name)`` and ``.unrecognised``: calls, such as a fused recurrent
        layer, of which it is not known whether they are or hide an activation, and what could not
        be measured and why, such as a sparse tensor. It may be entered again, and adds to its
        evidence.

    Raises
    ------
    TypeError
        `model` is no module.
    ValueError
        `every` < 1, or `watch` holds what is no module of the model.
    """
    return Probe(model, every, gradients, watch)
