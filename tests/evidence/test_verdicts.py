"""The verdict of a claim: what its core parts say, and where."""

from dataclasses import replace

import pytest
from made import effect, part

from actnorm import evidence

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
