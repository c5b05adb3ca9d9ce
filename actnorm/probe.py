"""Read any model while it runs: what enters and leaves its activations and normalizations."""

from __future__ import annotations

import math
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import lru_cache
from typing import Any, Self

import pandas as pd
import torch
from torch import Tensor, nn
from torch._C import _functorch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names of torch's functions, without leading and trailing underscores.
ACTIVATIONS = _names("""
    celu elu expit gelu glu hardshrink hardsigmoid hardswish hardtanh leaky_relu log_sigmoid
    logsigmoid mish prelu relu relu6 rrelu selu sigmoid silu softplus softshrink softsign
    special_expit tanh tanhshrink threshold
""")
BY_CHANNEL = _names("batch_norm group_norm instance_norm local_response_norm")
NORMALIZATIONS = BY_CHANNEL | {"layer_norm", "rms_norm"}
# Seen and passed over: arithmetic, shapes, pooling, dropout, losses, attention (its softmax is
# over positions, no activation of a unit). What is in no list is reported as not recognised.
_PASSED_OVER = _names("""
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d add
    alpha_dropout arange argmax avg_pool1d avg_pool2d avg_pool3d binary_cross_entropy
    binary_cross_entropy_with_logits bool broadcast_to cat chunk clone contiguous cpu
    cross_entropy cuda detach dim div double dropout dropout1d dropout2d dropout3d embedding_bag
    empty eq expand expand_as feature_alpha_dropout flatten float full gather ge get getitem gt
    half iadd idiv imul index_select interpolate is_floating_point isub itruediv l1_loss le len
    log_softmax lt masked_fill max_pool1d max_pool2d max_pool3d mean movedim mse_loss mul
    multi_head_attention_forward narrow ne neg new_empty new_full new_ones new_zeros nll_loss
    normalize numel ones ones_like pad permute pixel_shuffle pixel_unshuffle radd rand rand_like
    randn randn_like repeat reshape rmul roll rsub rtruediv scaled_dot_product_attention select
    set setitem size softmax softmin split squeeze stack stride sub sum t tile to transpose
    truediv type type_as unbind unflatten unsqueeze view view_as zeros zeros_like
""")
_MIXING = _names("addmm baddbmm bilinear bmm einsum embedding linear matmul mm")
_CONVOLUTIONS = {f"conv{kind}{d}d": -1 - d for kind in ("", "_transpose") for d in (1, 2, 3)}
_COLUMNS = [
    *("name", "kind", "shape", "n"),
    *("input_mean", "input_std", "input_min", "input_max", "input_positive", "dead_at_most"),
    *("output_mean", "output_std", "output_min", "output_max", "output_zero"),
    *("gradient_mean_square", "gradient_zero", "nonfinite"),
]
_BLOCK = 2**16
_PENDING = 32
_ROWS = ("mean", "scatter", "signs", "nonzero", "low", "high")

Summary = tuple[int, Tensor]
Rows = dict[str, Tensor]
After = Callable[[Summary], Rows]


def _summary(x: Tensor, replica_axes: int, axis: int, known: Rows | None = None) -> Summary:
    """Return how many values each unit on an axis has, and a row of all units for each statistic:
    mean, squared deviations, sum of signs, values that are not 0, least, largest; of these, the
    pairs not yet known are measured.
    """
    samples, positions = range(replica_axes, x.ndim + axis), range(axis + 1, 0)
    folds = [tuple(axes) for axes in (samples, positions) if axes]

    def fold(reduce: Callable, x: Tensor) -> Tensor:  # samples first: far faster on a CPU
        for axes in folds:
            x = reduce(x, axes)
        return x

    rows, work = dict(known or {}), None
    if "mean" not in rows:
        rows["mean"] = fold(torch.mean, x)
        shape = [*x.shape[:replica_axes], *(1 for _ in samples), -1, *(1 for _ in positions)]
        work = x - rows["mean"].view(shape)
        rows["scatter"] = fold(torch.sum, work.square_())
    if "signs" not in rows:
        work = torch.sign(x, out=work)
        rows["signs"] = fold(torch.sum, work)
        rows["nonzero"] = _nonzero(work, rows["mean"], fold)
    if "low" not in rows:
        rows["low"], rows["high"] = fold(torch.amin, x), fold(torch.amax, x)
    return x.numel() // rows["mean"].numel(), torch.stack([rows[name] for name in _ROWS])


