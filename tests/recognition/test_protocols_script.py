"""Artist recognition as a researcher runs it: training, extraction, protocols, the whole paper."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from common import feature_file
from data_prep import split_csv
from data_prep.mel_cache import MelCache
from recognition import ivector_model
from tests.conftest import error_in_process as refused
from tests.conftest import run_in_process as run

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own callbacks
UBM = ("--mixtures", 4, "--dimensions", 3, "--ubm-iterations", 4, "--iterations", 2)
FEW = ("--enrol", 4, "--tests", 2)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("recognition")


@pytest.fixture(scope="module")
def splits(small_corpus, place):
    """(training split, unseen split): two artists each of the small corpus's four."""
    table = split_csv.read_split(small_corpus[0])
    names = table["artist"].unique()
    paths = []
    for name, artists in (("train", names[::2]), ("unseen", names[1::2])):
        paths.append(place / f"{name}.csv")
        table[table["artist"].isin(artists)].to_csv(paths[-1], index=False)
    return paths


@pytest.fixture(scope="module")
def ivector(splits, small_corpus, place):
    """An extractor trained on the first two artists."""
    out = place / "runs/ivector"
    ran = run("train_ivector.py", splits[0], small_corpus[2], "--out", out, *UBM)
    expected = rf"{out}/ivector.h5: complete, 6 songs of 2 artists, \d+ frames, .*\n"
    assert re.fullmatch(expected, ran.out)
    return out / "ivector.h5"


@pytest.fixture(scope="module")
def features(ivector, small_corpus, place):
    """Its features of all songs."""
    out = place / "features/ivector.h5"
    ran = run("extract_features.py", ivector, small_corpus[2], "--out", out)
    assert ran.out == f"{out}: ivector, 24 tracks\n"
    return out


def test_features_are_the_extractors_and_say_whose_songs_it_heard(features, ivector, small_corpus):
    made, cache = ivector_model.load_ivector_model(ivector), MelCache(small_corpus[2])
    found = feature_file.read_features(features)
    expected = np.stack(list(made.extract_ivectors(cache[track] for track in found.track_id)))
    np.testing.assert_array_equal(found.features, expected)
    np.testing.assert_allclose(np.linalg.norm(found.features, axis=1), 1, rtol=1e-6)
    assert list(found.trained_on) == list(made.trained_on) and len(found.trained_on) == 2
    assert found.inputs["weights"]["model"] == "ivector"


def test_a_second_training_is_complete_already_and_another_refused(ivector, splits, small_corpus):
    before = ivector.read_bytes()
    command = ("train_ivector.py", splits[0], small_corpus[2], "--out", ivector.parent)
    again, message = (
        run(*command, *UBM).out,
        refused(*command, *UBM[:-1], 3),
    )
    assert again == f"{ivector}: complete already\n"
    assert "settings.iterations: 2 -> 3" in message and ivector.read_bytes() == before


