"""Answers to the exercises, checked without giving them away: a file a chapter."""

from __future__ import annotations

from typing import Any

from actnorm.exercises import (
    activation_shape,
    cross_domain,
    dead_relu,
    normalization_tradeoffs,
    prelu_noise,
    zero_centering,
)

CHAPTERS = (
    zero_centering,
    dead_relu,
    prelu_noise,
    activation_shape,
    normalization_tradeoffs,
    cross_domain,
)
EXERCISES = {name: entry for chapter in CHAPTERS for name, entry in chapter.EXERCISES.items()}


def check(name: str, answer: Any) -> str:
    """Say whether an answer to an exercise is right: "Not yet" or "Yes, because …".

    Never raises for a wrong answer, whatever its type; an unknown exercise is a `KeyError`.
    """
    if name not in EXERCISES:
        raise KeyError(f"no exercise {name!r}; there are {', '.join(EXERCISES)}")
    right, because = EXERCISES[name]
    try:
        passed = right(answer)
    except Exception:
        passed = False
    return f"Yes, because {because}." if passed else "Not yet."
