"""What charts and single pages can do."""

from pathlib import Path

import altair as alt
import pytest
from visit import visit

from actnorm import evidence, explorables
from actnorm.evidence import marks

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parent.parent.parent
EXPLORED = "chapters/zero-centering/sign-coherence.html"


def test_explorable_shows_a_picture_without_scripts(browser, served):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(served + EXPLORED)
    assert page.locator(".explorable svg").first.bounding_box()["height"] > 100
    context.close()


def test_all_that_is_cited_stands_among_the_references(wide, served):
    page = visit(wide, served, "references.html").page
    entries = (ROOT / "references.bib").read_text(encoding="utf-8").count("\n@") + 1
    assert page.locator("#references li").count() == entries
    page.close()


ICON = '<link rel="icon" href="data:,">'  # a page without one asks for it when its address changes
NASTY = "<!-- <script> </script> ]]> &amp;"


@pytest.mark.parametrize("detached", [False, True])
def test_a_chart_is_drawn_wherever_it_is_shown_whatever_it_says(wide, served, detached):
    """Some notebooks run scripts outside of the place where they stand."""
    chart = alt.Chart(alt.Data(values=[{"x": 1}])).mark_point().encode(x="x:Q")
    slider = explorables.slider("c", "offset", -1, 1, start=0, step=0.5)
    shown = explorables.explorable([chart.properties(title=NASTY)], [slider], NASTY)
    html = shown._repr_mimebundle_()["text/html"]
    seen = visit(wide, served, "404.html")
    page = seen.page
    page.add_script_tag(url=f"{served}_static/vega.js")
    place, script = html.split("<script>")
    if detached:
        page.set_content(f"{ICON}{place}<p>between</p>{place}<p>after</p>")
        for _ in range(2):
            page.add_script_tag(content=script.removesuffix("</script>"))
    else:
        page.set_content(f"{ICON}{html}<p>between</p>{html}<p>after</p>")
    page.wait_for_function("[...document.querySelectorAll('.explorable')].every((e) => e.view)")
    titles = page.locator(".explorable .role-title-text text").all_text_contents()
    assert titles == [NASTY] * 2
    assert page.locator("p").all_inner_texts() == ["between", "after"]
    for place in page.locator(".explorable").all():
        assert place.get_attribute("aria-label") == NASTY
        place.locator("input[type=range]").fill("0.5")
        assert place.evaluate("element => element.view.signal('c')") == 0.5
    assert not seen.wrong
    page.close()


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_the_first_screen_says_what_was_found_and_lets_one_thing_be_moved(wide, served, size):
    seen = visit(wide, served, "index.html")
    page = seen.page
    page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
    page.wait_for_timeout(300)
    for place in (".an-found", ".an-moved input[type=range]", ".an-judged"):
        box = page.locator(place).bounding_box()
        assert box["y"] > 0
        assert box["y"] + box["height"] <= size[1], place
    found = page.locator(".an-found").inner_text()
    effect = evidence.claim("3174499").recorded("slower")
    assert marks.number(effect.estimate) in found
    judged = [row for row in evidence.ledger() if row["verdict"] != "not yet measured"]
    assert page.locator(".an-judged .an-strip a").count() == len(judged)
    page.close()
