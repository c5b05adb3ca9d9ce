"""A module as a function of its tensors: what goes in, what moves, what is given back."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from actnorm import stateless


class Holder(nn.Module):
    """Holds tensors in every way, one of them at two places."""

    def __init__(self):
        super().__init__()
        self.linear, self.twin = nn.Linear(2, 2), nn.Linear(2, 2, bias=False)
        self.twin.weight = self.linear.weight
        self.register_buffer("buffer", torch.zeros(2))
        self.register_buffer("empty", None)
        self.plain, self.none, self.count = torch.ones(2), None, 0

    def forward(self, x):
        self.count += 1
        self.buffer = self.buffer + 1
        self.empty = self.none = self.new = x.sum()
        self.plain.add_(1)
        return self.twin(self.linear(x)) + self.buffer + self.plain


def test_every_tensor_has_one_name():
    model = Holder()
    named = stateless.tensors(model)
    assert set(named) == {"linear.weight", "linear.bias", "buffer", "plain"}
    assert named["linear.weight"] is model.twin.weight
    assert stateless.names(model)["twin.weight"] == "linear.weight"
    assert stateless.numbers(model) == {"count": 0} | {
        f"{part}.{name}": 2
        for part in ("linear", "twin")
        for name in ("in_features", "out_features")
    }


def test_a_call_runs_on_what_it_is_given_and_tells_what_moved():
    model, x = Holder(), torch.randn(3, 2)
    own = stateless.tensors(model)
    given = {name: torch.randn_like(value) for name, value in own.items()}
    copies = {name: value.clone() for name, value in given.items()}
    call = stateless.caller(model)
    out, moved = call(given, nn.Module.__call__, x)
    weight = copies["linear.weight"]
    expected = (x @ weight.T + copies["linear.bias"]) @ weight.T + copies["buffer"] + 1
    torch.testing.assert_close(out, expected + copies["plain"] + 1)
    assert moved.keys() == {"buffer", "empty", "none", "new"}
    assert torch.equal(moved["buffer"], copies["buffer"] + 1)
    assert torch.equal(given["plain"], copies["plain"] + 1)
    assert stateless.tensors(model).keys() == own.keys()
    assert all(value is own[name] for name, value in stateless.tensors(model).items())
    assert (model.empty, model.none, model.count) == (None, None, 1)
    # What moved can be given again, under names that the module did not hold.
    _, again = call(given | moved, nn.Module.__call__, x)
    torch.testing.assert_close(again["buffer"], copies["buffer"] + 2)
    assert not hasattr(model, "new")


def test_a_call_that_fails_leaves_the_module_its_own():
    model = Holder()
    own = stateless.tensors(model)

    def fail(model):
        model.new = model.buffer = torch.ones(2)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stateless.caller(model)({"linear.weight": torch.zeros(2, 2)}, fail)
    assert all(value is own[name] for name, value in stateless.tensors(model).items())
    assert not hasattr(model, "new")


def test_attributes_and_containers_come_back():
    model = nn.Sequential(nn.ReLU())
    model.items, model.names, model.flags = [1, [2]], {"a": {"b": 1}}, {1}
    model.itself = model.items
    model.items.append(model.names)
    inner = model.items[1]
    with stateless.untouched(model):
        model.items.clear()
        inner.append(3)
        model.names["a"]["b"] = model.names["c"] = 2
        model.flags.add(2)
        model[0].new, model.flags = 1, None
        model.eval()
    assert model.items == [1, [2], model.names]
    assert model.itself is model.items
    assert model.items[1] is inner
    assert model.names == {"a": {"b": 1}}
    assert model.flags == {1}
    assert not hasattr(model[0], "new")
    assert model.training
    assert model[0].training


@pytest.mark.parametrize(
    ("call", "embeds"),
    [
        (lambda x, w: F.embedding(x, w), False),
        (lambda x, w: F.embedding(x, w, 0), True),
        (lambda x, w: F.embedding(x, w, padding_idx=-1), True),
        (lambda x, w: F.embedding(x, w, sparse=True), True),
    ],
)
def test_embeddings_are_seen_and_mended(call, embeds):
    weight = torch.randn(4, 2, requires_grad=True)
    words = torch.tensor([0, 3, 1, 0])
    with stateless.Watch() as watch:
        plain = call(words, weight)
    with stateless.Embeddings():
        mended = call(words, weight)
    assert watch.embeds == embeds
    assert torch.equal(plain, mended)
    gradients = [torch.autograd.grad(out.square().sum(), weight)[0] for out in (plain, mended)]
    torch.testing.assert_close(gradients[0].to_dense(), gradients[1])


def test_a_copy_elsewhere_holds_all_tensors_there_and_keeps_ties():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[1].weight, model[0].mask = model[0].weight, torch.ones(2)
    model[0].bias.requires_grad_(False)
    model.scaled = model[0].weight * 2  # of a graph, so that deepcopy refuses it
    copy = stateless.copied(model, torch.device("meta"))
    assert {value.device.type for value in stateless.tensors(copy).values()} == {"meta"}
    assert stateless.names(copy) == stateless.names(model)
    assert [p.requires_grad for p in copy.parameters()] == [
        p.requires_grad for p in model.parameters()
    ]
    assert model[0].weight.device.type == "cpu"
    again = stateless.copied(model, torch.device("cpu"))
    for name, value in stateless.tensors(model).items():
        own = stateless.tensors(again)[name]
        assert torch.equal(own, value)
        assert own.data_ptr() != value.data_ptr()


def test_the_coarsest_precision_is_seen():
    with stateless.Watch() as watch:
        torch.ones(2, dtype=torch.float64) * 2
    assert watch.eps == torch.finfo(torch.float64).eps
    with stateless.Watch() as watch:
        (torch.ones(2).bfloat16().double() * 2).long() + 1
    assert watch.eps == torch.finfo(torch.bfloat16).eps


def test_torchs_choices_are_given_back():
    def choices() -> tuple[bool, bool]:
        return torch.backends.mha.get_fastpath_enabled(), torch.backends.cudnn.enabled

    before = choices()
    assert before == (True, True)
    with stateless.vmappable(nn.Sequential(nn.Conv1d(1, 1, 1), nn.LSTMCell(1, 1))):
        assert choices() == (False, True)
    assert choices() == before
    for kind in (nn.RNN, nn.LSTM, nn.GRU):
        with stateless.vmappable(nn.Sequential(nn.Flatten(), kind(1, 1))):
            assert choices() == (False, False)
    assert choices() == before
    with pytest.raises(ZeroDivisionError), stateless.vmappable(nn.GRU(1, 1)):
        1 / 0  # noqa: B018
    assert choices() == before


def test_a_refusal_names_the_innermost_module():
    class Fails(nn.Module):
        def forward(this, x):
            raise RuntimeError("no rule\nand more")

    model = nn.Sequential(nn.ReLU(), nn.Sequential(Fails()))
    for module, where in ((model, r"1\.0 \(Fails\)"), (model[1][0], r"it \(Fails\)")):
        with pytest.raises(RuntimeError) as caught:
            module(torch.ones(1))
        error = stateless.refusal("model must", module, caught.value)
        with pytest.raises(ValueError, match=rf"^model must: {where} cannot .*vmap: no rule$"):
            raise error
    memory = RuntimeError("can't allocate memory: you tried to allocate 8 bytes")
    assert stateless.refusal("model must", model, memory) is memory
