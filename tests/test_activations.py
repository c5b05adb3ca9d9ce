"""The catalogue: values, slopes, modules and transforms, on ordinary and extreme inputs."""

import copy
import math
import pickle

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import REFERENCE
from torch import nn

from actnorm.activations import ACTIVATIONS, Activation, activation

EXTREMES = [sign * x for x in (0.0, 1e-30, 1.0, 89.0, 100.0, 1e4) for sign in (-1, 1)]
BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
ALL = pytest.mark.parametrize("name", ACTIVATIONS)
# where each goes at -inf and +inf
LINEAR = ("identity", "leaky_relu", "prelu", "softshrink", "tanhshrink")
LIMITS = dict.fromkeys(LINEAR, (-math.inf, math.inf)) | {
    "relu": (0, math.inf),
    "elu": (-1, math.inf),
    "selu": (-1.0507009873554805 * 1.6732632423543772, math.inf),
    "celu": (-1, math.inf),
    "gelu": (0, math.inf),
    "gelu_tanh": (0, math.inf),
    "silu": (0, math.inf),
    "mish": (0, math.inf),
    "softplus": (0, math.inf),
    "sigmoid": (0, 1),
    "tanh": (-1, 1),
    "erf": (-1, 1),
    "softsign": (-1, 1),
    "hardtanh": (-1, 1),
    "relu6": (0, 6),
    "hardsigmoid": (0, 1),
    "hardswish": (0, math.inf),
    "log_sigmoid": (-math.inf, 0),
    "squared_relu": (0, math.inf),
}


@ALL
@BOTH
def test_values_are_right_at_the_extremes(name, dtype):
    x = torch.tensor(EXTREMES, dtype=dtype)
    found = ACTIVATIONS[name](x)
    assert found.dtype == dtype
    with mp.workdps(50):
        expected = [float(REFERENCE[name](mp.mpf(value))) for value in x.tolist()]
    eps = torch.finfo(dtype).eps
    np.testing.assert_allclose(found.numpy(), np.array(expected), rtol=4 * eps, atol=100 * eps)


