"""Power: against simulation, and the number of replicas that it asks for."""

import math

import numpy as np
import pytest
from made import part

from actnorm import evidence
from actnorm.evidence import power

unit = np.array([-1.0, 1.0] * 16)
unit /= unit.std(ddof=1)


def decided(judged, draw, word, runs=2000):
    rng = np.random.default_rng(5)
    return np.mean([evidence.word(judged.outcome(draw(rng))) == word for _ in range(runs)])


@pytest.mark.parametrize(
    ("kind", "mean", "word"),
    [("greater", 0.7, "holds"), ("greater", -0.3, "fails"), ("equal", 0.5, "fails")],
)
def test_power_is_how_often_simulated_replicas_decide(kind, mean, word):
    judged, n = part(kind, 0.2), 24
    if kind == "equal":
        judged, mean = part(kind, 0.2), 0.7
    found = power.power(judged, evidence.mean_effect(mean + unit), n)
    seen = decided(judged, lambda rng: evidence.mean_effect(rng.normal(mean, 1, n)), word)
    assert found == pytest.approx(seen, abs=4 * math.sqrt(0.25 / 2000))


def test_an_interval_between_two_margins_can_miss_either():
    judged = part("equal", 0.8)
    found = power.power(judged, evidence.mean_effect(0.05 + unit), 24)
    seen = decided(judged, lambda rng: evidence.mean_effect(rng.normal(0.05, 1, 24)), "holds")
    assert found == pytest.approx(seen, abs=4 * math.sqrt(0.25 / 2000))
    bound, folded = part("bound", 0.8), evidence.deviation(-0.05 - unit, 0)
    assert power.power(bound, folded, 24) == pytest.approx(found, abs=1e-6)
    beyond = [power.power(bound, evidence.deviation(x, 0), 24) for x in (1.5 + unit, -1.5 - unit)]
    assert beyond[0] == pytest.approx(beyond[1])
    assert 0.3 < beyond[0] < 0.9


def test_power_of_a_ratio_is_that_of_its_logarithms():
    ratio = evidence.ratio_effect(np.exp(0.7 + unit), np.ones(32))
    same = evidence.mean_effect(0.7 + unit)
    assert power.power(part("greater", math.exp(0.2)), ratio, 20) == pytest.approx(
        power.power(part("greater", 0.2), same, 20)
    )


def test_the_referees_table():
    # distance to the margin of half a standard deviation, at 32, 64 and 128 replicas
    e, judged = evidence.mean_effect(0.7 + unit), part("greater", 0.2)
    found = [round(power.power(judged, e, n), 2) for n in (32, 64, 128)]
    assert found == [0.54, 0.91, 1.0]


def test_replicas_for_a_power_are_the_fewest():
    e, judged = evidence.mean_effect(0.7 + unit), part("greater", 0.2)
    for wanted in (0.5, 0.95, 0.99):
        n = power.replicas_for(judged, e, wanted)
        assert power.power(judged, e, n) >= wanted > power.power(judged, e, n - 1)
    assert power.replicas_for(part("greater", 0.7), e, 0.9) is None
    assert power.replicas_for(judged, evidence.mean_effect([3.0, 3.0]), 0.99) == 2
    twice = part("greater", 0.2, looks=2)
    assert power.replicas_for(twice, e, 0.95) > power.replicas_for(judged, e, 0.95)


def test_far_effects_need_no_noncentral_tables():
    e = evidence.mean_effect(1e6 + unit)
    assert power.power(part("greater", 0.2), e, 2) == pytest.approx(1, abs=1e-3)
    assert 0 < power.power(part("greater", 0.2), evidence.mean_effect(40 + unit), 2) < 1


def test_each_of_k_core_parts_gets_its_share_of_one_in_twenty():
    assert power.wanted(1) == 0.95
    assert power.wanted(5) == 0.99
    assert power.wanted(0) == 0.95
