"""agf2018 from a split to its judged features, script by script, as its user runs them."""

import h5py
import numpy as np
import pandas as pd
import pytest

from common import feature_file
from data_prep import split_csv
from tests.conftest import error_in_process, run_in_process

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own callbacks
GROUPS = "data_prep/2b_artist_groups.py"
FEW = ("--mtn-epochs", 5, "--mlp-epochs", 2, "--batch", 8)


@pytest.fixture(scope="module")
def corpus(small_corpus, tmp_path_factory):
    """(split, cache, groups): the small corpus with sub-genres, and its artists in groups."""
    split, _, cache = small_corpus
    folder = tmp_path_factory.mktemp("agf")
    table = split_csv.read_split(split)
    numbers = pd.factorize(table["artist"])[0]
    table["subgenres"] = np.array(["dub|roots", "dub", "swing", "swing|ballad"], object)[numbers]
    split_csv.write_split(table, folder / "small.csv", {"inputs": {}})
    given = folder / "small.csv", cache
    options = ("--words", "m", "s", "--subgenres", "subgenres", "--clusters", 8, "--groups", 3)
    made = run_in_process(GROUPS, *given, "--out", folder / "groups.h5", *options)
    assert made.lines[-1].endswith("complete, words m s of 4 artists in 3 groups")
    return *given, folder / "groups.h5"


@pytest.fixture(scope="module")
def trained(corpus):
    """The folder of an MTN's run."""
    out = corpus[0].parent / "runs"
    given = (*corpus, "--out", out, "--kinds", "mtn", "--tasks", "gs")
    assert "complete" in run_in_process("train_agf.py", *given, *FEW).lines[-1]
    assert run_in_process("train_agf.py", *given, *FEW).lines == [
        f"{out / 'mtn_gs_0'}: complete already"
    ]
    return out / "mtn_gs_0"


def test_features_of_a_run_are_judged_by_genre_and_like_any_others(trained, corpus, tmp_path):
    features, (split, *_) = trained / "features.h5", corpus
    json = tmp_path / "mtn_gs_0.json"
    judged = run_in_process("evaluate.py", "genre", features, split, "--json", json)
    name, value = judged.lines[-1].split()
    made = feature_file.read_features(features).select(
        split_csv.read_split(split)["track_id"], features
    )
    assert made.shape == (24, 512)
    assert name == "log_loss" and 0 < float(value) < 20
    assert any(line.startswith("macro_f1 ") for line in judged.lines)
    assert run_in_process("evaluate.py", "retrieval", features, split).lines[-1].startswith("map ")
    assert (
        run_in_process("evaluate.py", "knn", features, split, "-k", 3).lines[-1].startswith("acc")
    )
    table = run_in_process("evaluate.py", "tables", "--results", tmp_path)
    row = next(line for line in table.lines if line.startswith("| gs |"))
    assert f"{float(value):.4f}" in row
    assert "56 of 57 combinations have no result" in table.out


def test_a_run_describes_other_songs_by_its_file(trained, corpus, tmp_path):
    _, cache, _ = corpus
    run_in_process(
        "extract_features.py", trained / "model.h5", cache, "--out", tmp_path / "again.h5"
    )
    again, before = (
        feature_file.read_features(path)
        for path in (tmp_path / "again.h5", trained / "features.h5")
    )
    np.testing.assert_allclose(again.features, before.features, atol=1e-4)
    np.testing.assert_allclose(again.probabilities, before.probabilities, atol=1e-4)
    assert again.inputs == before.inputs and list(again.classes) == list(before.classes)


def test_groups_are_told_by_their_genres_and_artists(corpus, tmp_path):
    split, _, groups = corpus
    run_in_process("evaluate.py", "groups", groups, split, "--out", tmp_path)
    suffixes = (".md", ".csv", ".tex", ".png", ".svg")
    names = {f"groups_{word}{suffix}" for word in "ms" for suffix in suffixes}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_what_does_not_go_together_is_refused(corpus, small_corpus, tmp_path):
    out = ("--out", tmp_path / "runs")
    for tasks in ("sg", "gx", "ge", "gg"):
        said = error_in_process("train_agf.py", *corpus, *out, "--tasks", tasks)
        assert f"--tasks {tasks}: not a set of gsm" in said and "the words m s" in said
    said = error_in_process("train_agf.py", *corpus, *out, "--kinds", "mtn", "--tasks", "g")
    assert "an mtn or wstn has two or more" in said
    # Groups of another split, of another cache, and a file of something else.
    split, _, cache = small_corpus
    said = error_in_process("train_agf.py", split, cache, corpus[2], *out)
    assert "groups.h5" in said and "other inputs (split: " in said
    said = error_in_process("train_agf.py", *corpus[:2], cache, *out)
    assert "no file of artist groups; make one with data_prep/2b_artist_groups.py" in said
    with h5py.File(tmp_path / "damaged.h5", "w") as file, h5py.File(corpus[2]) as whole:
        file.attrs.update(whole.attrs)
    assert "damaged.h5" in error_in_process(
        "train_agf.py", *corpus[:2], tmp_path / "damaged.h5", *out
    )
    assert not (tmp_path / "runs").exists()
