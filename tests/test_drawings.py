"""Figures in the page: its ink and paper, names of their own, text that can be read."""

import io
import re
import xml.etree.ElementTree as ET

import drawings
import matplotlib.pyplot as plt
import numpy as np
import pytest

from actnorm import figures


def drawn(draw, prefix="f0-", alt="alt"):
    """Return what a figure becomes in a page, and its colors that the dark needs lighter."""
    figure, ax = figures.panels()
    draw(ax)
    file = io.StringIO()
    with plt.rc_context(figures.STYLE):
        figure.savefig(file, format="svg", metadata={"Date": None})
    plt.close(figure)
    return drawings.native(file.getvalue(), alt, prefix)


def curve(ax):
    figures.theory([0, 1], [1e-3, 1], ax=ax, label="law")
    ax.set(title="It bends", xlabel="x")
    ax.legend()


def test_a_figure_has_a_name_and_says_what_it_shows():
    svg, _ = drawn(curve, alt='A "line" & more')
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'A "line" & more'
    assert len(svg) < 40_000


def test_ink_and_paper_are_the_pages():
    svg, dim = drawn(curve)
    assert not re.search("#fff|#262626|#000", svg)
    assert "currentColor" in svg
    assert dim == {"#0173b2"}  # the darkest blue of the palette
    assert "var(--an-0173b2,#0173b2)" in svg


def test_only_the_ground_is_left_out():
    white = drawn(lambda ax: ax.add_patch(plt.Rectangle((0, 0), 1, 1, fc="white", ec="black")))[0]
    assert white.count("fill:var(--pst-color-background)") == 1


def test_grays_lie_between_ink_and_paper():
    svg, _ = drawn(lambda ax: ax.axhline(0.5, color="#808080"))
    assert "color-mix(in srgb,currentColor 50%,var(--pst-color-background))" in svg


def test_two_figures_share_no_names_and_every_reference_is_met():
    first, second = (drawn(curve, prefix=f"f{k}-")[0] for k in (0, 1))
    names = [re.findall(r' id="([^"]+)"', svg) for svg in (first, second)]
    assert names[0]
    assert len({*names[0], *names[1]}) == len(names[0]) + len(names[1])
    for svg, here in zip((first, second), names, strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) <= set(here)


def test_text_on_a_raster_or_a_colored_cell_keeps_its_color():
    def table(ax):
        ax.imshow(np.eye(3), cmap="Blues")
        ax.text(1, 1, "9")
        ax.set_xlabel("outside")

    svg, _ = drawn(table)
    assert "data:image/png;base64," in svg
    assert svg.count('style="fill:#000"') == 1  # the 9; the label outside is ink
    assert "fill:currentColor" in svg

    def cell(ax):
        ax.add_patch(plt.Rectangle((0, 0), 1, 1, fc=figures.OUTCOMES["holds"], ec="white"))
        ax.text(0.3, 0.5, "holds", color="white")

    svg, dim = drawn(cell)
    assert "fill: #ffffff" in svg
    assert f"fill:{figures.OUTCOMES['holds']}" in svg
    assert "stroke:var(--pst-color-background)" in svg
    assert not dim


@pytest.mark.parametrize("size", [6, 10])
def test_a_figure_says_how_wide_its_smallest_text_needs_it(size):
    svg, _ = drawn(lambda ax: ax.text(0.5, 0.5, "small", size=size))
    least = int(re.search(r"--an-min:(\d+)px", svg)[1])
    width = float(re.search(r'viewBox="0 0 (\S+)', svg)[1])
    assert size * least / width == pytest.approx(9, abs=0.05)
    raised, _ = drawn(lambda ax: ax.text(0.5, 0.5, "$10^{-3}$", size=size))
    assert int(re.search(r"--an-min:(\d+)px", raised)[1]) == pytest.approx(least / 0.7, abs=2)


@pytest.mark.parametrize("color", ["#0173b2", "#17663f", "#4b4a9c", "#000080"])
def test_dim_colors_are_lit_until_a_dark_page_shows_them(color):
    assert drawings._contrast(color) < drawings.CONTRAST
    lit = drawings._lit(color)
    assert drawings.CONTRAST <= drawings._contrast(lit) < 1.2 * drawings.CONTRAST


def test_points_that_look_alike_share_a_style():
    text = '<use x="1" style="a"/><use x="2" style="a"/><use x="3" style="b"/>'
    shared = '<g style="a"><use x="1"/><use x="2"/></g><use x="3" style="b"/>'
    assert drawings.POINTS.sub(drawings._together, text) == shared


def test_letters_are_outlined_once_for_a_page():
    letter = '<path d="M0 1L2 3z" transform="scale(0.015625)" id="{}"/>'
    figure = '<svg><defs>{}</defs><use href="#{}"/><use x="1" href="#dot"/></svg>'
    body = "".join(figure.format(letter.format(name), name) for name in ("f0-1", "f1-7"))
    shared = drawings.share_letters(body)
    assert shared.count("M0 1L2 3z") == 1
    assert shared.count('<use href="#f0-1"/>') == 2
    assert shared.count('<use x="1" href="#dot"/>') == 2
    assert drawings.share_letters("<p>words</p>") == "<p>words</p>"
