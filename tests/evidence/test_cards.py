"""Cards: what they say and draw follows from parts and effects."""

import re
from dataclasses import replace

import numpy as np
import pytest
from made import effect, part

from actnorm import evidence
from actnorm.evidence import cards, listing, marks


def text(html):
    """What a reader sees of some HTML."""
    html = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def zone(kind, margin, *, ratio=False, low=0.1, high=0.4):
    """The ends of the drawn zone, and where none and the interval are drawn."""
    drawn = marks.interval(low, high, (low + high) / 2, kind=kind, margin=margin, ratio=ratio)
    x, width = map(float, re.search(r'an-zone" x="(.*?)".*?width="(.*?)"', drawn).groups())
    ends = re.search(r'<line x1="([\d.]+)" x2="([\d.]+)" y1="8"', drawn).groups()
    return x, x + width, *map(float, ends)


def test_the_zone_is_where_an_interval_holds():
    start, end, low, _ = zone("greater", 0.2)
    assert end == 100
    assert 50 < low < start
    start, end, low, high = zone("equal", 0.5)
    assert (start + end) / 2 == pytest.approx(50)
    assert start < low < high < end
    start, end, low, high = zone("bound", 0.2)
    assert start == 0
    assert low < end < high
    start, end, low, high = zone("greater", 1.25, ratio=True, low=0.5, high=2.0)
    assert low == pytest.approx(100 - high, abs=0.02)
    assert (start - 50) / (high - 50) == pytest.approx(np.log(1.25) / np.log(2), abs=0.01)


@pytest.mark.parametrize(
    ("value", "said"),
    {
        **{0: "0", -0.25: "−0.250", 39645.2: "39,645", 1e-5: "0.0000100"},
        **{9.999: "10.0", -0.09996: "−0.100", 999.7: "1,000", 9.996e-6: "0.0000100"},
        **{-4.6e-9: "−4.60e−09", 7.52e53: "7.52e53", 1e7: "1.00e07", float("inf"): "∞"},
    }.items(),
)
def test_a_number_has_three_digits_and_never_fifty(value, said):
    assert marks.number(value) == said


@pytest.mark.parametrize("kind", evidence.KINDS)
@pytest.mark.parametrize("ends", [(0.2, 0.3), (0.05, 0.1), (0.1, 0.3), (-0.3, -0.2), (-0.1, 0.1)])
def test_picture_and_outcome_agree(kind, ends):
    start, end, low, high = zone(kind, 0.15, low=ends[0], high=ends[1])
    outcome = evidence.word(part(kind, 0.15).outcome(effect(*ends)))
    inside = start < low and high < end
    outside = high < start or end < low
    assert outcome == ("holds" if inside else "fails" if outside else "undecided")


def test_an_interval_without_end_is_drawn_to_the_edge():
    drawn = marks.interval(0.0, np.inf, 1.0, kind="equal", margin=1.25, ratio=True)
    assert 'x1="0.00" x2="100.00" y1="8"' in drawn
    assert marks.span(0.0, np.inf) == "[0, ∞]"
    assert "nan" not in marks.interval(0, 0, 0, kind="greater", margin=0.0, ratio=False)


@pytest.mark.parametrize(
    ("kind", "margin", "ratio", "said"),
    [
        ("equal", 1.25, True, "holds between 0.8 and 1.25 times"),
        ("equal", 0.05, False, "holds between −0.05 and 0.05"),
        ("greater", 1.25, True, "holds above 1.25 times"),
        ("greater", 65536, True, "holds above 65,536 times"),
        ("bound", 1e-12, False, "holds below 1e−12"),
    ],
)
def test_criteria_read_as_words(kind, margin, ratio, said):
    assert marks.criterion(kind, margin, ratio) == said


def test_only_core_parts_are_colored_and_by_what_they_say_of_the_claim():
    assert marks.tone("holds") == "holds"
    assert marks.tone("fails: reversed") == "fails"
    assert marks.tone("undecided: at the margin, within 1 of 2") == "undecided"
    assert marks.tone("not yet measured") == "not"
    assert marks.tone("holds in part") == "part"
    for role in evidence.ROLES[1:]:
        assert marks.tone("fails: reversed", role) == "aside"


