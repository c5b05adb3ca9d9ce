"""A model may run in several threads and tasks at once, and in others beside it."""

import asyncio
import threading

import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack

from actnorm.probe import probe


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
