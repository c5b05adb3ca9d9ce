"""The ledger, and the correction for its size."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from made import part

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
    assert all({"kind", "margin", "unit", "beside", "p_holm"} <= set(p) for p in measured)
    json.dumps(rows)


def test_the_ledger_leads_with_the_primary_part_and_counts_the_core():
    for row in evidence.ledger():
        core = [p for p in row["parts"] if p["role"] == "core"]
        assert row["primary"] in {p["name"] for p in core}
        words = [evidence.word(p["outcome"]) for p in core]
        assert row["core"] == {
            "held": words.count("holds"),
            "failed": words.count("fails"),
            "undecided": words.count("undecided"),
        }
        undecided = [p for p in core if evidence.word(p["outcome"]) not in ("holds", "fails")]
        assert {p["name"] for p in undecided} <= set(row["open"])
        assert row["verdict"] == evidence.claim(row["problem_id"]).verdict


def test_holm_counts_each_set_of_data_once_and_nothing_that_does_not_vary(monkeypatch):
    own, twins = evidence.Claim.recorded, ("mild_mismatch", "strangled")

    def recorded(claim, name):
        return own(claim, twins[1] if (claim.id, name) == ("3112706", twins[0]) else name)

    monkeypatch.setattr(evidence.Claim, "recorded", recorded)
    parts = {
        (row["problem_id"], p["name"]): p
        for row in evidence.ledger()
        for p in row["parts"]
        if p["estimate"] is not None
    }
    families = {p["family"] for p in parts.values()} - {None}
    assert len(families) == 1
    family = families.pop()
    judged, data = {}, set()
    for claim in evidence.registry().values():
        for p in claim.parts:
            e = claim.recorded(p.name)
            if e and p.role in ("core", "scope") and p.varies(e):
                judged[claim.id, p.name] = e
                data.add(json.dumps([e.method, e.values], sort_keys=True))
    assert family == len(data) < len(judged)
    assert parts["3112706", twins[0]]["p_holm"] == parts["3112706", twins[1]]["p_holm"]
    assert parts["3112706", twins[1]]["p_holm"] <= family * judged["3112706", twins[1]].p_value(0.5)
    assert {key for key, p in parts.items() if p["p_holm"] is not None} == set(judged)
    assert "cause" not in {name for _, name in judged}  # the same number of steps to the last digit
    assert [p["p_holm"] for (_, name), p in parts.items() if name == "flip"] == [None]  # a control


def test_an_equality_is_tested_against_its_nearer_edge():
    p_value = sys.modules["actnorm.evidence.ledger"].p_value
    x = 0.1 + np.random.default_rng(0).normal(0, 0.05, 20)
    e = evidence.mean_effect(x)
    assert p_value(part("equal", 0.2), e) == e.p_value(0.2) > e.p_value(-0.2)
    assert p_value(part("equal", 0.2), evidence.mean_effect(-x)) == pytest.approx(e.p_value(0.2))
    assert p_value(part("greater", 0.2), e) == e.p_value(0.2)
    ratio = evidence.ratio_effect(np.exp(-x), np.ones(20))
    assert p_value(part("equal", 1.25), ratio) == ratio.p_value(0.8)


def test_the_ledger_shows_the_interval_that_judged():
    row = sys.modules["actnorm.evidence.ledger"]._part
    x = np.random.default_rng(3).lognormal(0, 1.2, 32)
    e = evidence.mean_effect(x, overlap=0.25)
    once, twice = (row(part("greater", 0.2, looks=looks), e) for looks in (1, 2))
    assert (once["low"], once["level"]) == (e.low, 0.99)
    assert (twice["low"], twice["level"]) == (e.at(0.995).low, 0.995)
    assert [b["name"] for b in once["beside"]] == ["bootstrap-t", "Nadeau–Bengio"]
    assert once["beside"][1]["outcome"] == "undecided"


def test_a_changed_margin_or_record_changes_the_ledger(monkeypatch):
    claim = evidence.claim("3174499")
    recorded = claim.recorded("coherence")
    p = claim.part("coherence")
    assert p.outcome(recorded) == "holds"
    assert replace(p, margin=recorded.high + 0.1).outcome(recorded).startswith("fails: smaller")
    newer = replace(claim, parts=tuple(replace(q, revision=q.revision + 1) for q in claim.parts))
    assert newer.recorded("coherence") is None
    assert newer.verdict == evidence.NOT_MEASURED
