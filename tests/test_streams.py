"""Streams and data: what a replica draws depends on nothing but its seed and its index."""

import random

import numpy as np
import pytest
import torch

from actnorm import data, streams


def draws(name, replica, seed):
    return torch.rand(4, generator=streams.stream(name, replica, seed=seed)).tolist()


def test_streams_repeat_and_differ():
    keys = [(n, r, s) for n in streams.STREAMS for r in range(3) for s in (0, 1)]
    first = [draws(*key) for key in keys]
    assert first == [draws(*key) for key in reversed(keys)][::-1]
    assert len({tuple(row) for row in first}) == len(keys)


def test_a_page_trains_the_first_replicas_of_its_record(monkeypatch):
    assert streams.replicas(32, live=8) == range(8)
    assert streams.replicas(32, first=128, live=8) == range(128, 136)
    monkeypatch.setenv("ACTNORM_REPLICAS", "x2")
    assert streams.replicas(32, live=8) == range(16)
    monkeypatch.delenv("ACTNORM_REPLICAS")
    for tier in ("verify", "full"):
        monkeypatch.setenv("ACTNORM_TIER", tier)
        assert streams.replicas(32, first=128, live=8) == range(128, 160)
    monkeypatch.setenv("ACTNORM_TIER", "fast")
    with pytest.raises(ValueError, match="one of live, verify, full, not 'fast'"):
        streams.replicas(32)


def test_whole_numbers_are_pythons_or_numpys():
    assert draws("init", np.int64(2), np.uint8(1)) == draws("init", 2, 1)
    assert streams.replicas(np.int64(8), first=np.int32(4)) == range(4, 12)
    assert streams.whole("count", torch.tensor(3)) == 3
    for call in (
        lambda: streams.stream("init", 0.5),
        lambda: streams.stream("init", 0, seed="1"),
        lambda: streams.replicas(2.0),
    ):
        with pytest.raises(TypeError, match="must be a whole number, not"):
            call()


def test_environment_moves_seed_and_replicas(monkeypatch):
    assert streams.seed() == 0
    assert streams.replicas(8) == range(8)
    assert streams.replicas(8, first=128) == range(128, 136)
    plain = draws("init", 2, None)
    monkeypatch.setenv("ACTNORM_SEED", "1001")
    assert streams.seed() == 1001
    assert draws("init", 2, None) == draws("init", 2, 1001) != plain
    monkeypatch.setenv("ACTNORM_REPLICAS", "x3")
    assert streams.replicas(8) == range(24)
    assert streams.replicas(8, first=128) == range(128, 152)
    monkeypatch.setenv("ACTNORM_REPLICAS", "32:64")
    assert streams.replicas(8) == range(32, 64)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ACTNORM_SEED", "one", "ACTNORM_SEED must be a whole number >= 0, not 'one'"),
        ("ACTNORM_SEED", "-3", "ACTNORM_SEED must be a whole number"),
        ("ACTNORM_REPLICAS", "many", "ACTNORM_REPLICAS must look like x2 or 32:64, not 'many'"),
        ("ACTNORM_REPLICAS", "x0", "must look like"),
        ("ACTNORM_REPLICAS", "9:3", "must look like"),
        ("ACTNORM_REPLICAS", "-2:3", "must look like"),
    ],
)
def test_bad_environment_is_named(monkeypatch, variable, value, message):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=message):
        streams.replicas(4) if "REPLICAS" in variable else streams.seed()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: streams.stream("dropout", 0), "name must be one of split, init, batches, noise"),
        (lambda: streams.stream("init", -1), "replica must be >= 0"),
        (lambda: streams.stream("init", 0, seed=-1), "seed must be >= 0, not -1"),
        (lambda: streams.replicas(0), "count must be at least 1"),
        (lambda: streams.replicas(1, first=-1), "first must be >= 0, not -1"),
        (lambda: streams.replicas(8, live=9), "live must be at most count = 8, not 9"),
        (lambda: data.digits("test"), "pool must be one of judging, tuning, not 'test'"),
        (
            lambda: data.Split((torch.ones(3), torch.ones(2)), (torch.ones(1),), (torch.ones(1),)),
            r"train must hold tensors of one length of at least 1, not \[2, 3\]",
        ),
        (
            lambda: data.Split((torch.ones(3),), (torch.ones(0),), (torch.ones(1),)),
            "validation must hold",
        ),
    ],
)
def test_bad_calls_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_digits_pools_share_no_image_and_parts_are_disjoint():
    rows = {}
    for pool in ("tuning", "judging"):
        split = data.digits(pool, standardize=False)(streams.stream("split", 0, seed=1000))
        parts = [split.train, split.validation, split.test]
        rows[pool] = torch.cat([inputs for inputs, _ in parts])
        assert [len(y) for _, y in parts] == {"tuning": [399, 99, 99], "judging": [800, 200, 200]}[
            pool
        ]
        assert rows[pool].min() == 0
        assert rows[pool].max() == 1
    images = torch.cat([rows["tuning"], rows["judging"]])
    from sklearn.datasets import load_digits

    whole = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    assert torch.equal(images.double().sum(0), whole.double().sum(0))


def test_standardized_digits_have_unit_scale_on_the_train_part():
    x, _ = data.digits()(streams.stream("split", 4, seed=1000)).train
    scale = x.std(0, correction=0)
    assert x.mean(0).abs().max() < 1e-5
    assert torch.all((scale - 1).abs().lt(1e-4) | scale.eq(0))


