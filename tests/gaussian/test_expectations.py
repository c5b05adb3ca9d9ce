"""The Gaussian theory against mpmath, closed forms and the identities it must obey."""

import math
from functools import partial

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import REFERENCE, erf_kernel, near
from scipy.special import erf, ndtr, owens_t
from scipy.stats import multivariate_normal

from actnorm import gaussian
from actnorm.activations import ACTIVATIONS, Activation, activation


def _reference(name, mean, std):
    """All of it by 24-point sums between kinks, powers of 2.5 and whole pairs of std."""
    kinks = {*ACTIVATIONS[name].kinks, *(s * 2.5**k for k in range(-1, 10) for s in (-1, 0, 1))}
    low, high = mean - 24 * std, mean + 24 * std
    edges = {*np.linspace(low, high, 25), *(kink for kink in kinks if low < kink < high)}
    edges = np.array(sorted(edges))
    root, weight = np.polynomial.legendre.leggauss(24)
    half = np.diff(edges)[:, None] / 2
    nodes = (edges[:-1, None] + half * (root + 1)).ravel()
    with mp.workdps(25):
        x = [mp.mpf(node) for node in nodes.tolist()]
        w = [a * mp.npdf(b, mean, std) for a, b in zip((half * weight).flat, x, strict=True)]
        total = mp.fsum(w)
        w = [a / total for a in w]
        y = [REFERENCE[name](b) for b in x]
        slope = [mp.diff(REFERENCE[name], b) for b in x]
        centre = mp.fdot(w, y)
        m2, m3, m4 = (mp.fdot(w, [(b - centre) ** k for b in y]) for k in (2, 3, 4))
        found = {
            "mean": centre,
            "variance": m2,
            "mean_slope": mp.fdot(w, slope),
            "slope_energy": mp.fdot(w, [b * b for b in slope]),
        }
        if m2 > 1e-12 * (m2 + centre**2) and m2 > 1e-50:
            found |= {"skewness": m3 / m2**1.5, "excess_kurtosis": m4 / m2**2 - 3}
        return {key: float(value) for key, value in found.items()}


def _check_against_mpmath(name, mean, std):
    expected = _reference(name, mean, std)
    found = gaussian.moments(name, mean, std)
    for key, value in expected.items():
        from_moments = key not in ("mean_slope", "slope_energy")
        ours = getattr(found, key) if from_moments else getattr(gaussian, key)(name, mean, std)
        assert ours == near(value), key
    if found.variance < 1e-12 * found.mean**2 / 2:
        with pytest.raises(ValueError, match="need a variance above"):
            _ = found.skewness


def relu_kernel(c, std):
    """E relu(u) relu(v) (Cho & Saul, 2009)."""
    return std**2 * (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c) / (2 * math.pi)


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize(
    ("std", "offset"), [(1e-3, 0.0), (0.05, -10.0), (1.7, 3.3), (1e3, 0.4)], ids=str
)
def test_every_member_against_mpmath(name, std, offset):
    _check_against_mpmath(name, offset * std, std)


@pytest.mark.parametrize("name", ["sigmoid", "elu", "gelu", "hardswish"])
@pytest.mark.parametrize("std", [1e-3, 0.3, 12.0, 1e3])
@pytest.mark.parametrize("offset", [-10.0, -2.0, 10.0])
def test_the_whole_range_against_mpmath(name, std, offset):
    _check_against_mpmath(name, offset * std, std)


@pytest.mark.parametrize("std", [1e-3, 0.7, 1.0, 40.0, 1e3])
def test_closed_forms_of_one_variable(std):
    for t in (-10.0, -1.0, 0.0, 0.3, 10.0):
        mean, density = t * std, math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
        moments = gaussian.moments("relu", mean, std)
        first = std * (t * ndtr(t) + density)
        second = std**2 * ((t * t + 1) * ndtr(t) + t * density)
        assert moments.mean == near(first)
        assert moments.variance == near(second - first**2)
        assert gaussian.mean_slope("relu", mean, std) == near(ndtr(t))
        spread = math.sqrt(1 + 2 * std**2)
        assert gaussian.expectation("erf", mean, std) == near(erf(mean / spread))
        s = math.sqrt(1 + std**2)
        gelu = ndtr(mean / s) + mean / s**3 * math.exp(-((mean / s) ** 2) / 2) / math.sqrt(
            2 * math.pi
        )
        assert gaussian.mean_slope("gelu", mean, std) == near(gelu)


