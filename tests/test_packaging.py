"""Tests of the packaging: dependency ranges, installed packages, and missing dependencies."""

import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, SETUPTOOLS = PYPROJECT["project"], PYPROJECT["tool"]["setuptools"]
FILES = {
    "requirements.txt": PROJECT["dependencies"],
    **{
        f"requirements-{name}.txt": ranges
        for name, ranges in PROJECT["optional-dependencies"].items()
    },
}


@pytest.mark.parametrize("file", FILES)
def test_dependency_ranges_include_the_pinned_versions(file):
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pins = {(pin := Requirement(line)).name: pin for line in lines if not line.startswith("#")}
    ranges = {(one := Requirement(text)).name: one for text in FILES[file]}
    assert pins.keys() == ranges.keys()
    for name, pin in pins.items():
        [version] = [one.version for one in pin.specifier]
        assert ranges[name].specifier.contains(version, prereleases=True), name


def test_light_requirements_are_among_the_pinned_ones():
    light, pinned = (
        {line.partition("==")[0] for line in (ROOT / name).read_text().splitlines()}
        for name in ("requirements-onnx.txt", "requirements.txt")
    )
    assert {name for name in light if name[0] not in "#-"} < pinned


def test_all_packages_are_installed():
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("*/**/__init__.py")}
    packages = {".".join(folder.parts) for folder in folders if folder.parts[0][0] != "."}
    assert set(SETUPTOOLS["packages"]) == {
        name for name in packages if name.split(".")[0] != "tests"
    }


def test_scripts_without_dependencies_name_the_install_command():
    """Run every script with the standard library alone."""
    scripts = [*ROOT.glob("*.py"), *(ROOT / "data_prep").glob("[0-9]*.py")]
    for script in set(scripts) - {ROOT / "artist_labels.py"}:  # which is a module
        done = subprocess.run(
            [sys.executable, "-S", script, "--help"], capture_output=True, text=True, cwd=ROOT
        )
        assert (done.returncode, done.stdout, done.stderr) == (
            1,
            "",
            "error: the dependencies are missing; run `make install`, then use .venv/bin/python\n",
        ), script
