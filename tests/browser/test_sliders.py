"""Charts with sliders: moved by keyboard they show the library's numbers."""

import importlib
import re
from pathlib import Path

import pytest
from visit import visit

pytestmark = pytest.mark.browser
CHAPTERS = sorted(path.stem for path in Path(__file__).with_name("laws").glob("*.py"))
LAWS = {
    f"chapters/{chapter.replace('_', '-')}/{page}.html": law
    for chapter in CHAPTERS
    for page, law in importlib.import_module(f"laws.{chapter}").LAWS.items()
}


def charts(page):
    """The charts of a page that have a law: all but the one that asks for a guess."""
    found = page.locator(".explorable").all()
    return [chart for chart in found if not chart.locator("input[name=guess]").count()]


def numbers(chart):
    """What a chart shows of its law, and the text that says so."""
    labels = chart.locator("svg [aria-label]").evaluate_all(
        "nodes => nodes.map(node => node.getAttribute('aria-label').replaceAll('\u2212', '-'))"
    )
    (text,) = {t for t in labels if re.fullmatch(r"[-+\d.e]+( [-+\d.e]+)+", t)}
    return list(map(float, text.split())), text


@pytest.mark.parametrize("name", LAWS)
def test_sliders_move_by_keyboard_and_show_the_librarys_numbers(wide, served, name):
    seen = visit(wide, served, name)
    page = seen.page
    laws = LAWS[name] if isinstance(LAWS[name], tuple) else (LAWS[name],)
    for chart, law in zip(charts(page), laws, strict=True):
        moved_by_keyboard(page, chart, law)
    seen.check()
    page.close()


def moved_by_keyboard(page, chart, law):
    sliders = chart.locator("input[type=range]").all()
    for slider in sliders:
        slider.focus()
        pictures = set()
        for key in ["Home", *["ArrowRight"] * 2, "End", *["ArrowLeft"] * 3]:
            page.keyboard.press(key)
            chart.evaluate("async (element) => { await element.view.runAsync(); }")
            pictures.add(chart.locator("svg").inner_html())
            exact = law(*(float(each.input_value()) for each in sliders))
            found, text = numbers(chart)
            rounding = 1e-30 if "e" in text else 6e-9
            assert found == pytest.approx(exact, rel=1e-6, abs=rounding)
        assert len(pictures) == 7


def test_a_flipped_sign_mirrors_the_walk_and_saves_no_update(wide, served):
    seen = visit(wide, served, "chapters/zero-centering/sign-coherence.html")
    page = seen.page
    chart = charts(page)[0]
    (first, second, left), _ = numbers(chart)
    flip = chart.locator("input[type=checkbox]")
    flip.focus()
    page.keyboard.press("Space")
    chart.evaluate("async (element) => { await element.view.runAsync(); }")
    assert numbers(chart)[0] == pytest.approx([first, -second, left])
    seen.check()
    page.close()


def test_the_film_around_a_shock_plays_to_its_end(wide, served):
    seen = visit(wide, served, "chapters/dead-relu/norm-order.html")
    page = seen.page
    chart = charts(page)[1]
    update = chart.locator("input[type=range]")
    update.focus()
    page.keyboard.press("Home")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("update => update.value === update.max", arg=update.element_handle())
    seen.check()
    page.close()


def test_law_of_two_streams_passes_through_what_the_layers_did(wide, served):
    """Its law holds fitted numbers of one convolution; the dots come from torch's own layers."""
    seen = visit(wide, served, "chapters/zero-centering/two-streams.html")
    page = seen.page
    (chart,) = charts(page)
    dots = chart.evaluate(
        """element => Object.values(element.view.getState({data: () => true}).data).flat()
            .filter(row => row.style && row.norm !== "instance")"""
    )
    assert len({dot["style"] for dot in dots}) == 2
    for dot in dots:
        label = chart.evaluate(
            """async (element, [g, o]) => {
                await element.view.signal("g", g).signal("brightness", o).runAsync();
                return [...element.querySelectorAll("svg [aria-label]")]
                    .map(node => node.getAttribute("aria-label"));
            }""",
            [float(dot["style"].removeprefix("g = ")), dot["o"]],
        )
        (text,) = {t for t in label if re.fullmatch(r"[-+\d.e]+( [-+\d.e]+)+", t)}
        shown = dict(zip(("layer", "batch"), map(float, text.split()), strict=True))
        assert shown[dot["norm"]] == pytest.approx(dot["change"], rel=1e-3, abs=1e-3)
    seen.check()
    page.close()
