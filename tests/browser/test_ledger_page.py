"""The ledger: filtered, sorted, and found again by its address."""

import pytest
from visit import HTML, visit

pytestmark = pytest.mark.browser
CLAIM = "3174499"


@pytest.fixture(params=["served", "folder"])
def root(request, served):
    return served if request.param == "served" else f"{HTML.as_uri()}/"


def shown(page):
    """The claims in view, in their order."""
    return page.locator(".an-claim:visible").evaluate_all("claims => claims.map(({id}) => id)")


def choose(page, name, times):
    """Choose by keyboard."""
    page.locator(f".an-filter [name={name}]").focus()
    for _ in range(times):
        page.keyboard.press("ArrowDown")


def test_what_is_filtered_and_sorted_stands_in_the_address(wide, root):
    seen = visit(wide, root, "ledger.html")
    page = seen.page
    book = shown(page)
    assert len(book) == 37
    choose(page, "sort", 3)
    titles = page.locator(".an-claim .an-title").all_inner_texts()
    assert titles == sorted(titles)
    assert sorted(shown(page)) == sorted(book)
    choose(page, "chapter", 1)
    choose(page, "verdict", 1)
    while not (found := shown(page)):  # the record says which verdicts a chapter has
        choose(page, "verdict", 1)
    assert len(found) < len(book)
    verdicts = page.locator(".an-claim:visible .an-verdict > .an-badge").all_inner_texts()
    assert len({verdict.split(" when ")[0] for verdict in verdicts}) == 1
    assert f"{len(found)} of 37" in page.locator(".an-count").inner_text()
    assert all(f"{name}=" in page.url for name in ("sort", "verdict", "chapter"))
    again = visit(wide, "", page.url)
    assert shown(again.page) == found
    again.page.close()
    page.locator(".an-filter [name=words]").fill("nobody ever wrote this")
    assert shown(page) == []
    assert not seen.wrong
    page.close()


def test_a_claim_has_an_address(wide, root):
    for name in (CLAIM, f"claim-{CLAIM}", f"verdict=not+yet+measured&claim={CLAIM}"):
        seen = visit(wide, root, f"ledger.html#{name}")
        is_open = seen.page.locator(".an-claim[open]").evaluate_all("all => all.map(({id}) => id)")
        assert is_open == [CLAIM]
        if "verdict" not in name:
            top = seen.page.locator(f"details[id='{CLAIM}']").bounding_box()["y"]
            assert 40 <= top < 300
            seen.page.keyboard.press("Tab")  # the browser goes on from where the address leads
            assert seen.page.evaluate("document.activeElement.closest('details')?.id") == CLAIM
        seen.page.close()


def test_opening_a_claim_by_keyboard_gives_its_address(phone, root):
    seen = visit(phone, root, "ledger.html")
    page = seen.page
    page.locator(".an-claim > summary").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.an-claim').open")
    assert page.url.endswith(f"#{shown(page)[0]}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.keyboard.press("Enter")
    page.wait_for_function("!document.querySelector('.an-claim').open")
    assert page.url.endswith("ledger.html")
    assert not seen.wrong
    page.close()


def test_bars_count_core_parts(wide, served):
    from actnorm import evidence

    page = visit(wide, served, "ledger.html").page
    for row in evidence.ledger():
        bar = page.locator(f"details[id='{row['problem_id']}'] .an-bar")
        for name, count in row["core"].items():
            assert (f"{count} {name}" in bar.get_attribute("aria-label")) == bool(count)
    page.close()
