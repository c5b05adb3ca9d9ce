"""Records: every effect in them follows from its values."""

import math

import numpy as np
import pytest
from scipy import stats

from actnorm import evidence


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
                low, high = _interval(entry["method"], values, entry["level"])
                recorded = claim.recorded(name)
                assert (recorded.low, recorded.high) == pytest.approx((low, high), rel=1e-9)


def _interval(method, values, level):
    """The same intervals by another route: scipy's test objects."""
    if method == "median":
        asked = stats.quantile_test(values["x"], p=0.5).confidence_interval(level)
        return asked.low, asked.high
    if method == "proportion":
        hits = stats.binomtest(int(values["x"].sum()), len(values["x"]))
        asked = hits.proportion_ci(level, method="exact")
        return asked.low, asked.high
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
