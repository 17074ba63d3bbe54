"""Test artist recognition on the command line: training, extraction, protocols and results."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from common import feature_file
from data_prep import split_csv
from data_prep.mel_cache import MelCache
from recognition import ivector_model
from tests.conftest import error_in_process, run_in_process

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # raised in Keras callbacks
UBM = ("--components", 4, "--dimensions", 3, "--ubm-iterations", 4, "--iterations", 2)
FEW = ("--enrol", 4, "--tests", 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("recognition")


@pytest.fixture(scope="module")
def splits(small_corpus, folder):
    """Return (training split, unseen split), each with two of the small corpus's four artists."""
    table = split_csv.read_split(small_corpus[0])
    names = table["artist"].unique()
    paths = []
    for name, artists in (("train", names[::2]), ("unseen", names[1::2])):
        paths.append(folder / f"{name}.csv")
        table[table["artist"].isin(artists)].to_csv(paths[-1], index=False)
    return paths


@pytest.fixture(scope="module")
def train_command(splits, small_corpus, folder):
    return ("train_ivector.py", splits[0], small_corpus[2], "--out", folder / "runs/ivector")


@pytest.fixture(scope="module")
def ivector(train_command):
    """Train an i-vector model on the artists of the training split, and return its path."""
    path = train_command[-1] / "ivector.h5"
    output = run_in_process(*train_command, *UBM).out
    assert re.fullmatch(rf"{path}: complete, 6 tracks of 2 artists, \d+ frames, .*\n", output)
    return path


@pytest.fixture(scope="module")
def features(ivector, small_corpus, folder):
    """Extract i-vectors for all tracks, and return the path of the feature file."""
    path = folder / "features/ivector.h5"
    result = run_in_process("extract_features.py", ivector, small_corpus[2], "--out", path)
    assert result.lines[-1] == f"{path}: ivector, 24 tracks"
    return path


def test_feature_file_contains_ivectors_and_training_artists(features, ivector, small_corpus):
    model, cache = ivector_model.load_ivector_model(ivector), MelCache(small_corpus[2])
    extracted = feature_file.read_features(features)
    expected = np.stack(list(model.extract_ivectors(cache[t] for t in extracted.track_id)))
    np.testing.assert_array_equal(extracted.features, expected)
    np.testing.assert_allclose(np.linalg.norm(extracted.features, axis=1), 1, rtol=1e-6)
    assert list(extracted.trained_on) == list(model.trained_on) and len(model.trained_on) == 2
    assert extracted.inputs["weights"]["model"] == "ivector"


def test_extraction_of_a_split_contains_only_its_first_training_tracks(
    features, ivector, splits, small_corpus, folder
):
    path, whole = folder / "features/train.h5", feature_file.read_features(features)
    command = ("extract_features.py", ivector, small_corpus[2], "--split", splits[0], "--out")
    options = (*command, path, "--max-artists", 1)
    run_in_process(*options)
    split = split_csv.read_split(splits[0])
    is_first = split["artist"].eq(split["artist"][0]) & split["subset"].eq("train")
    expected, extracted = split["track_id"][is_first], feature_file.read_features(path)
    assert sorted(extracted.track_id) == sorted(expected)
    rows = whole.select(extracted.track_id, features)
    np.testing.assert_allclose(extracted.features, rows, atol=1e-6)
    assert "already complete" in run_in_process(*options).out
    assert "already complete" in run_in_process(*command, features).out  # contains all of them
    message = error_in_process(*command, path)
    assert "3 of 6 tracks are missing; use a new --out" in message


