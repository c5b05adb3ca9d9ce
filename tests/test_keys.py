"""A page runs again for what it depends on, and for nothing else."""

import inspect
import json
import re
import shutil
import sys
from pathlib import Path

import keys
import nbformat
import pytest
import reach

import actnorm

ROOT = Path(__file__).resolve().parent.parent
PAGE, OTHER = "here/page", "there/other"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_page(root, page, *cells):
    cells = [nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(cells)]
    path = root / "chapters" / f"{page}.ipynb"
    write(path, nbformat.writes(nbformat.v4.new_notebook(cells=cells)))


def fingerprint(root, page=PAGE):
    path = Path("chapters", f"{page}.ipynb")
    return keys.fingerprints(root, [path])[path]


CLAIMS = """
[[claim]]
id = "1"
[[claim.part]]
name = "a"
page = "here/page"
[[claim.part]]
name = "b"
page = "here/second"
"""
THERE = CLAIMS.replace('"1"', '"2"').replace("here", "there")
PACKAGE = {
    "__init__.py": "from actnorm import low, tools\nfrom actnorm.folder import go, rest\n"
    "from actnorm.exercises import check\nfrom actnorm.claims import claim, ledger, page\n",
    "low.py": "import torch\n\ndef base():\n    return 1\n",
    "tools.py": "from actnorm import low\n\ndef tool():\n    return low.base()\n",
    "lonely.py": "def alone():\n    return 1\n",
    "folder/__init__.py": "from .going import go\nfrom actnorm.folder.resting import rest\n",
    "folder/going.py": "from . import deep\n\ndef go():\n    return deep.depth\n",
    "folder/deep.py": "def depth():\n    from ..low import base\n    return base\n",
    "folder/resting.py": "from actnorm.tools import tool\n\ndef rest():\n    return tool()\n",
    "claims.py": "from pathlib import Path\n\nHERE = Path(__file__).parent\n"
    "def claim(name):\n    return HERE.glob('registry/*.toml')\n\ndef ledger():\n    return 1\n"
    "\ndef page(name):\n    return 1\n",
    "exercises/__init__.py": "from actnorm.exercises import first, second\n\n"
    "ALL = first.ALL | second.ALL\n\ndef check(name, answer):\n    return ALL[name]\n",
    "exercises/first.py": "ALL = {'one': 1}\n",
    "exercises/second.py": "from actnorm import lonely\n\nALL = {'two': lonely.alone}\n",
    "registry/here.toml": CLAIMS,
    "registry/there.toml": THERE,
    "records/here/page.json": "{}",
    "records/here/second.json": "{}",
    "records/there/page.json": "{}",
    "records/there/second.json": "{}",
}
CODE = {name for name in PACKAGE if name.endswith(".py")}
GOING = {"folder/going.py", "folder/deep.py", "low.py"}
FOLDER = {"folder/__init__.py", "folder/resting.py", "tools.py"} | GOING
EXERCISES = {f"exercises/{name}.py" for name in ("__init__", "first", "second")} | {"lonely.py"}
OWN = {"registry/here.toml", "records/here/page.json", "records/here/second.json"}
OTHER = {"registry/there.toml", "records/there/page.json", "records/there/second.json"}


@pytest.fixture
def small(tmp_path):
    """A package whose every path is drawn by hand."""
    for name, text in PACKAGE.items():
        write(tmp_path / "actnorm" / name, text)
    write(tmp_path / "constraints.txt", "torch==2\n")
    return tmp_path


def felt(root):
    """Return the files of the package whose change the page feels."""
    before, found = fingerprint(root), set()
    for path in sorted((root / "actnorm").rglob("*.*")):
        text = path.read_text(encoding="utf-8")
        end = '\nnew = "x"\n' if path.suffix == ".toml" else " "
        write(path, text + end)
        if fingerprint(root) != before:
            found.add(path.relative_to(root / "actnorm").as_posix())
        write(path, text)
    assert fingerprint(root) == before
    return found


AN = "import actnorm as an"


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1 + 1"], set()),
        ([AN, "an.low.base()"], {"low.py"}),
        ([AN, "f'{an.tools.tool():.2f}'"], {"tools.py", "low.py"}),
        ([AN, "an.go()"], GOING),
        ([AN, "an.folder.go()"], GOING),
        ([AN, "import sys", "'torch' in sys.modules", "an.go()"], GOING),
        (["import actnorm", "actnorm.go()"], GOING),
        (["import actnorm.folder", "actnorm.folder.go()"], GOING),
        (["import actnorm.folder as f", "f.go()"], GOING),
        (["import actnorm.folder.going as f", "f.go()"], GOING),
        (["import actnorm.tools as tools", "tools.tool()"], {"tools.py", "low.py"}),
        (["from actnorm import go as run"], GOING),
        (["from actnorm.folder.going import go"], GOING),
        ([f"{AN}\n%pip install actnorm", "model.eval()", "an.go()"], GOING),
        (["from actnorm.folder import *", "go()"], FOLDER),
        (["from actnorm import folder", "getattr(folder, name)"], FOLDER),
        ([AN, "an.folder.unheard_of"], FOLDER),
    ],
)
def test_a_page_feels_the_modules_that_it_names(small, cells, expected):
    write_page(small, PAGE, *cells)
    assert felt(small) == expected | OWN


