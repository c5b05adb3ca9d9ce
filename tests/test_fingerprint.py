"""A recorded function is found under every supported Python, not only under the one that ran."""

import json
import subprocess
import sys
from pathlib import Path

import matrix
import pytest

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = "3dcfa87ac627295a"

# Runs on a bare Python, and prints the fingerprints of the recorded functions that it reads.
PROGRAM = f"""
import ast, importlib.util, json, linecache, sys, types
spec = importlib.util.spec_from_file_location("f", {str(ROOT / "actnorm" / "fingerprint.py")!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
found = []
for i, source in enumerate(json.load(sys.stdin)):
    name = f"<cell {{i}}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            scope = {{"an": types.SimpleNamespace(recorded=lambda function: function)}}
            exec(compile(ast.Module([node], []), name, "exec"), scope)
            found.append([node.name, module.fingerprint(scope[node.name])])
json.dump(found, sys.stdout)
"""
EXAMPLE = '''
@an.recorded
def odd(x, *, names=("a", 'b')):
    """Text with {braces} and “quotes”."""

    # a comment, and an f-string that every version cuts in its own way
    text = f"{x!r:>{10}} {{literal}} {', '.join(names)}"
    return [f"{y:.2e}" for y in (lambda z: (z, -z))(x)], (text
        if x else None)
    # the last line is a comment
'''


PYTHONS = matrix.pythons()


def fingerprints(python, sources):
    command = [python, "-I", "-c", PROGRAM]
    done = subprocess.run(
        command, input=json.dumps(sources), capture_output=True, text=True, check=True
    )
    return [tuple(each) for each in json.loads(done.stdout)]


def recorded():
    """Return the cells that hold recorded functions, and what the records say of these."""
    cells, known = [], set()
    for path in sorted(ROOT.glob("actnorm/records/*/*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        known |= {(entry["name"], entry["source"]) for entry in record["recorded"]}
        notebook = (ROOT / "chapters" / record["page"]).with_suffix(".ipynb")
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            if "@an.recorded\n" in cell["source"]:
                cells.append("".join(cell["source"]))
    return cells, known


@pytest.mark.parametrize("version", PYTHONS)
def test_every_python_finds_the_same_text(version):
    assert fingerprints(PYTHONS[version], [EXAMPLE]) == [("odd", GOLDEN)]
    cells, known = recorded()
    assert len(known) >= 18
    assert set(fingerprints(PYTHONS[version], cells)) == known


def test_more_than_one_python_was_here():
    if len(PYTHONS) == 1:
        pytest.skip(f"only Python {next(iter(PYTHONS))} is here to be tried")


def test_comments_and_blank_lines_do_not_count_and_all_else_does():
    changes = {
        "    # a comment, and": "\n\n    # another,",
        "    # the last line is a comment\n": "\nx = 1\n",
        ".2e": ".3e",
        "{braces}": "{brace}",
        "-z": "z",
        "@an.recorded": "@ an.recorded",
    }
    variants = [EXAMPLE.replace(old, new) for old, new in changes.items()]
    assert EXAMPLE not in variants
    same = [found == GOLDEN for _, found in fingerprints(sys.executable, variants)]
    assert same == [True, True, False, False, False, False]