def test_a_tally_counts_and_names_what_is_open():
    said = marks.tally({"a": "holds", "b": "undecided", "c": "fails: reversed", "d": "holds"})
    assert said == "Core parts: 2 hold, 1 fails, 1 is open (b)."
    assert marks.tally({"a": "not yet measured"}) == "Core parts: 1 not yet measured."
    assert marks.tally({}) == "Core parts: none here."
    said = marks.tally({"a": "holds"}, ["deep"])
    assert said == "Core parts: 1 holds. Open at the edge of its regime: deep."


def two_pages():
    made = [
        part("greater", 0.2, page="here", replicas=8, metric="Metric", why="a reason"),
        part("equal", 0.2, "scope", page="there", regime="it is deep", side="inside"),
    ]
    return tuple(replace(p, name=name) for p, name in zip(made, ("near", "far"), strict=True))


def test_the_parts_of_the_page_come_first_and_the_others_are_folded():
    titles = {"here": "Is it?", "there": "Was it?"}
    claim = evidence.Claim("1", "S.", two_pages(), page="there", titles=titles)
    html = claim._repr_html_()
    other = html.index("under “Is it?”, and how: 1 parts")
    assert html.index("on this page, and how: 1 parts") < other
    assert "scope, inside: it is deep" in text(html)
    assert "Metric. Holds above 0.2 (a reason); 8 replicas." in text(html)
    judged = claim.judge(near=evidence.mean_effect(np.linspace(0.5, 0.6, 8)))
    html = judged._repr_html_()
    assert html.index(">near<") < html.index("1 parts on other pages") < html.index(">far<")
    assert "On this page. Core parts: 1 not yet measured." in text(html)
    assert "holds above 0.2" in text(html)
    alone = evidence.Claim("1", "S.", two_pages()[:1])
    assert "other pages" not in alone.judge(near=effect_of(0.5))._repr_html_()
    assert "What is judged, and how: 1 parts" in alone._repr_html_()


def effect_of(mean, n=8):
    return evidence.mean_effect(mean + np.linspace(-0.05, 0.05, n))


def judged_row(live, recorded, judge=None, **more):
    p = judge or part("greater", 0.2, replicas=8)
    return text(cards.judgement_table("1", "holds", [cards.Row(p, recorded, live, **more)]))


def test_the_live_column_says_how_the_run_compares():
    few = judged_row(effect_of(0.5), effect_of(0.5, 32), words="8 of 8 equal")
    assert few.count("holds ") - few.count("holds here") - few.count("holds above") == 2
    assert "8 of 8 equal" in few
    looked_up = judged_row(effect_of(0.5), effect_of(0.5), words="not re-run here")
    assert looked_up.count("0.500") == 1
    off = judged_row(effect_of(0.1), effect_of(0.5), words="0 of 8 equal", contradicts=True)
    assert "contradicts the record: 0 of 8 equal" in off
    whole = judged_row(effect_of(0.5), effect_of(0.5), outcome="holds", words="8 of 8 equal")
    assert whole.count("holds ") == few.count("holds ") + 1


def test_only_what_decides_or_contradicts_stands_open():
    core, scope = part("greater", 0.2, replicas=8), part("greater", 0.2, "scope", replicas=8)
    edge = replace(scope, name="edge", regime="it is deep", side="inside")
    e = effect_of(0.5)
    rows = [cards.Row(p, e, e) for p in (core, replace(scope, name="aside"), edge)]
    rows.append(cards.Row(replace(scope, name="off"), e, e, contradicts=True))
    shown, folded = cards.judgement_table("1", "holds", rows).split("<details>")
    assert [f"<code>{name}</code>" in shown for name in (core.name, "aside", "edge", "off")] == [
        *(True, False, True, True)
    ]
    assert folded.startswith("<summary>Parts that do not decide the verdict: 1 scope</summary>")
    assert "<code>aside</code>" in folded
    assert "<details>" not in cards.judgement_table("1", "holds", rows[:1])


