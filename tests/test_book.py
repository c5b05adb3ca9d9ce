"""The book as a whole: what is said in two places agrees, and a reader's notebook is clean."""

import ast
import importlib.metadata
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import book
import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import actnorm
from actnorm import environment, evidence, pages

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(ROOT.glob("chapters/*/*.ipynb"))
PAGES = [path.relative_to(ROOT / "chapters").with_suffix("").as_posix() for path in NOTEBOOKS]

# What pages may train live: one of them, and all on average. The seven of zero-centering, which
# train 12,000 on average, take two and a half minutes of one core, imports and figures included.
REPLICA_STEPS, ON_AVERAGE = 60_000, 20_000


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(params=PAGES)
def notebook(request):
    return read(ROOT / "chapters" / f"{request.param}.ipynb")


@pytest.fixture(params=PAGES)
def executed(request):
    path = book.EXECUTED / "chapters" / f"{request.param}.ipynb"
    if not path.exists():
        pytest.fail("no executed notebooks: run `make notebooks`, or `make test`")
    return request.param, read(path)


# One place for each fact


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def lock():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {}
    for requirement in map(Requirement, lines):
        (pin,) = requirement.specifier
        pins.setdefault(requirement.name, []).append(pin.version)
    return pins


def test_lock_satisfies_every_requirement():
    extras = project()["optional-dependencies"]
    for text in [*project()["dependencies"], *extras["book"], *extras["test"]]:
        requirement = Requirement(text)
        assert requirement.name in lock(), f"{text} is not in constraints.txt: make lock"
        for pinned in lock()[requirement.name]:
            assert requirement.specifier.contains(pinned), (text, pinned)


def test_package_caps_nothing_that_a_reader_has():
    for text in project()["dependencies"]:
        assert {s.operator for s in Requirement(text).specifier} == {">="}, text


def test_torch_is_pinned_in_the_lock_alone():
    assert lock()["torch"] == [re.search(r"torch==([\d.]+)", (ROOT / "Makefile").read_text())[1]]


def test_environment_yml_repeats_nothing():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, _, pip = environment["dependencies"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[book,test]"]}
    version = Version(python.partition("=")[2])
    assert Version("3.11") <= version <= Version("3.13")
    assert Requirement(f"python{project()['requires-python']}").specifier.contains(version)


def test_no_installed_dependency_requires_torchvision():
    todo, seen = ["actnorm"], set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, requires):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in ("", "book", "test")):
                todo.append(requirement.name)
    assert "torch" in seen
    assert "torchvision" not in seen


def test_table_of_contents_names_every_page():
    assert {f"chapters/{page}" for page in PAGES} <= book.pages()
    for page in book.pages():
        assert any((ROOT / page).with_suffix(suffix).exists() for suffix in (".md", ".ipynb"))


def test_set_up_cell_and_address_are_the_same_everywhere():
    cells = {code_cells(read(path))[0].source for path in NOTEBOOKS}
    assert len(cells) == 1
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    address = config["url"] and f"{config['url']}@{config['branch']}"
    assert f'REPOSITORY = "{address}"' in cells.pop()


def test_every_judged_part_is_on_a_page_of_the_book():
    registered = {
        part.page
        for claim in evidence.registry().values()
        for part in claim.parts
        if part.registered
    }
    assert registered <= set(PAGES)
    assert set(evidence.records()) == registered


@pytest.mark.parametrize("command", ["check", "format --check"])
def test_code_is_clean_and_formatted(command):
    places = [ROOT / name for name in ("actnorm", "benchmarks", "chapters", "tests", "_ext")]
    ruff = [sys.executable, "-m", "ruff", *command.split(), "--quiet", *places]
    done = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout


# What readers call on their own networks, whoever calls it here; and the command.
WANTED = {
    *actnorm.__all__,
    *actnorm.data.__all__,  # what a page reads from a file or draws is no part of the page
    *("chi", "correlation_map", "critical_gain", "critical_init", "mean_slope", "slope_energy"),
    *("noise_scale", "per_sample", "relative_noise", "sign_coherence", "classification", "main"),
}


def names(tree):
    """Count what code reads: names, attributes and imports, not definitions."""
    return Counter(
        getattr(node, "id", None) or getattr(node, "attr", None) or node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute | ast.alias)
    )


