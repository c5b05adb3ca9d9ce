"""Effects: against scipy's own intervals and tests."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
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


# Effects: p-values of few replicas, skew, overlap


@pytest.mark.parametrize("n", [2, 3, 4, 6, 9, 13, 30])
def test_p_values_are_the_tests_own_for_few_replicas_too(n):
    rng = np.random.default_rng(n)
    x, y = rng.normal(0.4, 1, n), np.exp(rng.normal(0, 1, n))
    expected = stats.ttest_1samp(x, 0.1).pvalue
    assert evidence.mean_effect(x).p_value(0.1) == pytest.approx(expected, rel=1e-9)
    expected = stats.ttest_1samp(np.log(y), math.log(1.5)).pvalue
    assert evidence.ratio_effect(y, np.ones(n)).p_value(1.5) == pytest.approx(expected, rel=1e-9)
    far = evidence.deviation(-x - 3, 0)
    expected = stats.ttest_1samp(-x - 3, -0.1).pvalue
    assert far.p_value(0.1) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("method", ["mean", "ratio", "median", "proportion"])
def test_a_p_value_is_where_the_interval_just_reaches_the_null(method):
    rng = np.random.default_rng(4)
    arms = {"x": rng.random(40) < 0.3} if method == "proportion" else {"x": rng.gamma(2, 1, 40)}
    if method == "ratio":
        arms = {"a": rng.gamma(2, 1, 40), "b": np.ones(40)}
    null = 0.45 if method == "proportion" else 1.1
    e = evidence.effects.remake(method, "", 0.99, **arms)
    p = e.p_value(null)
    assert 0 < p < 1
    wider, narrower = e.at(1 - p * 0.999), e.at(1 - p * 1.001)
    assert wider.low <= null <= wider.high
    assert not narrower.low <= null <= narrower.high


def test_a_ratio_beyond_all_numbers_is_an_effect_still():
    e = evidence.ratio_effect([1e-3, 1e-18], [1.0, 1.0])
    assert (e.low, e.high) == (0.0, math.inf)
    assert math.isfinite(e.estimate)
    assert 0 < e.p_value(1.25) < 1
    assert evidence.ratio_effect([1e-300, 1e-299], [1e300, 1e299]).p_value(1.25) < 1e-2


def test_large_numbers_do_not_overflow():
    e = evidence.mean_effect([1e300, -1e300, 1e300])
    unit = evidence.mean_effect([1.0, -1.0, 1.0])
    assert (e.estimate, e.low) == pytest.approx((1e300 * unit.estimate, 1e300 * unit.low))
    assert evidence.mean_effect([1e-300, 3e-300]).p_value(0) == pytest.approx(
        evidence.mean_effect([1.0, 3.0]).p_value(0)
    )


def test_median_lies_between_order_statistics_at_the_level_that_it_says():
    rng = np.random.default_rng(11)
    for n in (8, 9, 20, 33, 64):
        e = evidence.median_effect(x := rng.exponential(1, n))
        assert e.estimate == np.median(x)
        rank = sorted(x).index(e.low) + 1
        assert sorted(x, reverse=True).index(e.high) + 1 == rank
        # exact, by another route: the interval misses when fewer than rank values lie on one side
        miss = 2 * sum(math.comb(n, k) for k in range(rank)) / 2**n
        assert e.coverage == pytest.approx(1 - miss)
        assert miss <= 0.01 < miss + 2 * math.comb(n, rank) / 2**n


def test_median_of_too_few_is_refused_by_name():
    with pytest.raises(ValueError, match=r"at least 8 replicas for a 0\.99 interval, not 7"):
        evidence.median_effect(range(7))
    assert evidence.median_effect(range(7), level=0.98).coverage == pytest.approx(1 - 2 / 2**7)
    assert evidence.mean_effect([1.0, 2.0], level=0.9).coverage == 0.9


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (77, 100)])
def test_proportion_is_scipys_exact_interval(k, n):
    e = evidence.proportion(k, n)
    expected = stats.binomtest(k, n).proportion_ci(0.99, method="exact")
    assert (e.estimate, e.low, e.high) == pytest.approx((k / n, *expected))
    each = evidence.proportion([i < k for i in range(n)])
    assert (each.low, each.high, each.n) == (e.low, e.high, n)
    for null in (0.1, 0.3, 0.9):
        tails = [stats.binomtest(k, n, null, side).pvalue for side in ("less", "greater")]
        assert e.p_value(null) == pytest.approx(min(1, 2 * min(tails)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: evidence.proportion(3.0, 10), TypeError, "whole numbers, not 3.0"),
        (lambda: evidence.proportion(11, 10), ValueError, "between 0 and n = 10"),
        (lambda: evidence.proportion([0.5, 1.0]), ValueError, "0 or 1 for each replica"),
        (lambda: evidence.mean_effect([1 + 1j, 2]), TypeError, "x must hold real numbers"),
        (lambda: evidence.mean_effect(["1", "2"]), TypeError, "x must hold real numbers"),
        (lambda: evidence.mean_effect([1.0, None]), TypeError, "x must hold real numbers"),
        (
            lambda: evidence.paired_effect([1, 2], torch.ones(2, dtype=torch.complex64)),
            TypeError,
            "b must hold real numbers",
        ),
        (
            lambda: evidence.mean_effect(np.ma.array([1, 2, 999], mask=[0, 0, 1])),
            ValueError,
            "x must have a value for every replica",
        ),
        (
            lambda: evidence.deviation(np.ma.array([1, 2, 999], mask=[0, 0, 1]), 0),
            ValueError,
            "x must have a value for every replica",
        ),
        (lambda: evidence.paired_effect([1e308] * 2, [-1e308] * 2), ValueError, "too far apart"),
        (lambda: evidence.mean_effect([1, 2], overlap=-1), ValueError, "overlap must be"),
    ],
)
def test_what_is_no_sample_of_real_numbers_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_whatever_holds_real_numbers_is_read():
    expected = evidence.mean_effect([1.0, 2.0, 4.0])
    for x in (
        torch.tensor([1.0, 2.0, 4.0], requires_grad=True),
        torch.tensor([1.0, 2.0, 4.0], dtype=torch.bfloat16),
        [torch.tensor(1.0), torch.tensor(2.0), torch.tensor(4.0)],
        pd.Series([1, 2, 4], dtype=object),
        np.ma.array([1, 2, 4], mask=False),
    ):
        assert evidence.mean_effect(x) == expected


def test_rounding_errors_of_which_one_is_larger_are_not_skewed():
    errors = [2.2e-16] * 31 + [3.3e-16]
    assert not evidence.mean_effect(errors).beside
    assert evidence.mean_effect(np.multiply(errors, 1e6)).beside


def test_a_skewed_sample_gets_its_bootstrap_t_interval_beside():
    x = np.random.default_rng(3).lognormal(0, 1.2, 32)
    assert stats.skew(x) > 1
    (beside,) = evidence.mean_effect(x).beside
    assert beside.decides
    # another route: a plain loop over resamples of its own
    rng, t = np.random.default_rng(99), []
    for _ in range(4000):
        y = rng.choice(x, 32)
        t.append((y.mean() - x.mean()) / (y.std(ddof=1) / math.sqrt(32)))
    error = x.std(ddof=1) / math.sqrt(32)
    low, high = (x.mean() - q * error for q in np.quantile(t, [0.995, 0.005]))
    assert beside.low == pytest.approx(low, abs=0.15 * error)
    assert beside.high == pytest.approx(high, rel=0.1)
    assert evidence.mean_effect(x).beside == (beside,)
    assert evidence.mean_effect(np.log(x)).beside == ()
    (on_logs,) = evidence.ratio_effect(np.exp(x), np.ones(32)).beside
    assert (on_logs.low, on_logs.high) == pytest.approx(np.exp([beside.low, beside.high]))
    (folded,) = evidence.deviation(-x, 0).beside
    assert folded.low < folded.high
    assert evidence.median_effect(x).beside == ()


def test_the_bootstrap_of_a_few_distinct_values_promises_no_end():
    (beside,) = evidence.mean_effect([0.0] * 7 + [1.0]).beside
    assert beside.high == math.inf
    (mirrored,) = evidence.mean_effect([1.0] * 7 + [0.0]).beside
    assert (mirrored.low, mirrored.high) == pytest.approx((-math.inf, 1 - beside.low))
    assert evidence.mean_effect([2.0] * 8).beside == ()
    assert evidence.mean_effect([0.1 + 1e-17] * 7 + [0.1]).beside == ()


def test_overlapping_splits_widen_the_interval_that_stands_beside():
    x = np.random.default_rng(1).normal(1, 0.2, 32)
    e = evidence.mean_effect(x, overlap=1 / 4)
    (beside,) = e.beside
    assert not beside.decides
    half = stats.t.isf(0.005, 31) * x.std(ddof=1) * math.sqrt(1 / 32 + 1 / 4)
    assert (beside.low, beside.high) == pytest.approx((x.mean() - half, x.mean() + half))
    again = evidence.effect_from(json.loads(json.dumps(evidence.entry_of(e))))
    assert again == e
    assert again.beside == e.beside


def test_crossed_samples_are_compared_on_the_replicas_of_both():
    rows = [np.arange(8) + 0.5, np.arange(16) * 2.0]
    columns = [np.arange(16) ** 0.5, np.ones(8), np.arange(12) * 1.0]
    table = evidence.crossed(evidence.paired_effect, rows, columns)
    assert [[e.n for e in row] for row in table] == [[8, 8, 8], [16, 8, 12]]
    assert table[1][2] == evidence.paired_effect(rows[1][:12], columns[2])


def test_a_median_equal_to_the_null_speaks_for_it():
    x = [1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 9.0]
    e = evidence.median_effect(x)
    assert (e.low, e.high) == (1.0, 9.0)
    assert e.p_value(4.0) == 1.0
    assert e.p_value(3.0) == pytest.approx(2 * sum(math.comb(10, k) for k in range(4)) / 2**10)
