"""The ledger, and the correction for its size."""

import json
from dataclasses import replace

import pytest

from actnorm import evidence


def test_holm_against_its_definition():
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert evidence.holm(p) == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})


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
    assert replace(p, margin=recorded.high + 0.1).outcome(recorded).startswith("fails: smaller")
    newer = replace(claim, parts=tuple(replace(q, revision=q.revision + 1) for q in claim.parts))
    assert newer.recorded("coherence") is None
    assert newer.verdict == evidence.NOT_MEASURED
