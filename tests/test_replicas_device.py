"""Where replicas are trained is asked for by name, and what it takes is given back."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from loops import SEED, blobs, mlp
from torch import nn

from actnorm import replicas as rp
from actnorm.replicas import device as on

train = partial(
    rp.train, data=blobs(), steps=3, batch_size=8, optimizer=rp.sgd(0.1), replicas=2, seed=SEED
)


@pytest.mark.parametrize("device", ["", "gpu", "cuda:99", "meta", 99, 1.5])
def test_a_device_that_is_not_there_is_named(device, monkeypatch):
    message = "must be a device of this machine, such as cpu or cuda, not "
    with pytest.raises(ValueError, match=f"^device {message}{device!r}: [^\n]+$"):
        train(mlp, device=device)
    if isinstance(device, str):
        monkeypatch.setenv("ACTNORM_DEVICE", device)
        with pytest.raises(ValueError, match=f"^ACTNORM_DEVICE {message}{device!r}: [^\n]+$"):
            train(mlp)
        train(mlp, device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="device 0 is a card here")
def test_device_0_is_a_card_and_not_the_cpu():
    with pytest.raises(ValueError, match=r"^device must be .* not 0: "):
        train(mlp, device=0)


@pytest.mark.parametrize("device", ["cpu:0", torch.device("cpu", 0)])
def test_the_cpu_goes_by_more_names_than_one(device):
    assert (train(mlp, device=device).losses == train(mlp, device="cpu").losses).all()


def test_no_card_is_seeded_but_the_one_that_trains(monkeypatch):
    # Without a card, torch keeps such a call until there is one.
    seeded = []
    for name in ("manual_seed", "manual_seed_all"):
        monkeypatch.setattr(torch.cuda, name, lambda number, name=name: seeded.append(name))
    train(mlp, device="cpu")
    assert seeded == []
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    with on.forked(torch.device("cpu")):
        on.seed(torch.device("cuda", 0), 5)
        assert seeded == ["manual_seed"]
        drawn = torch.rand(2)
        on.seed(torch.device("cpu"), 5)
        assert torch.equal(torch.rand(2), drawn)


def test_the_callers_generator_is_given_back():
    before = torch.get_rng_state()
    train(lambda: nn.Sequential(mlp(), nn.Dropout(0.5)))
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_on_the_cpu_count_on_a_card_too(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.ones(3).byte())
    with on.forked(torch.device("cpu")):
        before = on.generator_state(torch.device("cuda", 0))
        torch.rand(1)
        assert not torch.equal(before, on.generator_state(torch.device("cuda", 0)))
