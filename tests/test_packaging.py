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
    lines = [line for line in lines if not line.startswith(("#", "-"))]
    # Those without a version are pinned in requirements.txt.
    pins = {pin.name: pin for pin in map(Requirement, lines) if pin.specifier}
    ranges = {(one := Requirement(text)).name: one for text in FILES[file]}
    assert pins.keys() == ranges.keys()
    for name, pin in pins.items():
        [version] = [one.version for one in pin.specifier]
        assert ranges[name].specifier.contains(version, prereleases=True), name
    pinned_elsewhere = {Requirement(line).name for line in lines} - pins.keys()
    assert pinned_elsewhere <= {Requirement(text).name for text in PROJECT["dependencies"]}