def test_the_judgement_says_what_is_compared_tuned_and_fixed():
    setting = {"scientific": "the slope", "nuisance": "the rate", "fixed": "<width> 64"}
    row = cards.Row(part("greater", 0.2), None, effect_of(0.5))
    html = cards.judgement_table("1", "holds", [row], setting=setting)
    assert "Compared: the slope. Tuned for each arm: the rate. Held fixed: &lt;width&gt; 64." in (
        re.sub(r"</?b>", "", html)
    )


def test_intervals_beside_say_what_they_would():
    x = 0.5 + np.linspace(-0.2, 0.2, 8)
    e = evidence.mean_effect(x, overlap=1.0)
    assert re.search(r"Nadeau–Bengio \[.*\]: would read undecided", judged_row(e, e))
    skewed = evidence.mean_effect(np.random.default_rng(3).lognormal(0, 1.2, 32))
    assert re.search(r"bootstrap-t \[.*\]: holds", judged_row(skewed, skewed))


def test_after_two_looks_the_card_shows_the_wider_interval():
    e, twice = effect_of(0.5), part("greater", 0.2, looks=2)
    shown = judged_row(effect_of(0.4), e, judge=twice)
    assert marks.span(e.at(0.995).low, e.at(0.995).high) in shown
    assert marks.span(e.low, e.high) not in shown


def test_deviations_are_listed_with_both_effects():
    size = {"margin": 0.2, "unit": "", "estimate": 0.5, "low": 0.4, "high": 0.6, "n": 32}
    entry = {
        "claim": "1",
        "part": "near",
        "revision": 1,
        "date": "2026-01-02",
        "commit": "abcdef123",
    }
    entry |= {"before": size, "after": size | {"estimate": 0.7}}
    shown = text(cards.claim_card("1", "S.", "holds", [], history=[entry, entry | {"after": None}]))
    assert "Deviations: 2 earlier effects, with 99 % intervals" in shown
    assert "near revision 1, 2026-01-02, abcdef1 0.500 [0.400, 0.600]" in shown
    assert "0.700 [0.400, 0.600] margin 0.200, 32 replicas" in shown
    assert "dropped" in shown
    same = [entry | {"after": size}]
    assert "Deviations" not in text(cards.claim_card("1", "S.", "holds", [], history=same))


def test_claims_know_the_history_of_their_own_parts(monkeypatch):
    import sys

    entries = [{"claim": "1", "part": "near"}, {"claim": "2", "part": "other"}]
    pages = {"here": {"claims": {}, "history": entries}, "elsewhere": {"history": entries}}
    monkeypatch.setattr(sys.modules["actnorm.evidence.claims"], "records", lambda: pages)
    assert evidence.Claim("1", "S.", two_pages()).history == entries[:1]


def test_a_claim_can_be_shown_for_a_page_that_judges_it():
    page = "zero-centering/slope-at-the-origin"
    assert evidence.claim("3174499", page).page == page
    assert evidence.claim("3174499", page) == evidence.claim("3174499")
    with pytest.raises(ValueError, match=r"page must be one that judges 3174499: .*sign-coherence"):
        evidence.claim("3174499", "nowhere")


def test_the_ledger_table_leads_with_the_primary_effect():
    rows = evidence.ledger()
    html = listing.ledger_table(rows, {})
    summary = text(re.search(r'id="claim-3174499".*?<summary>(.*?)</summary>', html).group(1))
    lead = evidence.claim("3174499").recorded("coherence")
    assert summary.rstrip().endswith(
        f"{marks.number(lead.estimate)} {marks.span(lead.low, lead.high)}"
    )
    assert html.count('class="an-claim"') == 37
    assert f"Holm, {next(p['family'] for r in rows for p in r['parts'] if p['family'])}" in html
    assert "core, primary" in html


def test_text_from_outside_is_escaped():
    evil = "<evil>"
    odd = part("greater", 0.2, page=evil, metric=evil, why=evil, regime=evil, side="inside")
    odd = replace(odd, name=evil, asserts=evil, forecast=evil)
    row = cards.Row(odd, None, effect_of(0.5), words=evil)
    for html in (
        cards.claim_card(evil, evil, evil, [row]),
        cards.judgement_table(evil, evil, [row], [row]),
    ):
        assert evil not in html
        assert html.count("&lt;evil&gt;") >= 7