def test_digits_are_drawn_on_the_cpu(elsewhere):
    data.images._digits_pools.cache_clear()
    split = data.digits()(streams.stream("split", 0, seed=0))
    assert {t.device.type for part in vars(split).values() for t in part} == {"cpu"}


def test_photographs_pools_share_no_tile_and_parts_are_disjoint():
    from sklearn.datasets import load_sample_image

    rows = {}
    for pool, sizes in (("tuning", [48, 10, 10]), ("judging", [96, 22, 22])):
        split = data.photographs(pool)(streams.stream("split", 0, seed=1000))
        parts = [split.train, split.validation, split.test]
        assert [len(y) for _, y in parts] == sizes
        assert all(y.bincount().tolist() == [len(y) // 2] * 2 for _, y in parts)
        rows[pool] = torch.cat([tiles for tiles, _ in parts])
    tiles = (255 * torch.cat([rows["tuning"], rows["judging"]])).round().clamp(0, 255)
    photographs = [load_sample_image(f"{name}.jpg")[:384, :624] for name in ("china", "flower")]
    assert tiles.double().sum().item() == pytest.approx(np.sum(photographs), rel=1e-6)
    assert len(tiles) == 2 * 104


def test_no_tile_is_constant_in_any_color():
    tiles, _ = data.photographs("tuning")(streams.stream("split", 0, seed=1000)).train
    assert tiles.flatten(2).std(2).min() > 1e-3


def test_pictures_are_whole_blocks_and_known_by_name():
    assert data.picture("china").shape == (3, 424, 640)
    assert data.picture("flower").max() == 1
    for name in ("brick", "grass"):
        gray = data.picture(name)
        assert gray.shape == (3, 256, 256)
        assert torch.equal(gray[0], gray[2])
        assert gray.std() > 0.05
    gray.zero_()
    assert data.picture(name).std() > 0.05
    with pytest.raises(ValueError, match="one of china, flower, brick, grass, not 'moon'"):
        data.picture("moon")
    with pytest.raises(ValueError, match="one of judging, tuning, not 'all'"):
        data.photographs("all")


def test_signals_are_fresh_for_every_replica_and_repeat():
    def drawn(replica, seed=1000):
        return data.mnist1d(60)(streams.stream("split", replica, seed=seed))

    first, other = drawn(0), drawn(1)
    assert [len(y) for _, y in (first.train, first.validation, first.test)] == [40, 10, 10]
    whole = torch.cat([first.train[0], first.validation[0], first.test[0]])
    assert whole.shape == (60, 40)
    assert whole.mean().abs() < 1e-6
    assert whole.std(correction=0) == pytest.approx(1, abs=1e-6)
    targets = torch.cat([first.train[1], first.validation[1], first.test[1]])
    assert targets.bincount().tolist() == [6] * 10
    assert not torch.isclose(first.train[0][:, None], other.train[0]).all(-1).any()
    data.signals._signals.cache_clear()
    assert torch.equal(first.train[0], drawn(0).train[0])


def test_generating_signals_leaves_global_generators_alone():
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    numbers = random.getstate()
    data.signals._signals.cache_clear()
    data.mnist1d(60)(streams.stream("split", 5, seed=1000))
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    assert random.getstate() == numbers


@pytest.mark.parametrize("examples", [50, 65])
def test_signals_come_in_equal_classes(examples):
    with pytest.raises(ValueError, match="a multiple of 10, at least 60"):
        data.mnist1d(examples)


def test_mixtures_are_clusters_off_center_and_fresh_for_every_replica():
    first, other = (data.mixtures()(streams.stream("split", r, seed=1000)) for r in (0, 1))
    assert [len(y) for _, y in (first.train, first.validation, first.test)] == [800, 200, 200]
    cut = first.train, first.validation, first.test
    x, y = (torch.cat(parts) for parts in zip(*cut, strict=True))
    assert x.shape == (1200, 64)
    assert sorted(set(y.tolist())) == list(range(10))
    assert x.mean() == pytest.approx(0.5, abs=0.03)
    assert x.std() == pytest.approx((1 / 12 + 0.4**2) ** 0.5, abs=0.02)
    near = torch.cdist(x, x).fill_diagonal_(torch.inf).argmin(1)
    assert (y[near] == y).double().mean() > 0.8  # a tenth by chance
    assert not torch.isclose(first.train[0][:, None], other.train[0]).all(-1).any()
    again = data.mixtures()(streams.stream("split", 0, seed=1000))
    assert torch.equal(first.train[0], again.train[0])


@pytest.mark.parametrize("draw", [data.mixtures, data.photographs, data.digits, data.mnist1d])
def test_data_are_float32_whatever_torch_takes_by_default(draw):
    expected, _ = draw()(streams.stream("split", 0, seed=1000)).train
    torch.set_default_dtype(torch.float64)
    try:
        found, _ = draw()(streams.stream("split", 0, seed=1000)).train
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_what_was_asked_for_is_remembered(monkeypatch):
    monkeypatch.setattr(streams, "ASKED", set())
    streams.replicas(32, first=1024)
    streams.replicas(8)
    assert {(0, 7), (1024, 1055)} == streams.ASKED