def _after_relu(before: Summary) -> Rows:
    """Return what is known of the values that leave a ReLU."""
    _, _, signs, nonzero, low, high = before[1]
    positive = (signs + nonzero) / 2
    return {
        "signs": positive,
        "nonzero": positive,
        "low": low.clamp_min(0),
        "high": high.clamp_min(0),
    }


def _after_batch_norm(
    before: Summary,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Rows:
    """Return what is known, to rounding, of what leaves `torch.nn.functional.batch_norm`."""
    n, (mean, scatter, *_, low, high) = before
    centre, variance = (mean, scatter / n) if training else (running_mean, running_var)
    gain = (variance.to(mean.dtype) + eps).rsqrt() * (1 if weight is None else weight)
    shift = 0 if bias is None else bias
    mean, low, high = ((value - centre) * gain + shift for value in (mean, low, high))
    return {
        "mean": mean,
        "scatter": scatter * gain.square(),
        "low": torch.minimum(low, high),
        "high": torch.maximum(low, high),
    }


def _after(name: str, func: Callable, args: tuple, kwargs: dict) -> After | None:
    """Return what tells, from the summary of a call's input, what is known of its output."""
    if name == "relu":
        return _after_relu
    if func is not F.batch_norm or _functorch.peek_interpreter_stack() is not None:
        return None
    if args[0].dtype not in (torch.float32, torch.float64):  # too coarsely rounded
        return None
    return lambda before: _after_batch_norm(before, *args[1:], **kwargs)


def _nonzero(signs: Tensor, like: Tensor, fold: Callable) -> Tensor:
    """Return how many signs of each unit are not 0; they may be overwritten."""
    flat, count = signs.flatten(), signs.numel()
    # Most often all, which one product tells. Whole numbers are exact below 2^24.
    if signs.is_cpu and count < 2**24 and torch.dot(flat, flat).item() == count:
        return torch.full_like(like, count // like.numel())
    return fold(torch.sum, signs.abs_())


class _Sums:
    """Running moments, sign shares and extremes of each unit.

    Small batches wait for each other, up to `_BLOCK` values, and summaries of one number per unit
    and statistic wait for a common merge: on a CPU the number of calls is what costs. Variances
    are merged from squared deviations (T. Chan, G. Golub and R. LeVeque, 1983), never taken from
    mean squares.
    """

    def __init__(self, replicas: torch.Size, rectified: _Sums | None = None) -> None:
        self.replicas = replicas
        self.rectified = rectified  # of the positive parts of what waits here
        self.waiting: list[Tensor] = []
        self.size = 0
        self.entries: list[Summary] = []

    def __bool__(self) -> bool:
        return bool(self.waiting or self.entries)

    def add(self, x: Tensor, axis: int, known: Rows | None = None) -> Tensor | Summary:
        """Add values whose first axes are replicas, and whose units are on axis `axis` < 0."""
        k = len(self.replicas)
        while x.ndim - k < 2:
            x = x.unsqueeze(k)
        if x.dtype in (torch.float16, torch.bfloat16):
            x = x.float()
        if axis == -1 and x.numel() < _BLOCK:
            return self.share(x.flatten(k, -2).clone())
        return self.share(_summary(x, k, axis, known))

    def share(self, item: Tensor | Summary) -> Tensor | Summary:
        """Add, and return, what another's `add` returned for the same values."""
        if isinstance(item, Tensor):
            self.waiting.append(item)
            self.size += item.numel()
            if self.size >= _BLOCK:
                self.flush()
        else:
            self.entries.append(item)
        if len(self.entries) == _PENDING:
            self.merge()
        return item

    def flush(self) -> None:
        x, k = torch.cat(self.waiting, -2), len(self.replicas)
        self.waiting, self.size = [], 0
        item = _summary(x, k, -1)
        self.entries.append(item)
        if self.rectified is not None:
            self.rectified.share(_summary(x.relu_(), k, -1, _after_relu(item)))

    def merge(self) -> Summary:
        if self.waiting:
            self.flush()
        if len(self.entries) > 1:
            counts, tables = zip(*self.entries, strict=True)
            means, *sums, lows, highs = torch.stack(tables, 1).double()
            total = sum(counts)
            n = means.new_tensor(counts).view(-1, *[1] * (means.ndim - 1))
            mean = (means * n).sum(0) / total
            scatter, signs, nonzero = (column.sum(0) for column in sums)
            scatter += (n * (means - mean).square_()).sum(0)
            rows = [mean, scatter, signs, nonzero, lows.amin(0), highs.amax(0)]
            self.entries = [(total, torch.stack(rows))]
        return self.entries[0]

    def units(self) -> dict[str, Any]:
        n, rows = self.merge()
        mean, scatter, signs, nonzero, low, high = rows.double()
        variance = scatter / n
        return {
            "n": n,
            "mean": mean,
            "std": variance.sqrt(),
            "mean_square": variance + mean.square(),
            "positive": (nonzero + signs) / (2 * n),
            "zero": 1 - nonzero / n,
            "min": low,
            "max": high,
        }


class _Site:
    """One row of the table: one call, wherever in a pass it comes."""

    def __init__(self, name: str, kind: str, replicas: torch.Size) -> None:
        self.name, self.kind = name, kind
        self.output, self.gradient = _Sums(replicas), _Sums(replicas)
        self.input = _Sums(replicas, self.output if kind == "relu" else None)

    def units(self) -> dict[str, dict[str, Any]]:
        """Return the statistics of each part that was seen."""
        if self.input.waiting:
            self.input.flush()  # which may add to the output
        parts = {"input": self.input, "output": self.output, "gradient": self.gradient}
        return {name: part.units() for name, part in parts.items() if part}


Taken = tuple[_Site, int, Tensor | Summary]


@lru_cache
def _name(func: Callable) -> str:
    return getattr(func, "__name__", repr(func)).strip("_")


class _Mode(TorchFunctionMode):
    def __init__(self, see: Callable) -> None:
        super().__init__()
        self.see = see

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return self.see(func, args, kwargs or {})


def _plain(x: Tensor) -> tuple[Tensor, int]:
    """Return the tensor under any `torch.func` wrappers, vmapped axes first, and their number."""
    if not _functorch.is_functorch_wrapped_tensor(x):
        return x, 0
    axis = _functorch.maybe_get_bdim(x)
    inner, count = _plain(_functorch.get_unwrapped(x))
    return (inner, count) if axis < 0 else (inner.movedim(axis + count, count), count + 1)


def _on_gradient(x: Tensor, act: Callable[[Tensor, int], None]) -> None:
    """Call `act` with the gradient by x, as `_plain` returns it, whichever wrapper records it."""
    if x.requires_grad:
        if not x.is_leaf:  # a hook on a leaf would outlive the graph
            x.register_hook(lambda g: act(*_plain(g)))
    elif _functorch.is_functorch_wrapped_tensor(x):
        axis = _functorch.maybe_get_bdim(x)
        outer = act if axis < 0 else lambda g, k: act(g.movedim(axis + k, k), k + 1)
        _on_gradient(_functorch.get_unwrapped(x), outer)


def _unseen(method: Callable) -> Callable:
    """Keep what a method does to tensors from any other probe, and from the graph."""

    def call(*args: Any) -> Any:
        with torch._C.DisableTorchFunction(), torch.no_grad():
            return method(*args)

    return call


def _apart(method: Callable, *args: Any) -> Any:
    """Call a method on plain tensors outside of any `torch.func` transform that is running."""
    if _functorch.peek_interpreter_stack() is None:
        return method(*args)
    with temporarily_clear_interpreter_stack():
        return method(*args)


def _version(x: Tensor) -> int | None:
    """Return a count that in-place changes raise."""
    return None if x.is_inference() else x._version


class Probe:
    """What `probe` returns; its representation is the report."""

    def __init__(
        self, model: nn.Module, every: int, gradients: bool, watch: Iterable[nn.Module]
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
        if every < 1:
            raise ValueError(f"every must be at least 1, not {every}")
        self._paths = {
            id(module): path.replace("_orig_mod.", "").removesuffix("_orig_mod").rstrip(".")
            for path, module in model.named_modules()
        }
        self._watch = {id(module) for module in watch}
        if not self._watch <= self._paths.keys():
            raise ValueError("watch must hold modules of the model")
        self._every, self._gradients = every, gradients
        self._mode = _Mode(self._see)
        self._sites: dict[tuple, _Site] = {}
        self._unrecognised: Counter[str] = Counter()
        self._passes = 0
        self._open: ExitStack | None = None
        self._stack: list[str] = []
        self._watched = False
        self._pushed = False
        self._calls: Counter[str] = Counter()
        self._axes: dict[int, int] = {}
        # The latest output, often the next call's input, which then need not be measured again.
        self._last: tuple = (lambda: None, 0, 0, ())

    def __enter__(self) -> Self:
        if self._open is not None:
            raise RuntimeError("this probe is already open: make another with an.probe(model)")
        with ExitStack() as stack:
            # As torch.fx does: hooks would send each call of each module a long way round.
            stack.callback(setattr, nn.Module, "__call__", nn.Module.__call__)
            nn.Module.__call__ = self._calling()
            if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._open, stack = None, self._open
        stack.close()

    def _calling(self) -> Callable:
        """Return what stands in for the call of every module while the probe is open.

        A pass lasts from the outermost call of one of the model's modules until it returns.
        """
        call, paths, stack = nn.Module.__call__, self._paths, self._stack

        def calling(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            path = paths.get(id(module))
            if path is None or torch._C._current_graph_task_id() != -1:  # checkpoints run again
                return call(module, *args, **kwargs)
            if not stack:
                self._begin()
            stack.append(path)
            try:
                if not self._pushed:
                    return call(module, *args, **kwargs)
                if isinstance(module, torch.jit.ScriptModule):
                    self._miss("ScriptModule")
                if id(module) not in self._watch or self._watched:
                    return call(module, *args, **kwargs)
                taken = self._take(type(module).__name__, args[0] if args else None)
                self._watched = True
                try:
                    out = call(module, *args, **kwargs)
                finally:
                    self._watched = False
                self._give(taken, out)
                return out
            finally:
                stack.pop()
                if self._pushed and not stack:
                    self._end()

        return calling

    def _begin(self) -> None:
        self._calls.clear()
        self._axes.clear()
        if self._passes % self._every == 0:
            self._pushed = True
            self._mode.__enter__()
        self._passes += 1

    def _end(self) -> None:
        self._pushed = False
        self._mode.__exit__(None, None, None)

    def _see(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        name = _name(func)
        if name in ACTIVATIONS or name in NORMALIZATIONS:
            if not self._watched:
                taken = self._take(name, args[0] if args else kwargs.get("input"))
                out = func(*args, **kwargs)
                self._give(taken, out, _after(name, func, args, kwargs))
                return out
        elif name in _MIXING or name in _CONVOLUTIONS:
            out = func(*args, **kwargs)
            self._axes[out.ndim] = _CONVOLUTIONS.get(name, -1)
            return out
        elif name not in _PASSED_OVER and not self._watched:
            self._miss(name)
        return func(*args, **kwargs)

    def _miss(self, what: str) -> None:
        self._unrecognised[f"{self._stack[-1] or '(root)'}: {what}"] += 1

    @_unseen
    def _take(self, kind: str, x: Any) -> Taken | None:
        """Measure the input of a call, before an in-place function can overwrite it."""
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.numel() == 0:
            self._miss(kind)
            return None
        if kind in BY_CHANNEL:
            axis = self._axes[x.ndim] = 1 - x.ndim
        else:
            axis = self._axes.get(x.ndim, -1)
        path = self._stack[-1]
        self._calls[path] += 1
        values, replica_axes = _plain(x)
        replicas = values.shape[:replica_axes]
        shape = (*replicas, x.shape[axis] if x.ndim else 1)
        key = (path, self._calls[path], kind, x.device, shape)
        if (site := self._sites.get(key)) is None:
            name = (path or "(root)") + (f" #{self._calls[path]}" if self._calls[path] > 1 else "")
            if name in {site.name for site in self._sites.values()}:  # but of another kind or shape
                name += f" {kind} {list(shape)} {x.device}"
            site = self._sites[key] = _Site(name, kind, replicas)
        last, *state, item = self._last
        if last() is values and state == [_version(values), axis]:
            _apart(site.input.share, item)
        else:
            item = _apart(site.input.add, values, axis)
        if self._gradients:

            @_unseen
            def act(g: Tensor, _: int) -> None:
                if self._open is not None:
                    _apart(site.gradient.add, g, axis)

            _on_gradient(x, act)
        return site, axis, item

    @_unseen
    def _give(self, taken: Taken | None, out: Any, after: After | None = None) -> None:
        if taken is not None and isinstance(out, Tensor):
            site, axis, item = taken
            if site.kind == "relu" and isinstance(item, Tensor):
                return  # follows from the input that waits
            values, _ = _plain(out)
            known = after(item) if after and isinstance(item, tuple) else None
            item = _apart(site.output.add, values, axis, known)
            self._last = weakref.ref(values), _version(values), axis, item

    @property
    def unrecognised(self) -> dict[str, int]:
        """Calls that were neither measured nor known to be no activation, and how many of each."""
        return dict(self._unrecognised)

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
        sites = {site.name: site for site in self._sites.values()}
        if name not in sites:
            raise KeyError(f"no row {name!r}; there are: {', '.join(sites) or 'none'}")
        return {
            f"{part}_{statistic}": value
            for part, units in sites[name].units().items()
            for statistic, value in units.items()
            if statistic != "n"
        }

    def table(self) -> pd.DataFrame:
        """Return one row for each call, one column for each statistic.

        ``shape`` is ``(units,)``, or ``(replicas, units)`` under `torch.vmap`, and ``n`` counts
        the values of each. ``_mean`` and ``_std`` are over all values of all units, ``_min`` and
        ``_max`` of any. ``dead_at_most`` is the share of units whose pre-activation was never
        positive: an upper bound, since a value beyond these n may still be. ``nonfinite`` is the
        share of units that met NaN or infinity. ``gradient_`` is by the input, over all uses of
        it; NaN without a backward pass, and where a view is changed in place.
        """
        rows = []
        for (*_, shape), site in self._sites.items():
            parts = site.units()
            row = {"name": site.name, "kind": site.kind, "shape": shape, "n": parts["input"]["n"]}
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
            row["dead_at_most"] = math.nan if site.kind in NORMALIZATIONS else dead
            row["nonfinite"] = (~parts["input"]["mean"].isfinite()).double().mean().item()
            rows.append(row)
        return pd.DataFrame(rows, columns=_COLUMNS)

    def __repr__(self) -> str:
        missed = ", ".join(f"{what} ({n})" for what, n in self._unrecognised.items())
        report = self.table().to_string() if self._sites else "no activation or normalization seen"
        return f"{report}\nnot recognised: {missed}" if missed else report


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
    under `torch.func`. It keeps running sums for each unit, and no values beyond a small block
    that waits for its turn; the model, its hooks, mode and gradients and the random state stay as
    they were. While it is open, fused transformer layers and compiled models run unfused and
    uncompiled, so that their parts are seen.

    A unit is an entry of the last axis, or of the channel axis after a convolution and in
    normalizations by channel. Calls are told apart by module and by their order in a pass, which
    is one outermost call of the model or of one of its parts. Under `torch.vmap` each replica
    keeps its own statistics.

    Parameters
    ----------
    model
        Any module.
    every
        Measure every n-th pass; the others run at nearly full speed.
    gradients
        Also measure, when a measured pass is differentiated, the gradients by the inputs.
    watch
        Modules of the model to measure as a whole, for activations made of arithmetic or of an
        own `torch.autograd.Function` (which nothing here can see). What they call is not listed.

    Returns
    -------
    Probe
        ``.table()``, ``.units(name)`` and ``.unrecognised``: calls, such as a fused recurrent
        layer, of which it is not known whether they are or hide an activation. It may be entered
        again, and adds to its evidence.

    Raises
    ------
    TypeError
        `model` is no module.
    ValueError
        `every` < 1, or `watch` holds what is no module of the model.
    """
    return Probe(model, every, gradients, watch)
