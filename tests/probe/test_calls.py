"""A call is known by its function, and by nothing that happens to have its name."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from actnorm.probe import probe


class relu(nn.Module):
    def forward(self, x):
        return torch.where(x > 0, 2 * x, 0.5 * x)


class layer_norm(nn.Module):
    def forward(self, x):
        return -x.exp()


class batch_norm(layer_norm):
    pass


@pytest.mark.parametrize("kind", [relu, layer_norm, batch_norm])
def test_a_watched_class_may_have_a_functions_name(kind):
    model, x = nn.Sequential(nn.Linear(4, 3), kind()), torch.randn(2, 50, 4)
    with probe(model, watch=[model[1]]) as seen:
        out = model(x).detach().double()
    row = seen.table().iloc[0]
    assert (row["kind"], row["shape"], row["n"]) == (kind.__name__, (3,), 100)
    assert row["output_mean"] == pytest.approx(out.mean().item(), abs=1e-6)
    assert row["output_min"] == pytest.approx(out.min().item())
    assert row["dead_at_most"] == 0


def test_a_function_and_a_watched_class_of_one_name_are_two_rows():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = relu()

        def forward(self, x):
            return F.relu(self.relu(x))

    model = Both()
    with probe(model, watch=[model.relu]) as seen:
        model(-torch.ones(2, 3))
    assert seen.table()["output_mean"].tolist() == [-0.5, 0]


def wrapped(name):
    def impostor(x):
        return x - 1

    impostor.__name__ = name
    return torch.overrides.wrap_torch_function(lambda x: (x,))(impostor)


def test_a_function_that_is_not_torchs_is_named_as_it_is():
    impostor = wrapped("relu")

    class Model(nn.Module):
        def forward(self, x):
            return impostor(x)

    model = Model()
    with probe(model) as seen:
        model(torch.ones(2, 3))
    assert seen.table().empty
    assert list(seen.unrecognised) == [f"(root): {__name__}.relu"]


def test_an_operator_that_is_not_torchs_is_named_as_it_is():
    @torch.library.custom_op("actnorm_test::relu", mutates_args=())
    def op(x: torch.Tensor) -> torch.Tensor:
        return x - 1

    class Model(nn.Module):
        def forward(self, x):
            return torch.ops.actnorm_test.relu(torch.ops.actnorm_test.relu.default(x))

    model = Model()
    with probe(model) as seen:
        model(torch.ones(2, 3))
    assert seen.table().empty
    assert seen.unrecognised == {"(root): actnorm_test::relu": 2}


def test_operators_of_torch_are_known():
    class Model(nn.Module):
        def forward(self, x):
            x = torch.ops.aten.relu_.default(torch.ops.aten.gelu(x))
            x = torch.ops.aten.native_layer_norm(x, [3], None, None, 1e-5)[0]
            return torch.ops.aten.silu.default(torch.ops.aten.permute.default(x, [1, 0]))

    model, x = Model(), torch.randn(5, 3)
    with probe(model) as seen:
        out = model(x)
    assert seen.table()["kind"].tolist() == ["gelu", "relu", "layer_norm", "silu"]
    assert seen.table()["output_mean"].iloc[-1] == pytest.approx(out.mean().item())
    assert not seen.unrecognised


@pytest.mark.filterwarnings("ignore")  # of export
@pytest.mark.parametrize("decomposed", [False, True])
def test_exported_models(decomposed):
    model = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.GroupNorm(2, 4), nn.Hardswish()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5), nn.LayerNorm(5), nn.GELU()),
    ).eval()
    x = torch.randn(2, 3, 8, 8)
    program = torch.export.export(model, (x,))
    exported = (program.run_decompositions() if decomposed else program).module()
    with probe(exported) as seen:
        found = exported(x)
    with probe(model) as plain:
        expected = model(x)
    torch.testing.assert_close(found, expected)
    columns, table = ["kind", "shape", "n"], plain.table()
    if decomposed:
        table = table[table["kind"] != "hardswish"].reset_index()
        assert seen.unrecognised == {"(root): clamp": 2}
    else:
        assert not seen.unrecognised
    assert seen.table()[columns].equals(table[columns])


def test_arguments_by_keyword():
    class Keywords(nn.Module):
        def forward(self, x):
            x = F.batch_norm(input=x, running_mean=None, running_var=None, training=True)
            return F.relu(input=F.batch_norm(x, None, None, training=True, eps=0.1))

    model, x = Keywords(), 3 + 2 * torch.randn(50, 4)
    with probe(model) as seen:
        out = model(x)
    table = seen.table()
    assert table["kind"].tolist() == ["batch_norm", "batch_norm", "relu"]
    assert table["output_std"].tolist()[0] == pytest.approx(1, abs=1e-4)
    assert table["output_std"].tolist()[1] == pytest.approx(1.1**-0.5, abs=1e-4)
    assert table["output_mean"].tolist()[2] == pytest.approx(out.mean().item())
