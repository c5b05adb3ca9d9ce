"""Claims of the book and of a reader, judged."""

import json

import pytest
from made import part

from actnorm import evidence
from actnorm.evidence import Claim, Part


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
