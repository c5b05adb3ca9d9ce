"""The outcome of a part: where its interval lies."""

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
    ("greater", 0.2, (-0.1, 0.1), "fails: negligible"),
    ("greater", 0.2, (-0.5, -0.3), "fails: reversed"),
    ("greater", 0.2, (-0.5, 0.1), "fails: not greater"),
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


@pytest.mark.parametrize(("kind", "margin", "ends", "expected"), RULE[:10])
def test_rule_for_ratios_is_the_rule_on_logarithms(kind, margin, ends, expected):
    ratio = effect(*map(math.exp, ends), method="ratio")
    assert part(kind, math.exp(margin)).outcome(ratio) == expected


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
