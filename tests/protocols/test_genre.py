"""Tests of the `evaluate.py` protocols that evaluate features against a label."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from evaluation import classification, clustering, retrieval, tagging
from evaluation.labelled_tracks import read_labelled_tracks
from tests.conftest import error_in_process, run_in_process
from tests.evaluation import feature_files


@pytest.fixture
def files(tmp_path):
    tracks = feature_files.make_artists("abcdef", spread=0.8)
    return feature_files.write_files(tmp_path, "tracks", *tracks, failed=("c1",))


@pytest.fixture
def evaluate(tmp_path):
    """Return a function that runs a protocol and returns (result, printed lines)."""

    def run(protocol, *arguments):
        path = tmp_path / "result.json"
        path.unlink(missing_ok=True)
        lines = run_in_process("evaluate.py", protocol, *arguments, "--json", path).lines
        result = json.loads(path.read_text(encoding="utf-8"))
        assert lines[-1] == f"{result['metric']} {result['value']:.4f}"
        assert result["protocol"] == protocol
        return result, lines

    return run


def test_retrieval_and_knn_match_the_metric_functions(files, evaluate):
    tracks = read_labelled_tracks(*files, "genre")
    genres = tracks.labels("genre")
    result, lines = evaluate("retrieval", *files)
    assert result["value"] == retrieval.mean_average_precision(tracks.features, genres)
    assert (result["metric"], result["n_songs"], result["trials"]) == ("map", 35, None)
    assert result["features"] == "basic_run" and result["variant"] == "" and len(lines) == 2

    train, _, (test, truth) = tracks.subsets(genres)
    correct = classification.knn_predict(*train, test, k=3) == truth
    result, _ = evaluate("knn", *files, "-k", 3)
    assert (result["value"], result["n_songs"]) == (correct.mean(), 12)
    assert result["features"] == "basic_run k=3" and result["variant"] == "k=3"
    assert result["details"]["accuracy of each genre"] == {
        genre: np.mean(correct[truth == genre]) for genre in ("folk", "rock")
    }
    rock = np.mean(train[1] == "rock") > 0.5
    constant = np.mean(truth == ("rock" if rock else "folk"))
    assert result["details"]["accuracy of the most frequent genre"] == constant


def test_clustering_matches_the_metric_function(files, evaluate, tmp_path):
    tracks = read_labelled_tracks(*files)
    expected = clustering.cluster_tracks(tracks.features, tracks.labels("artist"), seed=2)
    result, lines = evaluate("clustering", *files, "--seed", 2)
    assert (result["metric"], result["label"], result["n_songs"]) == ("ari", "artist", 35)
    assert result["value"] == expected.ari and lines[2] == "clusters 6"
    assert lines[1] == f"adjusted mutual information {expected.ami:.4f}"
    results = tmp_path / "results"
    results.mkdir()
    (tmp_path / "result.json").rename(results / "result.json")
    tables = run_in_process("evaluate.py", "tables", "--results", results).out
    assert "clustering by artist on tracks, by number of training artists" in tables
    table = tracks.split[tracks.split["artist"].eq("a")]
    table.to_csv(files[1], index=False)
    message = error_in_process("evaluate.py", "clustering", *files)
    assert "clustering: every track has the label a, and at least two labels are needed" in message


SETTINGS = {
    ("retrieval",): {},
    ("clustering", "--starts", 2): {"starts": 2},
    ("knn", "-k", 2): {"k": 2},
    ("linear", "--trials", 1): {"trials": 1},
    ("transfer",): {"trials": 1},
    ("tagging",): {"trials": 1},
    ("tsne", "--first", 2, "--perplexity", 3): {"first": 2, "perplexity": 3.0},
    ("verification", "--enrol", 3, "--tests", 2): {
        **{"enrol": 3, "tests": 2, "trials": 1, "one_shot": False, "scorer": "cosine"},
        **{"relevance": 16.0, "train": None, "train_artists": None, "lda": None},
        **{"fuse": None, "other": None, "cache": None},
    },
}


@pytest.mark.parametrize("command", SETTINGS)
def test_results_record_the_settings_and_are_not_recomputed(
    files, evaluate, tmp_path, monkeypatch, command
):
    """Settings keep the key names of earlier versions, whose results thus remain valid."""
    monkeypatch.setattr(tagging, "NETWORKS", ((4,),))
    monkeypatch.setattr(tagging, "HIDDEN", (4,))
    protocol, *options = command
    arguments = (*files, *options, "--label", "artist", "--seed", 4)
    result, lines = evaluate(protocol, *arguments)
    expected = {"protocol": protocol, "label": "artist", "seed": 4, **SETTINGS[command]}
    assert result["made_from"]["inputs"]["settings"] == expected
    assert result["command"].startswith(f"python evaluate.py {protocol} ")
    path = tmp_path / "result.json"
    again = run_in_process("evaluate.py", protocol, *arguments, "--json", path)
    assert again.lines[-2:] == [f"{path}: already complete", lines[-1]]
    other_seed = (*arguments[:-1], 5, "--json", path)
    assert "already complete" not in run_in_process("evaluate.py", protocol, *other_seed).out


def test_linear_reports_the_mean_over_trials(files, evaluate):
    tracks = read_labelled_tracks(*files, "genre")
    subsets = tracks.subsets(tracks.labels("genre"))
    expected = classification.linear_softmax(*subsets, trials=2, seed=4)
    result, lines = evaluate("linear", *files, "--trials", 2, "--seed", 4)
    assert result["value"] == np.mean(expected.accuracies)
    assert (result["spread"], result["trials"]) == (np.std(expected.accuracies), 2)
    each = result["details"]["accuracy of each genre"]
    counts = [np.sum(subsets[2][1] == genre) for genre in each]
    assert np.average(list(each.values()), weights=counts) == pytest.approx(result["value"])
    assert f"accuracy of each genre folk {each['folk']:.4f}" in lines
    result, _ = evaluate("linear", *files, "--trials", 1, "--label", "artist")
    constant = "accuracy of the most frequent artist"
    assert set(result["details"]) == {"accuracy of each artist", constant, "per track"}


def test_tagging_reports_every_tag(files, evaluate):
    result, lines = evaluate("tagging", *files)
    assert (result["metric"], result["n_songs"], result["label"]) == ("auc", 12, "tags")
    areas = result["details"]["auc of each tag"]
    assert set(areas) == {"fast", "loud"} and "tags left out 0" in lines
    assert result["value"] == pytest.approx(np.mean(list(areas.values())))
    printed = [line.split() for line in lines if line.startswith("auc of each tag")]
    assert [tag for *_, tag, _ in printed] == sorted(areas, key=areas.get, reverse=True)
    table, _ = feature_files.make_artists("abcdef")
    table[table["subset"].ne("valid")].to_csv(files[1], index=False)
    message = error_in_process("evaluate.py", "tagging", *files)
    assert "tracks.csv: no track in the subset valid" in message


def test_unusable_splits_are_rejected(files):
    features, split = files
    table, _ = feature_files.make_artists("abcdef")
    one_label = "every track has the label rock, and at least two labels are needed"
    for options, changed, message in (
        (
            ("retrieval", "--label", "mood"),
            table,
            f"{split}: has no column 'mood'",
        ),
        (
            ("retrieval",),
            table.assign(track_id=table["path"] + "x"),
            f"{features}: 36 of 36",
        ),
        (("retrieval",), table.assign(genre=""), f"{split}: no track has a value of genre"),
        (("knn",), table[table["subset"].ne("test")], "test subset: no features"),
        (("knn", "-k", 20), table, "k = 20 neighbours of 17 training tracks"),
        *(((name,), table.assign(genre="rock"), one_label) for name in ("retrieval", "knn")),
        (("genre",), table, f"{features}: contains no class probabilities"),
    ):
        changed.to_csv(split, index=False)
        assert message in error_in_process("evaluate.py", options[0], *files, *options[1:])
    absent = split.with_name("no.h5")
    for file, message in ((split, "is a list, but an .h5"), (absent, "no such file")):
        assert f"{file}: {message}" in error_in_process("evaluate.py", "retrieval", file, split)


# ---------------------------------------------------------------- class probabilities


@pytest.fixture
def probabilities(tmp_path):
    """Return (table, classes and probabilities, files); the split file is shuffled."""
    table, _ = feature_files.make_artists("abcdef")
    given = feature_files.make_probabilities(table, "genre")
    features = np.zeros((len(table), 2), np.float32)
    files = feature_files.write_files(tmp_path, "agf", table, features, **given)
    table.sample(frac=1, random_state=1).to_csv(files[1], index=False)
    return table, given, files


def test_genre_evaluates_the_class_probabilities_of_test_tracks(probabilities, evaluate):
    table, given, files = probabilities
    result, lines = evaluate("genre", *files)
    test = table["subset"].eq("test").to_numpy()
    shares, truth = given["probabilities"][test], table["genre"].to_numpy()[test]
    predicted = np.array(given["classes"])[shares.argmax(axis=1)]
    assert (result["metric"], result["n_songs"], len(lines)) == ("log_loss", 12, 5)
    loss = classification.log_loss(shares, truth, given["classes"])
    assert result["value"] == pytest.approx(loss)
    details = result["details"]
    assert details["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert details["accuracy"] == pytest.approx(np.mean(predicted == truth))
    assert set(details["F1 of each genre"]) == {"rock", "folk"}


def test_genre_leaves_out_test_tracks_with_unknown_classes(probabilities, evaluate):
    table, _, files = probabilities
    table.loc[table["artist"].eq("a"), "genre"] = "polka"  # artist a has two test tracks
    table.to_csv(files[1], index=False)
    result, lines = evaluate("genre", *files)
    assert result["n_songs"] == 10
    left_out = "2 test tracks left out, the networks were not trained on their genre"
    assert lines[0] == f"{files[1]}: {left_out}"
    table.assign(genre="polka").to_csv(files[1], index=False)
    message = error_in_process("evaluate.py", "genre", *files)
    assert f"{files[1]}: no test track has a genre that the networks were trained on" in message


@pytest.mark.parametrize(
    ("command", "known"),
    [
        (("retrieval",), "12 of 36"),
        (("clustering",), "12 of 36"),
        (("knn", "-k", 3), "4 of 12"),
        (("linear", "--trials", 1), "4 of 12"),
        (("tagging",), "4 of 12"),
    ],
)
def test_protocols_report_tracks_by_training_artists(command, known, evaluate, tmp_path):
    """Retrieval and clustering evaluate all tracks, the others those of the test subset."""
    protocol, *options = command
    table, features = feature_files.make_artists("abcdef")
    seen = {"trained_on": ("A", "d", "x")}  # compared as verification does, without case
    files = feature_files.write_files(tmp_path, "seen", table, features, **seen)
    _, lines = evaluate(protocol, *files, *options)
    expected = f"{files[1]}: {known} tracks are by artists that the model was trained on"
    assert sum(line.startswith(expected) for line in lines) == 1
    files = feature_files.write_files(tmp_path, "new", table, features, trained_on=("x",))
    assert "trained on" not in " ".join(evaluate(protocol, *files, *options)[1])


def test_knn_reports_classes_with_fewer_training_tracks_than_k(evaluate, tmp_path):
    table, features = feature_files.make_artists("abcde")  # two of them folk, three rock
    files = feature_files.write_files(tmp_path, "tracks", table, features)
    expected = f"{files[1]}: 1 of 2 classes (genre) have fewer training tracks than k = 7, the "
    lines = evaluate("knn", *files, "-k", 7)[1]
    assert sum(line.startswith(f"{expected}smallest 6; ") for line in lines) == 1
    assert "than k" not in " ".join(evaluate("knn", *files, "-k", 6)[1])
