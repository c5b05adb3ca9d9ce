"""Replicas in chunks make one row, and what was measured outlives the probe."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

import actnorm as an
from actnorm.probe import probe


def stack(count):
    """Replicas that tell their number: what enters the activation of the r-th is r."""
    models = [nn.Sequential(nn.Linear(3, 4), nn.Tanh()) for _ in range(count)]
    for r, model in enumerate(models):
        nn.init.zeros_(model[0].weight)
        nn.init.constant_(model[0].bias, float(r))
    return models[0], stack_module_state(models)[0]


def numbers(found):
    return found.tolist() if found.ndim == 1 else found[:, 0].tolist()


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, None])
@pytest.mark.parametrize("way", ["forward", "backward", "grad within"])
def test_replicas_in_chunks_are_all_replicas(chunk, way):
    model, stacked = stack(5)
    x = torch.ones(2, 3)

    def loss(p):
        return functional_call(model, p, (x,)).sum()

    with probe(model) as seen:
        for _ in range(2):
            if way == "grad within":
                vmap(grad(loss), chunk_size=chunk)({k: p.detach() for k, p in stacked.items()})
            else:
                out = vmap(loss, chunk_size=chunk)(stacked).sum()
                out.backward() if way == "backward" else None
    found = seen.units("1")
    assert numbers(found["input_mean"]) == [0, 1, 2, 3, 4]
    row = seen.table().iloc[0]
    assert row["shape"] == (5, 4)
    assert row["n"] == 4
    assert row["input_mean"] == 2
    assert row["output_max"] == pytest.approx(torch.tanh(torch.tensor(4.0)).item())
    if way != "forward":
        slope = 1 - torch.tanh(torch.arange(5.0).double()) ** 2
        torch.testing.assert_close(
            found["gradient_mean"][:, 0], slope, atol=1e-6, rtol=1e-5, check_dtype=False
        )


@pytest.mark.parametrize("inner", [None, 1, 2])
@pytest.mark.parametrize("outer", [None, 1, 2])
def test_chunks_within_chunks(outer, inner):
    x = torch.arange(12.0).view(3, 4)
    model = nn.Tanh()
    with probe(model) as seen:
        vmap(vmap(model, chunk_size=inner), chunk_size=outer)(x)
    assert torch.equal(seen.units("(root)")["input_mean"].squeeze(-1), x.double())


def test_chunks_of_other_sizes_are_other_rows():
    model, stacked = stack(5)
    x = torch.ones(2, 3)
    with probe(model) as seen:
        for chunk in (2, 3, 2):
            vmap(lambda p: functional_call(model, p, (x,)), chunk_size=chunk)(stacked)
        fewer = {name: p[:4] for name, p in stacked.items()}
        vmap(lambda p: functional_call(model, p, (x,)), chunk_size=3)(fewer)
    assert seen.table()["n"].tolist() == [4, 2]
    for name in seen.table()["name"]:
        assert numbers(seen.units(name)["input_mean"]) == [0, 1, 2, 3, 4]
    assert seen.unrecognised == {"1: tanh (sizes changed)": 1}


def test_every_counts_each_chunk_for_itself():
    model, stacked = stack(4)
    x = torch.ones(2, 3)
    with probe(model, every=2) as seen:
        for _ in range(3):
            vmap(lambda p: functional_call(model, p, (x,)), chunk_size=2)(stacked)
    assert numbers(seen.units("1")["input_mean"]) == [0, 1, 2, 3]
    assert seen.table()["n"].tolist() == [4]


def test_what_replicas_share_enters_once_and_leaves_for_each():
    """Slopes differ from replica to replica, what they act on does not."""
    model = nn.LayerNorm(2, elementwise_affine=True, bias=False)
    slopes = torch.arange(4.0)[:, None].expand(4, 2)
    x = torch.tensor([[0.0, 2], [1, 3]])
    for chunk in (None, 2):
        with probe(model) as seen:
            vmap(lambda a: functional_call(model, {"weight": a}, (x,)), chunk_size=chunk)(slopes)
        found = seen.units("(root)")
        assert found["input_mean"].tolist() == [0.5, 2.5]
        assert found["output_mean"].round().tolist() == [[-r, r] for r in range(4)]
        assert seen.table()["n"].tolist() == [2]
    with probe(model) as seen:
        for chunk in (2, 3):
            vmap(lambda a: functional_call(model, {"weight": a}, (x,)), chunk_size=chunk)(slopes)
    assert seen.table()["n"].tolist() == [2, 2]
    for name in seen.table()["name"]:
        assert seen.units(name)["output_max"].round().tolist() == [[-r, r] for r in range(4)]


def test_sizes_that_change_are_named():
    class Grows(nn.Module):
        def __init__(self):
            super().__init__()
            self.size = 2

        def forward(self, x):
            self.size += 1
            return x.new_ones(2, self.size)

    model = nn.Sequential(Grows())
    with probe(model, watch=[model[0]]) as seen:
        for _ in range(2):
            model(torch.ones(2, 3))
    assert seen.table()["output_mean"].tolist() == [1]
    assert seen.unrecognised == {"0: output of Grows (sizes changed)": 1}


@pytest.mark.parametrize("way", [copy.deepcopy, copy.copy, lambda p: pickle.loads(pickle.dumps(p))])
@pytest.mark.parametrize("inside", [False, True])
def test_a_probe_can_be_copied(way, inside):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.GRU(4, 2), nn.Identity())
    seen = probe(model, watch=[model[1]])
    with seen:
        for _ in range(3):
            model(torch.randn(5, 3))
        if inside:
            twin = way(seen)
    if not inside:
        twin = way(seen)
    assert repr(twin) == repr(seen)
    assert twin.unrecognised == seen.unrecognised == {"2: gru": 3}
    assert torch.equal(twin.units("1")["input_mean"], seen.units("1")["input_mean"])
    with pytest.raises(RuntimeError, match="a copy without a model"):
        twin.__enter__()
    with seen:
        model(torch.randn(5, 3))
    assert seen.table()["n"].tolist() == [20]


def test_a_copy_of_replicas_gradients_and_inference():
    model, stacked = stack(4)
    with probe(model) as seen:
        vmap(lambda p: functional_call(model, p, (torch.ones(2, 3),)), chunk_size=2)(
            stacked
        ).sum().backward()
        with torch.inference_mode():
            model(torch.ones(2, 3))
            twin = pickle.loads(pickle.dumps(seen))
    assert repr(twin) == repr(seen)
    assert numbers(twin.units("1")["gradient_mean"]) == numbers(seen.units("1")["gradient_mean"])


def test_a_pickle_is_small():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    with probe(model) as seen:
        for _ in range(100):
            model(torch.randn(500, 3)).sum().backward()
    assert len(pickle.dumps(seen)) < 10_000


def replicas(count):
    torch.manual_seed(0)
    models = [
        nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 3), nn.Tanh())
        for _ in range(count)
    ]
    return models, stack_module_state(models)[0], torch.randn(5, 6)


@pytest.mark.parametrize("way", ["vmap, then backward", "vmap of grad", "grad of vmap"])
def test_under_vmap_each_replica_has_its_statistics(way):
    models, stacked, x = replicas(3)
    detached = {name: p.detach() for name, p in stacked.items()}

    def loss(parameters):
        return functional_call(models[0], parameters, (x,)).square().sum()

    with probe(models[0]) as seen:
        if way == "vmap, then backward":
            vmap(loss)(stacked).sum().backward()
        elif way == "vmap of grad":
            vmap(grad(loss))(detached)
        else:
            grad(lambda p: vmap(loss)(p).sum())(detached)
    assert seen.table()["shape"].tolist() == [(3, 4), (3, 4), (3, 3)]
    for r, model in enumerate(models):
        with probe(model) as alone:
            model(x).square().sum().backward()
        for row in ("1", "2", "4"):
            expected = alone.units(row)
            together = seen.units(row)
            assert together.keys() == expected.keys()
            for statistic, value in expected.items():
                torch.testing.assert_close(together[statistic][r], value, rtol=1e-5, atol=1e-6)


def test_statistics_outlive_the_transform():
    x, model = torch.randn(3, 300, 200), nn.Tanh()
    with probe(model) as seen:
        vmap(grad(lambda x: model(2 * x).sum()))(x)
    found = seen.units("(root)")["input_min"]
    assert not torch._C._functorch.is_functorch_wrapped_tensor(found)
    assert (found.numpy() == 2 * x.amin(1).numpy()).all()


def test_replicas_on_another_axis():
    leaf = torch.randn(5, 3, 2, requires_grad=True)
    x = 2 * leaf
    model = nn.Tanh()
    with probe(model) as seen:
        vmap(model, in_dims=1)(x).sum().backward()
    units = seen.units("(root)")
    torch.testing.assert_close(units["input_mean"], x.detach().double().mean(0))
    slope = 1 - torch.tanh(x.detach()).double() ** 2
    torch.testing.assert_close(units["gradient_mean"], slope.mean(0), rtol=1e-5, atol=1e-6)


def test_a_run_that_records_can_be_pickled():
    torch.manual_seed(0)
    x, y = torch.randn(40, 6), torch.randint(3, (40,))
    split = an.data.Split(*((x[a:b], y[a:b]) for a, b in ((0, 24), (24, 32), (32, 40))))
    run = an.train(
        lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)),
        split,
        steps=3,
        batch_size=8,
        optimizer=an.sgd(0.1),
        replicas=2,
        every=2,
        record=an.probe,
    )
    for twin in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run)):
        assert [repr(r.context) for r in twin.records] == [repr(r.context) for r in run.records]
