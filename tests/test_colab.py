"""A notebook alone, where actnorm is missing, as in Colab: its own set-up cell installs it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "https://example.org/someone/actnorm"


def run(*command, **options):
    return subprocess.run(list(map(str, command)), check=True, text=True, **options)


def test_resolver_changes_nothing_that_colab_has(tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [r for r in project["dependencies"] if not r.startswith("torch")]  # CUDA: no look-up
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"),
        *("--python-version", "3.12", "--only-binary=:all:", "--target", tmp_path),
        *("-c", ROOT / "tests" / "colab.txt", *names),
    )


def test_a_notebook_installs_actnorm_and_changes_nothing_else(tmp_path):
    remote, home, plain = tmp_path / "remote", tmp_path / "home", tmp_path / "plain"
    files = run("git", "ls-files", cwd=ROOT, capture_output=True).stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file():
            (remote / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, remote / name)
    run(sys.executable, remote / "_ext" / "book.py", "repository", ADDRESS)
    git = ("git", "-C", remote, "-c", "user.name=x", "-c", "user.email=x@example.org")
    run("git", "init", "--quiet", "-b", "main", remote)
    run(*git, "add", "--all")
    run(*git, "commit", "--quiet", "-m", "all")

    # An environment with every package but actnorm: a fresh one that borrows this one's.
    run(sys.executable, "-m", "venv", plain)
    python = plain / "bin" / "python"
    borrowed = sysconfig.get_path("purelib")
    site = run(
        *(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"),
        capture_output=True,
    ).stdout.strip()
    lent = tmp_path / "lent"
    lent.mkdir()
    for entry in Path(borrowed).iterdir():
        if "actnorm" not in entry.name and entry.suffix != ".pth":
            (lent / entry.name).symlink_to(entry)
    Path(site, "lent.pth").write_text(f"{lent}\n")

    def freeze():
        return set(run(python, "-m", "pip", "freeze", capture_output=True).stdout.splitlines())

    before = freeze()
    assert not any("actnorm" in line for line in before)
    home.mkdir()
    page = home / "page.ipynb"
    shutil.copy(remote / "chapters" / "zero-centering" / "sign-coherence.ipynb", page)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {
        "ACTNORM_REPLICAS": "0:4",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{remote.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }
    program = (
        "import nbformat; from nbclient import NotebookClient;"
        "nb = nbformat.read('page.ipynb', 4); NotebookClient(nb, timeout=600).execute();"
        "nbformat.write(nb, 'page.ipynb')"
    )
    run(python, "-c", program, cwd=home, env=env)
    installed = freeze() - before
    assert len(installed) == 1
    assert installed.pop().startswith("actnorm @ git+https://example.org")
    assert before <= freeze()
    ran = nbformat.read(page, as_version=4)
    assert all(cell.execution_count for cell in ran.cells if cell.cell_type == "code")
