"""What the outputs of a page depend on, as a fingerprint: a page runs again for that alone.

That is its notebook, the lock and the Python that runs it, the ``ACTNORM_`` variables, the modules
of the package that it reaches with the data that they read, its claims and its front, and the
records behind these: a card says the verdict of a whole claim, which may stand on several pages.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import reach
from IPython.core.inputtransformer2 import TransformerManager

PACKAGE = "actnorm"
RECORDS = f"{PACKAGE}/records"
# A page that uses one of these may look at any claim and any record.
LEDGER = {"evidence", "registry", "sources", "records", "ledger", "cli"}


@dataclass(frozen=True)
class Book:
    """What fingerprints are taken from, read once for all pages."""

    modules: Mapping[str, reach.Code]
    claims: Mapping[str, dict[str, Any]]
    fronts: Mapping[str, dict[str, Any]]  # what pages ask and answer, by page
    records: Mapping[str, bytes]  # by page
    files: Mapping[str, bytes]  # the package's other files by path
    readers: Mapping[str, frozenset[str]]  # the modules that a file is, or that name it
    ground: bytes  # what all pages depend on


def fingerprints(root: Path, notebooks: Iterable[Path]) -> dict[Path, str]:
    """Return the fingerprint of every notebook, each named by its path relative to the root."""
    book = _read(root)
    found = {}
    for path in notebooks:
        page = path.relative_to("chapters").with_suffix("").as_posix()
        found[path] = _key(book, page, (root / path).read_bytes())
    return found


def _read(root: Path) -> Book:
    """Sort the files of the package into code, data, claims and records."""
    claims, fronts, records, files = {}, {}, {}, {}
    ground = [(root / "constraints.txt").read_bytes()]
    ground += [repr((sys.version_info[:2], version("torch"))).encode()]
    variables = {name: os.environ[name] for name in os.environ if name.startswith("ACTNORM_")}
    ground += [repr(item).encode() for item in sorted(variables.items())]
    for path in sorted((root / PACKAGE).rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir() or path.suffix == ".pyc":
            continue
        content = path.read_bytes()
        if name.startswith(f"{RECORDS}/"):
            records[path.relative_to(root / RECORDS).with_suffix("").as_posix()] = content
        elif path.suffix == ".toml" and "claim" in (table := tomllib.loads(content.decode())):
            claims |= {str(entry["id"]): entry for entry in table.pop("claim")}
            fronts |= {entry["name"]: entry for entry in table.pop("page", ())}
            ground.append(repr(table).encode())
        else:
            files[name] = content
    modules = reach.read_package(root / PACKAGE)
    readers = {name: _readers(name, modules) for name in files}
    return Book(modules, claims, fronts, records, files, readers, b"\0".join(ground))


def _readers(file: str, modules: Mapping[str, reach.Code]) -> frozenset[str]:
    """Return the module that a file is, or those that name it, or all where none does."""
    if file.endswith(".py"):
        return frozenset({file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")})
    return frozenset(name for name in modules if _name(modules[name], file)) or frozenset(modules)


def _name(code: reach.Code, file: str) -> bool:
    """Return whether a string in some code is a file's name, a pattern of it or its suffix."""
    suffix = PurePosixPath(file).suffix
    return any(fnmatch(file, f"*{text}") for text in code.texts if text.endswith(suffix))


def _key(book: Book, page: str, notebook: bytes) -> str:
    source = _source(notebook)
    code = reach.read(source, PACKAGE)
    nodes = list(ast.walk(ast.parse(source)))
    everything = reach.reached(code, book.modules)[0] == set(book.modules)
    others = set() if everything else _other_exercises(book, code, nodes)
    modules, turns = reach.reached(code, book.modules, others)
    anything = everything or _looks_at_any_claim(code, nodes)
    texts = code.texts.union(*(book.modules[name].texts for name in modules))
    shown = _literals(nodes, "page")
    fronts = {
        name: entry
        for name, entry in book.fronts.items()
        if everything or shown is None or name in shown | {page}
    }
    texts |= {entry.get("claim", "") for entry in fronts.values()}
    claims = {
        problem_id: entry
        for problem_id, entry in book.claims.items()
        if anything or problem_id in texts or page in _pages(entry)
    }
    pages = {page}.union(*map(_pages, claims.values()))
    contents = {"notebook": notebook, "ground": book.ground, "turns": repr(sorted(turns)).encode()}
    contents["claims"] = json.dumps([claims, fronts], default=str).encode()
    contents |= {p: record for p, record in book.records.items() if anything or p in pages}
    files = {f for f in book.files if book.readers[f] & modules or _name(code, f)}
    contents |= {f: content for f, content in book.files.items() if f in files}
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _pages(claim: Mapping[str, Any]) -> set[str]:
    return {part.get("page", "") for part in claim.get("part", ())}


def _source(notebook: bytes) -> str:
    """Return the code of a notebook as Python, or a use of the whole package where it is none."""
    cells = [cell for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code"]
    transform = TransformerManager().transform_cell
    source = "\n".join(transform("".join(cell["source"])) for cell in cells)
    source = re.sub(r"get_ipython\(\)\.run_line_magic\('pip', .*\)", "pass", source)
    try:
        compile(source, "<notebook>", "exec")
    except SyntaxError:
        return f"import {PACKAGE}; {PACKAGE}"
    return source


def _literals(nodes: list[ast.AST], name: str) -> set[str] | None:
    """Return what a function is called with, or None where that is not always a literal."""
    calls = {
        id(node.func): str(node.args[0].value)
        for node in nodes
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
    }
    used = [id(node) for node in nodes if name in (getattr(node, a, 0) for a in ("attr", "name"))]
    return {calls[each] for each in used} if calls.keys() >= set(used) else None


def _looks_into(rooms: set[str], code: reach.Code) -> bool:
    return any(rooms & {*module.split("."), *names} for module, names in code.uses)


def _looks_at_any_claim(code: reach.Code, nodes: list[ast.AST]) -> bool:
    return _looks_into(LEDGER, code) or _literals(nodes, "claim") is None


def _other_exercises(book: Book, code: reach.Code, nodes: list[ast.AST]) -> set[str]:
    """Return the files of exercises that hold none of a page's: it may as well be without them."""
    names = _literals(nodes, "check")
    chapters = {name for name in book.modules if name.startswith(f"{PACKAGE}.exercises.")}
    found = {text for name in chapters for text in book.modules[name].texts}
    if names is None or not names <= found or _looks_into({"exercises"}, code):
        return set()
    return {name for name in chapters if not names & book.modules[name].texts}
