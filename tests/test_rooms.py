"""Tests of which packages and libraries each package may import."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

# The packages, in layering order. A package may import only itself and the packages before it.
ROOMS = (
    "common",
    "data_prep",
    "models",
    "training",
    "evaluation",
    "recognition",
    "artist_groups",
    "papers",
    "report",
    "protocols",
)
WINGS = {"recognition", "artist_groups"}
WITHOUT_KERAS = ("common", "data_prep", "evaluation", "recognition", "papers", "report")
WITHOUT_ARGPARSE = ("data_prep", "models", "training", "evaluation", *WINGS)


def modules_of(room: str) -> list[Path]:
    """Return a package's modules, excluding numbered scripts, which run from the root folder."""
    return [path for path in sorted((ROOT / room).rglob("*.py")) if not path.name[0].isdigit()]


def imported_packages(path: Path) -> set[str]:
    """Return the top-level packages that a module imports, including inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_package_imports_only_earlier_packages(room):
    assert modules_of(room)
    allowed = {*ROOMS[: ROOMS.index(room) + 1]} - (WINGS - {room} if room in WINGS else set())
    for path in modules_of(room):
        assert imported_packages(path) & {*ROOMS, "bench", "tests"} <= allowed, path


@pytest.mark.parametrize(
    ("packages", "rooms"),
    [({"keras", "tensorflow"}, WITHOUT_KERAS), ({"argparse"}, WITHOUT_ARGPARSE)],
)
def test_package_does_not_import_excluded_libraries(packages, rooms):
    for path in (path for room in rooms for path in modules_of(room)):
        assert not imported_packages(path) & packages, path
