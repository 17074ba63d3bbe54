"""Results: read as written, refused where they are none, averaged over seeds."""

import json

import pandas as pd
import pytest

from common.errors import InputError
from evaluation.results import average_over_seeds, merge_names, read_results
from tests.evaluation.result_files import LINEAR, RESULT, result_writer


@pytest.fixture
def write(tmp_path):
    return result_writer(tmp_path)


def test_results_are_read_as_written(write):
    results = write({}, LINEAR)
    assert list(results["file"]) == ["0.json", "1.json"]
    first, second = (row for _, row in results.iterrows())
    assert {key: first[key] for key in RESULT if RESULT[key] is not None} == {
        key: value for key, value in RESULT.items() if value is not None
    }
    assert pd.isna(first["spread"]) and pd.isna(first["trials"])
    assert (second["spread"], second["trials"]) == (0.01, 10)


def test_the_folder_holds_other_files_too(write, tmp_path):
    (tmp_path / "table.md").write_text("| not JSON |")
    assert len(write({})) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"protocol": "retr', "cannot be read as JSON"),
        ("[1, 2]", "not a result but a list"),
        ('{"protocol": "retrieval"}', "lacks 'metric'"),
        (json.dumps(RESULT | {"value": "high"}), "'value' is 'high'"),
        (json.dumps(RESULT | {"value": None}), "'value' is 'None'"),
        (json.dumps(RESULT | {"value": float("nan")}), "'value' is 'nan'"),
        (json.dumps(RESULT | {"value": True}), "'value' is 'True'"),
        (json.dumps(RESULT | {"artists": 5000.5}), "'artists' is '5000.5'"),
        (json.dumps(RESULT | {"artists": 10**30}), "'artists' is '1000"),
        (json.dumps(RESULT | {"value": 10**400}), "'value' is '1000"),
        ("[" * 100_000, "cannot be read as JSON"),
        (json.dumps(RESULT | {"dataset": "../x"}), "'dataset' is '../x'"),
        (json.dumps(RESULT | {"label": "/etc/x"}), "'label' is '/etc/x'"),
        (json.dumps(RESULT | {"details": [1]}), "details are damaged"),
        (json.dumps(RESULT | {"details": {"DET": {"miss": [0.1]}}}), "details are damaged"),
        (json.dumps(RESULT | {"details": {"by enrolment songs": [1]}}), "details are damaged"),
        (json.dumps(RESULT | {"details": {"macro_f1": "high"}}), "details are damaged"),
        (json.dumps(RESULT | {"details": {"macro_f1": float("nan")}}), "details are damaged"),
        (json.dumps(RESULT | {"details": {"by enrolment songs": {"x": 0.1}}}), "damaged"),
        (json.dumps(RESULT | {"details": {"accuracy of each genre": [0.5]}}), "are damaged"),
        (json.dumps(RESULT | {"details": {"accuracy of each genre": {"x": 1.5}}}), "damaged"),
        (json.dumps(RESULT | {"details": {"accuracy of each genre": {"x": None}}}), "damaged"),
    ],
)
def test_a_json_file_that_is_no_result_is_refused_by_name(write, tmp_path, text, reason):
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(InputError, match=rf"broken\.json: .*{reason}.*; move it"):
        write({})


def test_bytes_that_are_no_text_are_refused_by_name(tmp_path):
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"bytes\.json"):
        read_results(tmp_path)


def test_the_same_result_twice_is_refused(write):
    with pytest.raises(InputError, match=r"0\.json and 2\.json hold the same result"):
        write({}, LINEAR, {"value": 0.1})


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_results(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change",
    [
        {"seed": "one"},
        {"command": ["evaluate.py"]},
        {"protocol": "a/b"},
        {"details": {"map": {"x": [1.0], "y": [1.0], "label": ["a", "b"]}}},
        {"details": {"map": {"x": [1.0], "y": [float("inf")], "label": ["a"]}}},
        {"details": {"map": {"x": [1.0], "y": [1.0], "label": [1]}}},
        {"details": {"map": [1.0]}},
        {"protocol": "tsne"},
        {"protocol": "tsne", "details": {"map": {"x": [], "y": [], "label": []}}},
        {"artists": 0},
        {"trials": 0},
    ],
)
def test_what_figures_and_pages_use_is_checked(write, change):
    with pytest.raises(InputError, match=r"0\.json: not a result"):
        write(change)


def test_results_that_differ_in_their_seed_alone_are_their_mean(write):
    results = average_over_seeds(
        write(
            *({"features": f"own_60_{n}", "seed": n, "value": n / 4, "spread": 9} for n in (0, 2)),
            {"features": "own_60_0", "seed": 0, "value": 1, "dataset": "other"},
            LINEAR | {"features": "own_60_1", "seed": 1, "value": 0.5},
            {"features": "released"},
            {"features": "released_best"},
        )
    )
    told = results[["features", "value", "over"]].to_numpy().tolist()
    assert told == [
        ["own_60_{0,2}", 0.25, "2 seeds"],
        ["own_60_0", 1, ""],
        ["own_60_1", 0.5, "10 trials"],
        ["released", 0.5432, ""],
        ["released_best", 0.5432, ""],
    ]
    assert results["spread"].tolist()[0] == 0.25 and results["spread"].tolist()[2] == 0.01
    assert str(results["artists"].dtype) == "Int64"
    assert not len(average_over_seeds(results.iloc[:0].drop(columns="over")))


def test_what_differs_in_more_than_its_seed_is_not_averaged(write):
    results = average_over_seeds(
        write(
            *({"features": f"a_{n}", "seed": n, "n_songs": 9 - n} for n in (0, 1)),
            *({"features": f"b_{n}", "seed": n, "variant": "enrol=2"} for n in (0, 2)),
            *({"features": f"c_{n}", "seed": 7, "model": "basic"} for n in (0, 1)),
            *({"features": f"released_{n}"} for n in (0, 1)),
        )
    )
    told = dict(zip(results["features"], results["n_songs"], strict=True))
    assert list(told) == ["a_{0,1}", "b_{0,2}", "c_0", "c_1", "released_0", "released_1"]
    assert told["a_{0,1}"] == 8


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a_1"], "a_1"),
        (["a_2", "a_1"], "a_{1,2}"),
        (["a_1", "b_1"], "a_1 b_1"),
        (["a", "b"], "a b"),
        (["stn_gs_0", "stn_gs_1", "stn_gs_2"], "stn_gs_{0,1,2}"),
    ],
)
def test_names_are_told_together(names, told):
    assert merge_names(names) == told