@ALL
@BOTH
def test_slopes_are_finite_at_the_extremes_and_agree_with_the_module(name, dtype):
    act = ACTIVATIONS[name]
    x = torch.tensor(EXTREMES, dtype=dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(act.module().to(dtype)(x).sum(), x)
    slope = act.slope(x)
    assert slope.dtype == dtype
    assert gradient.isfinite().all()
    torch.testing.assert_close(slope, gradient, rtol=2e-5, atol=2e-6)


@ALL
@BOTH
def test_at_infinity_a_value_is_the_limit_or_torchs_nan(name, dtype):
    found = ACTIVATIONS[name](torch.tensor([-math.inf, math.inf], dtype=dtype))
    for value, limit in zip(found.tolist(), LIMITS[name], strict=True):
        undefined = name in {"gelu", "gelu_tanh", "silu", "mish", "softsign", "hardswish"}
        assert value == pytest.approx(limit, rel=1e-6) or (undefined and math.isnan(value))


@ALL
def test_slope_is_the_derivative_to_rounding(name):
    for x in (-30.2, -8.1, -2.9, -1.1, -0.4, -1e-3, 1e-8, 0.3, 0.6, 2.2, 6.5, 12.3, 40.1):
        with mp.workdps(300):
            expected = float(mp.diff(REFERENCE[name], mp.mpf(x)))
        assert ACTIVATIONS[name].slope(x) == pytest.approx(expected, rel=2e-14, abs=1e-300)


@ALL
def test_slope_agrees_with_finite_differences_of_the_value(name):
    act, step = ACTIVATIONS[name], 1e-5
    x = np.linspace(-7, 7, 61) + 0.0123
    difference = (act(x + step) - act(x - step)) / (2 * step)
    np.testing.assert_allclose(act.slope(x), difference, atol=1e-8)


@ALL
def test_kinks_are_where_the_slope_or_the_curvature_jumps(name):
    act = ACTIVATIONS[name]
    grid = np.arange(-8, 8, 0.125)
    left, right = grid - 1e-9, grid + 1e-9
    curvature = [(act.slope(grid + s * 2e-4) - act.slope(grid + s * 1e-4)) * s for s in (-1, 1)]
    jumps = np.abs(act.slope(right) - act.slope(left)) > 1e-3
    bends = np.abs(curvature[1] - curvature[0]) > 2e-5
    np.testing.assert_array_equal(grid[jumps | bends], act.kinks)


@ALL
def test_the_module_is_the_function(name):
    module = ACTIVATIONS[name].module()
    assert isinstance(module, nn.Module)
    x = torch.linspace(-9, 9, 37)
    copied = copy.deepcopy(module)
    torch.testing.assert_close(copied(x).detach(), ACTIVATIONS[name](x), rtol=0, atol=0)
    assert module is not ACTIVATIONS[name].module()


def test_only_prelu_learns():
    learners = {name for name, act in ACTIVATIONS.items() if list(act.module().parameters())}
    assert learners == {"prelu"}
    assert activation("prelu", slope=0.1).module().weight.item() == pytest.approx(0.1)


def test_half_precision_and_arrays():
    tanh = ACTIVATIONS["tanh"]
    assert tanh(torch.ones(2, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert tanh.slope(np.ones((2, 3), dtype=np.float32)).dtype == np.float64
    assert tanh([0, 1]).tolist() == [0, np.tanh(1.0)]
    assert isinstance(tanh(1), float)


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_slopes_far_out_are_0_and_1(name, dtype):
    far, slope = torch.tensor([50.0, 1e3, 1e30, 1e200, math.inf]).to(dtype), ACTIVATIONS[name].slope
    assert (slope(far) == 1).all()
    assert (slope(-far) == 0).all()
    assert slope(torch.tensor(math.nan, dtype=dtype)).isnan()


@ALL
def test_activations_and_their_modules_can_be_pickled(name):
    x = torch.linspace(-3, 3, 13)
    for act in (ACTIVATIONS[name], ACTIVATIONS[name].shift(1).gain(2)):
        again, module = pickle.loads(pickle.dumps((act, act.module())))
        assert torch.equal(again(x), act(x))
        assert torch.equal(again.slope(x), act.slope(x))
        assert torch.equal(module(x), act.module()(x))


def test_slope_works_without_grad_and_leaves_its_input_alone():
    x = torch.ones(3)
    with torch.no_grad():
        assert ACTIVATIONS["silu"].slope(x).tolist() == pytest.approx([0.9276705] * 3)
    assert not x.requires_grad


@pytest.mark.parametrize("act", [ACTIVATIONS["silu"], Activation("own", lambda x: x * x.sigmoid())])
def test_slope_works_in_inference_mode(act):
    with torch.inference_mode():
        assert act.slope(torch.ones(3)).tolist() == pytest.approx([0.9276705] * 3)
        assert act.slope(1.0) == pytest.approx(0.9276705)


@pytest.mark.parametrize(
    ("name", "parameters", "at_minus_2"),
    [
        ("leaky_relu", {"slope": 0.3}, -0.6),
        ("prelu", {"slope": np.float64(-1)}, 2.0),
        ("elu", {"alpha": 2.0}, 2 * math.expm1(-2)),
        ("celu", {"alpha": 2}, 2 * math.expm1(-1)),
        ("softplus", {"beta": 3.0}, math.log1p(math.exp(-6)) / 3),
        ("softshrink", {"threshold": torch.tensor(1.5)}, -0.5),
    ],
)
def test_parameters(name, parameters, at_minus_2):
    act = activation(name, **parameters)
    assert act(-2.0) == pytest.approx(at_minus_2, rel=1e-6)
    assert next(iter(parameters)) in act.name


def test_softplus_has_no_jump():
    x = np.array([19.9, 20.0, 20.1, 36.0])
    np.testing.assert_allclose(ACTIVATIONS["softplus"](x), np.logaddexp(0, x), rtol=1e-15)


def test_the_default_is_the_catalogues_and_the_catalogue_is_fixed():
    assert activation("relu") is ACTIVATIONS["relu"]
    assert all(act.name == name and act.latex for name, act in ACTIVATIONS.items())
    with pytest.raises(TypeError):
        ACTIVATIONS["relu"] = ACTIVATIONS["tanh"]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: activation("rleu"), KeyError, "unknown activation 'rleu'; known: identity, relu"),
        (lambda: activation("relu", slope=1.0), TypeError, "relu takes no parameters, not 'slope'"),
        (lambda: activation("elu", beta=1.0), TypeError, "elu takes alpha, not 'beta'"),
        (lambda: activation("elu", alpha="1"), TypeError, "alpha must be a real number, not '1'"),
        (lambda: activation("elu", alpha=True), TypeError, "alpha must be a real number, not True"),
        (lambda: activation("elu", alpha=math.nan), ValueError, "finite number, not nan"),
        (lambda: activation("celu", alpha=0), ValueError, "alpha must be > 0, not 0"),
        (lambda: activation("softplus", beta=-1), ValueError, "beta must be > 0, not -1"),
        (lambda: activation("softshrink", threshold=-1), ValueError, "threshold must be >= 0"),
        (lambda: ACTIVATIONS["tanh"].gain(0), ValueError, "g must not be 0"),
        (lambda: ACTIVATIONS["tanh"].gain([2]), TypeError, r"g must be a real number, not \[2\]"),
        (lambda: ACTIVATIONS["tanh"].shift(math.inf), ValueError, "c must be a finite number"),
        (lambda: ACTIVATIONS["tanh"].scale(None), TypeError, "k must be a real number, not None"),
        (lambda: Activation("mine", 3), TypeError, "function must be callable, not 3"),
        (lambda: Activation("mine", torch.relu, (math.nan,)), ValueError, "kinks must be a finite"),
    ],
)
def test_bad_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()


