"""Test the list of similar tracks against an independent ranking, and its errors."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from common.errors import InputError
from common.feature_file import Features, write_features
from evaluation.neighbours import similar

IDS = ["rock/One.mp3", "rock/two.mp3", "pop/three.mp3", "pop/Café.mp3"]
ROWS = [[1.0, 0.0], [0.0, 1.0], [3.0, 4.0], [-1.0, 0.0]]


def features_of(rows, ids):
    return Features(np.array(rows, np.float32), np.array(ids, object), {}, {})


MUSIC = features_of(ROWS, IDS)


@pytest.mark.parametrize("k", [1, 5, 39, 100])
def test_similar_agrees_with_scikit_learn(k):
    features = np.random.default_rng(0).normal(size=(40, 8))
    ids = np.array([f"{number}.wav" for number in range(40)], object)
    table = similar(features_of(features, ids), "7.wav", k)
    cosines = cosine_similarity(features)[7]
    cosines[7] = -2
    order = np.argsort(-cosines)[: min(k, 39)]
    assert table["track_id"].tolist() == ids[order].tolist()
    np.testing.assert_allclose(table["cosine"], cosines[order], atol=1e-6)


def test_similar_lists_copies_of_the_track_but_not_the_track():
    features = features_of([[1, 2]] * 5 + [[2, 1]], list("abcdef"))
    for track in "abcde":
        table = similar(features, track, k=3)
        assert table["track_id"].tolist() == [other for other in "abcde" if other != track][:3]
    assert similar(features_of([[1, 2]], ["a"]), "a").empty


def test_similar_reads_feature_files(tmp_path):
    write_features(tmp_path / "f.h5", MUSIC)
    for features in (MUSIC, tmp_path / "f.h5", str(tmp_path / "f.h5")):
        table = similar(features, Path(IDS[0]), k=2)
        assert table["track_id"].tolist() == [IDS[2], IDS[1]]
        assert table["cosine"].tolist() == pytest.approx([0.6, 0.0])


@pytest.mark.parametrize(
    "track", ["rock/One.mp3", "ROCK/ONE.MP3", "one", "rock/o", "Cafe\u0301", "café.mp3"]
)
def test_similar_finds_a_track_by_an_unambiguous_part_of_its_id(track):
    assert len(similar(MUSIC, track)) == 3


def test_similar_prefers_an_exact_id_to_a_part():
    table = similar(features_of(ROWS[:3], ["a.mp3", "A.mp3", "aa.mp3"]), "a.mp3", k=1)
    assert table["track_id"].tolist() == ["aa.mp3"]


def test_similar_takes_the_first_of_the_same_ids():
    """`embed_files` gives them for a file that is listed twice."""
    table = similar(features_of(ROWS[:3], ["a.mp3", "a.mp3", "b.mp3"]), "a.mp3")
    assert table["cosine"].tolist() == pytest.approx([0.6, 0.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((MUSIC, "rock"), r"part of 2 track ids: 'rock/One.mp3', 'rock/two.mp3'; use a longer"),
        ((MUSIC, "rock/onne.mp3"), r"did you mean 'rock/One\.mp3'"),
        ((MUSIC, "x"), r"none of the 4 track ids contains this; the first is 'rock/One\.mp3'"),
        ((features_of(ROWS[:1], ["a\nb\033[2J"]), "x"), r"the first is 'a\\nb\\x1b\[2J'"),
        ((features_of(np.zeros((0, 2)), []), "x"), "features: contain no track"),
        ((MUSIC, IDS[0], 0), "k: 0 is not"),
        ((MUSIC, IDS[0], 2.5), "k: 2.5 is not"),
        ((MUSIC, IDS[0], True), "k: True is not"),
        ((np.array(ROWS), IDS[0]), "has the type ndarray; give a feature file"),
        ((features_of([[np.nan, 0], *ROWS[1:]], IDS), IDS[0]), "NaN"),
    ],
)
def test_similar_rejects_invalid_arguments(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        similar(*arguments)
    assert "\n" not in str(caught.value)
