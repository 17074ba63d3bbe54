"""Songs out of files, and the protocols that judge them."""

import numpy as np
import pytest

from common.errors import InputError
from evaluation import classification, labelled_tracks, protocols, retrieval, tagging
from tests.conftest import error_in_process
from tests.evaluation import feature_files


@pytest.fixture
def files(tmp_path):
    return feature_files.write_files(
        tmp_path, "songs", *feature_files.make_artists("abcdef", spread=0.8), failed=("c1",)
    )


@pytest.fixture
def found(files):
    return labelled_tracks.read_labelled_tracks(*files, "genre")


def test_songs_stand_beside_their_features(files, capsys):
    table, features = feature_files.make_artists("abcdef", spread=0.8)
    table.loc[4, "genre"] = ""
    shuffled = table.sample(frac=1, random_state=0)
    shuffled.to_csv(files[1], index=False)
    found = labelled_tracks.read_labelled_tracks(*files, "genre")
    out = capsys.readouterr().out
    assert "1 tracks left out" in out and "1 tracks without genre left out" in out
    assert len(found.split) == 34
    place = {track: row for row, track in enumerate(table["track_id"])}
    expected = features[[place[track] for track in found.split["track_id"]]]
    np.testing.assert_array_equal(found.features, expected)
    assert found.weights["model"] == "basic" and found.weights["name"] == "basic_run"
    train, valid, test = found.subsets(found.labels("artist"))
    assert [len(part[1]) for part in (train, valid, test)] == [17, 6, 11]
    with pytest.raises(InputError, match=r"has no column 'mood'; it has track_id"):
        found.labels("mood")
    assert (
        labelled_tracks.read_labelled_tracks(*files, None).digest != found.digest
    )  # of other songs


def test_training_songs_are_those_of_the_first_artists(files):
    found = labelled_tracks.read_training_tracks(*files, 3)
    assert set(found.split["artist"]) == set("abc") and len(found.split) == 8
    assert set(found.split["subset"]) == {"train"}
    with pytest.raises(InputError, match="has 6 artists, not 7"):
        labelled_tracks.read_training_tracks(*files, 7)


def of_each(right, truth):
    return {genre: np.mean(right[truth == genre]) for genre in ("folk", "rock")}


def test_each_protocol_judges_as_its_function_does(found):
    genres = found.labels("genre")
    train, valid, test = found.subsets(genres)
    assert protocols.evaluate_retrieval(found, "genre") == (
        "map",
        [retrieval.mean_average_precision(found.features, genres)],
        35,
        {},
    )
    judged = protocols.evaluate_knn(found, "genre", k=3)
    assert judged[:3] == ("accuracy", [classification.knn_accuracy(*train, *test, k=3)], 12)
    right = classification.knn_predict(*train, test[0], k=3) == test[1]
    assert judged.details == {"accuracy of each genre": of_each(right, test[1])}
    judged = protocols.evaluate_linear(found, "genre", trials=2, seed=4)
    expected = classification.linear_softmax(*train, *valid, *test, trials=2, seed=4)
    assert judged[:3] == ("accuracy", list(expected.accuracies), 12)
    each = judged.details["accuracy of each genre"]
    assert each == pytest.approx(of_each(expected.right.mean(axis=0), test[1]))
    counts = [np.sum(test[1] == genre) for genre in each]
    assert np.average(list(each.values()), weights=counts) == pytest.approx(np.mean(judged.values))
    assert judged.format_details()[0] == f"accuracy of each genre folk {each['folk']:.4f}"


def test_transfer_is_of_the_best_and_tells_both(found, monkeypatch):
    monkeypatch.setattr(tagging, "NETWORKS", ((4,),))
    judged = protocols.evaluate_transfer(found, "genre", trials=2, seed=3)
    each = [
        tagging.transfer_accuracies(*found.subsets(found.labels("genre")), seed=s) for s in (3, 4)
    ]
    assert judged.values == [one["best"] for one in each] and judged.metric == "accuracy"
    assert judged.details["neural network"] == np.mean([one["neural network"] for one in each])
    assert len(judged.format_details()) == 2


