"""Running statistics of each unit, of blocks of values that wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch.nn import functional as F

_WIDE = {torch.float32, torch.float64}
_BLOCK = 2**17
_PENDING = 32
_ROWS = ("mean", "scatter", "signs", "nonzero", "low", "high")

Summary = tuple[int, Tensor]
Rows = dict[str, Tensor]
After = Callable[[Summary], Rows | None]


def summary(x: Tensor, replica_axes: int, axis: int, known: Rows | None = None) -> Summary:
    """Return how many values each unit on an axis has, and a row of all units for each statistic:
    mean, squared deviations, sum of signs, values that are not 0, least, largest; of these, the
    pairs not yet known are measured.
    """
    if x.is_mps:
        x = x.cpu()  # which has float64
    samples, positions = range(replica_axes, x.ndim + axis), range(axis + 1, 0)
    folds = [tuple(axes) for axes in (samples, positions) if axes]

    def fold(reduce: Callable, x: Tensor) -> Tensor:  # samples first: far faster on a CPU
        for axes in folds:
            x = reduce(x, axes)
        return x

    rows, work = dict(known or {}), None
    if "low" not in rows:
        rows["low"], rows["high"] = fold(torch.amin, x), fold(torch.amax, x)
    if "mean" not in rows:
        shape = [*x.shape[:replica_axes], *(1 for _ in samples), -1, *(1 for _ in positions)]
        rows["mean"], rows["scatter"], work = _moments(x, rows["low"], rows["high"], fold, shape)
    if "signs" not in rows:
        work = torch.sign(x, out=work)
        rows["signs"] = fold(torch.sum, work)
        rows["nonzero"] = _nonzero(work, rows["low"], fold)
    return x.numel() // rows["mean"].numel(), torch.stack([rows[name] for name in _ROWS])


def _moments(
    x: Tensor, low: Tensor, high: Tensor, fold: Callable, shape: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return means, sums of squared deviations, and room for as many values.

    Where squares or sums leave the range of float32, each unit is first scaled by a power of two,
    and what returns is float64. Elsewhere than on a CPU a look would wait for the device.
    """

    def plain(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = fold(torch.mean, x)
        work = x - mean.view(shape)
        return mean, fold(torch.sum, work.square_()), work

    if x.dtype != torch.float32:
        return plain(x)
    if x.is_cpu and not _out_of_range((found := plain(x))[1], low, high):
        return found
    size = torch.maximum(-low, high).to(x.dtype)
    scale = torch.ldexp(torch.ones_like(size), -torch.frexp(size).exponent.clamp(-126, 126))
    mean, scatter, work = plain(x * scale.view(shape))
    scale = scale.double()
    return mean / scale, scatter / scale.square(), work


def _out_of_range(scatter: Tensor, low: Tensor, high: Tensor) -> bool:
    """Return whether squared deviations in float32 may have been too large, or too small."""
    least, most = (value.item() for value in torch.aminmax(scatter))
    if not most < 2.0**126:  # nor NaN
        return True
    if least > 2.0**-60:
        return False
    size = torch.maximum(-low, high)  # a deviation is at least 2^-24 of it, or 0
    return bool(((size > 0) & (size < 2.0**-36)).any())


def after_relu(before: Summary) -> Rows:
    """Return what is known of the values that leave a ReLU."""
    _, _, signs, nonzero, low, high = before[1]
    positive = (signs + nonzero) / 2
    return {
        "signs": positive,
        "nonzero": positive,
        "low": low.clamp_min(0),
        "high": high.clamp_min(0),
    }


def after_batch_norm(
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


def after_call(func: Callable, rectifies: bool, args: tuple, kwargs: dict) -> After | None:
    """Return what tells, from the summary of a call's input, what is known of its output."""
    if rectifies:
        return after_relu
    if func is not F.batch_norm or not args or _functorch.peek_interpreter_stack() is not None:
        return None
    x, *rest = args
    if x.dtype not in (torch.float32, torch.float64):  # too coarsely rounded
        return None

    def after(before: Summary) -> Rows | None:
        n, table = before
        if x.is_cpu and table.dtype != x.dtype:  # too large or small for the call's own squares
            return None
        return after_batch_norm((n, table.to(x.dtype)), *rest, **kwargs)

    return after


def _nonzero(signs: Tensor, like: Tensor, fold: Callable) -> Tensor:
    """Return how many signs of each unit are not 0; they may be overwritten."""
    flat, count = signs.flatten(), signs.numel()
    # Most often all, which one product tells. Whole numbers are exact below 2^24.
    if signs.is_cpu and count < 2**24 and torch.dot(flat, flat).item() == count:
        return torch.full_like(like, count // like.numel())
    return fold(torch.sum, signs.abs_())


class Sums:
    """Running moments, sign shares and extremes of each unit.

    Small batches wait for each other, up to `_BLOCK` values, and summaries of one number per unit
    and statistic wait for a common merge: on a CPU the number of calls is what costs. Variances
    are merged from squared deviations (T. Chan, G. Golub and R. LeVeque, 1983), never taken from
    mean squares.
    """

    def __init__(self, replica_axes: int, rectified: Sums | None = None) -> None:
        self.replica_axes = replica_axes
        self.rectified = rectified  # of the positive parts of what waits here
        self.waiting: list[Tensor] = []
        self.size = 0
        self.entries: list[Summary] = []

    def __bool__(self) -> bool:
        return bool(self.waiting or self.entries)

    def add(self, x: Tensor, axis: int, known: Rows | None = None) -> Tensor | Summary:
        """Add values whose first axes are replicas, and whose units are on axis `axis` < 0."""
        k = self.replica_axes
        while (axes := x.ndim - k) < 2:
            x = x.unsqueeze(k)
        if x.dtype not in _WIDE:
            x = x.float()
        if axis == -1 and x.numel() < _BLOCK:
            return self.share((x if axes == 2 else x.flatten(k, -2)).clone())
        return self.share(summary(x, k, axis, known))

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
        x, k = torch.cat(self.waiting, -2), self.replica_axes
        self.waiting, self.size = [], 0
        item = summary(x, k, -1)
        self.entries.append(item)
        if self.rectified is not None:
            self.rectified.share(summary(x.relu_(), k, -1, after_relu(item)))

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
        variance = torch.where(low == high, low - high, scatter / n)  # NaN where infinite
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