@pytest.mark.parametrize(
    "cells",
    [
        [AN],
        [AN, "getattr(an, name)"],
        [AN, "an.unheard_of"],
        [AN, "x = an", "x.go()"],
        ["from actnorm import *", "go()"],
        ["import importlib", "importlib.import_module('act' + 'norm')"],
        ["from importlib import import_module as load", "load('act' + 'norm')"],
        ["import sys", "sys.modules['actnorm']"],
        ["eval('__imp' + 'ort__')('actnorm')"],
        [AN, "%timeit an.go()"],
        ["!actnorm ledger"],
        ["this is no Python"],
    ],
)
def test_a_page_that_picks_names_as_it_runs_feels_everything(small, cells):
    write_page(small, PAGE, *cells)
    assert felt(small) == set(PACKAGE)


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ("an.claim('1')", set()),
        ("an.claim(1)", set()),
        ("an.claim('2')", OTHER),
        ("an.claim(2)", OTHER),
        ("number = '2'; an.claim(number)", OTHER),
        ("[an.claim(number) for number in numbers]", OTHER),
        ("list(map(an.claim, numbers))", OTHER),
        ("an.ledger()", OTHER),
        ("an.claims.whatever()", set()),
    ],
)
def test_a_page_feels_its_claims_and_those_that_it_names(small, use, expected):
    write_page(small, PAGE, AN, use)
    assert felt(small) == expected | OWN | {"claims.py"}


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ("an.check('one', 1)", {"exercises/__init__.py", "exercises/first.py"}),
        ("an.check('two', 1)", EXERCISES - {"exercises/first.py"}),
        ("an.check('one', 1), an.check('two', 1)", EXERCISES),
        ("[an.check(name, 1) for name in names]", EXERCISES),
        ("an.check('named-in-no-file', 1)", EXERCISES),
        ("an.exercises.check('one', 1)", EXERCISES),
    ],
)
def test_a_page_feels_the_files_of_its_exercises(small, use, expected):
    write_page(small, PAGE, AN, use)
    assert felt(small) == expected | OWN


FAR = "there/other"
FRONT = '\n[[page]]\nname = "{}"\nclaim = "1"\nshort = "{}"\n'


@pytest.mark.parametrize(
    ("use", "felt"),
    [
        ("an.claim('1')", {PAGE}),
        (f"an.page('{PAGE}')", {PAGE}),
        (f"an.page('{FAR}')", {PAGE, FAR}),
        ("an.page(name)", {PAGE, FAR}),
    ],
)
def test_a_page_feels_its_own_front_and_those_that_it_names(small, use, felt):
    there = small / "actnorm" / "registry" / "there.toml"

    def say(here="yes", other="no"):
        write(there, THERE + FRONT.format(PAGE, here) + FRONT.format(FAR, other))
        return fingerprint(small)

    write_page(small, PAGE, "import actnorm as an", use)
    before = say()
    assert (say(here="new") != before) == (PAGE in felt)
    assert (say(other="new") != before) == (FAR in felt)


def test_two_ways_to_import_are_both_followed(small):
    cell = "try:\n    from actnorm.low import base\nexcept ImportError:\n    "
    write_page(small, PAGE, cell + "from actnorm.lonely import alone as base", "base()")
    assert felt(small) == {"low.py", "lonely.py"} | OWN


def test_a_function_may_be_called_as_its_module(small):
    write(small / "actnorm" / "go.py", "def go():\n    return 1\n")
    root = small / "actnorm" / "__init__.py"
    write(
        root,
        root.read_text().replace(
            "from actnorm.folder import go,",
            "from actnorm.go import go\nfrom actnorm.folder import",
        ),
    )
    write_page(small, PAGE, AN, "an.go()")
    assert felt(small) == {"go.py"} | OWN


def test_a_name_that_leads_elsewhere_is_felt_and_a_new_one_is_not(small):
    write_page(small, PAGE, AN, "an.go()")
    root = small / "actnorm" / "__init__.py"
    text, before = root.read_text(), fingerprint(small)
    write(root, text + "from actnorm.lonely import alone\n")
    assert fingerprint(small) == before
    write(root, text.replace("import go, rest", "import rest as go, rest"))
    assert fingerprint(small) != before


