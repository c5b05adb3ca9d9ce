"""A notebook alone, where actnorm is missing, as in Colab: its own set-up cell installs it."""

import datetime
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import matrix
import nbformat
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "https://example.org/someone/actnorm"
PAGES = sorted(ROOT.glob("chapters/*/*.ipynb"))

# Colab's own Python and packages, where `make matrix` has put them: then every page is tried.
COLAB = ROOT / ".matrix" / "colab" / "bin" / "python"


def run(*command, **options):
    return subprocess.run(list(map(str, command)), check=True, text=True, **options)


def purelib(python):
    program = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(run(python, "-c", program, capture_output=True).stdout.strip())


def test_list_of_colab_is_of_this_half_year():
    date, _ = matrix.colab()
    if datetime.date.today() - datetime.date.fromisoformat(date) > datetime.timedelta(183):
        pytest.skip(f"tests/colab.txt is of {date}: look for a newer list")


def test_colab_keeps_every_package():
    lines = (ROOT / "tests" / "colab.txt").read_text(encoding="utf-8").splitlines()
    there = dict(line.split("==") for line in lines if not line.startswith("#"))
    for text in matrix.PROJECT["dependencies"]:
        requirement = Requirement(text)
        if requirement.name in there:
            assert requirement.specifier.contains(there[requirement.name]), text


def test_resolver_changes_nothing_that_colab_has(tmp_path):
    names = [r for r in matrix.PROJECT["dependencies"] if not r.startswith("torch")]  # CUDA
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"),
        *("--python-version", matrix.colab()[1], "--only-binary=:all:", "--target", tmp_path),
        *("-c", ROOT / "tests" / "colab.txt", *names),
    )


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """The book in a repository of its own, under the address that its notebooks name."""
    remote = tmp_path_factory.mktemp("remote")
    for name in run("git", "ls-files", cwd=ROOT, capture_output=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (remote / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, remote / name)
    run(sys.executable, remote / "_ext" / "book.py", "repository", ADDRESS)
    git = ("git", "-C", remote, "-c", "user.name=x", "-c", "user.email=x@example.org")
    run("git", "init", "--quiet", "-b", "main", remote)
    run(*git, "add", "--all")
    run(*git, "commit", "--quiet", "-m", "all")
    return remote


@pytest.fixture
def plain(tmp_path):
    """An environment with every package but actnorm: a fresh one that borrows another's."""
    lender = COLAB if COLAB.exists() else Path(sys.executable)
    run(lender, "-m", "venv", tmp_path / "plain")
    python = tmp_path / "plain" / "bin" / "python"
    lent = tmp_path / "lent"
    lent.mkdir()
    borrowed = purelib(lender) if COLAB.exists() else Path(sysconfig.get_path("purelib"))
    for entry in borrowed.iterdir():
        if "actnorm" not in entry.name and entry.suffix != ".pth":
            (lent / entry.name).symlink_to(entry)
    (purelib(python) / "lent.pth").write_text(f"{lent}\n")
    return python


@pytest.mark.parametrize("path", PAGES if COLAB.exists() else PAGES[:1], ids=lambda p: p.stem)
def test_a_notebook_installs_actnorm_and_changes_nothing_else(remote, plain, path, tmp_path):
    def freeze():
        return set(run(plain, "-m", "pip", "freeze", capture_output=True).stdout.splitlines())

    before = freeze()
    assert not any("actnorm" in line for line in before)
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(remote / path.relative_to(ROOT), home / "page.ipynb")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {
        "OMP_NUM_THREADS": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{remote.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }
    program = (
        "import nbformat; from nbclient import NotebookClient;"
        "nb = nbformat.read('page.ipynb', 4); NotebookClient(nb, timeout=600).execute();"
        "nbformat.write(nb, 'page.ipynb')"
    )
    run(plain, "-c", program, cwd=home, env=env)
    installed = {re.split(" @ |==", line)[0]: line for line in freeze() - before}
    assert installed.pop("actnorm").startswith("actnorm @ git+https://example.org")
    assert set(installed) <= {Requirement(t).name for t in matrix.PROJECT["dependencies"]}
    assert before <= freeze()
    ran = nbformat.read(home / "page.ipynb", as_version=4)
    assert all(cell.execution_count for cell in ran.cells if cell.cell_type == "code")
    assert not re.search("Traceback", nbformat.writes(ran))
