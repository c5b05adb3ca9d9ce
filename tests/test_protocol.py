"""Recorded functions: run for the record, looked up elsewhere, and never silently stale."""

import json

import numpy as np
import pytest

from actnorm import evidence, protocol


def double(x, times=2):
    """Return a multiple."""
    return {"value": x * times}


@pytest.fixture
def record(monkeypatch):
    """Run a function in the full tier and return the record's entry that it leaves."""
    left = []
    monkeypatch.setattr(protocol, "_leave", left.append)
    monkeypatch.setenv("ACTNORM_TIER", "full")
    assert protocol.recorded(double)(3, times=4) == {"value": 12}
    monkeypatch.delenv("ACTNORM_TIER")
    return json.loads(json.dumps(left.pop()))


def test_a_recorded_result_is_looked_up_and_not_run(record, monkeypatch):
    record["result"] = {"value": "from the record"}
    monkeypatch.setattr(evidence, "records", lambda: {"page": {"recorded": [record]}})
    function = protocol.recorded(double)
    assert function(3, times=4) == {"value": "from the record"}
    assert function.run(3, times=4) == {"value": 12}
    assert function.__doc__ == "Return a multiple."
    with pytest.raises(RuntimeError, match=r"double \[\[3\], \{\}\] is not recorded"):
        function(3)


def test_a_changed_function_says_that_its_record_is_stale(record, monkeypatch):
    monkeypatch.setattr(evidence, "records", lambda: {"page": {"recorded": [record]}})
    record["source"] = "another"
    with pytest.raises(RuntimeError, match="double has changed since it was recorded"):
        protocol.recorded(double)(3, times=4)


def test_another_page_may_use_the_same_name(record, monkeypatch):
    other = record | {"source": "another", "result": {"value": "not this"}}
    pages = {"a": {"recorded": [other]}, "b": {"recorded": [record]}}
    monkeypatch.setattr(evidence, "records", lambda: pages)
    assert protocol.recorded(double)(3, times=4) == {"value": 12}


def test_pages_without_recorded_parts_are_no_obstacle(monkeypatch):
    monkeypatch.setattr(evidence, "records", lambda: {"page": {}})
    with pytest.raises(RuntimeError, match="is not recorded"):
        protocol.recorded(double)(3)


def chosen(arm):
    """Return what a tuning leaves."""
    return {"rate": 0.2, "rates": [0.1, 0.2], "wins": [0.0, 1.0], "learns": True}


@pytest.mark.parametrize(
    ("variables", "rate"),
    [
        ({"ACTNORM_SEED": "1001"}, 0.1),
        ({"ACTNORM_REPLICAS": "x2"}, 0.1),
        ({}, 0.2),
        ({"ACTNORM_SEED": "1001", "ACTNORM_POOL": "tuning"}, 0.2),
    ],
)
def test_other_replicas_are_trained_at_the_recorded_rate(variables, rate, monkeypatch):
    function = protocol.recorded(chosen)
    entry = {"name": "chosen", "call": '[["tanh"], {}]', "source": function.fingerprint}
    entry["result"] = chosen("tanh") | {"rate": 0.1}
    other = entry | {"source": "another", "result": chosen("tanh") | {"rate": 7.0}}
    records = {"a": {"recorded": [entry]}, "b": {"recorded": [other]}}
    monkeypatch.setattr(evidence, "records", lambda: records)
    monkeypatch.setattr(protocol, "_leave", lambda entry: None)
    for name, value in ({"ACTNORM_TIER": "full"} | variables).items():
        monkeypatch.setenv(name, value)
    result = function("tanh")
    assert result["rate"] == rate
    assert result.get("chosen", 0.2) == 0.2
    assert function("sigmoid")["rate"] == 0.2  # of which the record knows nothing


def spread(n):
    """Return numbers, and one rate."""
    return {"rate": 0.5, "values": [float(k) for k in range(n)], "counts": np.arange(n)}


def test_effects_know_whether_a_result_was_looked_up(monkeypatch):
    left = []
    monkeypatch.setattr(protocol, "_leave", left.append)
    monkeypatch.setenv("ACTNORM_TIER", "full")
    ran = protocol.recorded(spread)(np.int64(3))
    assert evidence.mean_effect(ran["values"]).source == "re-run here"
    monkeypatch.setattr(evidence, "records", lambda: {"page": {"recorded": left}})
    for tier in ("live", "verify"):
        monkeypatch.setenv("ACTNORM_TIER", tier)
        found = protocol.recorded(spread)(3)
        assert found["rate"] == 0.5
        assert list(found["values"]) == list(ran["values"]) == [0.0, 1.0, 2.0]
        assert evidence.mean_effect(2 * found["counts"]).source == "from the record"
        assert evidence.mean_effect(protocol.recorded(spread).run(3)["values"]).source == (
            "re-run here"
        )


def test_unknown_tiers_and_arguments_are_refused(monkeypatch):
    with pytest.raises(TypeError, match="recorded arguments and results are what JSON holds"):
        protocol.recorded(double)(object())
    monkeypatch.setenv("ACTNORM_TIER", "fast")
    with pytest.raises(ValueError, match="ACTNORM_TIER must be one of live, verify, full"):
        protocol.recorded(double)(3)


def test_a_function_of_two_pages_is_not_taken_for_either(record, monkeypatch):
    pages = {"a": {"recorded": [record]}, "b": {"recorded": [record]}}
    monkeypatch.setattr(evidence, "records", lambda: pages)
    with pytest.raises(RuntimeError, match="double is recorded on a, b: give it two names"):
        protocol.recorded(double)(3, times=4)