def test_another_name_from_the_same_module_is_felt(small):
    write_page(small, PAGE, AN, "an.low.go()")
    write(small / "actnorm" / "low.py", "from actnorm.tools import one as go\n")
    write(small / "actnorm" / "tools.py", "def one():\n    pass\n\ndef two():\n    pass\n")
    assert felt(small) == {"tools.py"} | OWN
    before = fingerprint(small)
    write(small / "actnorm" / "low.py", "from actnorm.tools import two as go\n")
    assert fingerprint(small) != before


@pytest.mark.parametrize(
    "line",
    [
        "tools.register(alone)",
        "tools.LIMIT = 3",
        "tools.TABLE['x'], y = 3, 4",
        "del tools.TABLE['x']",
        "TABLE |= {'x': 3}",
        "for x in range(3):\n    TABLE[x] = 3",
        "@tools.register\ndef more():\n    pass",
        "more = tools.register('more')",
        "class More:\n    x = [tools.register('more')]",
        "def more(x=tools.register('more')):\n    pass",
    ],
)
def test_who_uses_a_module_feels_those_that_change_it(small, line):
    text = f"from actnorm import tools\nfrom actnorm.tools import TABLE\n\n{line}\n"
    write(small / "actnorm" / "lonely.py", text)
    write_page(small, PAGE, AN, "an.tools.tool()")
    assert felt(small) == {"low.py", "tools.py", "lonely.py"} | OWN
    write_page(small, PAGE, AN, "an.low.base()")
    assert felt(small) == {"low.py"} | OWN


@pytest.mark.parametrize(
    "line", ["print()", "torch.x = 3", "torch.x['x'] += 3", "if True:\n    register('x')"]
)
def test_everyone_feels_a_module_that_acts(small, line):
    text = f"import torch\n\ndef register(name):\n    pass\n\n{line}\n"
    write(small / "actnorm" / "lonely.py", text)
    write_page(small, PAGE, AN, "an.low.base()")
    assert felt(small) == {"low.py", "lonely.py"} | OWN


@pytest.mark.parametrize(
    "line", ["X = Y = print()", "X: list = [1]", "X = [1]\nX[0] = 2", "'words'", "x.y = 3"]
)
def test_a_module_that_only_defines_is_felt_by_its_users_alone(small, line):
    text = f"from functools import cache\n\n@cache\ndef x():\n    print()\n\n{line}\n"
    write(small / "actnorm" / "lonely.py", text)
    write_page(small, PAGE, AN, "an.low.base()")
    assert felt(small) == {"low.py"} | OWN


@pytest.mark.parametrize(
    ("reader", "expected"),
    [
        ("open('numbers.csv')", set()),
        ("open(f'{name}.csv')", set()),
        ("glob('data/*.csv')", set()),
        ("path.with_suffix('.csv')", set()),
        ("open(name)", {"data/numbers.csv"}),
    ],
)
def test_data_is_felt_by_those_that_may_read_it(small, reader, expected):
    write(small / "actnorm" / "data" / "numbers.csv", "1,2")
    write(small / "actnorm" / "lonely.py", f"def alone(name):\n    return {reader}\n")
    write_page(small, PAGE, AN, "an.low.base()")
    assert felt(small) == {"low.py"} | OWN | expected
    write_page(small, PAGE, "from actnorm.lonely import alone")
    assert felt(small) == {"lonely.py", "data/numbers.csv"} | OWN
    write_page(small, PAGE, AN, "an.low.base('numbers.csv')")
    assert felt(small) == {"low.py", "data/numbers.csv"} | OWN


def test_a_page_feels_its_notebook_and_the_ground_under_all(small, monkeypatch):
    write_page(small, PAGE, "'a'")
    seen = [fingerprint(small)]
    write_page(small, PAGE, "'b'")
    seen.append(fingerprint(small))
    write(small / "constraints.txt", "torch==3\n")
    seen.append(fingerprint(small))
    write(small / "actnorm" / "registry" / "there.toml", f"margin = 2\n{THERE}")
    seen.append(fingerprint(small))
    monkeypatch.setenv("ACTNORM_SEED", "1001")
    seen.append(fingerprint(small))
    monkeypatch.setattr(keys, "version", lambda name: "3.0")
    seen.append(fingerprint(small))
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    seen.append(fingerprint(small))
    assert len(set(seen)) == len(seen)


def test_pages_that_use_the_same_have_keys_of_their_own(small):
    write_page(small, PAGE, "1 + 1")
    write_page(small, "here/second", "1 + 1")
    write_page(small, "there/page", "1 + 1")
    write(small / "README.md", "nothing")
    assert fingerprint(small, "here/second") != fingerprint(small, "there/page")


