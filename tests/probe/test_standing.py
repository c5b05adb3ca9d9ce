"""Probes open and close in any order and thread, and leave everything as it was."""

import asyncio
import subprocess
import sys
import textwrap
import threading

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from actnorm.probe import probe

CALL = nn.Module.__call__


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert nn.Module.__call__ is CALL
    assert "__call__" in vars(nn.Module)
    assert not _get_current_function_mode_stack()


def model():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU())


def counts(seen):
    return seen.table()["n"].tolist()


class Waits(nn.Module):
    """Between its two activations it waits for a word from outside."""

    def forward(self, x, wait=lambda: None):
        x = torch.relu(x)
        wait()
        return torch.tanh(x)


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


def test_threads_run_one_model():
    """Passes overlap: A begins, B begins, A ends, B ends."""
    net, errors = Waits(), []
    inside = [threading.Event(), threading.Event()]
    go = [threading.Event(), threading.Event()]

    def run(i):
        def wait():
            inside[i].set()
            assert go[i].wait(20)

        try:
            net(torch.full((4, 3), 1.0 - 2 * i), wait)
            assert not _get_current_function_mode_stack()
        except BaseException as error:
            errors.append(error)

    with probe(net) as seen:
        threads = [threading.Thread(target=run, args=(i,)) for i in (0, 1)]
        for i in (0, 1):
            threads[i].start()
            assert inside[i].wait(20)
        for i in (0, 1):
            go[i].set()
            threads[i].join(20)
    assert not errors
    assert counts(seen) == [8, 8]
    assert seen.table()["name"].tolist() == ["(root)", "(root) #2"]
    assert seen.table()["input_positive"].tolist() == [0.5, 0.5]


def test_many_threads_lose_nothing():
    net, errors = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Tanh()), []
    net[0].weight.data.copy_(torch.eye(3))
    net[0].bias.data.zero_()

    def run(value):
        try:
            for _ in range(50):
                net(torch.full((4, 3), value)).sum().backward()
        except BaseException as error:
            errors.append(error)

    with probe(net) as seen:
        threads = [threading.Thread(target=run, args=(float(i),)) for i in range(-3, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not errors
    assert counts(seen) == [8 * 50 * 4] * 2
    row = seen.table().iloc[0]
    assert row["input_mean"] == pytest.approx(0.5)
    assert row["input_std"] == pytest.approx(torch.arange(-3.0, 5).std(correction=0).item())
    assert row["gradient_zero"] == pytest.approx(0.5)


def test_other_threads_models_are_left_alone():
    net, other, seen_modes = model(), Waits(), []

    def run():
        other(torch.ones(1, 2), lambda: seen_modes.append(_get_current_function_mode_stack()))

    def here():
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(20)

    class Root(nn.Module):
        def forward(self, x):
            here()
            return torch.relu(x)

    root = Root()
    with probe(root) as seen, probe(net):
        root(torch.ones(1, 2))
    assert seen_modes == [[]]
    assert seen.table()["kind"].tolist() == ["relu"]


def test_a_probe_closed_by_another_thread_measures_no_more():
    net = Waits()
    seen = probe(net)
    seen.__enter__()

    def close():
        thread = threading.Thread(target=seen.__exit__, args=(None, None, None))
        thread.start()
        thread.join(20)

    net(torch.ones(1, 2), close)
    assert seen.table()["kind"].tolist() == ["relu"]


def test_tasks_interleave_at_awaits():
    net = model()

    async def task(turns, passes):
        with probe(net) as seen:
            for _ in range(turns):
                net(torch.ones(1, 2))
                await asyncio.sleep(0)
            passes.append((turns, counts(seen)))

    async def main():
        passes = []
        await asyncio.gather(*(task(turns, passes) for turns in (1, 3, 2)))
        return passes

    # A probe sees every pass of its model, whoever runs it.
    assert asyncio.run(main()) == [(1, [3]), (2, [4]), (3, [5])]


@pytest.mark.parametrize("kind", ["coroutine", "generator", "async_generator"])
def test_what_runs_after_the_call_has_returned_is_named(kind):
    class Later(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        if kind == "coroutine":

            async def forward(self, x):
                await asyncio.sleep(0)
                return torch.tanh(self.act(x))

        elif kind == "generator":

            def forward(self, x):
                yield torch.tanh(self.act(x))

        else:

            async def forward(self, x):
                yield torch.tanh(self.act(x))

    async def run(later):
        if kind == "coroutine":
            await asyncio.gather(later, asyncio.sleep(0))
        elif kind == "generator":
            list(later)
        else:
            [x async for x in later]

    net = Later()
    with probe(net) as seen:
        asyncio.run(run(net(torch.ones(2, 3))))
    assert seen.table()["name"].tolist() == ["act"]
    assert seen.unrecognised == {f"(root): {kind}": 1}


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


FIRST = """
import sys, warnings
warnings.filterwarnings("ignore")
import torch
from torch import nn
from actnorm.probe import probe

def backend(graph, _):
    graphs.append(graph)
    return graph

class Own(nn.Sequential):
    def forward(self, x):
        return self[1](self[0](x))

graphs, x = [], torch.randn(2, 3)
model = Own(nn.Linear(3, 4), nn.ReLU())
assert "torch._dynamo" not in sys.modules
original = torch.compile
seen = probe(model)
with seen:
    if HOW == "module":
        call = torch.compile(model, backend=backend)
    elif HOW == "in place":
        model.compile(backend=backend)
        call = model
    elif HOW == "function":
        call = torch.compile(lambda x: 2 * model(x), backend=backend)
    else:
        call = torch.compile(backend=backend)(lambda x: 2 * model(x))
    for _ in range(2):
        call(x)
    assert not graphs
assert seen.table()["kind"].tolist() == ["relu"], seen
assert seen.table()["n"].tolist() == [4], seen
assert torch.compile is original
call(x)
assert len(graphs) == 1
"""


@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="needs torch 2.6")
@pytest.mark.parametrize("how", ["module", "in place", "function", "decorator"])
def test_what_is_first_compiled_in_the_block(how):
    code = f"HOW = {how!r}\n{textwrap.dedent(FIRST)}"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="needs torch 2.6")
def test_compiled_code_is_compiled_again_after_the_last_probe():
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph

    net, x = model(), torch.ones(1, 2)
    compiled = torch.compile(lambda x: net(x) + 1, backend=backend)
    first, second = probe(net), probe(net)
    first.__enter__()
    second.__enter__()
    compiled(x)
    first.__exit__(None, None, None)
    compiled(x)
    assert not graphs
    second.__exit__(None, None, None)
    compiled(x)
    assert len(graphs) == 1
    assert (counts(first), counts(second)) == ([1], [2])
    with probe(net):
        torch.compiler.set_stance("eager_on_recompile")
    stance = torch._dynamo.eval_frame._stance.stance
    torch.compiler.set_stance("default")
    assert stance == "eager_on_recompile"
