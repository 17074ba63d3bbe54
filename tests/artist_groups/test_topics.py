"""Test artist groups learned by LDA, and their file format."""

import h5py
import numpy as np
import pytest

from artist_groups.topics import ArtistGroups, GroupsFile, learn_groups, load_groups, save_groups
from artist_groups.vocabulary import Codebook
from common import hdf5
from common.errors import InputError
from tests.damage import assert_damage_is_refused

NAMES = np.array([f"artist {number}" for number in range(10)], object)


def make_symbols():
    """Return symbols of artists of two kinds with disjoint vocabularies.

    Artist 8 has one symbol, and artist 9 has none.
    """
    random = np.random.default_rng(0)
    symbols = [random.integers(5 * (n >= 4), 5 + 5 * (n >= 4), 60) for n in range(8)]
    return [*symbols, np.array([7]), np.zeros(0, int)]


def test_learn_groups_separates_artists_with_disjoint_symbols():
    groups = learn_groups("m", make_symbols(), NAMES, 10, 2, seed=0)
    np.testing.assert_allclose(groups.proportions.sum(axis=1), 1)
    np.testing.assert_allclose(groups.topics.sum(axis=1), 1)
    kinds = groups.proportions.argmax(axis=1)
    assert len(set(kinds[:4])) == 1 and len(set(kinds[4:])) == 1 and kinds[0] != kinds[4]
    assert (groups.proportions[:8].max(axis=1) > 0.95).all()
    assert 0.5 < groups.proportions[8].max() < 0.9, "one symbol is weak evidence"
    assert groups.rows_of(["x", "artist 8", "artist 9", "artist 0"]).tolist() == [-1, 8, -1, 0]


def test_diversity_is_low_for_identical_artists():
    alike = learn_groups("m", [np.zeros(4, int)] * 10, NAMES, 1, 4, seed=0)
    assert alike.diversity < 0.05
    assert learn_groups("m", make_symbols(), NAMES, 10, 2, seed=0).diversity > 0.4
    proportions = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], float)
    assert ArtistGroups(NAMES[:4], proportions, proportions[:2]).diversity == 0.5


# ---------------------------------------------------------------- file

A, G, SIZE, D = 3, 2, 4, 5


def make_content() -> GroupsFile:
    random = np.random.default_rng(0)

    def groups() -> ArtistGroups:
        proportions = random.dirichlet(np.ones(G), A)
        topics = random.dirichlet(np.ones(SIZE), G)
        return ArtistGroups(np.array(["Ärzte", "b", "c"], object), proportions, topics)

    centres, scale = random.normal(size=(SIZE, D)).astype(np.float32), np.ones(D, np.float32)
    return GroupsFile(
        random.normal(size=128),
        random.uniform(1, 2, 128),
        {word: groups() for word in "mdes"},
        ["Dub", "Öl", "Punk", "Ska"],
        {"split": "abc", "settings": {"groups": G}},
        {word: Codebook(centres, scale) for word in "mde"},
    )


@pytest.fixture
def path(tmp_path):
    save_groups(tmp_path / "groups" / "made.h5", make_content())
    return tmp_path / "groups" / "made.h5"


def test_groups_file_round_trip(path):
    loaded, saved = load_groups(path), make_content()
    np.testing.assert_array_equal([loaded.mean, loaded.std], [saved.mean, saved.std])
    assert loaded.inputs == saved.inputs and loaded.subgenres == saved.subgenres
    assert list(loaded.groups) == list("mdes") and list(loaded.codebooks) == list("mde")
    for word, groups in loaded.groups.items():
        np.testing.assert_array_equal(groups.proportions, saved.groups[word].proportions)
        np.testing.assert_array_equal(groups.topics, saved.groups[word].topics)
        assert groups.rows_of(["x", "Ärzte"]).tolist() == [-1, 0]
    np.testing.assert_array_equal(loaded.codebooks["d"].centres, saved.codebooks["d"].centres)


def test_groups_file_needs_at_least_one_word(path):
    with h5py.File(path, "a") as file:
        for word in "mds":
            del file[f"words/{word}"]
    assert list(load_groups(path).groups) == ["e"] and load_groups(path).subgenres == []
    with h5py.File(path, "a") as file:
        del file["words/e"]
    with pytest.raises(InputError, match="damaged"):
        load_groups(path)


DAMAGES = [
    ("decibels/mean", np.ones(127)),
    ("decibels/std", np.ones(128, np.int64)),
    ("decibels/std", np.zeros(128)),
    ("words/m/shares", np.full((A, G), np.nan)),
    ("words/m/shares", np.full((A + 1, G), 1 / G)),
    ("words/m/shares", np.float64(1)),
    ("words/m/shares", np.full((A, G), 2 / G)),
    ("words/d/symbols", np.full((G + 1, SIZE), 1 / SIZE)),
    ("words/e/artists", ["a"] * A),
    ("words/m/centres", np.ones((SIZE, D + 1), np.float32)),
    ("words/s/names", ["a", "b"]),
    ("words/other", np.ones(1)),
    ("words", np.ones(1)),
]


@pytest.mark.parametrize(("name", "value"), DAMAGES)
def test_load_groups_rejects_damaged_files(path, name, value):
    assert_damage_is_refused(path, name, value, load_groups)


def test_load_groups_rejects_damaged_provenance(path):
    with h5py.File(path, "a") as file:
        file.attrs["made_from"] = '{"inputs": 1}'
    with pytest.raises(InputError, match=str(path)):
        load_groups(path)


def test_load_groups_rejects_other_file_formats(tmp_path):
    with hdf5.create_file(tmp_path / "other.h5") as file:
        file.attrs["format"] = "features"
    with pytest.raises(InputError, match="not a file of artist groups; make one with"):
        load_groups(tmp_path / "other.h5")
