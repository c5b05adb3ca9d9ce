"""Lengths, correlations and criticality of wide networks, against known values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import erf_kernel
from scipy.special import erf

from actnorm import gaussian
from actnorm.activations import ACTIVATIONS, Activation, activation


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(["relu", "tanh", "gelu", "elu", "sigmoid"]), st.floats(-1.5, 2))
def test_the_correlation_map_rises_to_1(name, power):
    values = [gaussian.correlation_map(name, c, 10**power) for c in (0, 0.3, 0.8, 0.999, 1)]
    assert values == sorted(values)
    assert values[-1] == 1
    assert values[0] >= -1e-12


def test_deep_networks_follow_their_asymptotic_laws():
    q, c, laws = 1.0, 0.0, {}  # tanh at gain 1, ReLU at its critical gain
    for layer in range(2, 61):
        q, c = gaussian.length_map("tanh", q, 1.0), gaussian.correlation_map("relu", c)
        laws[layer] = 1 / q, (1 - c) ** -0.5
    tanh, relu = ((laws[60][k] - laws[40][k]) / 20 for k in range(2))
    assert tanh == pytest.approx(2, rel=0.05)  # q -> 1 / (2 l)
    assert relu == pytest.approx(2**0.5 / (3 * math.pi), rel=0.05)  # 1 - c -> 9 pi^2 / (2 l^2)


def test_selu_keeps_mean_0_and_variance_1():
    moments = gaussian.moments("selu")
    assert moments.mean == pytest.approx(0, abs=1e-12)
    assert moments.variance == pytest.approx(1, rel=1e-12)
    assert gaussian.fixed_point("selu", 1.0) == pytest.approx(1)


@pytest.mark.parametrize(
    ("act", "weight_variance", "bias_variance", "q0", "expected"),
    [
        ("relu", 2.0, 0.0, 3.7, 3.7),
        ("relu", 1.9, 0.0, 1.0, 0.0),
        ("relu", 2.1, 0.0, 1.0, math.inf),
        ("relu", 1.0, 0.25, 1.0, 0.5),
        ("relu", 2.0, 0.1, 1.0, math.inf),
        ("identity", 0.999, 0.001, 0.0, 1.0),
        ("tanh", 1.0, 0.0, 1.0, 0.0),
        ("tanh", 0.5, 0.0, 1.0, 0.0),
        ("tanh", 2.0, 0.0, 0.0, 0.0),
        ("tanh", 0.0, 0.3, 1.0, 0.3),
        ("softplus", 2.0, 0.0, 1.0, math.inf),
        ("hardtanh", 1.0, 0.0, 1.0, 0.0),
        ("squared_relu", 1.0, 0.0, 0.6, 0.0),
        ("squared_relu", 1.0, 0.0, 0.7, math.inf),
        (np.tanh, 1.0, 0.0, 1.0, 0.0),
        ("erf", 2.0, 0.0, 1.0, None),
        ("erf", math.pi / 4 * 1.0001, 0.0, 1.0, None),
        ("sigmoid", 50.0, 0.0, 1.0, None),
    ],
)
def test_fixed_point(act, weight_variance, bias_variance, q0, expected):
    q = gaussian.fixed_point(act, weight_variance, bias_variance, q0)
    if expected is None:
        after = gaussian.length_map(act, q, weight_variance, bias_variance)
        assert after == pytest.approx(q, rel=1e-12)
        if act == "erf":
            again = weight_variance * erf_kernel(1.0, math.sqrt(q))
            assert again == pytest.approx(q, rel=1e-9)
            assert q > 1e-5
    else:
        assert q == pytest.approx(expected, rel=1e-9, abs=0)


def test_a_fixed_point_below_the_start_and_near_criticality_is_the_first_met():
    """tanh just above its critical gain: q* = ε/2 to first order, since V(q) = (1+ε)(q - 2q²)."""
    assert gaussian.fixed_point("tanh", 1 + 1e-6) == pytest.approx(5e-7, rel=1e-5)


@pytest.mark.parametrize("q0", [1e-101, 1e101])
@pytest.mark.parametrize("call", [gaussian.fixed_point, gaussian.chi])
def test_a_start_beyond_all_lengths_is_no_answer(call, q0):
    with pytest.raises(ValueError, match=r"q0 must be 0 or lie between 1e-100 and 1e\+100, not 1e"):
        call("tanh", 4.0, q0=q0)


def test_a_length_map_that_falls_is_followed_to_its_rest():
    shelf = Activation("shelf", lambda x: torch.where(x.abs() < 1, 3.0, 0.0), (-1.0, 1.0))
    q = gaussian.fixed_point(shelf, 1.0)
    assert q == pytest.approx(9 * erf(1 / math.sqrt(2 * q)), rel=1e-9)


def test_chi():
    assert gaussian.chi("relu", 1.5) == pytest.approx(0.75)
    assert gaussian.chi("relu", 3.0) == pytest.approx(1.5)
    assert gaussian.chi("relu", 1.0, 0.3) == pytest.approx(0.5)
    assert gaussian.chi("tanh", 0.25) == pytest.approx(0.25)
    assert gaussian.chi("softplus", 2.0) == pytest.approx(1.0)
    assert gaussian.chi("squared_relu", 1.0, q0=2.0) == math.inf
    q = gaussian.fixed_point("erf", 2.0)
    energy = 4 / math.pi / math.sqrt(1 + 4 * q)  # E erf'(√q z)²
    assert gaussian.chi("erf", 2.0) == pytest.approx(2 * energy, rel=1e-9)


@pytest.mark.parametrize(
    ("act", "gain"),
    [
        ("tanh", 1.0),
        ("identity", 1.0),
        ("relu", math.sqrt(2)),
        (activation("leaky_relu", slope=0.3), math.sqrt(2 / 1.09)),
        ("erf", math.sqrt(math.pi) / 2),
        (ACTIVATIONS["sigmoid"].shift(-0.5), 4.0),
        (ACTIVATIONS["tanh"].gain(0.5), 2.0),
        ("softplus", None),
        ("log_sigmoid", None),
        ("gelu", None),
        ("softshrink", None),
    ],
)
def test_critical_gain(act, gain):
    found = gaussian.critical_gain(act)
    assert found is None if gain is None else found == pytest.approx(gain, rel=1e-9)


def test_a_gain_that_is_critical_only_at_infinite_length_is_none():
    swollen = Activation("swollen", lambda x: x.relu() + x.relu() ** 2 / (1 + x**2))
    assert gaussian.chi(swollen, 2.0) == pytest.approx(1)
    assert gaussian.fixed_point(swollen, 2.0) == math.inf
    assert gaussian.critical_gain(swollen) is None


@pytest.mark.parametrize("name", ["sigmoid", "hardsigmoid"])
def test_critical_gain_of_an_uncentred_activation_is_at_a_large_length(name):
    gain = gaussian.critical_gain(name)
    assert gaussian.fixed_point(name, gain**2) > 10
    assert gaussian.chi(name, gain**2) == pytest.approx(1, rel=1e-9)
    assert gaussian.chi(name, (0.99 * gain) ** 2) < 1 < gaussian.chi(name, (1.01 * gain) ** 2)


@pytest.mark.parametrize("act", ["tanh", "erf", "elu", "gelu", "softshrink", "selu"])
@pytest.mark.parametrize("q", [0.3, 1.0, 4.0])
def test_critical_init_is_on_the_edge_of_chaos(act, q):
    weight_variance, bias_variance = gaussian.critical_init(act, q)
    assert bias_variance > 0
    after = gaussian.length_map(act, q, weight_variance, bias_variance)
    assert after == pytest.approx(q, rel=1e-12)
    assert weight_variance * gaussian.slope_energy(act, std=math.sqrt(q)) == pytest.approx(1)
    if act == "erf":
        assert weight_variance == pytest.approx(math.pi / 4 * math.sqrt(1 + 4 * q), rel=1e-9)


def test_critical_init_without_a_bias_and_without_an_answer():
    for q in np.geomspace(0.01, 100, 9):
        leaky = activation("leaky_relu", slope=0.3)
        assert gaussian.critical_init(leaky, q) == (pytest.approx(2 / 1.09), 0)
    assert gaussian.critical_init("softplus") is None
    assert gaussian.critical_init("sigmoid", 40.0) is None
    assert gaussian.critical_init("sigmoid", 50.0) is not None
    assert gaussian.critical_init(Activation("flat", lambda x: 0 * x + 1)) is None
    centred = ACTIVATIONS["softplus"].shift(-gaussian.expectation("softplus"))
    assert gaussian.critical_init(centred)[1] > 0