@pytest.mark.parametrize("c", [-1.0, -0.99, -0.3, 0.0, 1e-9, 0.5, 0.999, 1 - 1e-9, 1.0])
@pytest.mark.parametrize("std", [1e-3, 1.0, 30.0, 1e3])
def test_closed_forms_of_two_variables(c, std):
    step = 0.5 - math.acos(c) / (2 * math.pi)
    assert gaussian.expectation2(lambda x: x > 0, c, std) == near(step)
    assert gaussian.expectation2("erf", c, std) == near(erf_kernel(c, std))
    product = pytest.approx(c * std**2, rel=1e-9, abs=1e-15 * std**2)  # which cancels where c is 0
    assert gaussian.expectation2("identity", c, std) == product
    if c > -1:
        assert gaussian.expectation2("relu", c, std) == near(relu_kernel(c, std))


@pytest.mark.parametrize("std", [1.0, 300.0])
def test_kinks_away_from_0_in_two_variables(std):
    """d/dc E f(u) f(v) = std² E f'(u) f'(v) (Price, 1958), and P(|u|<1, |v|<1) by scipy."""
    c, h = 0.6, 1e-4
    rise = gaussian.expectation2("hardtanh", c + h, std) - gaussian.expectation2(
        "hardtanh", c - h, std
    )
    square = multivariate_normal([0, 0], std**2 * np.array([[1, c], [c, 1]])).cdf(
        [1, 1], lower_limit=[-1, -1]
    )
    assert rise / (2 * h) == pytest.approx(std**2 * square, rel=1e-6)
    inside = gaussian.expectation2(lambda x: np.abs(x) < 1, c, std, kinks=(-1.0, 1.0))
    assert inside == pytest.approx(square, rel=1e-8)


@pytest.mark.parametrize("c", [-0.999999, 0.2, 0.99, 1 - 1e-6, 1 - 1e-10])
def test_a_jump_away_from_0_in_two_variables(c):
    """P(u > h, v > h) by Owen's T function."""
    for h in (-1.5, 0.5, 2.0):
        both = ndtr(-h) - 2 * owens_t(h, math.sqrt((1 - c) / (1 + c)))
        assert gaussian.expectation2(partial(np.less, 3 * h), c, 3.0, kinks=(3 * h,)) == near(both)


members = st.sampled_from(list(REFERENCE))


stds = st.floats(-3, 3).map(lambda power: 10**power)


offsets = st.floats(-10, 10)


@settings(max_examples=40, deadline=None)
@given(members, stds, offsets)
def test_steins_lemma_and_the_order_of_the_slopes(name, std, offset):
    act, mean = ACTIVATIONS[name], offset * std
    slope = gaussian.mean_slope(name, mean, std)
    centre = act(mean)
    stein = gaussian.expectation(
        lambda x: (x - mean) / std * (act(x) - centre) / std, mean, std, act.kinks
    )
    assert slope == pytest.approx(stein, rel=1e-9, abs=1e-9)
    assert gaussian.slope_energy(name, mean, std) >= slope**2 * (1 - 1e-9)


@settings(max_examples=30, deadline=None)
@given(members, stds, offsets, st.floats(0.01, 100), st.floats(-5, 5), st.floats(-5, 5))
def test_scaling_and_linearity(name, std, offset, g, k, c):
    act, mean = ACTIVATIONS[name], offset * std
    plain = gaussian.expectation(act, mean, std)
    scaled = gaussian.expectation(act.gain(g), mean / g, std / g)
    assert scaled == pytest.approx(plain, rel=1e-9, abs=1e-12)
    affine = gaussian.expectation(act.scale(k).shift(c), mean, std)
    assert affine == pytest.approx(k * plain + c, rel=1e-9, abs=1e-9 * (abs(k * plain) + 1e-3))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["identity", "tanh", "erf", "softsign", "hardtanh", "softshrink"]), stds)
