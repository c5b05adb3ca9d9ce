"""Claims of the book and of a reader, judged."""

import json
import sys

import numpy as np
import pytest
from made import part

from actnorm import evidence
from actnorm.evidence import Claim, Part
from actnorm.evidence.origin import FromRecord, mark

claims = sys.modules["actnorm.evidence.claims"]


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


def mine(replicas):
    return Claim("mine", "Mine.", (part("greater", 0.5, page="here", replicas=replicas),))


def record_of(monkeypatch, values, **more):
    """Give the reader's claim a record."""
    entry = {"revision": 1, "margin": 0.5} | evidence.entry_of(evidence.mean_effect(values))
    pages = {"here": {"claims": {"mine": {"p": entry | more}}}}
    monkeypatch.setattr(claims, "records", lambda: pages)


def test_fewer_replicas_than_registered_get_no_verdict_but_a_comparison(monkeypatch):
    values = np.random.default_rng(0).normal(1, 0.1, 32)
    record_of(monkeypatch, values, rounding="exact", spread=0.0, pairs=8)
    claim = mine(32)
    few = claim.judge(p=evidence.mean_effect(values[:8]))
    assert few.outcomes == {"p": "not judged: 8 of 32 replicas"}
    assert few.comparisons["p"].words == "8 of 8 equal"
    assert few.evidence()["parts"]["p"]["outcome"] == "not judged: 8 of 32 replicas"
    assert claim.judge(p=evidence.mean_effect(values)).outcomes == {"p": "holds"}
    assert claim.moves("p") == evidence.Rounding("exact", 0.0, 8)
    off = claim.judge(p=evidence.mean_effect(values[:8] + 0.1))
    assert off.comparisons["p"].contradicts


def test_a_reader_of_other_seeds_or_replicas_is_compared_as_another_sample(monkeypatch):
    values = np.random.default_rng(0).normal(1, 0.1, 32)
    record_of(monkeypatch, values, rounding="exact", spread=0.0, pairs=8)
    judgement = mine(32).judge(p=evidence.mean_effect(values[::-1]))
    assert judgement.comparisons["p"].words.endswith("of 32 equal")
    for variable, value in (("SEED", "3"), ("REPLICAS", "32:64"), ("POOL", "tuning")):
        with monkeypatch.context() as patch:
            patch.setenv(f"ACTNORM_{variable}", value)
            assert judgement.comparisons["p"].words == "holds, as recorded"
            assert judgement.evidence()["foreign"]
    assert judgement.evidence()["foreign"] is False


def test_evidence_says_what_was_not_re_run(monkeypatch):
    values = np.random.default_rng(0).normal(1, 0.1, 32)
    record_of(monkeypatch, values)
    kept = mark(values.tolist(), FromRecord)
    judgement = mine(32).judge(p=evidence.mean_effect(kept))
    assert judgement.evidence()["parts"]["p"]["source"] == "from the record"
    bundle = judgement._repr_mimebundle_()
    assert "not re-run here" in bundle["text/html"]
    assert "not re-run here" in bundle["text/plain"]
    live = mine(32).judge(p=evidence.mean_effect(values))
    assert live.evidence()["parts"]["p"]["source"] == "re-run here"
    assert "not re-run here" not in live._repr_mimebundle_()["text/html"]
    assert mine(32).moves("p") is None
