"""Multi-head self-attention whose heads can be normalized together, or each by itself."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actnorm import streams

Norm = Literal["layer", "head"] | None


class HeadNorm(nn.Module):
    """Layer normalization of each head by itself, so that no head's size touches another's.

    It takes the heads' outputs side by side, ``(..., features)``, and stands in front of the
    output projection. Weight and bias are one number for each feature, as in `nn.LayerNorm`.

    Parameters
    ----------
    features
        The last axis of the input.
    heads
        How many heads it holds; divides ``features``, and leaves each head at least two: one
        alone is its own mean.
    eps
        Added to each head's variance.
    """

    def __init__(self, features: int, heads: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.heads, self.eps = _dividing(features, heads), eps
        if self.heads == features:
            raise ValueError(f"heads must hold at least two features each, not {features} in all")
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, z: Tensor) -> Tensor:
        if z.shape[-1:] != self.weight.shape:
            raise ValueError(f"z must hold {len(self.weight)} features, not shape {tuple(z.shape)}")
        each = z.unflatten(-1, (self.heads, -1))
        each = F.layer_norm(each, each.shape[-1:], eps=self.eps)
        return each.flatten(-2) * self.weight + self.bias


class Attention(nn.Module):
    """Self-attention of ``(..., tokens, features)`` over all tokens: ``out(norm(heads(x)))``.

    The norm is none, ``layer``, one for all heads together (as in Foundation Transformers; Wang
    et al. 2022), or ``head``, a `HeadNorm` (as in the Differential Transformer; Ye et al. 2024,
    which takes off no mean).
    """

    def __init__(self, features: int, heads: int, norm: Norm = "head") -> None:
        super().__init__()
        self.count = _dividing(features, heads)
        norms = {None: nn.Identity, "layer": nn.LayerNorm, "head": lambda n: HeadNorm(n, heads)}
        if norm not in norms:
            raise ValueError(f"norm must be None, layer or head, not {norm!r}")
        self.norm = norms[norm](features)
        parts = [nn.Linear(features, features, bias=False) for _ in range(3)]
        self.query, self.key, self.value = parts
        self.out = nn.Linear(features, features)

    def heads(self, x: Tensor) -> Tensor:
        """Return the heads' outputs side by side, ``(..., tokens, features)``."""
        q, k, v = (
            layer(x).unflatten(-1, (self.count, -1)).transpose(-2, -3)
            for layer in (self.query, self.key, self.value)
        )
        return F.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(self.heads(x)))


def _dividing(features: int, heads: int) -> int:
    features, heads = streams.whole("features", features), streams.whole("heads", heads, 0)
    if heads == 0 or features % heads:
        raise ValueError(f"heads must divide features = {features}, not {heads}")
    return heads