def test_what_one_notebook_calls_lives_in_it():
    files = {path: path.read_text(encoding="utf-8") for path in ROOT.glob("actnorm/**/*.py")}
    public = {
        node.name
        for source in files.values()
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    inside = Counter()
    for path in [*files, *ROOT.glob("_ext/*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name == "__init__.py":  # to hand a name on is not to use it
            tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        inside += names(tree)
    pages = Counter()
    for path in NOTEBOOKS:
        sources = (re.sub(r"(?m)^\s*%.*", "pass", c.source) for c in code_cells(read(path)))
        pages.update(set().union(*(names(ast.parse(source)) for source in sources)))
    lonely = {name for name in public if not inside[name] and pages[name] < 2}
    assert lonely - WANTED == set()


# A reader's notebook


def test_notebooks_carry_no_outputs(notebook):
    for cell in code_cells(notebook):
        assert not cell.outputs
        assert cell.execution_count is None


def test_code_cells_are_small(notebook):
    lengths = sorted(
        sum(bool(line.strip()) for line in cell.source.splitlines())
        for cell in code_cells(notebook)
    )
    assert lengths[len(lengths) // 2] <= 6
    assert lengths[int(0.9 * (len(lengths) - 1))] <= 15
    assert lengths[-1] <= 30


def test_a_docstring_holds_no_loose_quotes(notebook):
    sources = [cell.source for cell in code_cells(notebook)]
    code = "\n".join(source for source in sources if "%pip" not in source)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            assert '"\n' not in (ast.get_docstring(node) or ""), node.name


def test_markdown_needs_no_sphinx(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\{\w+\}`|^```\{|^:::", cell.source, re.MULTILINE), cell.source


def test_citations_are_in_the_bibliography(notebook):
    bibliography = (ROOT / "references.bib").read_text(encoding="utf-8").lower()
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(https://(?:doi\.org|arxiv\.org/abs)/([^)]+)\)", text)
    assert links
    for link in links:
        assert link.lower() in bibliography, link


# What the notebooks leave when they run


def test_every_figure_has_words(executed):
    _, notebook = executed
    for cell in code_cells(notebook):
        if any("image/svg+xml" in output.get("data", {}) for output in cell.outputs):
            assert len(cell.metadata["mystnb"]["image"]["alt"]) > 40, cell.source
    assert not any(
        "image/png" in output.get("data", {})
        for cell in code_cells(notebook)
        for output in cell.outputs
    )


def test_a_figure_prints_nothing_of_its_own(executed):
    _, notebook = executed
    for cell in code_cells(notebook):
        if any("image/svg+xml" in output.get("data", {}) for output in cell.outputs):
            printed = [o for o in cell.outputs if list(o.get("data", {})) == ["text/plain"]]
            assert not printed, cell.source


def test_exercises_say_not_yet_and_then_yes(executed):
    _, notebook = executed
    answers = [
        (output.data["text/plain"].strip("'\""), "hide-cell" in cell.metadata.get("tags", []))
        for cell in code_cells(notebook)
        if "an.check(" in cell.source
        for output in cell.outputs
    ]
    assert len(answers) >= 4
    for answer, solution in answers:
        assert answer.startswith("Yes, because" if solution else "Not yet")


def test_live_evidence_agrees_with_the_record(executed):
    page, notebook = executed
    judged = list(pages.judged(notebook))
    registered = {
        (claim.id, part.name)
        for claim in evidence.registry().values()
        for part in claim.parts
        if part.page == page and part.registered
    }
    assert {(claim.id, part.name) for claim, part, _ in judged} == registered
    for claim, part, entry in judged:
        found = evidence.compare(
            part,
            evidence.effect_from(entry),
            claim.recorded(part.name),
            same=not environment.foreign(),
            moves=claim.moves(part.name),
            comparisons=len(judged),
        )
        assert not found.contradicts, f"{part.name}: {found.words}"


def spent(notebook):
    """Replica-steps that a page has trained when it judges for the last time."""
    return max(piece["replica_steps"] for piece in pages.outputs(notebook, evidence.MIME))


def test_live_run_stays_within_its_budget(executed):
    _, notebook = executed
    assert spent(notebook) <= REPLICA_STEPS


def test_all_pages_together_stay_within_their_budget():
    notebooks = [read(book.EXECUTED / "chapters" / f"{page}.ipynb") for page in PAGES]
    assert sum(map(spent, notebooks)) <= ON_AVERAGE * len(notebooks)


# The build


@pytest.fixture
def tiny(tmp_path):
    """A book of one page that runs in a second."""
    for name in ("_ext", "actnorm"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("constraints.txt", "_config.yml", "_toc.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    page = tmp_path / "chapters" / "tiny" / "page.ipynb"
    page.parent.mkdir(parents=True)

    def write(source):
        cell = nbformat.v4.new_code_cell(source)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), page)

    write("1 + 1")
    return tmp_path, write


def run_notebooks(root):
    command = [sys.executable, root / "_ext" / "book.py", "notebooks"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_notebooks_run_again_only_where_something_changed(tiny):
    root, write = tiny
    assert "1 to execute" in run_notebooks(root).stdout
    assert "0 to execute" in run_notebooks(root).stdout
    write("2 + 2")
    assert "1 to execute" in run_notebooks(root).stdout
    stored = json.loads((root / ".executed/chapters/tiny/page.ipynb").read_text())
    assert "4" in json.dumps(stored["cells"][0]["outputs"])


def test_a_raising_cell_fails_and_is_not_kept(tiny):
    root, write = tiny
    write("raise RuntimeError('no')")
    for _ in range(2):
        done = run_notebooks(root)
        assert done.returncode != 0
        assert "1 to execute" in done.stdout


def test_site_is_built_again_only_where_something_changed(tiny, monkeypatch):
    root, _ = tiny
    spec = importlib.util.spec_from_file_location("book_there", root / "_ext" / "book.py")
    there = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(there)
    shutil.copytree(root / "chapters", root / ".executed" / "chapters")
    write, builds = (root / "words.md").write_text, []
    (root / "_toc.yml").write_text("{root: words, chapters: [{file: chapters/tiny/page}]}")
    (root / "references.bib").write_text("")

    def sphinx(command, check):
        builds.append(command)
        for page in there.pages():
            (there.HTML / page).parent.mkdir(parents=True, exist_ok=True)
            (there.HTML / f"{page}.html").write_text("")
        return subprocess.CompletedProcess(command, returncode=0 if len(builds) != 4 else 1)

    monkeypatch.setattr(there.subprocess, "run", sphinx)

    def builds_of_two():
        before = len(builds)
        there.site()
        there.site()
        return len(builds) - before

    assert [builds_of_two() for text in ("a", "b", "b") if write(text)] == [1, 1, 0]
    (there.HTML / "words.html").unlink()
    assert builds_of_two() == 1
    write("c")
    with pytest.raises(SystemExit):
        there.site()
    assert builds_of_two() == 1
    next((root / "actnorm").rglob("two-streams.json")).write_text("{}")
    assert builds_of_two() == 1


def test_jupyter_book_2_is_refused(monkeypatch):
    monkeypatch.setattr(book, "version", lambda name: "2.0.1")
    with pytest.raises(SystemExit, match=r"built by Jupyter Book 1\.x; 2\.0\.1 is installed"):
        book.site()


@pytest.mark.parametrize("version", ["(3, 10)", "(3, 14)"])
def test_other_pythons_are_refused_with_a_sentence(tmp_path, version):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    stub = tmp_path / "python"
    stub.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = {version};'
        ' exec(sys.argv[1])" "$2"\n'
    )
    stub.chmod(0o755)
    command = ["make", "-C", tmp_path, "book", f"PYTHON={stub}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_repository_writes_the_address_everywhere(tiny):
    root, _ = tiny
    shutil.copy(NOTEBOOKS[0], root / "chapters" / "tiny" / "page.ipynb")
    command = [sys.executable, root / "_ext" / "book.py", "repository"]
    subprocess.run([*command, "https://example.org/someone/actnorm.git"], check=True)
    config = yaml.safe_load((root / "_config.yml").read_text())
    assert config["repository"]["url"] == "https://example.org/someone/actnorm"
    first = code_cells(read(root / "chapters/tiny/page.ipynb"))[0].source
    assert 'REPOSITORY = "https://example.org/someone/actnorm@main"' in first
    bad = subprocess.run([*command, "nonsense"], capture_output=True, text=True, check=False)
    assert bad.returncode != 0
    assert "URL must look like" in bad.stderr
