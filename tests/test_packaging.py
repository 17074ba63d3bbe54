"""Tests that the published dependency ranges include the pinned versions used for testing."""

import tomllib

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
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
