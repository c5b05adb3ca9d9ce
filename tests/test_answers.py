"""What a page asks, answers and advises comes from registry and record."""

import json
import re

import pytest

import actnorm as an
from actnorm import evidence
from actnorm.answers import Page

ENTRY = {
    "title": "Do tied gradient signs slow learning?",
    "claim": "3174499",
    "short": "**No.** It costs {slower}, or {slower:~}; {coherence:points}; {slower:~2*}.",
    "tested": "digits",
    "guess": {"part": "slower", "ask": "How many times?", "low": 1, "high": 40, "step": 0.5},
    "use": {
        **{"symptom": "slow", "check": "m = x.mean(0)\ns = x.std(0)", "threshold": "above {law}"},
        **{"do": "center", "expect": "{slower:~} fewer", "tested": "digits"},
    },
}


@pytest.fixture
def page(monkeypatch):
    """A page whose record says known numbers."""
    effects = {
        "slower": an.ratio_effect([18.0, 18.0, 18.0], [1.0, 1.0, 1.0]),
        "coherence": an.paired_effect([0.6, 0.7, 0.65], [0.0, 0.0, 0.0]),
        "law": an.mean_effect([0.5, 0.5]),
    }
    monkeypatch.setattr(evidence.Claim, "recorded", lambda _, name: effects.get(name))
    return Page("zero-centering/sign-coherence", ENTRY)


def test_the_answer_in_short_takes_its_numbers_from_the_record(page):
    said = str(page.in_short())
    assert "> **No.** It costs 18.0× [18.0, 18.0], or 18.0×; 65.0 points [" in said
    assert "; 36.0×." in said
    assert "Tested on digits." in said
    assert page.in_short()._repr_markdown_() == said


def test_advice_is_a_card_with_code_that_can_be_copied(page):
    said = str(page.use_it())
    assert "> ```python\n> m = x.mean(0)\n> s = x.std(0)\n> ```" in said
    assert "> **Threshold.** above 0.500" in said
    assert "> **Expect.** 18.0× fewer" in said
    assert all(line.startswith(">") for line in said.splitlines())


def test_advice_takes_what_no_part_records_from_the_page(page):
    use = ENTRY["use"] | {"threshold": "above {offset:.2f}, by {slower:~}"}
    advised = Page(page.name, ENTRY | {"use": use})
    assert "**Threshold.** above 2.40, by 18.0×" in str(advised.use_it(offset=2.4019))
    with pytest.raises(ValueError, match="has no part 'offset'"):
        advised.use_it()
    with pytest.raises(ValueError, match=r"advice of page .* has no spread"):
        advised.use_it(offset=2.4, spread=1.0)


def test_what_stands_is_told_point_by_point(page):
    listed = Page(page.name, ENTRY | {"stands": "\n- **Slow** (`slower`): {slower:~}.\n"})
    assert str(listed.stands()) == "- **Slow** (`slower`): 18.0×."


def test_a_sentence_tells_the_interval_that_judges():
    page, part = an.page("zero-centering/two-streams"), "right_pairing"
    recorded = evidence.claim("3138623").recorded(part)  # looked at twice
    told = page.effect(part)
    assert told.estimate == recorded.estimate
    assert told.low < recorded.low < recorded.high < told.high
    assert f"[{100 * told.low:.2f}, {100 * told.high:.2f}]" in page.say("{right_pairing:points}")


def test_a_page_of_two_claims_tells_the_parts_of_both(monkeypatch):
    told = {"3123798": an.mean_effect([0.4, 0.4]), "3128651": an.mean_effect([0.7, 0.7])}
    monkeypatch.setattr(evidence.Claim, "recorded", lambda claim, _: told.get(claim.id))
    page = an.page("dead-relu/smooth-cures")
    assert page.say("{never_dies:~}, {keeps_learning:~}") == "0.400, 0.700"
    with pytest.raises(ValueError, match="has no part 'no_such'"):
        page.effect("no_such")
    elsewhere = "coherence"  # of a claim that this page does not judge
    with pytest.raises(ValueError, match="has no part 'coherence'"):
        page.effect(elsewhere)


def test_the_guess_hides_the_answer_until_it_is_asked_for(page):
    spec = page.guess(theory=17.0).spec
    assert [param["name"] for param in spec["params"]] == ["guess", "show"]
    assert spec["params"][1]["value"] is False
    (panel,) = spec["vconcat"]
    measured = [layer for layer in panel["layer"] if "estimate" in json.dumps(layer["encoding"])]
    assert measured
    for layer in panel["layer"]:
        told = json.dumps(layer["encoding"])
        if any(f'"{word}' in told for word in ("estimate", "low", "theory", "answer")):
            assert {"filter": "show"} in layer["transform"]
    (row,) = spec["data"]["values"]
    assert (row["estimate"], row["theory"]) == (pytest.approx(18.0), 17.0)


def test_where_the_sign_is_turned_the_ends_of_the_interval_change_sides(page):
    lost = {"part": "coherence", "ask": "?", "low": -100, "high": 0, "step": 1, "times": -100}
    (row,) = Page(page.name, ENTRY | {"guess": lost}).guess().spec["data"]["values"]
    assert row["low"] < row["estimate"] < row["high"]
    turned = "−65.0 [−93.7, −36.3]"
    assert row["answer"] == f"measured: {turned}"
    assert page.say("{coherence:-100*}") == turned


def test_a_guess_that_cannot_reach_the_answer_is_refused(page):
    near = Page(page.name, ENTRY | {"guess": ENTRY["guess"] | {"high": 10}})
    with pytest.raises(ValueError, match=r"guess of page .* must reach .*18"):
        near.guess()


def test_unknown_pages_are_refused():
    with pytest.raises(KeyError, match="no page 'zero-centering/no-such'; the registry holds"):
        an.page("zero-centering/no-such")


def test_every_page_of_the_registry_can_be_shown():
    for name, entry in evidence.pages().items():
        claim = evidence.claim(entry["claim"], page=name)
        assert claim.setting == entry
        shown = an.page(name)
        assert str(shown.in_short()).startswith("> ")
        judged = {p.name for c in evidence.registry().values() for p in c.parts if p.page == name}
        parts = judged | {part.name for part in claim.parts}
        asked = set(re.findall(r"{(\w+)", "".join(entry["use"].values()))) - parts
        advice = shown.use_it(**dict.fromkeys(asked, 1.0))
        assert str(advice).startswith("> **Symptom.**")
        assert re.search(r"\*\*Tested on\.\*\* [A-Z0-9][^\n]*[^.]\.$", str(advice))
        assert shown.guess().spec["params"][0]["name"] == "guess"
        said = [shown.in_short(), advice, *([shown.stands()] if "stands" in entry else [])]
        assert evidence.NOT_MEASURED not in " ".join(map(str, said))


def test_what_is_not_measured_says_so_and_stops_nothing(page):
    new = Page(page.name, ENTRY | {"short": "It costs {raw}, or {raw:~}.", "over": "days"})
    assert "It costs not yet measured, or not yet measured." in str(new.in_short())
    assert "twice) over days." in str(new.in_short())
    new = Page(page.name, ENTRY | {"guess": ENTRY["guess"] | {"part": "raw"}})
    assert str(new.guess()) == "How many times? (not yet measured)"
