"""Where replicas are trained is asked for by name, and what it takes is given back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from operator import attrgetter
from typing import ClassVar

import pandas as pd
import pytest
import torch
from loops import SEED, blobs, mlp
from torch import nn

from actnorm import gradients
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


def precisions() -> dict[str, object]:
    """Return what this torch has cuDNN do with float32, as far as it can be read."""
    found = {}
    for name in ("allow_tf32", "conv.fp32_precision", "rnn.fp32_precision"):
        try:
            found[name] = attrgetter(name)(torch.backends.cudnn)
        except AttributeError:
            assert not hasattr(torch.backends, "fp32_precision")  # one for all kinds, of old
        except RuntimeError as error:  # kinds were set apart
            found[name] = type(error)
    return found


@contextmanager
def set_to(settings: dict[str, object]) -> Iterator[None]:
    """Set torch.backends meanwhile, one after the other."""
    with ExitStack() as back:
        for name, value in settings.items():
            path, _, key = f"backends.{name}".rpartition(".")
            place = attrgetter(path)(torch)
            back.callback(setattr, place, key, getattr(place, key))
            setattr(place, key, value)
        yield


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cudnn.allow_tf32": False},
        {"cudnn.conv.fp32_precision": "ieee"},
        {"fp32_precision": "tf32"},
        {"cudnn.allow_tf32": False, "fp32_precision": "tf32"},
    ],
)
def test_convolutions_of_a_card_do_not_round_to_tf32(settings):
    if any("fp32" in name for name in settings) and not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this torch has one setting for all kinds")
    untouched, during = precisions(), []

    def loss(model, batch, noise):
        during.append(precisions())
        return model(batch[0]).square().mean()

    with set_to(settings):
        before = precisions()
        train(mlp, loss=loss)
        assert precisions() == before
        with pytest.raises(ZeroDivisionError), on.without_tf32():
            1 / 0  # noqa: B018
        assert precisions() == before
    assert precisions() == untouched
    assert during
    for found in during:
        assert found.pop("allow_tf32") is False or before["allow_tf32"] is RuntimeError
        assert set(found.values()) <= {"ieee"}


def everything() -> rp.Run:
    """Train on all that `train` draws and makes itself."""

    def jittered(model, batch, given):
        return nn.functional.cross_entropy(model(batch[0] + given[0]), batch[1])

    return train(
        mlp,
        noise=(lambda generator: (torch.randn(8, 6, generator=generator).double(),)),
        loss=jittered,
        evaluate=lambda model, inputs, targets: {"mean": model(inputs).mean(), "one": 1.0},
        clip=0.1,
    )


def test_training_makes_nothing_on_torchs_default_device(request):
    here = everything()
    request.getfixturevalue("elsewhere")
    there = everything()
    assert (there.losses == here.losses).all()
    pd.testing.assert_frame_equal(there.metrics, here.metrics)
    assert torch.empty(0).device.type == "meta"


class Last(nn.Module):
    """Reads inputs as two steps, and notes whether cuDNN may."""

    fused: ClassVar[set[bool]] = set()

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 3)
        self.double()

    def forward(self, x):
        self.fused.add(torch.backends.cudnn.enabled)
        return self.head(self.memory(x.unflatten(1, (2, 3)))[0][:, -1])


def test_recurrent_replicas_make_nothing_on_torchs_default_device(elsewhere):
    assert train(Last).losses.shape == (3, 2)


def test_recurrent_layers_run_where_torch_can_stack_them():
    Last.fused.clear()
    train(Last)
    assert Last.fused == {False}
    Last.fused.clear()
    gradients.per_sample(Last(), torch.ones(2, 6).double(), torch.zeros(2).long())
    assert False in Last.fused
    assert torch.backends.cudnn.enabled


def test_losses_make_tensors_on_torchs_default_device(elsewhere):
    made = set()

    def loss(model, batch, noise):
        made.add(torch.zeros(()).device.type)
        return model(batch[0]).square().mean()

    train(mlp, loss=loss)
    assert made == {"meta"}
