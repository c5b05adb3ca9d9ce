"""Compiled code runs as it was written while any probe is open."""

import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from actnorm.probe import probe


def model():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU())


def counts(seen):
    return seen.table()["n"].tolist()


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


@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("place", ["whole", "part", "in place"])
def test_compiled_models_are_seen_uncompiled(place):
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph

    class Own(nn.Sequential):
        def forward(self, x):
            for layer in self:
                x = layer(x)
            return x

    model = Own(nn.Linear(6, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 3), nn.GELU()))
    x = torch.randn(5, 6)
    expected = model(x)
    if place == "whole":
        model = torch.compile(model, backend=backend)
    elif place == "part":
        model[2] = torch.compile(model[2], backend=backend)
    else:
        model.compile(backend=backend)
    model(x)
    assert len(graphs) == 1
    with probe(model) as seen:
        torch.testing.assert_close(model(x), expected)
    assert seen.table()["name"].tolist() == ["1", "2.1"]
    torch.testing.assert_close(model(x), expected)
    assert len(graphs) == 1
