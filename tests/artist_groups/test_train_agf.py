"""Test the agf2018 scripts end to end, from a split to evaluated features."""

import h5py
import numpy as np
import pandas as pd
import pytest

from common import feature_file
from data_prep import split_csv
from tests.conftest import error_in_process, run_in_process

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # raised in Keras callbacks
GROUPS = "data_prep/2b_artist_groups.py"
FEW = ("--mtn-epochs", 5, "--mlp-epochs", 2, "--batch-size", 8)


@pytest.fixture(scope="module")
def corpus(small_corpus, tmp_path_factory):
    """Return (split, cache, groups): the small corpus with sub-genres, and its artist groups."""
    split, _, cache = small_corpus
    folder = tmp_path_factory.mktemp("agf")
    table = split_csv.read_split(split)
    numbers = pd.factorize(table["artist"])[0]
    table["subgenres"] = np.array(["dub|roots", "dub", "swing", "swing|ballad"], object)[numbers]
    split_csv.write_split(table, folder / "small.csv", {"inputs": {}})
    split, groups = folder / "small.csv", folder / "groups.h5"
    options = ("--words", "m", "s", "--subgenres", "subgenres", "--clusters", 8, "--groups", 3)
    ran = run_in_process(GROUPS, split, cache, "--out", groups, *options)
    assert ran.lines[-1].endswith("complete, words m s of 4 artists in 3 groups")
    return split, cache, groups


@pytest.fixture(scope="module")
def trained(corpus):
    """Train an MTN and return its run folder."""
    out = corpus[0].parent / "runs"
    command = ("train_agf.py", *corpus, "--out", out, "--kinds", "mtn", "--tasks", "gs", *FEW)
    assert "complete" in run_in_process(*command).lines[-1]
    assert run_in_process(*command).lines == [f"{out / 'mtn_gs_0'}: already complete"]
    return out / "mtn_gs_0"


def test_run_features_can_be_evaluated_and_tabulated(trained, corpus, tmp_path):
    features, (split, *_) = trained / "features.h5", corpus
    assert feature_file.read_features(features).features.shape == (24, 512)
    json = tmp_path / "mtn_gs_0.json"
    genre = run_in_process("evaluate.py", "genre", features, split, "--json", json)
    name, value = genre.lines[-1].split()
    assert name == "log_loss" and 0 < float(value) < 20
    assert any(line.startswith("macro_f1 ") for line in genre.lines)
    retrieval = run_in_process("evaluate.py", "retrieval", features, split)
    assert retrieval.lines[-1].startswith("map ")
    tables = run_in_process("evaluate.py", "tables", "--results", tmp_path)
    row = next(line for line in tables.lines if line.startswith("| gs |"))
    assert f"{float(value):.4f}" in row
    assert "56 of 57 combinations have no result" in tables.out


def test_extract_features_reproduces_the_features_of_a_run(trained, corpus, tmp_path):
    out = tmp_path / "again.h5"
    run_in_process("extract_features.py", trained / "model.h5", corpus[1], "--out", out)
    again, before = map(feature_file.read_features, (out, trained / "features.h5"))
    np.testing.assert_allclose(again.features, before.features, atol=1e-4)
    np.testing.assert_allclose(again.probabilities, before.probabilities, atol=1e-4)
    assert again.inputs == before.inputs and list(again.classes) == list(before.classes)


def test_train_agf_rejects_incompatible_inputs(corpus, small_corpus, tmp_path):
    out = ("--out", tmp_path / "runs")
    for tasks in ("sg", "gx", "ge", "gg"):
        message = error_in_process("train_agf.py", *corpus, *out, "--tasks", tasks)
        assert f"--tasks {tasks}: not a set of gsm" in message and "the words m s" in message
    message = error_in_process("train_agf.py", *corpus, *out, "--kinds", "mtn", "--tasks", "g")
    assert "an mtn or wstn has two or more tasks" in message
    # Groups learned from a different split, a file of a different format, and a damaged file.
    split, _, cache = small_corpus
    message = error_in_process("train_agf.py", split, cache, corpus[2], *out)
    assert "groups.h5" in message and "other inputs (split: " in message
    message = error_in_process("train_agf.py", *corpus[:2], cache, *out)
    assert "not a file of artist groups; make one with data_prep/2b_artist_groups.py" in message
    damaged = tmp_path / "damaged.h5"
    with h5py.File(damaged, "w") as file, h5py.File(corpus[2]) as whole:
        file.attrs.update(whole.attrs)
    assert "damaged.h5" in error_in_process("train_agf.py", *corpus[:2], damaged, *out)
    assert not (tmp_path / "runs").exists()
