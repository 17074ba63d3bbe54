"""Tests of `evaluate.py compare`."""

import json
import re

import numpy as np
import pytest

from evaluation.labelled_tracks import read_labelled_tracks
from evaluation.results import read_result
from evaluation.retrieval import average_precisions
from evaluation.track_values import rank_scores, unpack_values
from tests.conftest import error_in_process, run_in_process
from tests.evaluation import feature_files

PROTOCOLS = {
    "retrieval": ("map",),
    "knn": ("accuracy", "-k", 3),
    "linear": ("accuracy", "--trials", 2),
    "clustering": ("ari",),
    "verification": ("eer", "--enrol-tracks", 3, "--test-tracks", 3),
    "identification": ("accuracy", "--enrol-tracks", 3, "--test-tracks", 3),
}
LINE = re.compile(r"difference (-?\d\.\d{4}), 95 % interval (-?\d\.\d{4}) to (-?\d\.\d{4})")


@pytest.fixture
def evaluate(tmp_path):
    """Return a function that evaluates features of a quality, and returns the result's path."""

    def run(protocol, spread, *options, names="abcdefghijkl", seed=0):
        table, features = feature_files.make_artists(names, spread=spread)
        noise = np.random.default_rng(seed).normal(scale=0.01, size=features.shape)
        features = (features + noise).astype(np.float32)
        files = feature_files.write_files(
            tmp_path, "tracks", table, features, run=f"basic_{spread}_{seed}", seed=seed
        )
        path = tmp_path / f"{protocol}_{spread}_{seed}_{names}.json"
        arguments = PROTOCOLS[protocol][1:]
        label = () if protocol in ("clustering", "verification") else ("--label", "artist")
        run_in_process(
            "evaluate.py", protocol, *files, *arguments, *label, *options, "--json", path
        )
        return path

    return run


def compare(*arguments):
    lines = run_in_process("evaluate.py", "compare", *arguments).lines
    return lines, tuple(map(float, LINE.fullmatch(lines[-1]).groups()))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_compare_separates_good_features_from_poor_ones(protocol, evaluate):
    good = [evaluate(protocol, 0.3, seed=seed) for seed in (0, 1)]
    poor = evaluate(protocol, 2.0)
    lines, (difference, lower, upper) = compare(*good, "--with", poor, "--resamples", 200)
    means = [np.mean([read_result(path).value for path in paths]) for paths in (good, [poor])]
    assert difference == pytest.approx(means[0] - means[1], abs=1.01e-4)
    assert lower < difference < upper and (upper < 0 if protocol == "verification" else lower > 0)
    metric = PROTOCOLS[protocol][0]
    assert lines[0].endswith(f": {metric} {means[0]:.4f}, mean of 2 results")
    assert lines[1].endswith(f": {metric} {means[1]:.4f}")
    assert " by 12 artists, 200 resamples" in lines[2]
    assert compare(*good, "--with", poor, "--resamples", 200)[0] == lines
    assert compare(poor, "--with", poor)[1] == (0, 0, 0)


@pytest.mark.parametrize("protocol", ["retrieval", "verification"])
def test_compare_averages_the_splits_of_a_cross_validation_by_artists(protocol, evaluate):
    folds = ("abcdefgh", "ijkl")
    good, poor = (
        [evaluate(protocol, spread, names=names) for names in folds] for spread in (0.9, 1.6)
    )
    first, second = (
        compare(ours, "--with", theirs, "--resamples", 200)[1][0]
        for ours, theirs in zip(good, poor, strict=True)
    )
    lines, (difference, lower, upper) = compare(*good, "--with", *poor, "--resamples", 200)
    assert difference == pytest.approx((8 * first + 4 * second) / 12, abs=1.01e-4)
    assert lower < difference < upper
    assert lines[0].endswith(", mean of 2 results on 2 splits")
    assert " by 12 artists on 2 splits, 200 resamples" in lines[2]
    message = error_in_process("evaluate.py", "compare", *good, "--with", poor[0])
    assert f"{good[1]}: the other system has no result on the same split" in message
    assert f"those of {poor[0]} differ); evaluate both" in message


