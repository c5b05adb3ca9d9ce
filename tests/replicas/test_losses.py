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


def test_small_whole_numbers_are_classes_as_in_torch():
    logits, targets = torch.randn(5, 3), torch.randint(3, (5,))
    for kind in (torch.uint8, torch.int64):
        found = rp.losses.mean_cross_entropy(logits, targets.to(kind))
        torch.testing.assert_close(found, F.cross_entropy(logits, targets))


def test_rows_without_a_target_are_refused():
    with pytest.raises(ValueError, match=r"batch_size \(10\) to match target batch_size \(5\)"):
        rp.losses.mean_cross_entropy(torch.randn(10, 3), torch.zeros(5, dtype=torch.int64))


def test_accuracy_takes_the_classes_of_the_loss():
    targets = torch.randint(4, (6, 4))
    scores = 9 * F.one_hot(targets, 4).transpose(1, 2).double()
    for logits, y in (
        (scores, targets),
        (scores[0].T, targets[0]),
        (scores[0, :, 0], targets[0, 0]),
    ):
        assert rp.classification(nn.Identity(), logits, y)["accuracy"] == 1
    with pytest.raises(ValueError, match=r"for each of \(3,\) guesses, not of shape \(3, 3\)"):
        rp.classification(nn.Identity(), 9 * torch.eye(3), torch.eye(3))
