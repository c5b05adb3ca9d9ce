"""A re-run against the record: replicas with themselves, or two samples."""

from dataclasses import replace

import numpy as np
import pytest
from made import part
from scipy import stats

from actnorm import evidence
from actnorm.evidence import RECORD, Rounding

rng = np.random.default_rng(9)
then = rng.normal(1, 0.1, 32)
recorded = replace(evidence.mean_effect(then), source=RECORD)
p = part("greater", 0.2, replicas=32)
EXACT, CHAOTIC = Rounding("exact", 1e-9, 8), Rounding("chaotic", 0.02, 8)


def itself(live, moves, **more):
    return evidence.compare(p, evidence.mean_effect(live), recorded, same=True, moves=moves, **more)


def others(live, judged=p, comparisons=1):
    now = evidence.mean_effect(live)
    return evidence.compare(judged, now, recorded, same=False, comparisons=comparisons)


# The record's own replicas


@pytest.mark.parametrize("moves", [EXACT, CHAOTIC, None])
def test_replicas_within_a_hundredth_of_the_margin_are_equal(moves):
    found = itself(then[:8] + 0.0019, moves)
    assert (found.words, found.contradicts) == ("8 of 8 equal", False)


def test_one_exact_replica_may_differ_on_another_processor_and_most_may_not():
    live = then[:8].copy()
    live[3] += 0.0021
    found = itself(live, EXACT)
    assert (found.words, found.contradicts) == ("7 of 8 equal", False)
    live[:5] = then[:5] + np.array([1, -1, 1, -1, 0.1]) / 10
    found = itself(live, EXACT)
    assert (found.words, found.contradicts) == ("3 of 8 equal", True)


def test_chaotic_replicas_are_judged_together_against_what_rounding_does():
    for gap in (0.02, 0.021, 0.024, 0.026, 0.03):
        live = then[:8] + gap
        expected = 2 * stats.t.sf(gap / (0.02 / np.sqrt(8)), 7)
        assert itself(live, CHAOTIC).contradicts == (expected < 0.01)
        assert itself(live, CHAOTIC, comparisons=10).contradicts == (expected < 0.001)
    assert "together moved by more than" in itself(then[:8] + 0.1, CHAOTIC).words
    # their own scatter says nothing: only what rounding is known to do
    scattered = then[:8] + 0.5 * np.array([1, -1] * 4)
    assert not itself(scattered, CHAOTIC).contradicts


def test_fewer_than_eight_chaotic_replicas_judge_nothing():
    found = itself(then[:7] + 0.1, CHAOTIC)
    assert not found.contradicts
    assert found.words == "0 of 7 equal; too few to judge, as rounding moves them"


def test_a_gap_below_a_hundredth_of_the_margin_never_contradicts():
    steady = Rounding("chaotic", 1e-6, 8)
    live = then[:8] + np.array([0.01, *[0] * 7])  # 0.00125 on the mean
    assert not itself(live, steady).contradicts
    assert itself(live + 0.002, steady).contradicts
    assert not itself(live, None).contradicts
    precise = part("greater", 0.2, replicas=4)
    tight = evidence.mean_effect(1 + 1e-6 * np.arange(4.0))
    moved = evidence.mean_effect(1.001 + 1e-6 * np.arange(4.0))
    assert not evidence.compare(precise, moved, tight, same=False).contradicts
    ratios = evidence.ratio_effect(1 + 1e-6 * np.arange(4.0), np.ones(4))
    for factor, contradicts in ((1.002, False), (1.003, True)):  # log 1.25 / 100 = 0.00223
        moved = evidence.ratio_effect(factor * (1 + 1e-6 * np.arange(4.0)), np.ones(4))
        found = evidence.compare(part("equal", 1.25), moved, ratios, same=False)
        assert found.contradicts == contradicts


def test_last_places_are_equal_where_the_margin_is_smaller():
    digits = part("bound", 1e-15)
    a, b = evidence.deviation([4e-16, 5e-16], 0), evidence.deviation([5e-16, 6e-16], 0)
    assert evidence.compare(digits, b, a, same=True, moves=EXACT).words == "2 of 2 equal"
    zero = part("greater", 0.0)
    found = evidence.compare(zero, evidence.mean_effect(then), recorded, same=True, moves=EXACT)
    assert found.words == "32 of 32 equal"


