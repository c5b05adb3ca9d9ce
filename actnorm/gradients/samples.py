"""Gradients of each sample's own loss, and their moments without holding them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from actnorm import streams
from actnorm.gradients.chunks import Loss, chunks, survey


@torch.inference_mode(False)  # tensors that are made in it have no gradients
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
        empty, not finite or of different lengths; a loss that is not a real scalar; a tensor that
        the model made of its parameters before its forward; a gradient that is not finite.
    """
    chunk = _checked(model, inputs, targets, chunk)
    seen = survey(model, inputs[:1], targets[:1], loss)
    parts = [grads for grads, _ in chunks(model, inputs, targets, loss, chunk, seen, {})]
    grads = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    finite(**{f"the gradients by {name}": g for name, g in grads.items()})
    return grads


@dataclass(frozen=True)
class Moments:
    """Moments of per-sample gradients over the samples given, which are the whole population.

    Attributes
    ----------
    mean, variance
        From the name of each parameter to a tensor of its shape, and of its type where the numbers
        fit: squares of 1e-25 stay float64. The variance divides by n; it is real.
    squared_norms
        ``(n,)``: |g_i|² of each sample's gradient, over all parameters.
    """

    mean: dict[str, Tensor]
    variance: dict[str, Tensor]
    squared_norms: Tensor


@torch.inference_mode(False)
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

    That a layer is applied once is seen in torch's functions. A use of its weight inside a
    `torch.jit.script` function is not seen, and moments are wrong there: take `per_sample`.

    Parameters and errors are those of `per_sample`.
    """
    chunk = _checked(model, inputs, targets, chunk)
    seen = survey(model, inputs[:1], targets[:1], loss)
    parameters = seen.trained
    first = {name: wide(torch.zeros_like(p)) for name, p in parameters.items()}
    second = {name: squared(total) for name, total in first.items()}
    norms = []
    for grads, pairs in chunks(model, inputs, targets, loss, chunk, seen, seen.linears):
        norm = torch.zeros((), dtype=torch.float64, device=inputs.device)
        for name, (delta, a) in pairs.items():
            delta, a = wide(delta), wide(a)
            delta2, a2 = squared(delta), squared(a)
            first[name].addmm_(delta.T, a.conj())
            second[name].addmm_(delta2.T, a2)
            norm = norm + delta2.sum(1) * a2.sum(1)
        for name, g in grads.items():
            g = wide(g)
            square = squared(g)
            first[name] += g.sum(0)
            second[name] += square.sum(0)
            norm = norm + square.unsqueeze(-1).flatten(1).sum(1)
        norms.append(norm)
    squared_norms = torch.cat(norms)
    finite(**{"the per-sample gradients": squared_norms})
    mean = {name: total.div_(len(inputs)) for name, total in first.items()}
    variance = {name: total.div_(len(inputs)) for name, total in second.items()}
    for name, total in variance.items():
        m = mean[name]
        for part in (m.real, m.imag) if m.is_complex() else (m,):
            total.addcmul_(part, part, value=-1)
        total.clamp_min_(0)
    return Moments(
        mean=_fitted(mean, {name: p.dtype for name, p in parameters.items()}),
        variance=_fitted(variance, {name: p.dtype.to_real() for name, p in parameters.items()}),
        squared_norms=squared_norms,
    )


def finite(**tensors: Tensor) -> None:
    """Raise where a tensor holds NaN or infinity, by name."""
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} must be finite, but holds NaN or infinity")


def wide(value: Tensor) -> Tensor:
    """Return a tensor in double precision, complex if it is."""
    return value.to(torch.promote_types(value.dtype, torch.float64))


def squared(value: Tensor) -> Tensor:
    """Return the squared absolute values."""
    if value.is_complex():
        return torch.view_as_real(value.resolve_conj()).square().sum(-1)
    return value * value


def _fitted(values: dict[str, Tensor], dtypes: dict[str, torch.dtype]) -> dict[str, Tensor]:
    """Return tensors in these types, but for those whose numbers do not fit: they stay wide."""
    sizes = [value.abs() if value.is_complex() else value for value in values.values()]
    peaks = torch.stack(
        [
            torch.maximum(size.amax(), -size.amin()) if size.numel() else size.new_zeros(())
            for size in sizes
        ]
    )
    fitted = {}
    for (name, value), peak in zip(values.items(), peaks.cpu().tolist(), strict=True):
        limits = torch.finfo(dtypes[name])
        fits = peak == 0 or limits.tiny / limits.eps < peak < limits.max
        fitted[name] = value.to(dtypes[name]) if fits else value
    return fitted


def _checked(model: nn.Module, inputs: Tensor, targets: Tensor, chunk: int | None) -> int | None:
    """Return the size of a chunk, once the arguments are what they must be."""
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise ValueError(
            "inputs and targets must hold one number of samples, at least 1, "
            f"not {len(inputs)} and {len(targets)}"
        )
    finite(inputs=inputs, targets=targets)
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("model must have a parameter that requires a gradient")
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            raise ValueError(
                f"model must not mix the samples of a batch, but {name or 'it'!r} is a "
                f"{type(module).__name__} that uses batch statistics: call model.eval(), or "
                "normalize otherwise"
            )
    return None if chunk is None else streams.whole("chunk", chunk)