def test_a_first_record_is_felt_where_its_claim_stands(small):
    write_page(small, PAGE, "1 + 1")
    for path in ("there/second", "here/second"):
        (small / "actnorm" / "records" / f"{path}.json").unlink()
    before = fingerprint(small)
    write(small / "actnorm" / "records" / "there" / "second.json", "{}")
    assert fingerprint(small) == before
    write(small / "actnorm" / "records" / "here" / "second.json", "{}")
    assert fingerprint(small) != before


# The package as it is


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A copy of the package and the chapters, and the pages' fingerprints."""
    root = tmp_path_factory.mktemp("whole")
    for name in ("actnorm", "chapters"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "constraints.txt", root)
    pages = sorted(path.relative_to(root) for path in root.glob("chapters/*/*.ipynb"))
    return root, keys.fingerprints(root, pages)


def pages_felt(whole, file, old="\n", new="\n\n"):
    """Return the pages that feel a change in a file."""
    root, before = whole
    path = root / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    write(path, text.replace(old, new, 1))
    after = keys.fingerprints(root, before)
    write(path, text)
    return {page.stem for page in before if before[page] != after[page]}


def naming(text):
    paths = ROOT.glob("chapters/*/*.ipynb")
    return {path.stem for path in paths if text in path.read_text(encoding="utf-8")}


def asking(module):
    """Pages whose chapter's exercises are checked with a module of the package."""
    for room in ROOT.glob("actnorm/exercises/*.py"):
        words = re.search(r"^from actnorm import (.*)$", room.read_text(encoding="utf-8"), re.M)
        if words and module in words[1].split(", "):
            yield from ROOT.glob(f"chapters/{room.stem.replace('_', '-')}/*.ipynb")


@pytest.mark.parametrize(
    ("thing", "names"),
    [
        (actnorm.gradients.sign_coherence, ["an.gradients"]),
        (actnorm.probe, ["an.probe"]),
        (actnorm.train, ["an.train", "an.tune"]),
        (actnorm.stream, ["an."]),
        (actnorm.recorded, ["an.recorded"]),
    ],
)
def test_a_page_of_the_book_feels_what_it_uses(whole, thing, names):
    file = Path(inspect.getfile(thing)).relative_to(ROOT)
    asked = {path.stem for name in names for path in asking(name.removeprefix("an."))}
    assert pages_felt(whole, file) == asked.union(*map(naming, names))


@pytest.mark.parametrize("page", ["sign-coherence", "two-streams"])
def test_a_record_runs_the_pages_of_its_claims_again(whole, page):
    file = f"actnorm/records/zero-centering/{page}.json"
    claims = json.loads((ROOT / file).read_text(encoding="utf-8"))["claims"]
    expected = {page}.union(*(naming(f'an.claim(\\"{name}\\"') for name in claims))
    assert pages_felt(whole, file) == expected


@pytest.mark.parametrize("problem_id", ["3174499", "3112706", "2395750"])
def test_a_claim_runs_its_pages_again(whole, problem_id):
    line = f'id = "{problem_id}"'
    (file,) = (f for f in (ROOT / "actnorm").rglob("*.toml") if line in f.read_text("utf-8"))
    found = pages_felt(whole, file.relative_to(ROOT), line, f"{line}\nnew = true")
    assert found == naming(f'an.claim(\\"{problem_id}\\"')


CALLS = [
    "an.check('fold-the-mean', 1)",
    "an.claim('3174499')._repr_html_()",
    "an.gaussian.moments('tanh')",
    "an.descent.offset_eigenvalues(0.5, 0.4, 8)",
    "an.figures.arms({'a': [1.0, 2.0]}, ax=an.figures.panels()[1])",
    "an.gradients.sign_coherence(torch.ones(3, 4, 2))",
    "an.train(lambda: nn.Linear(64, 10), an.data.digits(), steps=1, batch_size=8,"
    " optimizer=an.sgd(0.1), replicas=2)",
    "model = nn.Sequential(nn.ReLU())\nwith an.probe(model) as p: model(torch.ones(1, 2))",
]


@pytest.mark.parametrize("call", CALLS)
def test_what_a_page_calls_as_it_runs_was_in_its_key(call):
    """The interpreter tells which modules are called."""
    source = f"import torch, actnorm as an\nfrom torch import nn\n{call}"
    package, called = ROOT / "actnorm", set()

    def watch(frame, event, _):
        called.add(frame.f_code.co_filename)

    previous = sys.getprofile()
    sys.setprofile(watch)
    try:
        exec(compile(source, "<page>", "exec"), {})
    finally:
        sys.setprofile(previous)
    known, _ = reach.reached(reach.read(source, "actnorm"), reach.read_package(package))
    ran = {path for path in map(Path, called) if path.is_relative_to(package)}
    assert ran
    assert ran <= {Path(sys.modules[name].__file__) for name in known}