def test_each_system_by_each_protocol(features, ivector, splits, small_corpus, place):
    plda = ("--scorer", "plda", "--train", features, splits[0])
    systems = {
        "i-vector + cosine": (features, splits[1]),
        "i-vector + PLDA": (features, splits[1], *plda, "--lda", 1),
        "GMM-UBM": (ivector, splits[1], "--scorer", "llr", "--cache", small_corpus[2]),
        "late fusion of i-vector and i-vector + cosine": (
            features,
            splits[1],
            "--fuse",
            "late",
            "--with",
            features,
        ),
    }
    results = place / "results"
    commands = [
        ("evaluate.py", protocol, *given, *FEW, "--json", results / f"{protocol}_{number}.json")
        for protocol in ("verification", "identification")
        for number, given in enumerate(systems.values())
    ]
    for command in commands:
        one = run(*command)
        found = json.loads(command[-1].read_text())
        metric = "eer" if command[1] == "verification" else "accuracy"
        assert one.lines[-1] == f"{metric} {found['value']:.4f}" and 0 <= found["value"] <= 1
        assert found["protocol"] == command[1] and found["label"] == "artist"
        assert found["n_songs"] == 12 and found["artists"] == 2
        assert "enrol=4 tests=2" in found["features"]
    named = [json.loads(command[-1].read_text())["model"] for command in commands]
    assert named == [*systems, *systems]
    found = json.loads((results / "verification_0.json").read_text())["details"]
    assert found["target trials"] == 4 and found["impostor trials"] == 4

    ran = run("evaluate.py", "tables", "--results", results)
    assert "| GMM-UBM |" in ran.out
    ran = run("evaluate.py", "figures", "--results", results)
    assert "verification_by_artists_unseen_artist.png: arxiv2017, Figure 2: " in ran.out
    for protocol in ("verification", "identification"):
        for suffix in ("md", "csv", "tex", "png", "svg"):
            file = results / f"{protocol}_by_artists_unseen_artist.{suffix}"
            assert file.stat().st_size > 100
    assert (results / "det_unseen_artist.png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(results / "verification_by_artists_unseen_artist.csv")
    assert table["system"].tolist()[:3] == ["GMM-UBM", "i-vector + cosine", "i-vector + PLDA"]


def test_a_result_is_not_made_again_unless_something_changed(features, splits, place):
    path = place / "again/one.json"
    command = ("evaluate.py", "verification", features, splits[1], *FEW, "--json", path)
    first = run(*command, "--one-shot", "--trials", 3)
    assert "by enrolment songs 2 " in first.out
    before = path.read_bytes()
    again = run(*command, "--one-shot", "--trials", 3)
    assert again.lines == [f"{path}: complete already", first.lines[-1]]
    assert path.read_bytes() == before
    assert "complete already" not in run(*command, "--seed", 1).out
    table = pd.read_csv(splits[1])
    table[::-1].to_csv(place / "turned.csv", index=False)
    turned = ("evaluate.py", "verification", features, place / "turned.csv", *FEW)
    assert "complete already" not in run(*turned, "--json", path).out


def test_lda_makes_features_out_of_features(features, splits, place):
    out = place / "features/lda.h5"
    command = ("evaluate.py", "lda", features, splits[0], features, "--out", out)
    assert run(*command, "--dimensions", 1).out == f"{out}: 24 tracks in 1 dimensions\n"
    found, before = feature_file.read_features(out), out.read_bytes()
    assert found.features.shape == (24, 1) and found.inputs["lda"]["dimensions"] == 1
    assert found.inputs["weights"]["name"] == "ivector_lda"
    assert run(*command, "--dimensions", 1).out == f"{out}: complete already\n"
    assert "lda.dimensions: 1 -> 2" in refused(*command, "--dimensions", 2)
    assert out.read_bytes() == before
    run("evaluate.py", "retrieval", out, splits[1], "--label", "artist")
    message = refused("evaluate.py", "lda", out, splits[0], features, "--out", place / "x.h5")
    assert f"{out} is by ivector_lda, {features} by ivector" in message


def test_genres_and_tags(features, small_corpus):
    ran = run("evaluate.py", "transfer", features, small_corpus[0])
    assert [line.rpartition(" ")[0] for line in ran.lines] == [
        "logistic regression",
        "neural network",
        "accuracy",
    ]
    ran = run("evaluate.py", "tagging", features, small_corpus[0])
    assert ran.lines[-1].startswith("auc ") and ran.lines[-2].startswith("average precision ")


def test_what_does_not_fit_is_refused(features, ivector, splits, small_corpus, place):
    train, unseen = splits
    judge = ("evaluate.py", "verification", features)
    cases = {
        (*judge, train, *FEW): "the model was trained on 2 of 2 artists, the first ",
        (*judge, unseen): "has 6 songs, fewer than 15 to enrol and 5 to test (2 such artists",
        (*judge, unseen, *FEW, "--label", "mood"): "has no column 'mood'",
        (*judge, unseen, *FEW, "--scorer", "llr", "--cache", small_corpus[2]): "not an i-vector",
        (
            *judge,
            unseen,
            *FEW,
            "--scorer",
            "plda",
            "--lda",
            9,
            "--train",
            features,
            train,
        ): "LDA: 9 dimensions from 2 artists",
        ("evaluate.py", "tagging", features, unseen, "--label", "genre"): "holds 1 tags; needs two",
        (
            "train_ivector.py",
            train,
            small_corpus[2],
            "--out",
            place / "runs/never",
        ): "--dimensions 256: i-vectors of 6 songs",
    }
    table = pd.read_csv(unseen, dtype=str)
    table.loc[0, "artist"] = ""
    table.to_csv(place / "nameless.csv", index=False)
    cases["evaluate.py", "verification", features, place / "nameless.csv", *FEW] = "fewer than 4"
    for case, expected in cases.items():
        message = refused(*case)
        assert expected in message, message
    assert not (place / "runs/never").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scorer", "plda"), "--scorer plda needs --train"),
        (("--lda", "3"), "--lda go with --scorer plda"),
        (("--scorer", "llr"), "--scorer llr needs --cache"),
        (("--cache", "c.h5"), "--cache goes with --scorer llr"),
        (("--fuse", "late"), "--fuse and --with go together"),
        (("--with", "a.h5"), "--fuse and --with go together"),
        (("--fuse", "late", "--with", "a.h5", "b.h5"), "--with takes 1 feature file here"),
        (
            ("--scorer", "llr", "--cache", "c", "--fuse", "late", "--with", "a"),
            "--fuse does not go with --scorer llr",
        ),
    ],
)
def test_options_that_do_not_go_together(options, message):
    ran = run("evaluate.py", "identification", "a.h5", "b.csv", *options, status=2)
    assert message in ran.err and "Traceback" not in ran.err
