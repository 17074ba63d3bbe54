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


def test_results_round_trip(write):
    results = write({}, LINEAR)
    assert list(results["file"]) == ["0.json", "1.json"]
    first, second = (row for _, row in results.iterrows())
    assert {key: first[key] for key in RESULT if RESULT[key] is not None} == {
        key: value for key, value in RESULT.items() if value is not None
    }
    assert pd.isna(first["spread"]) and pd.isna(first["trials"])
    assert (second["spread"], second["trials"]) == (0.01, 10)


def test_read_results_ignores_files_that_are_not_json(write, tmp_path):
    (tmp_path / "table.md").write_text("| not JSON |")
    assert len(write({})) == 1


def test_write_result_and_read_result_round_trip(tmp_path):
    path = tmp_path / "one.json"
    result = Result(**RESULT, seed=1, variant="k=3", details={"macro_f1": 0.5})
    write_result(path, result)
    assert read_result(path) == result
    assert json.loads(path.read_text())["value"] == RESULT["value"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"protocol": "retr', "Expecting|Unterminated"),
        (b"\xff\xfe\x00", "utf-8"),
        (b"[1, 2]", "a list, not an object"),
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
        {"value": "high"},
        {"value": None},
        {"value": float("nan")},
        {"value": True},
        {"value": 1.5},
        {"metric": "kl_divergence", "value": 2e12},
        {"n_songs": 10**13},
        {"n_songs": 10**400},
        {"model": "\ud800"},
        {"details": {"accuracy of each genre": {"\udfff": 0.5}}},
        {"dataset": "a\\b"},
        {"artists": 5000.5},
        {"artists": 0},
        {"trials": 0},
        {"seed": "one"},
        {"command": ["evaluate.py"]},
        {"dataset": "../x"},
        {"protocol": "a/b"},
        {"protocol": "tsne"},
        {"details": [1]},
        {"details": {"DET": {"miss": [0.1]}}},
        {"details": {"by enrolment songs": [1]}},
        {"details": {"DET": None}},
        {"details": {"DET": {"false alarm": [0.5], "miss": [1.5]}}},
        {"details": {"DET": {"false alarm": [0.5], "miss": [0.5, 0.1]}}},
        {"details": {"by enrolment songs": {"x": 0.1}}},
        {"details": {"by enrolment songs": {"\u00b2": 0.1}}},
        {"details": {"by enrolment songs": {"1234567": 0.1}}},
        {"details": {"by enrolment songs": {"1": 10**400}}},
        {"details": {"macro_f1": "high"}},
        {"details": {"accuracy of each genre": [0.5]}},
        {"details": {"accuracy of each genre": {"x": None}}},
        {"details": {"map": {"x": [1.0], "y": [1.0], "label": ["a", "b"]}}},
        {"details": {"map": {"x": [1.0], "y": [float("inf")], "label": ["a"]}}},
        {"details": {"map": {"x": [1.0], "y": [1.0], "label": [1]}}},
        {"details": {"map": [1.0]}},
        {"protocol": "tsne", "details": {"map": None}},
    ],
)
def test_read_results_rejects_values_of_the_wrong_type_or_range(write, change):
    with pytest.raises(InputError, match=r"0\.json: not a result"):
        write(change)


def test_read_results_rejects_duplicates(write):
    with pytest.raises(InputError, match=r"0\.json and 2\.json contain the same result"):
        write({}, LINEAR, {"value": 0.1})


def test_read_results_rejects_a_missing_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_results(tmp_path / "nowhere")


def test_average_over_seeds(write):
    results = average_over_seeds(
        write(
            *({"features": f"own_60_{n}", "seed": n, "value": n / 4, "spread": 9} for n in (0, 2)),
            {"features": "own_60_0", "seed": 0, "value": 1, "dataset": "other"},
            LINEAR | {"features": "own_60_1", "seed": 1, "value": 0.5},
            {"features": "released"},
            {"features": "released_best"},
        )
    )
    assert results[["features", "value", "over"]].to_numpy().tolist() == [
        ["own_60_{0,2}", 0.25, "2 seeds"],
        ["own_60_0", 1, ""],
        ["own_60_1", 0.5, "10 trials"],
        ["released", 0.5432, ""],
        ["released_best", 0.5432, ""],
    ]
    assert results["spread"].tolist()[0] == 0.25 and results["spread"].tolist()[2] == 0.01
    assert str(results["artists"].dtype) == "Int64"
    assert not len(average_over_seeds(results.iloc[:0].drop(columns="over")))


def test_results_that_differ_in_more_than_the_seed_are_not_averaged(write):
    results = average_over_seeds(
        write(
            *({"features": f"a_{n}", "seed": n, "n_songs": 9 - n} for n in (0, 1)),
            *({"features": f"b_{n}", "seed": n, "variant": "enrol=2"} for n in (0, 2)),
            *({"features": f"c_{n}", "seed": 7, "model": "basic"} for n in (0, 1)),
            *({"features": f"released_{n}"} for n in (0, 1)),
        )
    )
    n_songs = dict(zip(results["features"], results["n_songs"], strict=True))
    assert list(n_songs) == ["a_{0,1}", "b_{0,2}", "c_0", "c_1", "released_0", "released_1"]
    assert n_songs["a_{0,1}"] == 8


@pytest.mark.parametrize(
    ("names", "merged"),
    [
        (["a_1"], "a_1"),
        (["a_2", "a_1"], "a_{1,2}"),
        (["a_1", "b_1"], "a_1 b_1"),
        (["a", "b"], "a b"),
        (["stn_gs_0", "stn_gs_1", "stn_gs_2"], "stn_gs_{0,1,2}"),
    ],
)
def test_merge_names(names, merged):
    assert merge_names(names) == merged
