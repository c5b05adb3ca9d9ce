"""Execute the notebooks and build the site, each only where something changed.

python _ext/book.py notebooks    execute what is new or changed, two at a time
python _ext/book.py site         build _build/html from the executed notebooks
python _ext/book.py repository URL [BRANCH]    set the repository's address everywhere
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat
import yaml
from keys import fingerprints

ROOT = Path(__file__).resolve().parent.parent
EXECUTED = ROOT / ".executed"
SOURCE = ROOT / "_build" / "source"
HTML = ROOT / "_build" / "html"
BUILT = ROOT / "_build" / "html.key"


def notebooks() -> list[Path]:
    """Return the chapter notebooks, relative to the root."""
    return sorted(path.relative_to(ROOT) for path in ROOT.glob("chapters/*/*.ipynb"))


def complete(notebook: nbformat.NotebookNode) -> bool:
    """Return whether every code cell ran, and none raised."""
    return all(
        cell.execution_count and not any(out.output_type == "error" for out in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.strip()
    )


def execute() -> None:
    """Run every notebook whose stored outputs are not those of the present sources."""
    found = fingerprints(ROOT, notebooks())
    stale = []
    for path, fingerprint in found.items():
        stored = EXECUTED / path
        if not stored.exists() or _stored_key(stored) != fingerprint:
            stored.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, stored)
            stale.append(stored)
    for orphan in set(EXECUTED.rglob("*.ipynb")) - {EXECUTED / path for path in found}:
        orphan.unlink()
    print(f"notebooks: {len(found) - len(stale)} up to date, {len(stale)} to execute", flush=True)
    if not stale:
        return
    command = [sys.executable, "-m", "pytest", "--nbmake", "--overwrite", "--nbmake-timeout=1200"]
    command += ["-q", "-p", "no:cacheprovider", "-W", "default", f"--rootdir={EXECUTED}"]
    command += ["-n", "2" if len(stale) > 1 else "0", "--dist=worksteal", *map(str, stale)]
    env = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run(command, cwd=EXECUTED, env=os.environ | env, check=False)
    for path in stale:
        notebook = nbformat.read(path, as_version=4)
        if complete(notebook):
            notebook.metadata["actnorm"] = {"key": found[path.relative_to(EXECUTED)]}
            nbformat.write(notebook, path)
    if done.returncode:
        sys.exit(done.returncode)


def _stored_key(path: Path) -> str | None:
    return json.loads(path.read_text(encoding="utf-8"))["metadata"].get("actnorm", {}).get("key")


def _write(path: Path, content: bytes) -> None:
    """Write a file only where it differs, so that Sphinx rebuilds only what changed."""
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def stage() -> None:
    """Lay out the book's sources with executed notebooks in the place of the bare ones."""
    files = {path: ROOT / path for path in map(Path, ("_toc.yml", "references.bib"))}
    for pattern in ("*.md", "_static/*", "_ext/*.py", "chapters/**/*.md", "benchmarks/**/*.json"):
        files |= {path.relative_to(ROOT): path for path in ROOT.glob(pattern)}
    files |= {path: EXECUTED / path for path in notebooks()}
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["execute"]["execute_notebooks"] = "off"
    if config["repository"]["url"]:
        config["launch_buttons"]["colab_url"] = "https://colab.research.google.com"
    _write(SOURCE / "_config.yml", yaml.safe_dump(config, allow_unicode=True).encode())
    for path, origin in files.items():
        _write(SOURCE / path, origin.read_bytes())
    for path in SOURCE.rglob("*"):
        if path.is_file() and path.relative_to(SOURCE) not in {*files, Path("_config.yml")}:
            path.unlink()


def pages() -> set[str]:
    """Return the pages that the table of contents names."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))

    def files(node: object) -> set[str]:
        if isinstance(node, dict):
            own = {node[name] for name in ("file", "root") if name in node}
            return own.union(*map(files, node.values()))
        return set().union(*map(files, node)) if isinstance(node, list) else set()

    return files(toc)


def site() -> None:
    """Build the HTML, warnings being errors, and check that every page is there."""
    if not version("jupyter-book").startswith("1."):
        sys.exit(
            f"This book is built by Jupyter Book 1.x; {version('jupyter-book')} is installed."
            " `make clean` and `make book` install the right one."
        )
    stage()
    digest = _digest([SOURCE, ROOT / "actnorm"])
    if not (BUILT.exists() and BUILT.read_text() == digest and pages() <= _html()):
        BUILT.unlink(missing_ok=True)
        _sphinx()
        BUILT.write_text(digest)
    print(f"The book is built. Open {HTML / 'index.html'}")


def _digest(folders: list[Path]) -> str:
    """Return a fingerprint of all files in some folders."""
    digest = hashlib.sha256((ROOT / "constraints.txt").read_bytes())
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _html() -> set[str]:
    """Return the pages that are built."""
    built = {path.relative_to(HTML).with_suffix("").as_posix() for path in HTML.rglob("*.html")}
    return {path for path in built if not path.startswith("_")}


def _sphinx() -> None:
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(SOURCE)]
    # All pages: where no page has changed, a new style sheet would not be copied.
    command += ["--path-output", str(ROOT), "--all", "-W", "--keep-going", "-q"]
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    extra = _html() - pages() - {"index", "genindex", "search", "404"}
    if extra or pages() - _html():
        sys.exit(f"pages and _toc.yml differ: {sorted(extra)} {sorted(pages() - _html())}")


def repository(url: str, branch: str = "main") -> None:
    """Write the repository's address into the configuration and every notebook's set-up cell."""
    if not re.fullmatch(r"https://[^\s/]+/[^\s/]+/[^\s/]+?", url.removesuffix(".git")):
        sys.exit(f"URL must look like https://host/owner/name, not {url!r}")
    url = url.removesuffix(".git")
    config = ROOT / "_config.yml"
    text = re.sub(r"(?m)^  url: .*$", f'  url: "{url}"', config.read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^  branch: .*$", f"  branch: {branch}", text)
    config.write_text(text, encoding="utf-8")
    for path in notebooks():
        text = (ROOT / path).read_text(encoding="utf-8")
        text = re.sub(r'REPOSITORY = \\"[^"]*\\"', f'REPOSITORY = \\\\"{url}@{branch}\\\\"', text)
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["notebooks"]:
            execute()
        case ["site"]:
            site()
        case ["repository", url, *branch]:
            repository(url, *branch)
        case _:
            sys.exit(__doc__)
