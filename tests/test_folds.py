"""Folded code takes one line; what cells show stays in order, with the code that shows it."""

from types import SimpleNamespace

import folds
import pytest
from docutils import nodes

APP = SimpleNamespace(builder=SimpleNamespace(format="html"))
SHOWS = {
    ".": [],
    "P": [nodes.raw("", "<svg></svg>", format="html")],
    "W": [nodes.paragraph("", "a caption")],
    "I": [nodes.image(uri="figure.svg")],
}


def cell(name, shows, *, tag="tag_hide-input"):
    """A cell as the book's notebooks become: its code, folded or not, then what it shows."""
    code = nodes.literal_block("", name)
    if tag:
        code = nodes.Element("", code, prompt_show="Show code", prompt_hide="Hide code")
    node = nodes.container("", code, classes=["cell", tag], nb_element="cell_code")
    for part in SHOWS[shows]:
        node += nodes.container("", part.deepcopy(), nb_element="cell_code_output")
    return node


def page(*parts):
    document = nodes.document(None, None)
    document += nodes.section("", *parts)
    return document


def lines(document):
    """The code below each line, and how much is shown there."""
    cells = [node for node in document[0] if isinstance(node, nodes.container)]
    return [(" ".join(c.astext() for c in each[0]), len(each) - 1) for each in cells]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("....", [("0 1 2 3", 0)]),
        ("..P", [("0 1 2", 1)]),
        ("P.W", [("0 1 2", 2)]),
        ("P.W.", [("0 1 2 3", 2)]),
        ("WP", [("0 1", 2)]),
        ("PP", [("0", 1), ("1", 1)]),
        ("P.W..I", [("0 1 2", 2), ("3 4 5", 1)]),
        ("I", [("0", 1)]),
    ],
)
def test_a_run_takes_a_line_for_each_picture(run, expected):
    document = page(*(cell(str(k), shows) for k, shows in enumerate(run)))
    folds.fold_together(APP, document, "page")
    assert lines(document) == expected


def test_open_cells_and_prose_end_a_run():
    run = [cell("0", "."), cell("1", "."), nodes.paragraph("", "prose"), cell("2", ".")]
    document = page(*run, cell("3", "P", tag=""), cell("4", "."), cell("5", "P"))
    folds.fold_together(APP, document, "page")
    folded = [node for node in document[0] if "tag_hide-input" in node.get("classes", ())]
    assert [node[0].astext().split() for node in folded] == [["0", "1"], ["2"], ["4", "5"]]
    assert [type(node).__name__ for node in document[0]] == [
        *("container", "paragraph", "container", "container", "container")
    ]


def test_other_formats_keep_their_cells():
    document = page(cell("0", "."), cell("1", "."))
    latex = SimpleNamespace(builder=SimpleNamespace(format="latex"))
    folds.fold_together(latex, document, "page")
    assert len(document[0]) == 2


def test_a_solution_is_called_so_and_a_starter_is_told_nothing():
    starter, solution = cell("starter", ".", tag=""), cell("answer", ".", tag="tag_hide-cell")
    for said, each in (("'Not yet.'", starter), ("'Yes, because.'", solution)):
        block = nodes.literal_block("", said)
        each += nodes.container("", block, nb_element="cell_code_output")
    document = page(starter, solution)
    folds.exercises_ask(APP, document, "page")
    assert starter.astext() == "starter"
    assert "Yes, because" in solution.astext()
    assert solution[0]["prompt_show"] == "Show a solution"
