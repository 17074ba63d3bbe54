"""The house: a room imports only from rooms that stand before it in the data's way."""

import ast

import pytest

from tests.conftest import ROOT

ROOMS = ("common", "data_prep", "models", "evaluation", "papers", "report")


def imported(path) -> set[str]:
    """The rooms that a module names, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found & {*ROOMS, "bench", "tests"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_from_those_before_it(room):
    before = set(ROOMS[: ROOMS.index(room) + 1])
    modules = sorted((ROOT / room).rglob("*.py"))
    assert modules
    for path in modules:
        assert imported(path) <= before, path


def test_what_evaluates_names_no_keras():
    for room in ("common", "data_prep", "evaluation", "papers", "report"):
        for path in (ROOT / room).rglob("*.py"):
            names = {
                name
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                for name in getattr(node, "names", ())
            }
            assert not {"keras", "tensorflow"} & {one.name.partition(".")[0] for one in names}