def test_odd_functions(name, std):
    assert gaussian.expectation(name, 0.0, std) == pytest.approx(0, abs=1e-12)
    there, back = (gaussian.expectation(name, s * 0.7 * std, std) for s in (1, -1))
    assert there == pytest.approx(-back, rel=1e-9, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(stds)
def test_even_and_mirrored_functions(std):
    assert gaussian.mean_slope("tanh", 0.3, std) == pytest.approx(
        gaussian.mean_slope("tanh", -0.3, std), rel=1e-9
    )
    assert gaussian.expectation("softplus", 0.2, std) == pytest.approx(
        -gaussian.expectation("log_sigmoid", -0.2, std), rel=1e-9
    )
    sigmoid = gaussian.mean_slope("sigmoid", std=std)
    assert sigmoid == pytest.approx(gaussian.mean_slope("tanh", std=std / 2) / 4, rel=1e-9)


def test_a_readers_own_callable_in_torch_or_numpy():
    expected = gaussian.expectation("tanh", 0.3, 2.0)
    for f in (torch.tanh, np.tanh, torch.nn.Tanh(), lambda x: x.tanh()):
        assert gaussian.expectation(f, 0.3, 2.0) == pytest.approx(expected, rel=1e-14)
    assert gaussian.moments(np.square).mean == pytest.approx(1)
    assert gaussian.expectation(lambda x: 2.5) == pytest.approx(2.5)
    assert gaussian.expectation(lambda x: x**8) == pytest.approx(105)
    assert gaussian.expectation(np.exp, 0.0, 1.5) == pytest.approx(math.exp(1.125), rel=1e-9)


@pytest.mark.parametrize("width", [1e-2, 1e-6])
def test_a_narrow_bump_and_a_far_jump_with_their_places_given(width):
    bump = gaussian.expectation(
        lambda x: np.exp(-(((x - 1.3) / width) ** 2) / 2), 0.0, 1.0, kinks=(1.3,)
    )
    total = math.sqrt(1 + width**2)
    assert bump == pytest.approx(width / total * math.exp(-((1.3 / total) ** 2) / 2), rel=1e-9)
    jump = gaussian.expectation(lambda x: x > 2.2, 0.5, 1.0, kinks=(2.2,))
    assert jump == pytest.approx(ndtr(-1.7), rel=1e-9)
    steep = ACTIVATIONS["tanh"].gain(1 / width)
    assert gaussian.mean_slope(steep) == pytest.approx(
        gaussian.mean_slope("tanh", std=1 / width) / width, rel=1e-9
    )


def test_a_point_mass():
    moments = gaussian.moments("sigmoid", 0.7, 0.0)
    assert moments.mean == ACTIVATIONS["sigmoid"](0.7)
    assert moments.variance == 0
    assert gaussian.mean_slope("tanh", 0.0, 0.0) == 1
    assert gaussian.expectation2("sigmoid", 0.3, 0.0) == 0.25
    assert gaussian.length_map("sigmoid", 0.0, 2.0, 0.1) == 0.6


def _in_place(x):
    x *= 2
    return x


BUFFER = np.zeros(1_000_000)


def test_theory_is_computed_on_the_cpu(request):
    def theory() -> list:
        gaussian.quadrature._line_rule.cache_clear()
        return [
            gaussian.expectation("gelu", 0.3),
            gaussian.expectation("gelu", 0.3, 0.0),
            gaussian.expectation(lambda x: 2.0),
            gaussian.expectation2("gelu", 0.3),
            gaussian.moments("gelu"),
            gaussian.critical_init("gelu"),
        ]

    here = theory()
    request.getfixturevalue("elsewhere")
    assert theory() == here


@pytest.mark.parametrize(
    ("f", "same"),
    [
        (torch.nn.SiLU(inplace=True), "silu"),
        (torch.nn.LeakyReLU(inplace=True), "leaky_relu"),
        (Activation("silu", torch.nn.SiLU(inplace=True)), "silu"),
        (_in_place, Activation("twice", lambda x: 2 * x)),
        (lambda x: np.tanh(x, out=BUFFER[: x.size]), "tanh"),
        (torch.nn.PReLU(), "prelu"),
        (torch.nn.PReLU(init=0.125), activation("leaky_relu", slope=0.125)),
        (Activation("prelu", torch.nn.PReLU(), (0.0,)), "prelu"),
    ],
)
def test_functions_that_write_and_modules_with_parameters(f, same):
    parameters = [p.dtype for p in f.parameters()] if isinstance(f, torch.nn.Module) else []
    assert gaussian.moments(f, 0.3, 1.5).mean == pytest.approx(
        gaussian.moments(same, 0.3, 1.5).mean
    )
    for call in (
        lambda act: gaussian.expectation2(act, 0.5),
        lambda act: gaussian.expectation2(act, -1.0),
        lambda act: gaussian.correlation_map(act, 0.5),
        lambda act: gaussian.fixed_point(act, 0.5, 0.1),
    ):
        assert call(f) == pytest.approx(call(same), rel=1e-9)
    if isinstance(f, Activation):
        assert gaussian.slope_energy(f) == pytest.approx(gaussian.slope_energy(same))
    if parameters:
        assert parameters == [p.dtype for p in f.parameters()]


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: gaussian.expectation("relu", std=-1), ValueError, "std must be .* >= 0, not -1"),
        (lambda: gaussian.expectation("relu", std=NAN), ValueError, "std must be .*, not nan"),
        (lambda: gaussian.expectation("relu", INF), ValueError, "mean must be a finite .* not inf"),
        (lambda: gaussian.expectation("relu", [0.0]), TypeError, "mean must be a real number"),
        (lambda: gaussian.expectation("relu", std="1"), TypeError, "std must be a real number"),
        (lambda: gaussian.expectation("rleu"), KeyError, "unknown activation 'rleu'; known: id"),
        (lambda: gaussian.expectation(3.0), TypeError, "f must be an Activation, a name or a call"),
        (lambda: gaussian.expectation("relu", kinks=(NAN,)), ValueError, "kinks must be"),
        (lambda: gaussian.expectation(lambda x: x[:2]), ValueError, r"\(2,\) came out"),
        (lambda: gaussian.expectation(lambda x: np.where(x > 0, NAN, x)), ValueError, "not nan at"),
        (lambda: gaussian.expectation(lambda x: torch.exp(2 * x * x)), ValueError, "f must be"),
        (lambda: gaussian.expectation(lambda x: x + 1j), ValueError, "f must be real, but gave"),
        (lambda: gaussian.expectation(torch.nn.PReLU(8)), ValueError, "f must be elementwise, in"),
        (lambda: gaussian.expectation2("relu", 1.1), ValueError, "c must be .* 1, not 1.1"),
        (lambda: gaussian.expectation2("relu", 0.5, -1), ValueError, "std must be .* >= 0, not -1"),
        (lambda: gaussian.moments(None), TypeError, "act must be an Activation, a name or a call"),
        (lambda: gaussian.mean_slope(np.tanh), TypeError, "so as to have a slope, not <ufunc"),
        (lambda: gaussian.slope_energy("relu", std=-1), ValueError, "std must be"),
        (lambda: gaussian.length_map("relu", -1, 1), ValueError, "q must be .* not -1"),
        (lambda: gaussian.length_map("relu", 1, -2), ValueError, "weight_variance must .* not -2"),
        (lambda: gaussian.length_map("relu", 1, 1, -3), ValueError, "bias_variance must .* not -3"),
        (lambda: gaussian.fixed_point("relu", NAN), ValueError, "weight_variance must .* not nan"),
        (lambda: gaussian.fixed_point("relu", 1, 0, -1), ValueError, "q0 must be .* >= 0, not -1"),
        (lambda: gaussian.chi(torch.tanh, 1), TypeError, "act must be an Activation or a name"),
        (lambda: gaussian.correlation_map("relu", 2), ValueError, "c must be .* not 2"),
        (lambda: gaussian.correlation_map("relu", 0.5, -1), ValueError, "q must be .* not -1"),
        (lambda: gaussian.correlation_map("relu", 0.5, 0), ValueError, r"not vanish on N\(0, 0\)"),
        (lambda: gaussian.critical_gain(np.tanh), TypeError, "act must be an Activation or a name"),
        (lambda: gaussian.critical_init("tanh", -1), ValueError, "q must be .* not -1"),
        (lambda: gaussian.moments("sigmoid", 16, 0.5).skewness, ValueError, "a variance above"),
        (lambda: gaussian.moments("relu", -1, 0).excess_kurtosis, ValueError, "not 0 beside"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()
