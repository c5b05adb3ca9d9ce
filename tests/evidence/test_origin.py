"""Where numbers come from is not lost on their way into an effect."""

import json
from dataclasses import replace

import numpy as np
import pytest

from actnorm import evidence
from actnorm.evidence.origin import RECORD, RERUN, FromRecord, Measured, mark

kept = mark([1.0, 2.5, 3.0], FromRecord)
fresh = mark([1, 2, 4], Measured)
plain = np.array([1.0, 2.0, 2.0])

PATHS = {
    "slice": lambda x: x[::-1],
    "arithmetic": lambda x: 1 - 2 * x,
    "either side": lambda x: plain - x,
    "ufunc": np.log,
    "with others": lambda x: np.minimum(plain, x),
    "where": lambda x: np.where(plain > 1, plain, x),
    "clip": lambda x: x.clip(1),
    "sorted": np.sort,
    "concatenate": lambda x: np.concatenate([plain[:1], x]),
    "stack and mean": lambda x: np.stack([plain, x]).mean(0),
    "difference": lambda x: np.diff(x, prepend=0.0),
    "comparison": lambda x: x > 1,
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_what_is_computed_from_the_record_is_from_the_record(path):
    for x, source in ((kept, RECORD), (fresh, RERUN), (plain, RERUN)):
        assert evidence.mean_effect(path(x)).source == source
    assert evidence.paired_effect(path(kept), path(fresh)).source == RECORD
    assert evidence.paired_effect(path(fresh), path(kept)).source == RECORD
    assert evidence.deviation(plain[: len(path(kept))], path(kept)[:3]).source == RECORD


def test_a_mixture_is_from_the_record_whichever_comes_first():
    for mixed in (kept + fresh, fresh + kept, np.stack([fresh, kept]).sum(0)):
        assert isinstance(mixed, FromRecord)
    assert not isinstance(fresh + plain, FromRecord)
    assert isinstance(fresh + plain, Measured)


def test_numbers_alone_are_plain():
    for number in (kept.mean(), kept[0], np.median(kept), np.max(kept), kept.sum()):
        assert type(number) is np.float64
    assert f"{kept.mean():.1f} {round(kept.mean(), 1)}" == "2.2 2.2"


def test_lists_of_numbers_are_marked_wherever_they_stand():
    marked = mark({"rate": 0.5, "curves": [[1, 2], [3.5]], "steps": [1, None], "no": []}, Measured)
    assert marked["rate"] == 0.5
    assert [type(x) for x in marked["curves"]] == [Measured, Measured]
    assert type(marked["steps"]) is Measured
    np.testing.assert_array_equal(marked["steps"], [1, np.nan])
    assert marked["no"] == []
    assert marked["curves"][0].dtype.kind == "i"


def test_another_level_or_a_journey_through_json_keeps_the_source():
    e = evidence.mean_effect(kept)
    assert e.at(0.9).source == RECORD
    assert evidence.effect_from(evidence.entry_of(e)).source == RECORD
    entry = json.loads(json.dumps(evidence.entry_of(e) | {"source": RERUN}))
    assert evidence.effect_from(entry).source == RERUN
    assert replace(e, source=RERUN) == e