@given(st.floats(-8, 8))
def test_tanh_is_an_affine_sigmoid(x):
    tanh, sigmoid = ACTIVATIONS["tanh"], ACTIVATIONS["sigmoid"].gain(2).scale(2).shift(-1)
    assert sigmoid(x) == pytest.approx(tanh(x), abs=4e-16)
    assert sigmoid.slope(x) == pytest.approx(tanh.slope(x), rel=1e-14)


@pytest.mark.parametrize("g", [-3.0, 0.5])
def test_transforms_move_value_slope_kinks_and_module_together(g):
    act = activation("leaky_relu", slope=0.1).shift(1).gain(g).scale(-2).shift(0.25)
    hard = ACTIVATIONS["hardtanh"].gain(g)
    x = torch.linspace(-2, 2, 41, dtype=torch.float64, requires_grad=True)
    expected = -2 * (torch.nn.functional.leaky_relu(g * x, 0.1) + 1) + 0.25
    torch.testing.assert_close(act(x), expected)
    torch.testing.assert_close(act.module()(x), expected)
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    torch.testing.assert_close(act.slope(x), gradient)
    assert hard.kinks == tuple(sorted((-1 / g, 1 / g)))


def test_transforms_say_what_they_are():
    act = ACTIVATIONS["sigmoid"].shift(-0.5).gain(4)
    assert act.name == "(sigmoid-0.5)(4x)"
    assert act.latex == r"\sigma(4 x) -0.5"
    assert ACTIVATIONS["softsign"].gain(2).scale(3).latex == (
        r"3 \left(\frac{(2 x)}{1 + |(2 x)|}\right)"
    )


def test_a_transformed_prelu_still_learns():
    module = activation("prelu").gain(2.0).module()
    module(torch.tensor([-1.0, 1.0])).sum().backward()
    assert [p.grad.item() for p in module.parameters()] == [-2.0]


def test_a_readers_own_activation():
    bump = Activation("bump", lambda x: torch.exp(-x * x))
    assert bump.slope(1.0) == pytest.approx(-2 / math.e)
    assert bump.module()(torch.zeros(1)).item() == 1
    assert "bump" in repr(bump.module())
