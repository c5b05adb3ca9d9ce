"""The registry: every claim of the five documents, in parts, with one margin for a quantity."""

import json
import sys
from dataclasses import replace

import pytest

from actnorm import evidence

room = sys.modules["actnorm.evidence.registry"]


def test_registry_holds_the_37_claims_of_the_five_documents():
    claims = evidence.registry()
    assert len(claims) == 37
    assert {key for claim in claims.values() for key in claim.sources} == set(evidence.sources())
    assert len(evidence.sources()) == 5
    for claim in claims.values():
        assert claim.title
        assert claim.statement
        assert claim.primary, claim.id
        for p in claim.parts:
            assert p.asserts, (claim.id, p.name)
            assert p.page.count("/") == 1, (claim.id, p.name)
            if p.registered:
                assert p.metric, (claim.id, p.name)
                assert p.arms, (claim.id, p.name)
                assert p.why, (claim.id, p.name)
                assert p.replicas >= 2, (claim.id, p.name)


def test_a_chapters_claims_lie_in_its_own_file():
    chapters = []
    for path in sorted(room.ROOM.glob("*.toml")):
        table = room._read(path)
        for entry in table.get("claim", ()):
            assert {row["page"].split("/")[0] for row in entry["part"]} == {path.stem}
        if "claim" in table:
            chapters.append((table["order"], path.stem))
    assert [order for order, _ in sorted(chapters)] == list(range(1, len(chapters) + 1))
    first = [claim.parts[0].page.split("/")[0] for claim in evidence.registry().values()]
    assert list(dict.fromkeys(first)) == [name for _, name in sorted(chapters)]


def test_a_page_stands_once(tmp_path, monkeypatch):
    (tmp_path / "one.toml").write_text('[[page]]\nname = "a/b"\ntitle = "what counts"\n')
    monkeypatch.setattr(room, "ROOM", tmp_path)
    assert room.pages.__wrapped__() == {"a/b": {"name": "a/b", "title": "what counts"}}
    (tmp_path / "two.toml").write_text('[[page]]\nname = "a/b"\ntitle = "what is lost"\n')
    with pytest.raises(ValueError, match="two entries of the registry are of one page"):
        room.pages.__wrapped__()


def test_one_kind_of_quantity_has_one_margin():
    for claim in evidence.registry().values():
        for p in claim.parts:
            if p.registered:
                row = evidence.margins()[p.quantity]
                assert (p.margin, p.why) == (row["margin"], row["why"]), (claim.id, p.name)


def test_a_part_takes_margin_and_reason_of_its_quantity():
    row = {"name": "p", "asserts": "a", "kind": "greater", "metric": "m", "quantity": "updates"}
    part = room._part(row)
    assert (part.margin, part.why) == (1.25, evidence.margins()["updates"]["why"])
    with pytest.raises(ValueError, match="margin and why of part p come with its quantity"):
        room._part(row | {"margin": 2.0, "why": "mine"})
    with pytest.raises(ValueError, match=r"part p must be one of updates, .* not 'ups'"):
        room._part(row | {"quantity": "ups"})
    used = {p.quantity for c in evidence.registry().values() for p in c.parts if p.registered}
    assert used <= set(evidence.margins())


def changed(part, entry):
    """What a record was judged by and the registry says otherwise; old records know less."""
    now = json.loads(json.dumps({key: getattr(part, key) for key in evidence.REGISTERED}))
    return [key for key in evidence.REGISTERED if key in entry and entry[key] != now[key]]


CHANGES = {
    **{"kind": "bound", "metric": "another", "arms": ("x",), "margin": 0.3, "replicas": 33},
    **{"role": "scope", "regime": "deep", "side": "outside", "looks": 2},
}


def test_no_field_that_judged_can_change_unnoticed():
    part = evidence.Part("p", "s", kind="greater", metric="m", arms=("a",), margin=0.2, replicas=32)
    entry = json.loads(json.dumps({key: getattr(part, key) for key in evidence.REGISTERED}))
    assert changed(part, entry) == []
    assert {"revision", *CHANGES} == set(evidence.REGISTERED)
    for key, value in CHANGES.items():
        regime = {"regime": "deep", "side": "inside"} if key in ("regime", "side") else {}
        assert key in changed(replace(part, **regime | {key: value}), entry)


def test_what_judged_a_record_stands_in_the_registry_as_it_was():
    for record in evidence.records().values():
        for problem, parts in record["claims"].items():
            for name, entry in parts.items():
                part = evidence.claim(problem).part(name)
                assert changed(part, entry) == [], f"{name} changed without a new revision"


def test_what_is_trained_on_splits_of_one_data_set_says_that_they_overlap():
    fresh = ("mixtures", "MNIST-1D", "the bit", "shapes", "planted", "fresh for each replica")
    for claim in evidence.registry().values():
        for part in claim.parts:
            effect = claim.recorded(part.name)
            if effect is None or "tuned rate" not in part.metric:
                continue
            exact = part.role == "identity" or part.quantity == "rounding"
            exact = exact or effect.method in ("median", "proportion")  # have no such interval
            if not exact and not any(word in part.metric for word in fresh):
                assert part.judged(effect).overlap is not None, part.name
