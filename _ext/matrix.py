"""Try the book on every Python of this machine and at both ends of its versions, in fresh clones.

python _ext/matrix.py                every environment (it may download CUDA builds of torch)
python _ext/matrix.py 3.13 lowest    these alone

What it found goes to ``benchmarks/results/matrix.json`` and so to the machine page.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent
CLONES = ROOT / ".matrix"
RESULTS = ROOT / "benchmarks" / "results" / "matrix.json"
COLAB = ROOT / "tests" / "colab.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TOOLS = ["hypothesis", "ipykernel", "mpmath", "nbclient", "nbformat", "packaging", "pytest"]
TOOLS += ["pyyaml", "vl-convert-python"]
# Tests of what builds the site, which the ends have no need of.
SITE = ["test_book", "test_colab", "test_drawings", "test_explorables", "test_folds", "test_lean"]
SITE += ["test_words"]
PAGES = sorted((ROOT / "chapters").glob("*/*.ipynb"))
SHOWN = ["torch", "numpy", "pandas", "scipy"]


def pythons() -> dict[str, str]:
    """Return every supported Python of this machine, by its version of two numbers."""
    names = [f"python3.{minor}" for minor in range(11, 30)]
    places = [sys.executable, *filter(None, map(shutil.which, names))]
    places += map(str, sorted(Path.home().glob(".pyenv/versions/*/bin/python")))
    found = {}
    for place in places:
        command = [place, "-c", "import platform; print(platform.python_version())"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        version = done.stdout.strip()
        if version and version in SpecifierSet(PROJECT["requires-python"]):
            found.setdefault(".".join(version.split(".")[:2]), place)
    return dict(sorted(found.items()))


def lowest() -> list[str]:
    """Return the package's requirements, each at its lower bound."""
    return [re.sub(">=", "==", str(Requirement(text))) for text in PROJECT["dependencies"]]


def colab() -> tuple[str, str]:
    """Return the date of the list of Colab's packages, and Colab's Python."""
    first = COLAB.read_text(encoding="utf-8").splitlines()[0]
    date, python = re.match(r"# (\d{4}-\d\d-\d\d), Python (\d\.\d+)", first).groups()
    return date, python


def clone(name: str) -> Path:
    """Return a fresh clone of the committed state."""
    place = CLONES / name
    shutil.rmtree(place, ignore_errors=True)
    run("git", "clone", "--quiet", ROOT, place)
    return place


def environment(place: Path, python: str, packages: list[str]) -> Path:
    """Make a virtual environment with some packages and return its Python."""
    run(python, "-m", "venv", place)
    own = place / "bin" / "python"
    run(own, "-m", "pip", "install", "--quiet", *packages)
    return own


def run(*command: Any, **options: Any) -> None:
    """Run a command; one that fails ends this environment."""
    subprocess.run(list(map(str, command)), check=True, **options)


def locked(version: str) -> Path:
    """Run the README's test command under one Python: unit tests and every notebook."""
    place = clone(version)
    run("make", "-C", place, "test", f"PYTHON={pythons()[version]}")
    return place / ".venv" / "bin" / "python"


def end(name: str, version: str, packages: list[str]) -> Path:
    """Run the unit tests and every page with other versions than the lock's."""
    place = clone(name)
    python = environment(place / ".venv", pythons()[version], [*packages, *TOOLS])
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "-e", place)
    skipped = [f"--ignore=tests/{name}.py" for name in SITE]
    run(python, "-m", "pytest", "tests", "-W", "default", *skipped, cwd=place)
    for page in (path.relative_to(ROOT / "chapters").with_suffix("").as_posix() for path in PAGES):
        run(python, "-c", f"from actnorm import pages; pages.run({page!r})", cwd=place)
    return python


def as_in_colab() -> Path:
    """Run every page alone, from an empty folder, among Colab's own packages."""
    python = CLONES / "colab" / "bin" / "python"
    if not python.exists():
        environment(CLONES / "colab", pythons()[colab()[1]], ["-r", str(COLAB)])
    run(sys.executable, "-m", "pytest", "tests/test_colab.py", cwd=ROOT)
    return python


def attempt(name: str) -> dict[str, Any]:
    """Try one environment and return its row of the table."""
    start = time.perf_counter()
    versions = list(pythons())
    names = [Requirement(text).name for text in PROJECT["dependencies"]]
    try:
        match name:
            case "lowest":
                python = end(name, versions[0], lowest())
            case "newest":
                python = end(name, versions[-1], names)
            case "colab":
                python = as_in_colab()
            case _:
                python = locked(name)
        outcome = "passed"
    except subprocess.CalledProcessError as error:
        words = [Path(word).name for word in error.cmd]  # no path of this machine
        return {"environment": name, "outcome": f"failed: {' '.join(words)}"}
    program = f"import importlib.metadata as m; print([m.version(n) for n in {SHOWN}])"
    program += "; import platform; print(platform.python_version())"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    shown, full = done.stdout.splitlines()
    row = {"environment": name, "outcome": outcome, "python": full}
    row |= dict(zip(SHOWN, json.loads(shown.replace("'", '"')), strict=True))
    return row | {"minutes": round((time.perf_counter() - start) / 60, 1)}


def main(names: list[str]) -> None:
    """Try the named environments, or all, and write what was found."""
    every = [*pythons(), "lowest", "newest", *(["colab"] if colab()[1] in pythons() else [])]
    rows = {}
    if RESULTS.exists():
        rows = {row["environment"]: row for row in json.loads(RESULTS.read_text())["rows"]}
    for name in names or every:
        rows[name] = attempt(name) | {"date": time.strftime("%Y-%m-%d", time.gmtime())}
        print(rows[name], flush=True)
        table = {"rows": [rows[each] for each in every if each in rows]}
        RESULTS.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    sys.exit(any(rows[name]["outcome"] != "passed" for name in names or every))


if __name__ == "__main__":
    main(sys.argv[1:])
