"""Tests of which packages and libraries each package may import."""

import ast
from pathlib import Path

import pytest

from common.cli import PACKAGES
from tests.conftest import ROOT

WINGS = {"recognition", "artist_groups"}
WITHOUT_KERAS = ("common", "data_prep", "evaluation", "recognition", "papers", "report")
WITHOUT_ARGPARSE = ("data_prep", "models", "training", "evaluation", *WINGS)


def modules_of(package: str) -> list[Path]:
    """Return a package's modules, excluding numbered scripts, which run from the root folder."""
    return [path for path in sorted((ROOT / package).rglob("*.py")) if not path.name[0].isdigit()]


def imported_packages(path: Path) -> set[str]:
    """Return the top-level packages that a module imports, including inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_package_imports_only_earlier_packages(package):
    assert modules_of(package)
    allowed = {*PACKAGES[: PACKAGES.index(package) + 1]} - (
        WINGS - {package} if package in WINGS else set()
    )
    for path in modules_of(package):
        assert imported_packages(path) & {*PACKAGES, "bench", "tests"} <= allowed, path


@pytest.mark.parametrize(
    ("libraries", "packages"),
    [({"keras", "tensorflow"}, WITHOUT_KERAS), ({"argparse"}, WITHOUT_ARGPARSE)],
)
def test_package_does_not_import_excluded_libraries(libraries, packages):
    for path in (path for package in packages for path in modules_of(package)):
        assert not imported_packages(path) & libraries, path