def test_complete_training_is_skipped_and_changed_settings_are_rejected(ivector, train_command):
    before = ivector.read_bytes()
    former_names = ("--mixtures", 4, "--start", "kmeans", *UBM[2:])
    again = run_in_process(*train_command, *former_names).out
    message = error_in_process(*train_command, *UBM[:-1], 3)
    assert again == f"{ivector}: already complete\n"
    assert "settings.iterations: 2 -> 3" in message and ivector.read_bytes() == before
    # Settings keep their recorded names, which identify the models of earlier versions.
    names = ("mixtures", "start", "ubm_iterations", "dimensions", "iterations", "coefficients")
    names = (*names, "deltas", "level_range", "artists", "seed")
    values = (4, "kmeans", 4, 3, 2, 20, False, None, None, 0)
    recorded = ivector_model.load_ivector_model(ivector).inputs["settings"]
    assert recorded == dict(zip(names, values, strict=True))


@pytest.fixture(scope="module")
def results(features, ivector, splits, small_corpus, folder):
    """Evaluate four systems with two protocols, and return the result folder."""
    plda = ("--scorer", "plda", "--train", features, splits[0])
    systems = (
        (features, splits[1]),
        (features, splits[1], *plda, "--lda", 1),
        (ivector, splits[1], "--scorer", "llr", "--cache", small_corpus[2]),
        (features, splits[1], "--fuse", "late", "--with", features),
    )
    for protocol, metric in (("verification", "eer"), ("identification", "accuracy")):
        for number, options in enumerate(systems):
            path = folder / f"results/{protocol}_{number}.json"
            output = run_in_process("evaluate.py", protocol, *options, *FEW, "--json", path)
            value = json.loads(path.read_text())["value"]
            assert output.lines[-1] == f"{metric} {value:.4f}"
    return folder / "results"


def test_each_system_is_evaluated_with_each_protocol(results):
    models = ("i-vector + cosine", "i-vector + PLDA", "GMM-UBM")
    models = (*models, "late fusion of i-vector and i-vector + cosine")
    for protocol in ("verification", "identification"):
        for number, model in enumerate(models):
            result = json.loads((results / f"{protocol}_{number}.json").read_text())
            assert 0 <= result["value"] <= 1 and result["protocol"] == protocol
            assert result["model"] == model and result["label"] == "artist"
            assert result["n_songs"] == 12 and result["artists"] == 2
            assert "enrol=4 tests=2" in result["features"]
    details = json.loads((results / "verification_0.json").read_text())["details"]
    assert details["target trials"] == 4 and details["impostor trials"] == 4


def test_verification_writes_the_same_identification_result(features, splits, results):
    paths = [results.parent / f"both/{protocol}.json" for protocol in ("a", "b")]
    options = (features, splits[1], *FEW, "--json", paths[0], "--identification", paths[1])
    output = run_in_process("evaluate.py", "verification", *options)
    for path, protocol in zip(paths, ("verification", "identification"), strict=True):
        both, alone = (
            json.loads(each.read_text()) for each in (path, results / f"{protocol}_0.json")
        )
        assert {**both, "command": "", "made_from": ""} == {**alone, "command": "", "made_from": ""}
        assert both["made_from"]["inputs"] == alone["made_from"]["inputs"]
    assert output.lines[-1].startswith("eer ")
    assert run_in_process("evaluate.py", "verification", *options).out.count("complete") == 2


def test_all_remaining_tracks_can_be_tested(features, splits, tmp_path):
    path = tmp_path / "all.json"
    options = ("--enrol-tracks", 4, "--test-tracks", "all", "--json", path)
    run_in_process("evaluate.py", "verification", features, splits[1], *options)
    result = json.loads(path.read_text())
    tracks = len(split_csv.read_split(splits[1]))
    assert result["n_songs"] == tracks and result["details"]["target trials"] == tracks - 2 * 4
    assert result["variant"] == "enrol=4 tests=all"
    wrong = ("evaluate.py", "verification", features, splits[1], "--tests", "some")
    assert "--tests: some is neither a number nor all" in run_in_process(*wrong, status=2).err


