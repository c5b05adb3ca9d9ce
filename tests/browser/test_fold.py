"""Folded code: one control for the whole site, by mouse and keyboard, remembered."""

import pytest
from visit import HTML, PAGES, visit

pytestmark = pytest.mark.browser
FOLDED = [name for name in PAGES if "tag_hide-input" in (HTML / name).read_text("utf-8")]
CODE, SOLUTION = ".tag_hide-input > details", ".tag_hide-cell > details"
# How many cells are still closed whenever the browser is about to paint.
FRAMES = f"""
window.frames_closed = [];
const look = () => {{
  frames_closed.push(document.querySelectorAll("{CODE}:not([open])").length);
  requestAnimationFrame(look);
}};
requestAnimationFrame(look);
"""
FORGETFUL = """
for (const name of ["getItem", "setItem"])
  Storage.prototype[name] = () => { throw new DOMException("no memory", "SecurityError"); };
"""


@pytest.fixture(params=["served", "folder"])
def root(request, served):
    return served if request.param == "served" else f"{HTML.as_uri()}/"


@pytest.fixture
def reader(browser):
    """A reader who has chosen nothing yet."""
    context = browser.new_context()
    yield context
    context.close()


def state(page):
    """What the control says, and how many cells are open."""
    button = page.get_by_role("button", name="Show all code")
    return button.get_attribute("aria-pressed"), page.locator(f"{CODE}[open]").count()


def test_code_is_folded_and_unfolded_and_the_choice_is_kept(reader, root):
    assert FOLDED, "no page has folded code"
    seen = visit(reader, root, FOLDED[0])
    page = seen.page
    cells = page.locator(CODE).count()
    assert state(page) == ("false", 0)
    page.get_by_role("button", name="Show all code").click()
    assert state(page) == ("true", cells)
    assert page.locator(f"{SOLUTION}[open]").count() == 0
    reader.add_init_script(FRAMES)
    other = visit(reader, root, FOLDED[-1])
    assert state(other.page) == ("true", other.page.locator(CODE).count())
    assert set(other.page.evaluate("frames_closed")) == {0}  # no flash
    other.page.get_by_role("button", name="Show all code").focus()
    other.page.keyboard.press("Space")
    assert state(other.page) == ("false", 0)
    page.reload()
    assert state(page) == ("false", 0)
    assert not seen.wrong + other.wrong


def test_code_unfolds_where_nothing_can_be_remembered(reader, root):
    # The theme itself asks for its memory without a guard.
    reader.add_init_script(FORGETFUL)
    page = reader.new_page()
    page.goto(root + FOLDED[0])
    page.get_by_role("button", name="Show all code").press("Enter")
    assert state(page) == ("true", page.locator(CODE).count())


def test_each_cell_still_opens_alone(reader, served):
    page = visit(reader, served, FOLDED[0]).page
    page.locator(f"{CODE} > summary").first.press("Enter")
    assert state(page) == ("false", 1)
    assert page.locator(f"{CODE} > summary").first.inner_text().strip() == "Hide code"


@pytest.mark.parametrize("name", FOLDED)
def test_a_run_of_folded_cells_takes_one_line(wide, served, name):
    page = wide.new_page()
    page.goto(served + name, wait_until="domcontentloaded")
    twice = ".tag_hide-input:not(:has(> .cell_output)) + .tag_hide-input"
    assert page.locator(twice).count() == 0
    page.close()
