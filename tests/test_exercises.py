"""Exercises: right answers are told why, wrong ones only that, whatever their type."""

import math

import pytest

import actnorm as an
from actnorm import exercises


@pytest.mark.parametrize("name", exercises.EXERCISES)
@pytest.mark.parametrize("answer", [None, "x", math.nan, -1.0, [], lambda *_: 1 / 0])
def test_wrong_answers_of_any_type_are_not_yet(name, answer):
    assert an.check(name, answer) == "Not yet."


def test_right_answers_are_told_why():
    assert an.check("channels-that-fit", 1250) == (
        "Yes, because four taps from every channel, each halved by the ReLU, add up to the"
        " variance that left."
    )
    assert an.check("blocks-that-forget", math.log2(1001)).startswith("Yes, because")


def test_unknown_exercises_are_refused_by_name():
    with pytest.raises(KeyError, match=r"no exercise 'nonsense'; there are law-of-coherence"):
        an.check("nonsense", 1)


def test_no_two_chapters_share_a_name():
    names = [name for chapter in exercises.CHAPTERS for name in chapter.EXERCISES]
    assert len(names) == len(set(names))