@pytest.mark.slow
def test_results_appear_in_tables_and_figures(results):
    assert "| GMM-UBM |" in run_in_process("evaluate.py", "tables", "--results", results).out
    output = run_in_process("evaluate.py", "figures", "--results", results).out
    assert "verification_by_artists_unseen_artist.png: arxiv2017, Figure 2: " in output
    table = pd.read_csv(results / "verification_by_artists_unseen_artist.csv")
    assert table["system"].tolist()[:3] == ["GMM-UBM", "i-vector + cosine", "i-vector + PLDA"]


def test_result_is_recomputed_only_if_inputs_change(features, splits, folder):
    path = folder / "again/one.json"
    command = ("evaluate.py", "verification", features, splits[1], *FEW, "--json", path)
    first = run_in_process(*command, "--one-shot", "--trials", 3)
    assert "by enrolment songs 2 " in first.out
    before = path.read_bytes()
    again = run_in_process(*command, "--one-shot", "--trials", 3)
    assert again.lines == [f"{path}: already complete", first.lines[-1]]
    assert path.read_bytes() == before
    assert "already complete" not in run_in_process(*command, "--seed", 1).out


def test_lda_command_projects_features(features, splits, folder):
    path = folder / "features/lda.h5"
    command = ("evaluate.py", "lda", features, splits[0], features, "--out", path)
    output = run_in_process(*command, "--dimensions", 1).out
    assert output == f"{path}: 24 tracks in 1 dimensions\n"
    projected, before = feature_file.read_features(path), path.read_bytes()
    assert projected.features.shape == (24, 1) and projected.inputs["lda"]["dimensions"] == 1
    assert projected.inputs["weights"]["name"] == "ivector_lda"
    assert run_in_process(*command, "--dimensions", 1).out == f"{path}: already complete\n"
    assert "lda.dimensions: 1 -> 2" in error_in_process(*command, "--dimensions", 2)
    assert path.read_bytes() == before
    run_in_process("evaluate.py", "retrieval", path, splits[1], "--label", "artist")
    other = ("evaluate.py", "lda", path, splits[0], features, "--out", folder / "x.h5")
    assert f"{path} was made by ivector_lda, {features} by ivector" in error_in_process(*other)


def test_incompatible_inputs_are_rejected(features, splits, small_corpus, folder):
    train, unseen = splits
    table = pd.read_csv(unseen, dtype=str)
    table.loc[0, "artist"] = ""
    table.to_csv(folder / "nameless.csv", index=False)
    verify = ("evaluate.py", "verification", features)
    plda = ("--scorer", "plda", "--lda", 9, "--train", features, train)
    cases = {
        (*verify, train, *FEW): "the model was trained on 2 of 2 artists, the first ",
        (*verify, unseen): "has 6 tracks, fewer than 15 to enrol and 5 to test (2 such artists",
        (*verify, unseen, *FEW, "--label", "mood"): "has no column 'mood'",
        (*verify, unseen, *FEW, "--scorer", "llr", "--cache", small_corpus[2]): "not an i-vector",
        (*verify, unseen, *FEW, *plda): "LDA: 9 dimensions from 2 artists",
        (*verify, folder / "nameless.csv", *FEW): "fewer than 4",
    }
    for command, expected in cases.items():
        assert expected in error_in_process(*command)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--scorer plda", "--scorer plda needs --train"),
        ("--lda 3", "--lda-dimensions need --scorer plda"),
        ("--scorer llr", "--scorer llr needs --cache"),
        ("--cache c.h5", "--cache needs --scorer llr"),
        ("--fuse late", "--fuse and --with need each other"),
        ("--with a.h5", "--fuse and --with need each other"),
        ("--fuse late --with a.h5 b.h5", "--with needs 1 feature file with --scorer cosine"),
        ("--scorer llr --cache c --fuse late --with a", "--fuse cannot be combined with"),
    ],
)
def test_incompatible_options_are_rejected(options, message):
    command = ("evaluate.py", "identification", "a.h5", "b.csv", *options.split())
    error = run_in_process(*command, status=2).err
    assert message in error and "usage: evaluate.py identification" in error