def test_where_the_record_knows_nothing_of_rounding_two_samples_are_compared():
    for gap in (0.05, 0.1, 0.15, 0.2, 0.3):
        live = then[:8][::-1] + gap
        expected = stats.ttest_ind(live, then[:8], equal_var=False).pvalue < 0.01
        assert itself(live, None).contradicts == expected


def test_rounding_tells_exact_from_chaotic_replicas():
    plain = evidence.mean_effect(then[:8])
    assert evidence.rounding(p, plain, evidence.mean_effect(then[:8] + 0.0019)).kind == "exact"
    live = then[:8].copy()
    live[0] += 0.0021
    moves = evidence.rounding(p, plain, evidence.mean_effect(live))
    assert (moves.kind, moves.n) == ("chaotic", 8)
    assert moves.spread == pytest.approx(np.std([0.0021] + [0] * 7, ddof=1))


def test_what_was_looked_up_is_not_compared():
    copy = replace(evidence.mean_effect(then + 5), source=RECORD)
    for same in (True, False):
        found = evidence.compare(p, copy, recorded, same=same, moves=EXACT)
        assert (found.words, found.contradicts) == ("not re-run here", False)
    assert evidence.compare(p, evidence.mean_effect(then), None, same=True).words == (
        "nothing recorded"
    )


# Other replicas


def test_other_replicas_contradict_by_outcome_or_by_effect():
    assert others(rng.normal(1, 0.1, 32)).words == "holds, as recorded"
    assert others(rng.normal(1, 0.1, 32)).contradicts is False
    reversed_ = others(rng.normal(-1, 0.1, 32))
    assert (reversed_.words, reversed_.contradicts) == (
        "recorded holds, now fails: reversed",
        True,
    )
    assert others(rng.normal(1.3, 0.1, 32)).contradicts


def test_what_no_seed_moves_is_compared_with_itself_on_every_seed():
    still = replace(p, seedless=True)
    assert others(then, still).words == "32 of 32 equal"
    live = then.copy()
    live[5] += 0.5
    now = evidence.mean_effect(live)
    assert evidence.compare(still, now, recorded, same=False, moves=EXACT).contradicts
    assert others(then[:8], still).words == "not judged: 8 of 32 replicas"


def test_holds_and_fails_contradict_however_little_the_effects_differ():
    near = part("greater", 1.0, replicas=32)
    noise = np.tile([-0.1, 0.1], 16)
    above, below = (evidence.mean_effect(1 + sign * 0.06 + noise) for sign in (1, -1))
    assert (near.outcome(above), near.outcome(below)) == ("holds", "fails: smaller than 1")
    assert evidence.compare(near, below, above, same=False, comparisons=10**12).contradicts
    between = evidence.mean_effect(1.02 + noise)
    found = evidence.compare(near, between, above, same=False, comparisons=10**12)
    assert (found.words, found.contradicts) == ("recorded holds, now undecided", False)


def test_fewer_replicas_than_registered_contradict_nothing():
    found = others(rng.normal(-1, 0.1, 31))
    assert (found.words, found.contradicts) == ("not judged: 31 of 32 replicas", False)


def test_parts_compared_together_share_one_percent():
    for gap in np.linspace(0.02, 0.15, 14):
        live = then[::-1] + gap
        pvalue = stats.ttest_ind(live, then, equal_var=False).pvalue
        for comparisons in (1, 20):
            assert others(live, comparisons=comparisons).contradicts == (
                pvalue < 0.01 / comparisons
            )


def test_deviations_to_either_side_do_not_pass_for_each_other():
    bound = part("bound", 0.1, replicas=20)
    noise = np.random.default_rng(0).normal(0, 0.01, 20)
    above, below = evidence.deviation(0.03 + noise, 0), evidence.deviation(-0.03 - noise, 0)
    assert above.estimate == below.estimate
    assert evidence.compare(bound, below, above, same=False).contradicts
    assert not evidence.compare(bound, above, above, same=False).contradicts


def test_medians_are_compared_by_rank():
    x = np.random.default_rng(0).standard_cauchy(40)
    bound = part("bound", 1.0, replicas=40)
    a, b = evidence.median_effect(x), evidence.median_effect(x + 1.5)
    assert evidence.compare(part("greater", 9.0), b, a, same=False).contradicts
    assert not evidence.compare(bound, evidence.median_effect(x[::-1]), a, same=False).contradicts