def test_tagging_tells_the_area_of_each_tag(files):
    found = labelled_tracks.read_labelled_tracks(*files)
    judged = protocols.evaluate_tagging(found, "tags", trials=1, seed=0)
    assert (judged.metric, judged.n_tracks) == ("auc", 12)
    areas = judged.details["auc of each tag"]
    assert set(areas) == {"fast", "loud"} and judged.details["tags left out"] == 0
    assert judged.values == [pytest.approx(np.mean(list(areas.values())))]
    assert list(areas.values()) == sorted(areas.values(), reverse=True)
    assert len(judged.format_details()) == 4 and "tags left out 0" in judged.format_details()


def test_tags_without_a_subset_are_refused(files):
    table, _ = feature_files.make_artists("abcdef")
    table[table["subset"].ne("valid")].to_csv(files[1], index=False)
    with pytest.raises(InputError, match=r"songs\.csv: no track is in the subset valid"):
        protocols.evaluate_tagging(
            labelled_tracks.read_labelled_tracks(*files), "tags", trials=1, seed=0
        )
    with pytest.raises(InputError, match="no column 'mood'"):
        protocols.evaluate_tagging(
            labelled_tracks.read_labelled_tracks(*files), "mood", trials=1, seed=0
        )


# ---------------------------------------------------------------- probabilities of genres


def judged_as(tmp_path, table, split=None, **told):
    """The songs of `split` (or of `table`), whose networks gave the probabilities `told`."""
    features = np.zeros((len(table), 2), np.float32)
    paths = feature_files.write_files(tmp_path, "told", table, features, **told)
    if split is not None:
        split.to_csv(paths[1], index=False)
    return labelled_tracks.read_labelled_tracks(*paths, "genre")


def test_genre_judges_the_probabilities_of_the_test_songs(tmp_path, capsys):
    table, _ = feature_files.make_artists("abcdef")
    told = feature_files.make_probabilities(table, "genre")
    shuffled = table.sample(frac=1, random_state=1)
    judged = protocols.evaluate_genre(judged_as(tmp_path, table, shuffled, **told), "genre")
    test = table["subset"].eq("test").to_numpy()
    shares, truth = told["probabilities"][test], table["genre"].to_numpy()[test]
    predicted = np.array(told["classes"])[shares.argmax(axis=1)]
    assert (judged.metric, judged.n_tracks) == ("log_loss", 12)
    assert judged.values == [pytest.approx(classification.log_loss(shares, truth, told["classes"]))]
    assert judged.details["macro_f1"] == pytest.approx(classification.macro_f1(predicted, truth))
    assert judged.details["accuracy"] == pytest.approx(np.mean(predicted == truth))
    assert set(judged.details["F1 of each genre"]) == {"rock", "folk"}
    assert len(judged.format_details()) == 4 and capsys.readouterr().out == ""


def test_a_genre_never_learnt_has_no_loss_and_is_told(tmp_path, capsys):
    table, _ = feature_files.make_artists("abcdef")
    told = feature_files.make_probabilities(table, "genre")
    later = table.copy()
    later.loc[later["artist"].eq("a"), "genre"] = "polka"  # two songs of it test
    judged = protocols.evaluate_genre(judged_as(tmp_path, table, later, **told), "genre")
    assert judged.n_tracks == 10
    out = capsys.readouterr().out
    assert out.endswith("2 test songs left out, the networks never learnt their genre\n")
    with pytest.raises(InputError, match=r"told\.csv: no test song has a genre that the net"):
        protocols.evaluate_genre(
            judged_as(tmp_path, table, table.assign(genre="polka"), **told), "genre"
        )


def test_features_without_probabilities_are_refused(found, files):
    with pytest.raises(InputError, match=f"{files[0]}: contains no class probabilities; extract"):
        protocols.evaluate_genre(found, "genre")


def test_one_label_is_refused_by_each_protocol(tmp_path):
    table, features = feature_files.make_artists("abcdef")
    files = feature_files.write_files(tmp_path, "songs", table.assign(genre="rock"), features)
    for protocol in ("retrieval", "knn", "linear", "transfer"):
        message = error_in_process("evaluate.py", protocol, *files)
        assert "every song has the label rock, and there is nothing to tell apart" in message
