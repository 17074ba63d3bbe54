"""Tests of reading, checking and averaging result files."""

import json

import pandas as pd
import pytest

from common.errors import InputError
from evaluation.results import (
    Result,
    average_over_seeds,
    merge_names,
    read_result,
    read_results,
    write_result,
)
from tests.evaluation.result_files import LINEAR, RESULT, result_writer


@pytest.fixture
def write(tmp_path):
    return result_writer(tmp_path)


def test_read_results_returns_one_row_per_json_file(write, tmp_path):
    (tmp_path / "table.md").write_text("| not JSON |")
    results = write({}, LINEAR)
    assert list(results["file"]) == ["0.json", "1.json"]
    assert (results["value"] == RESULT["value"]).all() and (results["artists"] == 5000).all()
    assert pd.isna(results["spread"][0]) and pd.isna(results["trials"][0])
    assert (results["spread"][1], results["trials"][1]) == (0.01, 10)


def test_write_result_and_read_result_round_trip(tmp_path):
    path = tmp_path / "one.json"
    result = Result(**RESULT, seed=1, variant="k=3", details={"macro_f1": 0.5})
    write_result(path, result)
    assert read_result(path) == result
    assert json.loads(path.read_text())["value"] == RESULT["value"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"protocol": "retr', "Unterminated"),
        (b"\xff\xfe\x00", "utf-8"),
        (b"[1, 2]", "not an object"),
        (b'{"protocol": "retrieval"}', "'metric' is missing"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_read_results_names_the_damaged_file(write, tmp_path, text, reason):
    (tmp_path / "broken.json").write_bytes(text)
    with pytest.raises(InputError, match=rf"broken\.json: not a result.*({reason}).*; move it"):
        write({})


@pytest.mark.parametrize(
    "change",
    [
        *({"value": value} for value in ("high", None, float("nan"), True, 1.5)),
        {"metric": "kl_divergence", "value": 2e12},
        *(
            {name: value}
            for name in ("n_songs", "artists", "trials")
            for value in (0, 0.5, 10**400)
        ),
        *({"dataset": name} for name in ("a\\b", "../x", "\ud800")),
        {"seed": "one"},
        {"protocol": "tsne"},
        {"details": [1]},
        {"details": {"DET": {"miss": [0.1]}}},
        {"details": {"DET": {"false alarm": [0.5], "miss": [1.5]}}},
        {"details": {"DET": {"false alarm": [0.5], "miss": [0.5, 0.1]}}},
        *({"details": {"by enrolment songs": {key: 0.1}}} for key in ("x", "\u00b2", "1234567")),
        {"details": {"by enrolment songs": {"1": 10**400}}},
        {"details": {"macro_f1": "high"}},
        {"details": {"accuracy of each genre": {"x": None}}},
        {"details": {"map": {"x": [1.0], "y": [1.0], "label": ["a", "b"]}}},
        {"details": {"map": {"x": [1.0], "y": [float("inf")], "label": ["a"]}}},
        {"details": {"map": {"x": [1.0], "y": [1.0], "label": [1]}}},
    ],
)
def test_read_results_rejects_values_of_the_wrong_type_or_range(write, change):
    with pytest.raises(InputError, match=r"0\.json: not a result"):
        write(change)


def test_accuracies_of_earlier_versions_are_named_after_their_label(write):
    old = {"accuracy of each genre": {"A": 0.5}}
    results = write({"label": "artist", "details": old})
    assert results["details"].iloc[0] == {"accuracy of each artist": {"A": 0.5}}
    results = write({"label": "genre", "details": old})
    assert results["details"].iloc[0] == old


def test_read_results_rejects_duplicates_and_a_missing_folder(write, tmp_path):
    with pytest.raises(InputError, match=r"0\.json and 2\.json contain the same result"):
        write({}, LINEAR, {"value": 0.1})
    with pytest.raises(InputError, match="no such folder"):
        read_results(tmp_path / "nowhere")


def test_results_that_differ_in_the_seed_alone_are_averaged(write):
    results = average_over_seeds(
        write(
            *({"features": f"a_{n}", "seed": n, "value": n / 4, "n_songs": 9 - n} for n in (0, 2)),
            *({"features": f"b_{n}", "seed": n, "variant": "enrol=2"} for n in (0, 2)),
            *({"features": f"c_{n}", "seed": 7, "model": "basic"} for n in (0, 1)),
            {"features": "a_0", "seed": 0, "dataset": "other"},
            LINEAR | {"features": "a_1", "seed": 1},
            *({"features": f"released_{n}"} for n in (0, 1)),
        )
    )
    assert results[["features", "over"]].to_numpy().tolist() == [
        ["a_{0,2}", "2 seeds"],
        ["b_{0,2}", "2 seeds"],
        *([name, ""] for name in ("c_0", "c_1", "a_0")),
        ["a_1", "10 trials"],
        *([name, ""] for name in ("released_0", "released_1")),
    ]
    assert results.loc[0, ["value", "spread", "n_songs"]].tolist() == [0.25, 0.25, 7]
    assert results["spread"][5] == 0.01 and str(results["artists"].dtype) == "Int64"
    assert not len(average_over_seeds(results.iloc[:0].drop(columns="over")))


@pytest.mark.parametrize(
    ("names", "merged"),
    [("a_1", "a_1"), ("a_2 a_1", "a_{1,2}"), ("a_1 b_1", "a_1 b_1"), ("a b", "a b")],
)
def test_merge_names(names, merged):
    assert merge_names(names.split()) == merged
