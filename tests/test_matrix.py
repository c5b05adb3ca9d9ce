"""Every place that names the supported Pythons names the same ones, and the lock serves them."""

import re
from pathlib import Path

import matrix
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = ["3.11", "3.12", "3.13"]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_one_set_of_pythons():
    requires = SpecifierSet(matrix.PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}.1" in requires] == SUPPORTED
    first, second, last = SUPPORTED
    assert f"Python {first}, {second} or {last}" in read("README.md")
    assert f"Python {first} to {last}" in read("Makefile")
    assert f"needs Python {first}, {second} or {last}" in read("Makefile")
    assert "(3, 11) <= v <= (3, 13)" in read("Makefile")
    jobs = yaml.safe_load(read(".github/workflows/test.yml"))["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == SUPPORTED
    named = re.findall(r'python(?:-version: "|=)(3\.\d+)', read(".github/workflows/publish.yml"))
    named += re.findall(r"python=(3\.\d+)", read("environment.yml"))
    assert len(named) == 2
    assert set(named) <= set(SUPPORTED)
    assert set(matrix.pythons()) <= set(SUPPORTED)


@pytest.mark.parametrize("version", SUPPORTED)
def test_the_lock_pins_each_package_once_for_each_python(version):
    extras = matrix.PROJECT["optional-dependencies"]
    wanted = [*matrix.PROJECT["dependencies"], *extras["book"], *extras["test"]]
    there = {"python_version": version, "python_full_version": f"{version}.1"}
    pins = {}
    for requirement in map(Requirement, read("constraints.txt").splitlines()):
        if requirement.marker is None or requirement.marker.evaluate(there):
            pins.setdefault(requirement.name, []).append(str(requirement.specifier))
    assert {len(each) for each in pins.values()} == {1}
    assert {Requirement(text).name for text in wanted} <= pins.keys()


def test_the_lowest_versions_are_the_lower_bounds():
    assert "torch==2.6" in matrix.lowest()
    assert len(matrix.lowest()) == len(matrix.PROJECT["dependencies"])
    assert all("==" in text and ">" not in text for text in matrix.lowest())


def test_the_ends_run_all_tests_but_those_of_the_site():
    tools = {path.stem for path in (ROOT / "_ext").glob("*.py")} - {"matrix", "keys", "reach"}
    imports = re.compile(rf"(?m)^(?:import|from) ({'|'.join(tools)})\b")
    paths = (ROOT / "tests").glob("test_*.py")
    found = {path.stem for path in paths if imports.search(path.read_text(encoding="utf-8"))}
    assert set(matrix.SITE) == found | {"test_colab"}
