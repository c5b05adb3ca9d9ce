"""Effects: against scipy's own intervals and tests."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from actnorm import evidence

floats = st.floats(-1e3, 1e3)
samples = st.lists(floats, min_size=3, max_size=30)


@given(samples)
def test_mean_interval_is_scipys_t_interval(x):
    e = evidence.mean_effect(x)
    if np.std(x) > 1e-9 * max(1, np.abs(x).max()):
        low, high = stats.ttest_1samp(x, 0).confidence_interval(0.99)
        assert (e.low, e.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)
    assert e.low <= e.estimate <= e.high


def test_paired_effect_is_a_minus_b_and_scipys_paired_interval():
    rng = np.random.default_rng(5)
    a, b = rng.normal(3, 1, 40), rng.normal(1, 2, 40)
    e = evidence.paired_effect(a, b, level=0.95)
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (e.estimate, e.low, e.high) == pytest.approx((np.mean(a - b), low, high))


def test_ratio_effect_is_a_t_interval_on_logarithms():
    rng = np.random.default_rng(6)
    a, b = np.exp(rng.normal(1, 0.3, 40)), np.exp(rng.normal(0, 0.3, 40))
    e = evidence.ratio_effect(a, b)
    low, high = stats.ttest_rel(np.log(a), np.log(b)).confidence_interval(0.99)
    assert (e.low, e.high) == pytest.approx((math.exp(low), math.exp(high)))
    inverse = evidence.ratio_effect(b, a)
    assert inverse.low == pytest.approx(1 / e.high)


def test_interval_covers_at_its_level():
    rng = np.random.default_rng(7)
    hits = [
        e.low <= 2 <= e.high
        for e in (evidence.mean_effect(rng.normal(2, 1, 8), level=0.9) for _ in range(2000))
    ]
    assert abs(np.mean(hits) - 0.9) < 4 * math.sqrt(0.09 / 2000)


def test_deviation_folds_the_interval_of_the_difference():
    around = evidence.deviation([0.9, 1.1, 1.0, 1.02], 1.0)
    assert around.low == 0.0
    assert around.high > 0
    away = evidence.deviation([-3.1, -2.9, -3.0], 1.0)
    plain = evidence.mean_effect([-4.1, -3.9, -4.0])
    assert (away.estimate, away.low, away.high) == pytest.approx((4.0, -plain.high, -plain.low))


@pytest.mark.parametrize("null", [-1.0, 0.0, 0.4, 2.0])
def test_p_value_is_scipys(null):
    x = np.random.default_rng(8).normal(0.5, 1, 25)
    expected = stats.ttest_1samp(x, null).pvalue
    assert evidence.mean_effect(x).p_value(null) == pytest.approx(expected, rel=1e-6)


def test_p_value_of_a_ratio_far_from_its_margin():
    a = np.exp(np.random.default_rng(8).normal(3, 0.01, 25))
    p = evidence.ratio_effect(a, np.ones(25)).p_value(1.25)
    expected = stats.ttest_1samp(np.log(a), math.log(1.25)).pvalue
    assert 0 < p < 1e-40
    assert math.log(p) == pytest.approx(math.log(expected), rel=1e-6)


def test_p_value_without_spread():
    e = evidence.mean_effect([2.0, 2.0, 2.0])
    assert (e.p_value(2.0), e.p_value(1.0)) == (1.0, 0.0)


BAD_EFFECTS = [
    (lambda: evidence.mean_effect([1.0]), "x must hold one value for each of at least 2"),
    (lambda: evidence.mean_effect([[1.0, 2.0]]), "not shape"),
    (lambda: evidence.mean_effect([1.0, math.nan]), "x must be finite; 1 values"),
    (lambda: evidence.mean_effect([1.0, 2.0], level=1.0), "level must lie between 0 and 1"),
    (lambda: evidence.paired_effect([1.0, 2.0], [1.0, 2.0, 3.0]), "the same replicas"),
    (lambda: evidence.ratio_effect([1.0, 0.0], [1.0, 2.0]), "a must be positive"),
    (lambda: evidence.ratio_effect([1.0, 1.0], [-1.0, 2.0]), "b must be positive"),
]


@pytest.mark.parametrize(("call", "message"), BAD_EFFECTS)
def test_bad_effects_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
