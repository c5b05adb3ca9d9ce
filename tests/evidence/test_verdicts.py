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
    ([U, U], "undecided"),
    ([H, F, U], "holds in part"),
    ([H, U, F, U], "holds in part"),
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
        ([H], [F], "holds only when depth is 10"),
        ([H, H], [F, F], "holds only when depth is 10"),
        ([H, F], [F], "holds"),
        ([H], [F, H], "holds"),
        ([H, U], [F], "undecided"),  # holds, or holds only when depth is 10
        ([H], [F, None], "undecided"),
        ([H], [U], "undecided"),
        ([H, F], [U], "holds"),
        ([H], [], "holds"),
        ([], [F], "holds"),
        ([F], [H], "holds"),
    ],
)
def test_a_regime_narrows_the_verdict_where_all_inside_hold_and_all_outside_fail(
    inside, outside, expected
):
    parts, effects = [replace(part("greater", 0.2), name="core")], {"core": H}
    for side, of_side in (("inside", inside), ("outside", outside)):
        for k, e in enumerate(of_side):
            effects[f"{side} {k}"] = e
            scope = part("greater", 0.2, "scope", regime="depth is 10", side=side)
            parts.append(replace(scope, name=f"{side} {k}"))
    assert evidence.verdict(parts, effects) == expected
    mixed = [*parts, replace(parts[0], name="other")]
    assert evidence.verdict(mixed, effects | {"other": F}) == "holds in part"


def test_a_core_part_with_a_label_counts_inside_its_regime():
    scope = {"regime": "it is deep"}
    parts = [
        replace(part("greater", 0.2, **scope, side="inside"), name="deep"),
        replace(part("greater", 0.2, "scope", **scope, side="outside"), name="shallow"),
    ]
    assert evidence.verdict(parts, {"deep": H, "shallow": F}) == "holds only when it is deep"
    # undecided, it may turn out to fail: then the claim does not hold
    assert evidence.verdict(parts, {"deep": U, "shallow": F}) == "undecided"


def test_open_parts_are_the_undecided_ones_that_may_turn_a_verdict():
    parts = [
        *(replace(part("greater", 0.2), name=name) for name in ("a", "b", "c")),
        part("greater", 0.2, "scope"),
        replace(part("greater", 0.2, "scope", regime="deep", side="outside"), name="r"),
    ]
    claim = evidence.Claim("x", "s", tuple(parts))
    assert claim.open == ["a", "b", "c", "r"]
    found = evidence.verdicts.open_parts(parts, {"a": H, "b": U, "p": U, "r": F})
    assert found == ["b", "c"]


def test_the_first_core_part_is_primary_unless_another_one_is_marked():
    a, b = (replace(part("greater", 0.2), name=name) for name in "ab")
    scope = replace(part("greater", 0.2, "scope"), name="s")
    assert evidence.Claim("x", "s", (scope, a, b)).primary == a
    marked = replace(b, primary=True)
    assert evidence.Claim("x", "s", (scope, a, marked)).primary == marked
    with pytest.raises(ValueError, match="one primary part, not a, b"):
        evidence.Claim("x", "s", (replace(a, primary=True), marked))
    assert evidence.Claim("x", "s", (scope,)).primary is None
