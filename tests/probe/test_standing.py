"""Probes open and close in any order, and leave everything as it was."""

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from actnorm.probe import probe

CALL = nn.Module.__call__


def model():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU())


def counts(seen):
    return seen.table()["n"].tolist()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
def test_any_order_of_closing(order):
    """On one model, on a part of it and on another."""
    one, other = model(), model()
    probes = [probe(one), probe(one[1]), probe(other)]
    for seen in probes:
        seen.__enter__()
    expected = [0, 0, 0]
    for closing in (None, *order):
        if closing is not None:
            probes[closing].__exit__(None, None, None)
            expected[closing] = None, expected[closing]
        one(torch.ones(1, 2)), other(torch.ones(1, 2))
        expected = [n if isinstance(n, tuple) else n + 1 for n in expected]
    assert [counts(seen) for seen in probes] == [[n] for _, n in expected]


def test_generators_left_half_way():
    net = model()

    def steps():
        with probe(net) as seen:
            yield seen
            yield seen

    first, second = steps(), steps()
    one = next(first)
    two = next(second)
    net(torch.ones(1, 2))
    first.close()
    net(torch.ones(1, 2))
    assert (counts(one), counts(two)) == ([1], [2])
    del second
    assert nn.Module.__call__ is CALL


class Raises(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_closes_its_own_probe_only(error):
    net = nn.Sequential(nn.ReLU(), Raises(error))
    with probe(net) as outer:
        with pytest.raises(error), probe(net) as inner:
            net(torch.ones(1, 2))
        net[0](torch.ones(1, 2))
    assert (counts(inner), counts(outer)) == ([1], [2])


def patched(call):
    def theirs(module, *args, **kwargs):
        theirs.calls += 1
        return call(module, *args, **kwargs)

    theirs.calls = 0
    return theirs


def test_what_somebody_else_puts_on_top_stays_theirs():
    net = model()
    with probe(net) as seen:
        before = nn.Module.__call__
        nn.Module.__call__ = theirs = patched(before)
        net(torch.ones(1, 2))
    assert nn.Module.__call__ is theirs
    net(torch.ones(1, 2))
    with probe(net) as again:
        net(torch.ones(1, 2))
    assert nn.Module.__call__ is theirs
    assert (counts(seen), counts(again), theirs.calls) == ([1], [1], 9)
    nn.Module.__call__ = before  # they put back what they had found: it takes itself away
    net(torch.ones(1, 2))
    assert nn.Module.__call__ is CALL
    assert counts(seen) == [1]


def test_what_somebody_else_had_put_there_returns():
    net = model()
    nn.Module.__call__ = theirs = patched(CALL)
    try:
        with probe(net) as seen:
            net(torch.ones(1, 2))
        assert nn.Module.__call__ is theirs
    finally:
        nn.Module.__call__ = CALL
    assert (counts(seen), theirs.calls) == ([1], 3)


class Bound(nn.Module):
    __call__ = nn.Module.__call__

    def forward(self, x):
        return torch.tanh(torch.relu(x))


class Own(Bound):
    def __call__(self, x):
        return 2 * self.forward(x)


class Super(nn.Module):
    def __call__(self, x):
        return super().__call__(2 * x)

    def forward(self, x):
        return torch.tanh(torch.relu(x))


@pytest.mark.parametrize("kind", [Bound, Own, Super])
def test_a_class_may_have_a_call_of_its_own(kind):
    net = nn.Sequential(kind())
    before = vars(kind)["__call__"]
    expected = net(torch.ones(2, 3))
    with probe(net) as outer, probe(net[0]) as inner:
        assert torch.equal(net(torch.ones(2, 3)), expected)
    assert outer.table()["kind"].tolist() == ["relu", "tanh"]
    assert outer.table()["name"].tolist() == ["0", "0 #2"]
    assert counts(inner) == [2, 2]
    assert vars(kind)["__call__"] is before


class Counting(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_a_mode_that_a_model_leaves_behind_stays_its_own():
    left = Counting()

    class Leaves(nn.Module):
        def forward(self, x):
            left.__enter__()
            return torch.relu(x)

    net = Leaves()
    with probe(net) as seen:
        net(torch.ones(2, 3))
    assert _get_current_function_mode_stack() == [left]
    left.__exit__(None, None, None)
    assert seen.table()["kind"].tolist() == ["relu"]


def test_modes_of_the_user_see_the_model_and_nothing_else():
    net = nn.Sequential(nn.Conv1d(3, 4, 2), nn.Flatten(1), nn.Linear(8, 4), nn.ReLU(), nn.Tanh())
    x = torch.randn(5, 3, 3)
    with Counting() as plain:
        net(x)
    with probe(net, gradients=False), Counting() as inside:
        net(x)
    with Counting() as outside, probe(net, gradients=False):
        net(x)
    assert plain.names == inside.names == outside.names


def test_modules_of_a_model_that_is_gone_are_not_mistaken():
    for _ in range(30):
        seen = probe(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        with seen:
            nn.Sequential(nn.Linear(2, 2), nn.Tanh())(torch.ones(1, 2))
        assert seen.table().empty
        assert seen.unrecognised == {"(root): the model is gone": 1}


def test_a_model_that_dies_in_the_block_is_held_until_its_end():
    net = model()
    with probe(net) as seen:
        net(torch.ones(1, 2))
        del net
        for _ in range(30):
            nn.Sequential(nn.Linear(2, 2), nn.Tanh())(torch.ones(1, 2))
    assert seen.table()["kind"].tolist() == ["relu"]
    assert seen._model() is None


def test_parts_are_measured_in_turn():
    parts = nn.ModuleDict({"g": model(), "d": nn.Sequential(nn.Linear(3, 2), nn.Tanh())})
    with probe(parts, every=2) as seen:
        for _ in range(7):
            parts["d"](parts["g"](torch.randn(4, 2)))
    assert seen.table()["name"].tolist() == ["g.1", "d.1"]
    assert counts(seen) == [16, 16]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_nothing_behind(error):
    class Raises(nn.Module):
        def forward(self, x):
            raise error

    model = nn.Sequential(nn.ReLU(), Raises())
    call = nn.Module.__call__
    seen = probe(model)
    with pytest.raises(error), seen:
        model(torch.ones(2, 3))
    assert not torch.overrides._get_current_function_mode_stack()
    assert nn.Module.__call__ is call
    assert seen.table()["n"].tolist() == [2]
    model[1] = nn.Tanh()
    model(torch.ones(2, 3))
    assert seen.table()["n"].tolist() == [2]


def test_an_exception_caught_in_the_block_ends_its_pass():
    class Picky(nn.Module):
        def forward(self, x):
            if x.sum() < 0:
                raise ValueError("below")
            return x

    model = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Identity(), Picky()), nn.ReLU())
    with probe(model) as seen:
        for sign in (1, -1, 1):
            try:
                model[1](model[2](sign * torch.ones(2, 3)) + sign - 1)
            except ValueError:
                assert not torch.overrides._get_current_function_mode_stack()
    assert seen.table()["name"].tolist() == ["2"]
    assert seen.table()["n"].tolist() == [6]


def test_probes_nest_and_do_not_see_each_other():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 3), nn.GELU()))
    with probe(model) as outer, probe(model[2]) as inner, probe(model) as again:
        model(torch.randn(5, 6)).sum().backward()
        model(torch.randn(5, 6))
    assert outer.table().equals(again.table())
    assert outer.table()["name"].tolist() == ["1", "2.1"]
    assert inner.table()["name"].tolist() == ["1"]
    assert not outer.unrecognised
    assert not inner.unrecognised
    assert not torch.overrides._get_current_function_mode_stack()


def test_a_probe_entered_again_adds_to_its_evidence():
    model = nn.ReLU()
    seen = probe(model)
    for _ in range(2):
        with seen:
            model(torch.ones(2, 3))
    model(torch.ones(2, 3))
    assert seen.table()["n"].tolist() == [4]
    with seen, pytest.raises(RuntimeError, match="already open"):
        seen.__enter__()
