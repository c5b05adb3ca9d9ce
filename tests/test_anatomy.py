"""A page answers at a glance: its order, its folded code, its words and its one name."""

import re
from pathlib import Path

import nbformat
import pytest

import actnorm as an
from actnorm import evidence

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = ROOT / "chapters"
PAGES = sorted(
    p.relative_to(CHAPTERS).with_suffix("").as_posix() for p in CHAPTERS.glob("*/*.ipynb")
)
ORDER = ["Your guess", "In short", "See it", "Derive it", "Measure it", "Verdict", "Use it"]
ORDER += ["Exercises"]
OPEN = 0.4  # of a page's lines of code, on arrival
FOLDED = {"hide-input", "hide-cell"}


@pytest.fixture(params=PAGES)
def page(request):
    return request.param, nbformat.read(CHAPTERS / f"{request.param}.ipynb", as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def lines(cell):
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def test_a_page_has_one_name_its_question(page):
    name, notebook = page
    assert re.findall(r"(?m)^# (.*)$", prose(notebook)) == [an.page(name).title]
    assert an.page(name).title.endswith("?")


def test_the_answer_comes_first(page):
    _, notebook = page
    found = re.findall(r"(?m)^## (.*)$", prose(notebook))
    parts = [name for heading in found for name in ORDER if heading.startswith(name)]
    assert list(dict.fromkeys(parts)) == ORDER
    assert found[-1] == "References"
    calls = [".guess(", ".in_short()", "claim\n", ".judge(", ".use_it("]
    cells = [cell.source + "\n" for cell in code(notebook)]
    places = [next(i for i, cell in enumerate(cells) if call in cell) for call in calls]
    assert places == sorted(places)


def test_the_answer_says_what_to_do_and_where_it_stops(page):
    answer, *_, advice = an.page(page[0]).entry["short"].split("\n\n")
    assert answer.startswith("**")
    assert advice.startswith("**Do:** ")
    assert "**Where it stops:** " in advice


def test_code_that_a_reader_may_skip_is_folded_here_and_in_colab(page):
    _, notebook = page
    for cell in code(notebook):
        tags = set(cell.metadata.get("tags", []))
        assert ("hide-input" in tags) == (cell.metadata.get("cellView") == "form"), cell.source
    total = sum(map(lines, code(notebook)))
    shown = sum(lines(c) for c in code(notebook) if not FOLDED & set(c.metadata.get("tags", [])))
    assert shown <= OPEN * total, f"{shown} of {total} lines stand open"


def test_what_stands_names_its_parts(page):
    name, notebook = page
    parts = {p.name for claim in evidence.registry().values() for p in claim.parts}
    text = "\n".join(cell.source for cell in notebook.cells)  # sizes come from cells of code
    verdict = text[text.index("\n## Verdict") : text.index("\n## Use it")]
    verdict += "\n" + an.page(name).entry.get("stands", "")
    bullets = re.findall(r"(?ms)^- .*?(?=^- |\n\n|\Z)", verdict)
    assert bullets, name
    for bullet in bullets:
        assert set(re.findall(r"`(\w+)`", bullet)) & parts, bullet


def test_words_lead_to_the_page_of_words(page):
    _, notebook = page
    words = re.findall(r"(?m)^## (.*)$", (ROOT / "words.md").read_text(encoding="utf-8"))
    slugs = {re.sub(r"[^\w]+", "-", word.lower()).strip("-") for word in words}
    links = re.findall(r"words\.(?:md|html)#([\w-]+)", prose(notebook))
    assert len(set(links)) >= 3
    assert set(links) <= slugs


def test_what_prose_says_of_figures_is_asserted(page):
    _, notebook = page
    folded = [c for c in code(notebook) if "hide-input" in c.metadata.get("tags", [])]
    assert any(re.search(r"(?m)^\s*assert ", cell.source) for cell in folded)


def test_words_are_in_order():
    words = re.findall(r"(?m)^## (.*)$", (ROOT / "words.md").read_text(encoding="utf-8"))
    assert words == sorted(words, key=str.lower)
    assert len(words) == len(set(words))
