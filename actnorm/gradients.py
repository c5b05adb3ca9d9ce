"""Gradients one sample at a time: their signs, their spread, and the batch size they call for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

Loss = Callable[[Any, Tensor], Tensor]


def sign_coherence(g: Tensor) -> Tensor:
    """Return how far the gradients of each neuron's incoming weights share a sign.

    S = |sum_i sign g_i| / fan_in: 1 when all point one way, 0 when as many go up as down. A zero
    gradient has sign 0: it adds nothing to the sum and still counts in fan_in.

    Parameters
    ----------
    g
        Gradients ``(..., fan_in)``; that of a `torch.nn.Linear` weight has this shape.

    Returns
    -------
    Tensor ``(...)``.

    Raises
    ------
    ValueError
        `g` has no axis, is empty or holds NaN.
    """
    if g.ndim == 0 or g.numel() == 0:
        raise ValueError(f"g must have shape (..., fan_in) and not be empty, not {tuple(g.shape)}")
    _finite(g=g)
    return g.sign().mean(-1).abs()


def per_sample(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Loss = F.cross_entropy,
    *,
    chunk: int | None = None,
) -> dict[str, Tensor]:
    """Return the gradient of each sample's own loss by every trainable parameter.

    Samples go through the model as batches of one, so that dropout in train mode draws anew for
    each. All n gradients are held at once: where their moments suffice, use `moments`.

    Parameters
    ----------
    model
        Any module that `torch.vmap` can run; left as it was.
    inputs, targets
        ``(n, ...)`` each.
    loss
        ``loss(outputs, targets) -> scalar``, called on a batch of one.
    chunk
        Samples at once. By default as many as keep the gradients of a chunk under 2²⁴ numbers,
        and at most 1,024.

    Returns
    -------
    From the name of each parameter to its gradients, ``(n, *parameter.shape)``.

    Raises
    ------
    ValueError
        BatchNorm that uses batch statistics; no trainable parameter; inputs or targets that are
        empty, not finite or of different lengths; a loss that is not a scalar; a gradient that is
        not finite.
    """
    _check(model, inputs, targets, chunk)
    parts = [grads for grads, _ in _chunks(model, inputs, targets, loss, chunk, {})]
    grads = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    _finite(**{f"the gradients by {name}": g for name, g in grads.items()})
    return grads


@dataclass(frozen=True)
class Moments:
    """Moments of per-sample gradients over the samples given, which are the whole population.

    Attributes
    ----------
    mean, variance
        From the name of each parameter to a tensor of its shape. The variance divides by n.
    squared_norms
        ``(n,)``: |g_i|² of each sample's gradient, over all parameters.
    """

    mean: dict[str, Tensor]
    variance: dict[str, Tensor]
    squared_norms: Tensor


def moments(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Loss = F.cross_entropy,
    *,
    chunk: int | None = None,
) -> Moments:
    """Return mean, variance and squared norms of the per-sample gradients without holding them.

    The gradient of a linear layer that is applied once, to vectors, is δ aᵀ for each sample: its
    moments are the matrix products Σ δ aᵀ and Σ δ² (a²)ᵀ, its norms |δ|² |a|² (I. Goodfellow,
    2015, Efficient per-example gradient computations). Those of other parameters are formed, a
    chunk at a time. Sums are float64: squares of float32 are exact in them, so that a variance
    far below its squared mean survives the difference.

    Parameters and errors are those of `per_sample`.
    """
    _check(model, inputs, targets, chunk)
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    first = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in parameters.items()}
    second = {name: torch.zeros_like(total) for name, total in first.items()}
    norms = []
    taps = _plain_linears(model, inputs[:1])
    for grads, pairs in _chunks(model, inputs, targets, loss, chunk, taps):
        norm = torch.zeros((), dtype=torch.float64, device=inputs.device)
        for name, (delta, a) in pairs.items():
            delta, a = delta.double(), a.double()
            delta2, a2 = delta * delta, a * a
            first[name].addmm_(delta.T, a)
            second[name].addmm_(delta2.T, a2)
            norm = norm + delta2.sum(1) * a2.sum(1)
        for name, g in grads.items():
            g = g.double()
            square = g * g
            first[name] += g.sum(0)
            second[name] += square.sum(0)
            norm = norm + square.flatten(1).sum(1)
        norms.append(norm)
    squared_norms = torch.cat(norms)
    _finite(**{"the per-sample gradients": squared_norms})
    mean = {name: total.div_(len(inputs)) for name, total in first.items()}
    variance = {
        name: total.div_(len(inputs)).addcmul_(mean[name], mean[name], value=-1).clamp_min_(0)
        for name, total in second.items()
    }
    return Moments(
        mean={name: mean[name].to(p.dtype) for name, p in parameters.items()},
        variance={name: variance[name].to(p.dtype) for name, p in parameters.items()},
        squared_norms=squared_norms,
    )


def relative_noise(g: Tensor | Mapping[str, Tensor] | Moments) -> float:
    """Return R = tr(Σ) / |G|², the noise of per-sample gradients relative to their mean G.

    The samples given are the whole population (Σ divides by n), so nothing is estimated. It is
    the simple noise scale of S. McCandlish et al. (2018), An Empirical Model of Large-Batch
    Training.

    Parameters
    ----------
    g
        Per-sample gradients ``(n, ...)``, a mapping to such tensors, or their `Moments`.

    Returns
    -------
    float, >= 0; infinite where G = 0 and the gradients differ.

    Raises
    ------
    ValueError
        Empty or non-finite gradients, or gradients that are all zero.
    """
    if isinstance(g, Moments):
        means, variances = g.mean.values(), g.variance.values()
    else:
        samples = list(g.values()) if isinstance(g, Mapping) else [g]
        if not samples or any(t.ndim == 0 or t.numel() == 0 for t in samples):
            raise ValueError("g must hold gradients of shape (n, ...) and not be empty")
        _finite(**{f"g[{i}]": t for i, t in enumerate(samples)})
        means = [t.double().mean(0) for t in samples]
        variances = [(t - mean).square().mean(0) for t, mean in zip(samples, means, strict=True)]
    trace = sum(float(v.sum(dtype=torch.float64)) for v in variances)
    square = sum(float(m.double().square().sum()) for m in means)
    if trace == square == 0:
        raise ValueError("g must hold a gradient that is not zero: 0 / 0 is no relative noise")
    return trace / square if square else math.inf


@dataclass(frozen=True)
class NoiseScale:
    """Unbiased estimates of |G|² and tr(Σ); their ratio `scale` is a batch size, in samples.

    `scale` is consistent, not unbiased: average the two ingredients over many batches before
    dividing. It is infinite where the estimate of |G|² is not positive.
    """

    squared_gradient: float
    trace: float

    @property
    def scale(self) -> float:
        return self.trace / self.squared_gradient if self.squared_gradient > 0 else math.inf


def noise_scale(
    small: Tensor | float, big: Tensor | float, *, batch_sizes: tuple[int, int]
) -> NoiseScale:
    """Estimate the simple noise scale from the gradients of batches of two sizes.

    E |G_B|² = |G|² + tr(Σ) / B for a batch of B independent samples; two sizes give two
    equations (S. McCandlish et al., 2018, appendix A.1).

    Parameters
    ----------
    small, big
        Squared norms |G_B|² of the gradients of batches of either size: one, or a tensor of any
        number of them, which is averaged. With `Moments` of n samples, ``squared_norms`` are
        those of batches of 1, and |mean|² that of one batch of n.
    batch_sizes
        ``(small, big)``.

    Raises
    ------
    ValueError
        Sizes that are not 1 <= small < big; norms that are negative, empty or not finite.
    """
    b, n = batch_sizes
    if not 1 <= b < n:
        raise ValueError(f"batch_sizes must satisfy 1 <= small < big, not {batch_sizes}")
    means = []
    for name, value in (("small", small), ("big", big)):
        square = torch.as_tensor(value, dtype=torch.float64)
        if square.numel() == 0 or not square.isfinite().all() or (square < 0).any():
            raise ValueError(f"{name} must hold squared norms: finite, >= 0 and at least one")
        means.append(float(square.mean()))
    square_b, square_n = means
    return NoiseScale(
        squared_gradient=(n * square_n - b * square_b) / (n - b),
        trace=(square_b - square_n) / (1 / b - 1 / n),
    )


def _finite(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} must be finite, but holds NaN or infinity")


def _check(model: nn.Module, inputs: Tensor, targets: Tensor, chunk: int | None) -> None:
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise ValueError(
            "inputs and targets must hold one number of samples, at least 1, "
            f"not {len(inputs)} and {len(targets)}"
        )
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, not {chunk}")
    _finite(inputs=inputs, targets=targets)
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("model must have a parameter that requires a gradient")
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            raise ValueError(
                f"model must not mix the samples of a batch, but {name or 'it'!r} is a "
                f"{type(module).__name__} that uses batch statistics: call model.eval(), or "
                "normalize otherwise"
            )


def _chunks(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Loss,
    chunk: int | None,
    taps: dict[str, str | None],
) -> Iterator[tuple[dict[str, Tensor], dict[str, tuple[Tensor, Tensor]]]]:
    """Yield, chunk after chunk, per-sample gradients, and (δ, a) of the tapped linear layers."""
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    names = {id(p): name for name, p in model.named_parameters()}
    # Every place of a tied parameter, but a shared module once: functional_call's own tying would
    # leave its tensors behind in a module that is registered twice.
    places = {
        f"{path}.{key}".lstrip("."): names[id(p)]
        for path, module in model.named_modules()
        for key, p in module.named_parameters(recurse=False, remove_duplicate=False)
    }
    shifts = {name: parameters[name].new_zeros(len(parameters[name])) for name in taps}
    formed = parameters.keys() - taps.keys() - set(taps.values())
    rest = {name: p for name, p in parameters.items() if name in formed}
    size = chunk or max(1, min(1024, 2**24 // max(1, sum(p.numel() for p in rest.values()))))

    def one(rest, shifts, x, y):
        with _Tap(names, shifts) as tap:
            tensors = {place: rest[name] for place, name in places.items() if name in rest}
            outputs = functional_call(model, tensors, (x[None],), tie_weights=False)
        value = loss(outputs, y[None])
        if value.ndim:
            raise ValueError(f"loss must return a scalar, not shape {tuple(value.shape)}")
        return value, tap.inputs

    gradient = vmap(
        grad(one, argnums=(0, 1), has_aux=True), in_dims=(None, None, 0, 0), randomness="different"
    )
    for x, y in zip(inputs.split(size), targets.split(size), strict=True):
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # the one attention that vmap knows
            (grads, deltas), seen = gradient(rest, shifts, x, y)
        grads |= {bias: deltas[weight] for weight, bias in taps.items() if bias is not None}
        yield grads, {name: (deltas[name], seen[name].flatten(1)) for name in taps}


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple:
    return input, weight, bias


class _Tap(TorchFunctionMode):
    """Shifts the outputs of named linear layers, so that the shift's gradient is δ; keeps a."""

    def __init__(self, names: dict[int, str], shifts: dict[str, Tensor]) -> None:
        super().__init__()
        self.names, self.shifts, self.inputs = names, shifts, {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is F.linear:
            a, weight, _ = _linear(*args, **(kwargs or {}))
            if (name := self.names.get(id(weight))) in self.shifts:
                self.inputs[name] = a
                return out + self.shifts[name]
        return out


class _Uses(TorchFunctionMode):
    """Counts the uses of parameters, by id, and keeps the linear layers applied to one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[int] = Counter()
        self.linears: list[tuple[int, int | None]] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count.update(map(id, tree_leaves((args, kwargs))))
        if func is F.linear:
            a, weight, bias = _linear(*args, **(kwargs or {}))
            if a.ndim == 2 and len(a) == 1:
                self.linears.append((id(weight), None if bias is None else id(bias)))
        return func(*args, **(kwargs or {}))


def _plain_linears(model: nn.Module, inputs: Tensor) -> dict[str, str | None]:
    """Map weight to bias, by name, for linear layers used once, on vectors, and nowhere else."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.no_grad(), _Uses() as uses:
        functional_call(model, buffers, (inputs,), tie_weights=False)
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    names[None] = None
    return {
        names[weight]: names[bias]
        for weight, bias in uses.linears
        if weight in names and bias in names and uses.count[weight] == 1 >= uses.count[bias]
    }