def test_compare_rejects_splits_with_common_artists(evaluate, tmp_path):
    files = [evaluate("retrieval", 0.9, names=names) for names in ("abcdefgh", "hijkl")]
    message = error_in_process("evaluate.py", "compare", *files, "--with", *files)
    assert f"{files[0]} and {files[1]}: 1 of the artists are in both splits" in message
    document = json.loads(files[1].read_text(encoding="utf-8"))
    del document["details"]["per track"]["hash"]
    files[1].write_text(json.dumps(document), encoding="utf-8")
    message = error_in_process("evaluate.py", "compare", *files, "--with", *files)
    assert f"{files[1]}: does not identify its artists, as results of earlier" in message
    assert compare(files[1], "--with", files[1])[1] == (0, 0, 0)


def test_compare_rejects_systems_that_differ_between_splits(evaluate):
    first, second = (evaluate("retrieval", 0.9, names=names) for names in ("abcdefgh", "ijkl"))
    document = json.loads(second.read_text(encoding="utf-8"))
    for name, value in (("model", "mfcc"), ("variant", "k=5")):
        second.write_text(json.dumps(document | {name: value}), encoding="utf-8")
        message = error_in_process("evaluate.py", "compare", first, second, "--with", first, second)
        assert f"{first} and {second}: results of two systems, whose {name} is" in message


def test_compare_rejects_too_few_artists(evaluate):
    path = evaluate("retrieval", 0.9, names="abc")
    message = error_in_process("evaluate.py", "compare", path, "--with", path)
    assert f"{path}: tracks of 3 artists, but at least 4 are needed" in message


@pytest.mark.parametrize("protocol", ["verification", "identification"])
def test_compare_averages_over_all_draws_of_enrolment_tracks(protocol, evaluate):
    good, poor = (evaluate(protocol, spread, "--trials", 3) for spread in (0.9, 1.6))
    values = [read_result(path).value for path in (good, poor)]
    difference, lower, upper = compare(good, "--with", poor, "--resamples", 200)[1]
    assert difference == pytest.approx(values[0] - values[1], abs=1.01e-4)
    assert lower < difference < upper
    one_draw = evaluate(protocol, 1.2)
    message = error_in_process("evaluate.py", "compare", good, "--with", one_draw)
    assert "differ in the trials (3 and 1)" in message


def test_compare_rejects_values_of_one_draw_beside_a_mean_of_several(evaluate, tmp_path):
    one = evaluate("identification", 1.6)
    document = json.loads(one.read_text(encoding="utf-8"))
    old = tmp_path / "old.json"
    old.write_text(json.dumps(document | {"value": document["value"] + 0.02}), encoding="utf-8")
    message = error_in_process("evaluate.py", "compare", old, "--with", old)
    assert f"{old}: its values per track give accuracy" in message
    assert "delete it and evaluate again" in message


def test_results_contain_the_average_precision_of_each_track(evaluate, tmp_path):
    path = evaluate("retrieval", 0.8)
    tracks = read_labelled_tracks(tmp_path / "tracks.h5", tmp_path / "tracks.csv")
    arrays = unpack_values(read_result(path), path)
    expected = average_precisions(tracks.features, tracks.labels("artist"))
    assert (arrays.kind, arrays.values) == ("value", pytest.approx(expected, rel=1e-6))
    assert np.array_equal(arrays.artists, np.repeat(np.arange(12), feature_files.SONGS))
    assert len({*arrays.hashes}) == 12 and arrays.hashes.all()


