"""Run a page's notebook, and read what its cells leave."""

from __future__ import annotations

import ast
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from actnorm import evidence, protocol


@contextmanager
def _set(**variables: str) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run(page: str, *, forgiving: bool = False, **variables: str) -> tuple[Any, float]:
    """Execute a page's notebook in an environment; return it, and the seconds that it took.

    Where it is ``forgiving``, a failed assert does not end the run; see `broken`.
    """
    try:
        import nbformat
        from nbclient import NotebookClient
    except ImportError:
        sys.exit("running a page needs nbclient: pip install nbclient ipykernel")
    path = Path("chapters", page).with_suffix(".ipynb")
    if not path.exists():
        sys.exit(f"no notebook {path} here; run this in the book's folder")
    notebook = nbformat.read(path, as_version=4)
    if forgiving:
        notebook.cells = [piece for cell in notebook.cells for piece in _apart(cell)]
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}  # a second only waits
    start = time.perf_counter()
    with _set(**threads, **variables):
        folder = {"metadata": {"path": path.parent}}
        client = NotebookClient(notebook, timeout=None, resources=folder, allow_errors=forgiving)
        client.execute()
    for error in _errors(notebook):
        if error["ename"] != "AssertionError":
            sys.exit("\n".join(error["traceback"]))
    return notebook, time.perf_counter() - start


def _apart(cell: Any) -> list[Any]:
    """Return a cell cut at its asserts, so that one that fails keeps no other line from running."""
    from IPython.core.inputtransformer2 import TransformerManager

    if cell.cell_type != "code":
        return [cell]
    source = TransformerManager().transform_cell(cell.source)  # without IPython's own syntax
    lines = source.splitlines(keepends=True)
    asserts = [node for node in ast.parse(source).body if isinstance(node, ast.Assert)]
    edges = {0, len(lines)} | {e for a in asserts for e in (a.lineno - 1, a.end_lineno)}
    pieces = ["".join(lines[a:b]) for a, b in pairwise(sorted(edges))] or [source]
    return [type(cell)(cell | {"source": piece, "outputs": []}) for piece in pieces]


def _errors(notebook: Any) -> list[dict[str, Any]]:
    outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", ())]
    return [o for o in outputs if o.get("output_type") == "error"]


def broken(notebook: Any) -> list[str]:
    """Return the asserts that failed in a forgiving run: sentences that this run does not bear."""
    ansi = re.compile(r"\x1b\[[0-9;]*m")
    lines = [ansi.sub("", "\n".join(error["traceback"])) for error in _errors(notebook)]
    return [re.search(r"-+> \d+ (.*)", text)[1].strip() for text in lines]


def outputs(notebook: Any, mime: str) -> list[dict[str, Any]]:
    """Return everything of one MIME type that the cells of an executed notebook left."""
    return [
        output["data"][mime]
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
        if mime in output.get("data", {})
    ]


def judged(notebook: Any) -> Iterator[tuple[evidence.Claim, evidence.Part, dict[str, Any]]]:
    """Yield each part that an executed notebook judged, with its claim and its evidence."""
    for piece in outputs(notebook, evidence.MIME):
        claim = evidence.claim(piece["claim"])
        for name, entry in piece["parts"].items():
            yield claim, claim.part(name), entry


def retuned(notebook: Any) -> Iterator[tuple[str, float, float]]:
    """Yield each tuning of a foreign full run: its call, the recorded rate, and its own choice."""
    for entry in outputs(notebook, protocol.MIME):
        if isinstance(entry["result"], dict) and "chosen" in entry["result"]:
            result = entry["result"]
            yield f"{entry['name']}{entry['call']}", result["rate"], result["chosen"]
