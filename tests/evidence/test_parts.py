"""The outcome of a part: where its interval lies."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import effect, part

from actnorm import evidence
from actnorm.evidence import Part

floats = st.floats(-1e3, 1e3)

RULE = [
    ("greater", 0.2, (0.3, 0.5), "holds"),
    ("greater", 0.2, (0.1, 0.5), "undecided"),
    ("greater", 0.2, (0.2, 0.5), "undecided"),
    ("greater", 0.2, (-0.1, 0.1), "fails: no effect shown"),
    ("greater", 0.2, (-0.5, 0.1), "fails: no effect shown"),
    ("greater", 0.2, (-0.5, -0.3), "fails: reversed"),
    ("greater", 0.2, (-0.15, -0.1), "fails: reversed"),
    ("greater", 0.2, (-0.07, -0.02), "fails: far smaller than 0.2"),
    ("greater", 0.2, (0.02, 0.07), "fails: far smaller than 0.2"),
    ("greater", 0.2, (0.04, 0.08), "fails: smaller than 0.2"),
    ("equal", 0.2, (-0.1, 0.1), "holds"),
    ("equal", 0.2, (0.1, 0.3), "undecided"),
    ("equal", 0.2, (0.3, 0.5), "fails: different"),
    ("equal", 0.2, (-0.5, -0.3), "fails: different"),
    ("bound", 0.2, (0.0, 0.1), "holds"),
    ("bound", 0.2, (0.1, 0.3), "undecided"),
    ("bound", 0.2, (0.3, 0.4), "fails: beyond the bound"),
]


@pytest.mark.parametrize(("kind", "margin", "ends", "expected"), RULE)
def test_rule(kind, margin, ends, expected):
    assert part(kind, margin).outcome(effect(*ends)) == expected


@pytest.mark.parametrize(("kind", "margin", "ends", "expected"), RULE[:14])
def test_rule_for_ratios_is_the_rule_on_logarithms(kind, margin, ends, expected):
    ratio = effect(*map(math.exp, ends), method="ratio")
    factor = math.exp(margin)
    expected = expected.replace(f"than {margin:g}", f"than {factor:g}")
    assert part(kind, factor).outcome(ratio) == expected


def test_a_large_margin_is_written_as_on_the_card():
    factor = evidence.ratio_effect([15.0, 16.0, 17.0], [1.0, 1.0, 1.0])
    assert part("greater", 65536).outcome(factor) == "fails: far smaller than 65,536×"


def test_no_effect_is_not_yet_measured_and_no_margin_cannot_judge():
    assert part("greater", 0.1).outcome(None) == evidence.NOT_MEASURED
    with pytest.raises(ValueError, match="no registered kind"):
        Part("p", "asserts").outcome(effect(0, 1))
    with pytest.raises(ValueError, match="margin of a ratio must be at least 1"):
        part("greater", 0.5).outcome(effect(1, 2, method="ratio"))


@given(low=floats, width=st.floats(0, 100), margin=st.floats(0, 100))
def test_holds_and_fails_exclude_each_other(low, width, margin):
    for kind in evidence.KINDS:
        word = part(kind, margin).outcome(effect(low, low + width)).split(":")[0]
        wider = part(kind, margin).outcome(effect(low - 1e4, low + width + 1e4)).split(":")[0]
        assert word in ("holds", "fails", "undecided")
        assert wider == "undecided"


def test_a_skewed_sample_is_decided_only_where_both_intervals_agree():
    x = 3 + np.random.default_rng(3).lognormal(0, 1.2, 32)
    e = evidence.mean_effect(x)
    (other,) = e.beside
    assert e.low < other.low
    assert e.high < other.high
    below, above = (e.low + other.low) / 2, (e.high + other.high) / 2
    assert part("greater", below).beside(e) == {"bootstrap-t": "holds"}
    assert part("greater", below).outcome(e) == "undecided"
    assert part("greater", e.low - 0.1).outcome(e) == "holds"
    assert part("bound", above).beside(e) == {"bootstrap-t": "undecided"}
    assert part("bound", above).outcome(e) == "undecided"


def test_overlap_is_told_and_decides_nothing():
    x = np.random.default_rng(1).normal(1, 0.2, 32)
    e = evidence.mean_effect(x, overlap=1.0)
    p = part("greater", 0.8)
    assert p.outcome(e) == "holds"
    assert p.beside(e) == {"Nadeau–Bengio": "undecided"}


def test_a_ratio_beyond_all_numbers_is_undecided():
    e = evidence.ratio_effect([1e-3, 1e-18], [1.0, 1.0])
    for kind in evidence.KINDS:
        assert part(kind, 1.25).outcome(e) == "undecided"
    assert part("greater", 1.25).outcome(effect(math.inf, math.inf, "ratio")) == "holds"


def test_an_effect_that_is_real_but_below_the_margin_says_so_with_the_number():
    assert part("greater", 0.2).outcome(effect(0.02, 0.09)) == "fails: smaller than 0.2"
    assert part("greater", 0.2).outcome(effect(0.1, 0.15)) == "fails: smaller than 0.2"
    ratio = evidence.ratio_effect([1.1, 1.11, 1.09, 1.1], np.ones(4))
    assert part("greater", 1.25).outcome(ratio) == "fails: smaller than 1.25×"
    assert part("greater", 0.0).outcome(effect(-1.0, -0.5)) == "fails: reversed"


def test_two_looks_judge_at_half_the_error_each():
    x = np.random.default_rng(2).normal(1, 0.5, 30)
    e = evidence.mean_effect(x)
    stricter = evidence.mean_effect(x, level=0.995)
    between = (e.low + stricter.low) / 2
    assert part("greater", between).outcome(e) == "holds"
    assert part("greater", between, looks=2).outcome(e).startswith("undecided: at the margin")
    assert part("greater", between, looks=2).judged(e) == stricter
    assert part("greater", stricter.low - 1e-6, looks=2).outcome(e) == "holds"


def test_after_two_looks_it_says_how_far_from_the_margin_it_can_be():
    x = 0.25 + np.array([-0.1, 0.1] * 8)
    twice = evidence.mean_effect(x, level=0.995)
    away = f"{twice.high - 0.2:.2g}"
    said = part("greater", 0.2, looks=2).outcome(evidence.mean_effect(x))
    assert said == f"undecided: at the margin, within {away} of 0.2"
    said = part("equal", 0.2, looks=2).outcome(evidence.mean_effect(-x))
    assert said == f"undecided: at the margin, within {away} of -0.2"
    ratio = evidence.ratio_effect(np.exp(x), np.ones(16))
    said = part("greater", 1.25, looks=2).outcome(ratio)
    factor = math.exp(max(twice.high - math.log(1.25), math.log(1.25) - twice.low))
    assert said == f"undecided: at the margin, within a factor of {factor:.3g} of 1.25×"
    assert evidence.word(said) == "undecided"


BAD_PARTS = [
    ({"role": "main"}, "role must be one of"),
    ({"looks": 3}, "looks must be one of 1, 2, not 3"),
    ({"role": "scope", "primary": True}, "a primary part must be core; p is scope"),
    ({"regime": "deep", "side": "in"}, "side must be one of inside, outside, not 'in'"),
    ({"regime": "deep"}, "side must be one of"),
    ({"side": "inside"}, "lies inside of a regime: name it"),
]


@pytest.mark.parametrize(("fields", "message"), BAD_PARTS)
def test_bad_parts_are_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=message):
        Part("p", "asserts", **fields)


def test_what_varies_less_than_a_hundredth_of_the_margin_does_not_vary():
    assert part("greater", 1.0).varies(evidence.mean_effect([5.0, 5.03]))
    assert not part("greater", 1.0).varies(evidence.mean_effect([5.0, 5.01]))
    ratio = evidence.ratio_effect([1.0, 1.01], [1.0, 1.0])
    assert part("equal", 1.25).varies(ratio)
    assert not part("equal", 2.5).varies(ratio)


def test_where_splits_overlap_the_part_says_so_and_is_judged_all_the_same():
    rng = np.random.default_rng(0)
    effect = evidence.mean_effect(rng.normal(0.03, 0.02, 32))
    plain = Part("p", "s", kind="greater", margin=0.015)
    shared = dataclasses.replace(plain, overlap=0.25)
    assert plain.beside(effect) == {}
    assert shared.outcome(effect) == plain.outcome(effect) == "holds"
    assert shared.beside(effect) == {"Nadeau–Bengio": "undecided"}
    (beside,) = shared.judged(effect).beside
    width = (beside.high - beside.low) / (effect.high - effect.low)
    assert width == pytest.approx((1 + 32 * 0.25) ** 0.5)
    assert shared.judged(effect).source == effect.source