def test_compare_rejects_results_of_different_tracks_or_options(evaluate, tmp_path):
    first = evaluate("retrieval", 0.3)
    for other, expected in (
        (evaluate("knn", 0.3), "differ in the protocol (retrieval and knn)"),
        (evaluate("retrieval", 0.4, "--label", "genre"), "differ in the label (artist and genre)"),
    ):
        message = error_in_process("evaluate.py", "compare", first, "--with", other)
        assert f"{first} and {other} {expected}; evaluate both systems" in message
    other = evaluate("retrieval", 0.5, names="abcd")
    message = error_in_process("evaluate.py", "compare", first, "--with", other)
    assert f"{first}: the other system has no result on the same split and tracks" in message
    verification = evaluate("verification", 0.3), evaluate("verification", 0.4, "--seed", 2)
    message = error_in_process("evaluate.py", "compare", verification[0], "--with", verification[1])
    assert "differ in the seed (0 and 2)" in message
    message = error_in_process("evaluate.py", "compare", first, first, "--with", first)
    assert f"{first} and {first}: results of one system with the same training seed" in message


def test_compare_rejects_results_of_several_systems_as_one(evaluate, tmp_path):
    first = evaluate("retrieval", 0.3)
    document = json.loads(first.read_text(encoding="utf-8"))
    other = tmp_path / "other.json"
    for name, value in (("model", "mfcc"), ("artists", 7), ("variant", "enrol=5")):
        other.write_text(json.dumps(document | {name: value, "seed": 1}), encoding="utf-8")
        message = error_in_process("evaluate.py", "compare", first, other, "--with", first)
        assert f"{first} and {other}: results of two systems, whose {name} is" in message
        assert f"and {value}; several results of one system" in message


def test_compare_rejects_clusterings_by_another_label_than_the_artist(evaluate):
    path = evaluate("clustering", 0.3, "--label", "genre")
    message = error_in_process("evaluate.py", "compare", path, "--with", path)
    assert f"{path}: clusters by genre, but intervals are over artists" in message


def test_compare_accepts_results_without_a_record_of_their_inputs(evaluate):
    path = evaluate("verification", 0.9)
    document = json.loads(path.read_text(encoding="utf-8"))
    for inputs in (None, [], {"settings": "none"}):
        path.write_text(json.dumps(document | {"made_from": {"inputs": inputs}}), encoding="utf-8")
        assert compare(path, "--with", path)[1] == (0, 0, 0)


def test_compare_rejects_results_without_usable_values(evaluate, tmp_path):
    first = evaluate("retrieval", 0.3)
    document = json.loads(first.read_text(encoding="utf-8"))
    old = tmp_path / "old.json"
    values = document["details"]["per track"]
    for details, expected in (
        ({}, "contains no values per track, as retrieval results of earlier versions"),
        ({"per track": {"artist": values["artist"]}}, "its values per track are damaged"),
        ({"per track": values | {"value": "AAAA"}}, "its values per track are damaged"),
        (
            {"per track": values | {"value": values["value"][8:]}},
            "its values per track are damaged",
        ),
        ({"per track": values | {"hash": values["hash"][:32]}}, "its values per track are damaged"),
        ({"per track": [1]}, "its values per track are damaged"),
    ):
        old.write_text(json.dumps(document | {"details": details}), encoding="utf-8")
        message = error_in_process("evaluate.py", "compare", first, "--with", old)
        assert f"{old}: {expected}" in message and "delete it and evaluate again" in message


def test_ranks_keep_the_order_of_scores_and_fit_into_16_bits():
    scores = np.random.default_rng(0).normal(size=(300, 301))
    ranks = rank_scores(scores)
    assert ranks.dtype == np.uint16 and (ranks.min(), ranks.max()) == (0, 65535)
    assert (np.diff(ranks.ravel()[np.argsort(scores, axis=None)].astype(int)) >= 0).all()
    few = rank_scores(np.array([[0.5, -1.0], [0.5, 2.0]]))
    assert few.tolist() == [[1, 0], [1, 2]]
