"""Every page, opened once served, once on a phone and once from its folder."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from visit import HTML, PAGES, visit

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parent.parent.parent
EXPLORED = "chapters/zero-centering/sign-coherence.html"
PLAIN = {"genindex.html"}  # the theme's own page, which is not ours to mend
SHARED, OWN = 2_500_000, 1_000_000  # bytes that a page may load of what all share, and of its own
CONTROL = "button.btn-fold-code"


def test_there_are_pages():
    assert EXPLORED in PAGES, "build the site first: make book"


@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_asks_for_nothing_elsewhere_and_can_be_read(wide, served, name):
    seen = visit(wide, served, name)
    seen.check()
    notebook, words = ((ROOT / name).with_suffix(suffix).exists() for suffix in (".ipynb", ".md"))
    if notebook:
        address = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]["url"]
        launch = seen.page.locator("a[href*='colab.research.google.com']").count()
        assert bool(launch) == bool(address)
    assert seen.page.locator("a.btn-download-source-button").count() == (notebook or words)
    show_code(seen.page, False)
    if name not in PLAIN:
        shade(seen.page, "light")
        assert unreadable(seen.page) == []
        shade(seen.page, "dark")
        assert faint(seen.page) == []
    if show_code(seen.page, True):
        for scheme in ("dark", "light"):
            shade(seen.page, scheme)
            assert faint(seen.page, "pre") == [], scheme
    assert seen.wrong == []
    sizes = {path: (HTML / path).stat().st_size for path in seen.loaded}
    shared = sum(size for path, size in sizes.items() if path.startswith("_static/"))
    assert shared <= SHARED
    assert sum(sizes.values()) - shared <= OWN
    seen.page.close()


@pytest.mark.parametrize("name", PAGES)
def test_phone_needs_no_sideways_scrolling(phone, served, name):
    seen = visit(phone, served, name)
    seen.check()
    if name not in PLAIN:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert seen.page.evaluate(SMALLEST) >= 8.95
    assert seen.page.evaluate(SLABS) == []
    frames = ".an-figure > svg, .explorable > svg"
    wide = "svg => svg.parentElement.scrollWidth > svg.parentElement.clientWidth + 1"
    for frame in seen.page.locator(frames).all():
        if frame.evaluate(wide):
            assert frame.evaluate(REACHED), "a figure that is scrolled takes the focus"
            assert frame.evaluate(SHADOWED), "a figure that is scrolled says so at its edge"
    seen.page.close()


@pytest.mark.parametrize("name", PAGES)
def test_words_are_explained_where_they_are_linked(name):
    text = (HTML / name).read_text(encoding="utf-8")
    for link in re.findall(r'<a [^>]*href="[^"]*words\.html#[^>]*>', text):
        assert re.search(r' title="[^"]', link), link


@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_from_its_folder(wide, name):
    seen = visit(wide, f"{HTML.as_uri()}/", name)
    seen.check()
    seen.page.close()


@pytest.mark.parametrize("name", PAGES)
def test_links_within_the_site_lead_somewhere(name):
    page = HTMLParser()
    links = set()
    page.handle_starttag = lambda _, attributes: links.update(
        value for name, value in attributes if name in ("href", "src")
    )
    page.feed((HTML / name).read_text(encoding="utf-8"))
    for link in {re.split("[#?]", link)[0] for link in links} - {""}:
        if not re.match(r"[a-z]+:|//", link) and name != "404.html":
            assert ((HTML / name).parent / link).exists(), link


@pytest.mark.parametrize("name", PAGES)
def test_no_object_is_printed_as_python_sees_it(name):
    text = (HTML / name).read_text(encoding="utf-8")
    printed = re.findall(r'<div class="output text_plain.*?</div>', text, re.DOTALL)
    for output in (unescape(re.sub("<[^>]*>", "", each)) for each in printed):
        assert not re.search(r" at 0x|\bText\(", output), output


def test_faint_code_is_found(wide, served):
    seen = visit(wide, served, EXPLORED)
    shade(seen.page, "light")
    assert show_code(seen.page, True)
    for token in ("mi:last-of-type", "c1"):  # unlike others of its kind; all of a kind
        seen.page.add_style_tag(content=f"pre .{token} {{color: #ccc !important}}")
    found = {html[:16] for _, html, _ in faint(seen.page, "pre")}
    assert found == {'<span class="mi"', '<span class="c1"'}
    seen.page.close()


# The smallest text in figures and charts, in px. Matplotlib draws glyphs at a size of 100.
SMALLEST = """() => {
  const glyphs = [...document.querySelectorAll(".an-figure g[transform*='scale(0.'] use")]
    .filter((glyph) => glyph.checkVisibility()).map((glyph) => glyph.getScreenCTM())
    .map(({a, b}) => 100 * Math.hypot(a, b));
  const words = [...document.querySelectorAll(".explorable > svg text")]
    .filter((text) => text.checkVisibility() && text.textContent.trim())
    .map((text) => {
      const svg = text.closest(".explorable > svg");
      const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
      return scale * parseFloat(getComputedStyle(text).fontSize);
    });
  return Math.min(99, ...glyphs, ...words);
}"""

# Shapes of figures that are light and not small; photographs are none.
SLABS = """() => [...document.querySelectorAll(".an-figure svg :is(path, rect)")]
  .filter((shape) => shape.checkVisibility() && !shape.closest("defs")).filter((shape) => {
    const style = getComputedStyle(shape);
    const colors = style.fill.match(/[\\d.]+/g)?.map(Number) ?? [];
    const bright = style.fill.startsWith("color") ? 255 * Math.min(...colors.slice(0, 3))
      : Math.min(...colors.slice(0, 3));
    const [box, room] = [shape, shape.closest("svg")].map((e) => e.getBoundingClientRect());
    const share = box.width * box.height / (room.width * room.height);
    return colors.length && bright > 200 && style.fillOpacity > 0.5 && share > 0.05;
  }).map((shape) => shape.outerHTML.slice(0, 120))"""

REACHED = """(svg) => {
  const frame = svg.parentElement;
  if (frame.querySelector("input, select, button")) return true;
  frame.focus();
  return document.activeElement === frame && Boolean(frame.getAttribute("aria-label"));
}"""

# The shadow stays at the frame's edge, what covers it moves with the figure.
SHADOWED = """(svg) => {
  const style = getComputedStyle(svg.parentElement);
  return style.backgroundAttachment === "local, local, scroll, scroll"
    && (style.backgroundImage.match(/radial-gradient/g) ?? []).length === 2;
}"""


# What axe says of each token of code it says of all that look the same on the same ground, and
# there are thousands on a page. Those that reach beyond their box are left to be seen one by one.
ALIKE = """() => {
  const look = (element, ...names) => {
    const style = getComputedStyle(element);
    return names.map((name) => style[name]).join();
  };
  const grounds = new Map([[null, ""]]);
  const ground = (element) => {
    if (!grounds.has(element)) {
      const own = look(element, "backgroundColor", "backgroundImage", "opacity", "filter",
        "mixBlendMode", "position");
      grounds.set(element, own + ground(element.parentElement));
    }
    return grounds.get(element);
  };
  const seen = new Set();
  for (const token of document.querySelectorAll("pre span:not(:has(*))")) {
    token.removeAttribute("data-alike");
    const [box, room] = [token, token.closest("pre")].map((e) => e.getBoundingClientRect());
    const inside = room.left <= box.left && box.right <= room.right && box.width > 0;
    if (!inside || !token.checkVisibility() || !token.textContent.trim()) continue;
    const own = look(token, "color", "webkitTextFillColor", "fontSize", "fontWeight",
      "textShadow") + ground(token);
    token.toggleAttribute("data-alike", seen.has(own));
    seen.add(own);
  }
}"""


SHADED = """async (scheme) => {
  while (!["", scheme].includes(document.documentElement.dataset.theme ?? ""))
    await new Promise(requestAnimationFrame);
  for (const animation of document.getAnimations())
    if (Number.isFinite(animation.effect.getComputedTiming().endTime)) animation.finish();
}"""


def show_code(page, shown):
    """Open or fold the code that may be skipped, where there is any; the browser remembers it."""
    control = page.locator(CONTROL)
    if control.count() and control.get_attribute("aria-pressed") != str(shown).lower():
        control.click()
    return control.count() > 0


def shade(page, scheme):
    """Let the reader's system turn light or dark, and the colors come to rest."""
    page.emulate_media(color_scheme=scheme)
    page.evaluate(SHADED, scheme)


AXE = """async ([place, kind, values]) => {
  axe.configure({rules: [{id: "color-contrast", selector: ":not([data-alike])"}]});
  const options = {runOnly: {type: kind, values}, resultTypes: ["violations"]};
  const {violations} = await axe.run(place, {...options, preload: false});
  return violations.flatMap(({id, nodes}) =>
    nodes.map(({html, failureSummary}) => [id, html.slice(0, 120), failureSummary]));
}"""


def unreadable(page):
    """Return what axe finds wrong by WCAG 2.1, levels A and AA."""
    return axe(page, "html", "tag", ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"])


def faint(page, place="html"):
    """Return what has too little contrast: all that another light, or open code, can change."""
    return axe(page, place, "rule", ["color-contrast"])


def axe(page, place, kind, values):
    script = pytest.importorskip("axe_playwright_python.sync_playwright").Axe().axe_script
    page.evaluate(ALIKE)
    page.evaluate(script)
    return page.evaluate(AXE, [place, kind, values])
