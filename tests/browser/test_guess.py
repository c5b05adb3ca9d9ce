"""A reader guesses first: the answer shows once asked for, and the address keeps the guess."""

import re

import pytest
from visit import visit

from actnorm import evidence
from actnorm.answers import Page
from actnorm.evidence import marks

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", evidence.pages())
def test_the_answer_shows_once_asked_for_and_the_address_keeps_the_guess(wide, served, name):
    asks = evidence.pages()[name]["guess"]
    page = visit(wide, served, f"chapters/{name}.html?guess={asks['low']}").page
    chart = page.locator(".explorable:has(input[name=guess])")
    slider, show = chart.locator("input[type=range]"), chart.locator("input[type=checkbox]")
    assert float(slider.input_value()) == asks["low"]
    assert "measured:" not in chart.locator("svg").inner_html()
    slider.focus()
    page.keyboard.press("ArrowRight")
    moved = float(slider.input_value())
    assert moved == pytest.approx(asks["low"] + asks["step"])
    assert float(re.search(r"[?&]guess=([-\d.]+)", page.url)[1]) == pytest.approx(moved)
    show.focus()
    page.keyboard.press("Space")
    chart.evaluate("async (element) => { await element.view.runAsync(); }")
    drawn = chart.locator("svg")
    recorded = Page(name, evidence.pages()[name]).effect(asks["part"])
    exact = asks.get("times", 1.0) * recorded.estimate
    assert f"measured: {marks.number(exact)}" in drawn.inner_html()
    assert "show=" not in page.url  # the answer is no part of what is sent
    page.close()
