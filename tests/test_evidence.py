"""Effects, the verdict rule, the registry and the records."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from actnorm import evidence
from actnorm.evidence import Claim, Part

floats = st.floats(-1e3, 1e3)
samples = st.lists(floats, min_size=3, max_size=30)


def part(kind, margin, role="core", **more):
    return Part("p", "asserts", role=role, kind=kind, margin=margin, **more)


def effect(low, high, method="mean"):
    return evidence.Effect((low + high) / 2, low, high, 0.99, 32, method, "", {})


# Effects: against scipy's own intervals


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


# The rule

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


H, F, U = effect(0.3, 0.5), effect(-0.1, 0.1), effect(0.1, 0.3)
VERDICTS = [
    ([H, H], "holds"),
    ([F, F], "does not hold"),
    ([H, F], "holds in part"),
    ([H, U], "undecided"),
    ([U, F], "undecided"),
    ([H, None], "not yet measured"),
    ([U, None], "not yet measured"),
    ([], "not yet measured"),
]


@pytest.mark.parametrize(("effects", "expected"), VERDICTS)
def test_verdict_of_core_parts(effects, expected):
    parts = [replace(part("greater", 0.2), name=str(i)) for i in range(len(effects))]
    named = {str(i): e for i, e in enumerate(effects)}
    assert evidence.verdict(parts, named) == expected
    others = [replace(part("greater", 0.2, role), name=role) for role in evidence.ROLES[1:]]
    assert evidence.verdict(parts + others, named | dict.fromkeys(evidence.ROLES, F)) == expected


@pytest.mark.parametrize(
    ("inside", "outside", "expected"),
    [
        (H, F, "holds only when depth is 10"),
        (H, H, "holds"),
        (F, F, "holds"),
        (H, U, "holds"),
        (H, None, "holds"),
    ],
)
def test_a_pair_of_scope_parts_narrows_the_verdict(inside, outside, expected):
    scope = {"role": "scope", "regime": "depth is 10"}
    parts = [
        replace(part("greater", 0.2), name="core"),
        replace(part("greater", 0.2, **scope, side="inside"), name="in"),
        replace(part("greater", 0.2, **scope, side="outside"), name="out"),
    ]
    effects = {"core": H, "in": inside, "out": outside}
    assert evidence.verdict(parts, effects) == expected
    mixed = [*parts, replace(parts[0], name="other")]
    assert evidence.verdict(mixed, effects | {"other": F}) == "holds in part"


@given(low=floats, width=st.floats(0, 100), margin=st.floats(0, 100))
def test_holds_and_fails_exclude_each_other(low, width, margin):
    for kind in evidence.KINDS:
        word = part(kind, margin).outcome(effect(low, low + width)).split(":")[0]
        wider = part(kind, margin).outcome(effect(low - 1e4, low + width + 1e4)).split(":")[0]
        assert word in ("holds", "fails", "undecided")
        assert wider == "undecided"


def test_holm_against_its_definition():
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert evidence.holm(p) == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})


# Contradictions


def test_a_rerun_contradicts_by_verdict_or_by_effect():
    rng = np.random.default_rng(9)
    p = part("greater", 0.2)
    recorded = evidence.mean_effect(rng.normal(1, 0.1, 40))
    again = evidence.mean_effect(rng.normal(1, 0.1, 40))
    assert evidence.contradiction(p, again, recorded) is None
    assert evidence.contradiction(p, recorded, recorded) is None
    reversed_ = evidence.mean_effect(rng.normal(-1, 0.1, 40))
    assert "recorded holds, now fails" in evidence.contradiction(p, reversed_, recorded)
    other = evidence.mean_effect(rng.normal(1.3, 0.1, 40))
    assert "recorded" in evidence.contradiction(p, other, recorded)


# Claims


def test_reader_can_register_and_judge_a_claim(monkeypatch):
    mine = Claim("mine", "Mine is better.", (part("greater", 0.5, page="here"),))
    judgement = mine.judge(p=evidence.mean_effect([1.0, 1.1, 0.9, 1.0]))
    assert judgement.outcomes == {"p": "holds"}
    bundle = judgement._repr_mimebundle_()
    assert json.loads(json.dumps(bundle[evidence.MIME]))["parts"]["p"]["outcome"] == "holds"
    assert "holds" in bundle["text/html"]
    assert mine.verdict == "not yet measured"


def test_judge_refuses_what_it_cannot_judge():
    claim = evidence.claim("3174499")
    e = evidence.mean_effect([1.0, 1.1, 0.9])
    with pytest.raises(ValueError, match="no part 'nonsense'; it has"):
        claim.judge(nonsense=e)
    with pytest.raises(ValueError, match=r"judge also needs .*law"):
        claim.judge(coherence=e)
    with pytest.raises(TypeError, match="coherence must be an Effect, not float"):
        claim.judge(coherence=1.0)
    with pytest.raises(ValueError, match="at least one part"):
        claim.judge()
    with pytest.raises(KeyError, match="no claim '123'; the registry holds"):
        evidence.claim("123")
    with pytest.raises(ValueError, match="different names"):
        Claim("x", "s", (part("greater", 1), part("equal", 1)))
    with pytest.raises(ValueError, match="role must be one of"):
        Part("p", "a", role="main")
    with pytest.raises(ValueError, match="kind must be one of"):
        Part("p", "a", kind="less", margin=1)
    with pytest.raises(ValueError, match="margin of part p must be at least 0"):
        Part("p", "a", kind="equal", margin=-1.0)


# The registry and the records in the package


def test_registry_holds_the_37_claims_of_the_five_documents():
    claims = evidence.registry()
    assert len(claims) == 37
    assert {key for claim in claims.values() for key in claim.sources} == set(evidence.sources())
    assert len(evidence.sources()) == 5
    for claim in claims.values():
        assert claim.title
        assert claim.statement
        assert any(p.role == "core" for p in claim.parts), claim.id
        for p in claim.parts:
            assert p.asserts, (claim.id, p.name)
            assert p.page.count("/") == 1, (claim.id, p.name)
            if p.registered:
                assert p.metric, (claim.id, p.name)
                assert p.arms, (claim.id, p.name)
                assert p.why, (claim.id, p.name)
                assert p.replicas >= 2, (claim.id, p.name)


def test_every_recorded_effect_and_verdict_follows_from_its_values():
    for page, record in evidence.records().items():
        assert record["page"] == page
        assert record["digest"] == evidence.digest(record), "a record was edited by hand"
        assert record["seed"] == 0
        for problem, parts in record["claims"].items():
            claim = evidence.claim(problem)
            for name, entry in parts.items():
                registered = claim.part(name)
                values = {key: np.array(arm) for key, arm in entry["values"].items()}
                assert {len(arm) for arm in values.values()} == {registered.replicas}
                for key in evidence.REGISTERED:
                    now = getattr(registered, key)
                    now = list(now) if isinstance(now, tuple) else now
                    assert entry[key] == now, f"{key} of {name} changed without a new revision"
                low, high = _interval(entry["method"], values, entry["level"])
                recorded = claim.recorded(name)
                assert (recorded.low, recorded.high) == pytest.approx((low, high), rel=1e-9)


def _interval(method, values, level):
    """The same intervals by another route: scipy's test objects."""
    if method == "ratio":
        sample = np.log(values["a"] / values["b"])
    else:
        names = {"paired difference": ("a", "b"), "deviation": ("x", "exact"), "mean": ("x",)}
        sample = values[names[method][0]]
        if len(names[method]) == 2:
            sample = sample - values[names[method][1]]
    if np.ptp(sample) == 0:
        low = high = sample[0]
    else:
        low, high = stats.ttest_1samp(sample, 0).confidence_interval(level)
    if method == "ratio":
        return math.exp(low), math.exp(high)
    if method == "deviation":
        ends = sorted((abs(low), abs(high)))
        return (0.0 if low <= 0 <= high else ends[0]), ends[1]
    return low, high


def test_ledger_lists_every_claim_with_the_promised_keys():
    rows = evidence.ledger()
    assert [row["problem_id"] for row in rows] == list(evidence.registry())
    keys = {"name", "role", "outcome", "estimate", "low", "high", "n", "page"}
    assert all(keys <= set(p) for row in rows for p in row["parts"])
    measured = [p for row in rows for p in row["parts"] if p["estimate"] is not None]
    assert measured
    assert all(p["outcome"] != evidence.NOT_MEASURED for p in measured)
    assert all(p["p_holm"] is not None for p in measured if p["role"] in ("core", "scope"))
    json.dumps(rows)


def test_a_changed_margin_or_record_changes_the_ledger(monkeypatch):
    claim = evidence.claim("3174499")
    recorded = claim.recorded("coherence")
    p = claim.part("coherence")
    assert p.outcome(recorded) == "holds"
    assert replace(p, margin=recorded.high + 0.1).outcome(recorded) == "fails: negligible"
    newer = replace(claim, parts=tuple(replace(q, revision=q.revision + 1) for q in claim.parts))
    assert newer.recorded("coherence") is None
    assert newer.verdict == evidence.NOT_MEASURED
