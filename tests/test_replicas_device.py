"""Where replicas are trained is asked for by name, and what it takes is given back."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from loops import SEED, blobs, mlp

from actnorm import replicas as rp

train = partial(
    rp.train, mlp, blobs(), steps=3, batch_size=8, optimizer=rp.sgd(0.1), replicas=2, seed=SEED
)


@pytest.mark.parametrize("device", ["", "gpu", "cuda:99", "meta", 99, 1.5])
def test_a_device_that_is_not_there_is_named(device, monkeypatch):
    message = "must be a device of this machine, such as cpu or cuda, not "
    with pytest.raises(ValueError, match=f"^device {message}{device!r}: [^\n]+$"):
        train(device=device)
    if isinstance(device, str):
        monkeypatch.setenv("ACTNORM_DEVICE", device)
        with pytest.raises(ValueError, match=f"^ACTNORM_DEVICE {message}{device!r}: [^\n]+$"):
            train()
        train(device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="device 0 is a card here")
def test_device_0_is_a_card_and_not_the_cpu():
    with pytest.raises(ValueError, match=r"^device must be .* not 0: "):
        train(device=0)


@pytest.mark.parametrize("device", ["cpu:0", torch.device("cpu", 0)])
def test_the_cpu_goes_by_more_names_than_one(device):
    assert (train(device=device).losses == train(device="cpu").losses).all()
