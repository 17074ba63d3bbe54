"""The file of artist groups: what comes back from it, and what is no such file."""

import h5py
import numpy as np
import pytest

from artist_groups.groups_file import GroupsFile, load_groups, save_groups
from artist_groups.topics import ArtistGroups, Codebook
from common import hdf5
from common.errors import InputError
from tests.damage import assert_damage_is_refused

A, G, SIZE, D = 3, 2, 4, 5


def made() -> GroupsFile:
    random = np.random.default_rng(0)

    def groups() -> ArtistGroups:
        shares, symbols = random.dirichlet(np.ones(G), A), random.dirichlet(np.ones(SIZE), G)
        return ArtistGroups(np.array(["Ärzte", "b", "c"], object), shares, symbols)

    codebook = Codebook(
        random.normal(size=(SIZE, D)).astype(np.float32), np.ones(D, dtype=np.float32)
    )
    return GroupsFile(
        random.normal(size=128),
        random.uniform(1, 2, 128),
        {word: groups() for word in "mdes"},
        ["Dub", "Öl", "Punk", "Ska"],
        {"split": "abc", "settings": {"groups": G}},
        {word: codebook for word in "mde"},
    )


@pytest.fixture
def path(tmp_path):
    save_groups(tmp_path / "groups" / "made.h5", made())
    return tmp_path / "groups" / "made.h5"


def test_groups_come_back_from_their_file(path):
    found, wanted = load_groups(path), made()
    np.testing.assert_array_equal([found.mean, found.std], [wanted.mean, wanted.std])
    assert found.inputs == wanted.inputs and found.subgenres == wanted.subgenres
    assert list(found.groups) == ["m", "d", "e", "s"] and list(found.codebooks) == ["m", "d", "e"]
    for word, groups in found.groups.items():
        np.testing.assert_array_equal(groups.proportions, wanted.groups[word].proportions)
        np.testing.assert_array_equal(groups.topics, wanted.groups[word].topics)
        np.testing.assert_array_equal(
            groups.proportions_of(["Ärzte"]), wanted.groups[word].proportions_of(["Ärzte"])
        )
        assert groups.contains(["x", "Ärzte"]).tolist() == [False, True]
    vectors = np.random.default_rng(1).normal(size=(9, D))
    np.testing.assert_array_equal(
        found.codebooks["d"].assign(vectors), wanted.codebooks["d"].assign(vectors)
    )


def test_some_words_are_enough_and_none_is_not(path):
    with h5py.File(path, "a") as file:
        for word in "mds":
            del file[f"words/{word}"]
    found = load_groups(path)
    assert list(found.groups) == ["e"] and found.subgenres == []
    with h5py.File(path, "a") as file:
        del file["words/e"]
    with pytest.raises(InputError, match="damaged"):
        load_groups(path)


NAN = np.full((A, G), np.nan)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decibels/mean", np.ones(127)),
        ("decibels/mean", np.full(128, np.inf)),
        ("decibels/std", np.zeros(128)),
        ("decibels/std", np.ones(128, np.int64)),
        ("words/m/shares", NAN),
        ("words/m/shares", np.full((A, G), 0.7)),
        ("words/m/shares", np.array([[2.0, -1]] * A)),
        ("words/m/shares", np.full((A + 1, G), 1 / G)),
        ("words/m/shares", np.float64(1)),
        ("words/d/symbols", np.full((G + 1, SIZE), 1 / SIZE)),
        ("words/d/symbols", np.full(G, 1.0)),
        ("words/d/symbols", "text"),
        ("words/e/artists", np.ones(A)),
        ("words/e/artists", ["twice", "twice", "c"]),
        ("words/m/centres", np.ones((SIZE, D + 1), np.float32)),
        ("words/m/centres", np.full((SIZE, D), np.nan, np.float32)),
        ("words/m/centres", np.ones(SIZE, np.float32)),
        ("words/m/scale", np.zeros(D, np.float32)),
        ("words/m/scale", np.float32(1)),
        ("words/s/names", ["a", "b"]),
        ("words/s/names", ["a", "b", "c", "c"]),
        ("words/x", np.ones(1)),
        ("words/s", np.ones(1)),
        ("words", np.ones(1)),
    ],
)
def test_damaged_files_are_refused(path, name, value):
    assert_damage_is_refused(path, name, value, load_groups)


@pytest.mark.parametrize("value", ["{}", "[]", '{"inputs": 1}'])
def test_damaged_provenance_is_refused(path, value):
    with h5py.File(path, "a") as file:
        file.attrs["made_from"] = value
    with pytest.raises(InputError, match=str(path)):
        load_groups(path)


def test_files_of_something_else_are_none(tmp_path):
    with hdf5.create_file(tmp_path / "other.h5") as file:
        file.attrs["format"] = "features"
    with pytest.raises(InputError, match="no file of artist groups; make one with"):
        load_groups(tmp_path / "other.h5")
    with pytest.raises(InputError, match="no such file"):
        load_groups(tmp_path / "absent.h5")
