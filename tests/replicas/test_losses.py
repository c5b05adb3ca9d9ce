"""Losses against torch's own."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from actnorm import replicas as rp

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("shape", [(5, 2), (128, 10), (7, 100), (4, 3, 6)])
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_is_that_of_torch(shape, soft):
    torch.manual_seed(0)
    logits = (10 * torch.randn(2, *shape, dtype=torch.float64)).requires_grad_()
    targets = torch.randint(shape[1], (2, shape[0], *shape[2:]))
    if soft:
        targets = torch.rand_like(logits).softmax(2)
    ours = torch.func.vmap(partial(rp.cross_entropy, nn.Identity()), (0, None))
    losses = ours((logits, targets), ())
    plain = [F.cross_entropy(z, t) for z, t in zip(logits, targets, strict=True)]
    torch.testing.assert_close(losses, torch.stack(plain), rtol=1e-14, atol=0)
    gradients = [torch.autograd.grad(sum(x), logits)[0] for x in (losses, plain)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-15)
