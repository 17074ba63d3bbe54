"""Test the list of similar tracks against an independent ranking, and its errors."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from common.errors import InputError
from evaluation.neighbours import similar

IDS = ["rock/one.mp3", "rock/two.mp3", "pop/three.mp3"]
ROWS = [[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]]


@pytest.mark.parametrize("k", [1, 5, 39, 100])
def test_similar_agrees_with_scikit_learn(k):
    features = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    ids = np.array([f"{number}.wav" for number in range(40)], object)
    table = similar(features, ids, "7.wav", k)
    cosines = cosine_similarity(features.astype(np.float64))[7]
    cosines[7] = -2
    order = np.argsort(-cosines)[: min(k, 39)]
    assert table["track_id"].tolist() == ids[order].tolist()
    np.testing.assert_allclose(table["cosine"], cosines[order], atol=1e-12)


def test_similar_lists_copies_of_the_track_but_not_the_track():
    features = [[1, 2]] * 5 + [[2, 1]]
    for track in "abcde":
        table = similar(features, list("abcdef"), track, k=3)
        assert table["track_id"].tolist() == [other for other in "abcde" if other != track][:3]
    assert similar(np.zeros((3, 2)), list("abc"), "b", k=2)["track_id"].tolist() == ["a", "c"]
    assert similar([[1, 2]], ["a"], "a").empty


def test_similar_accepts_paths():
    table = similar(ROWS, [Path(one) for one in IDS], Path(IDS[0]))
    assert table["track_id"].tolist() == [IDS[2], IDS[1]]
    assert table["cosine"].tolist() == pytest.approx([0.6, 0.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ROWS, IDS, "ONE.mp3"), r"no such track .* did you mean rock/one\.mp3\?"),
        ((ROWS, IDS, "rock/onne.mp3"), r"did you mean rock/one\.mp3"),
        ((ROWS, IDS, "x"), r"an id is, for example, rock/one\.mp3"),
        ((ROWS, ["a", "a", "b"], "a"), "2 tracks have this id"),
        ((ROWS, IDS[:2], IDS[0]), "3 rows of features, but 2 track ids"),
        ((ROWS, IDS, IDS[0], 0), "k is 0"),
        ((ROWS, IDS, IDS[0], -1), "k is -1"),
        ((ROWS, IDS, IDS[0], 2.5), "k is 2.5"),
        ((ROWS, IDS, IDS[0], True), "k is True"),
        ((ROWS, IDS, IDS[0], "3"), "k is '3'"),
        (([[np.nan, 0], *ROWS[1:]], IDS, IDS[0]), "1 of 3 rows .* NaN or infinite"),
        (([1.0, 2.0, 3.0], IDS, IDS[0]), r"shape \(3,\)"),
        (([], [], IDS[0]), r"shape \(0,\)"),
        ((np.zeros((0, 2)), [], IDS[0]), "no features"),
        (([["a", "b"]] * 3, IDS, IDS[0]), "not numbers"),
        (([[1], [1, 2], [3]], IDS, IDS[0]), "not numbers"),
        ((np.array(ROWS, complex), IDS, IDS[0]), "not numbers"),
        (({"a": 1}, IDS, IDS[0]), "not numbers"),
        ((None, IDS, IDS[0]), "shape|not numbers"),
    ],
)
def test_similar_rejects_invalid_arguments(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        similar(*arguments)
    assert "\n" not in str(caught.value)
