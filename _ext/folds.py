"""Folded code takes one quiet line: cells that follow one another share it.

A notebook keeps its cells short, so that each can be run and read alone. In the book what is folded
needs no line for each of them: the code of a run of folded cells opens together, above what they
show. A second picture begins a second line, so that no code stands far from what it draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from docutils import nodes
from sphinx.application import Sphinx

FOLDED, SOLUTION = "tag_hide-input", "tag_hide-cell"
NOT_YET = "'Not yet.'"  # what an exercise says to its starter, in a running notebook
PICTURES = (nodes.image, nodes.raw, nodes.literal_block)  # figures, charts, cards, what is printed


def fold_together(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Give each run of folded cells one line, or as many as it has pictures."""
    if app.builder.format != "html":
        return
    parents = {cell.parent for cell in doctree.findall(nodes.container) if _is_folded(cell)}
    for parent in parents:
        for folded, run in groupby(list(parent.children), _is_folded):
            if folded:
                for first, *others in groups(list(run)):
                    _join(first, others)


def exercises_ask(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Call a folded solution so, and leave out what a starter is told."""
    for cell in list(doctree.findall(nodes.container)):
        if SOLUTION in cell["classes"] and cell.children and "prompt_show" in cell[0].attributes:
            cell[0]["prompt_show"], cell[0]["prompt_hide"] = "Show a solution", "Hide the solution"
        if cell.get("nb_element") == "cell_code_output" and cell.astext().strip() == NOT_YET:
            cell.parent.remove(cell)


def groups(run: list[nodes.container]) -> Iterator[list[nodes.container]]:
    """Yield cells that share a line; one that shows nothing goes with what is shown next, if any.

    Words, such as a caption, belong to the picture before them.
    """
    together: list[nodes.container] = []
    waiting: list[nodes.container] = []
    for cell in run:
        waiting.append(cell)
        if not _shown(cell):
            continue
        if _has_picture(cell) and any(map(_has_picture, together)):
            yield together
            together = []
        together, waiting = together + waiting, []
    yield together + waiting


def _is_folded(node: nodes.Node) -> bool:
    """Return whether a node is a cell whose input, and only that, is folded."""
    return isinstance(node, nodes.container) and FOLDED in node["classes"] and bool(node.children)


def _shown(cell: nodes.container) -> list[nodes.Node]:
    """Return what a cell shows, below its code."""
    return cell.children[1:]


def _has_picture(cell: nodes.container) -> bool:
    return any(next(part.findall(kind), None) for part in _shown(cell) for kind in PICTURES)


def _join(first: nodes.container, others: list[nodes.container]) -> None:
    """Move the code and the outputs of cells into the first of them."""
    for cell in others:
        code, *shown = cell.children
        first.children[0].extend(code.children)
        first.extend(shown)
        cell.parent.remove(cell)
