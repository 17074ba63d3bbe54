import pandas as pd
import pytest

from evaluation.results import read_results
from papers.paper_tables import CELL, compare_with_paper, read_paper_tables, select_paper_numbers
from tests.evaluation.result_files import KNN, LINEAR, result_writer

TRANSFER = {"protocol": "transfer", "metric": "accuracy", "model": "basic"}


@pytest.fixture
def write(tmp_path):
    return result_writer(tmp_path)


@pytest.fixture
def compare(write):
    """Return a function that writes results and returns the comparison rows that they fill."""

    def compare(*results: dict) -> pd.DataFrame:
        return compare_with_paper(write(*results)).dropna(subset="ours")

    return compare


def test_compare_without_results_lists_requirements_of_every_cell(tmp_path):
    table, paper = compare_with_paper(read_results(tmp_path)), read_paper_tables()
    columns = ["paper", "table", *CELL, "paper's", "note"]
    results = ["ours", "difference", "spread", "over", "songs", "weights"]
    assert list(table) == [*columns[:-1], *results, "note", "needs"]
    paper = paper.rename(columns={"value": "paper's"})[columns]
    pd.testing.assert_frame_equal(table[columns], paper, check_dtype=False)
    assert table["ours"].isna().all() and (table["needs"].str.len() > 20).all()


def test_compare_fills_only_the_matching_cell(write):
    tag = {"model": "tag", "features": "tag", "artists": None}
    linear = LINEAR | {"artists": 10000, "features": "siamese_10000"}
    ignored = (KNN | {"variant": "k=1"}, {"label": "artist", "features": "other"})
    table = compare_with_paper(write({}, tag, linear, *ignored))
    assert len(table) == len(read_paper_tables())
    assert (table["needs"] != "").eq(table["ours"].isna()).all()
    filled = table.dropna(subset="ours")
    columns = ["table", "model", "paper's", "weights", "songs", "over"]
    assert filled[columns].to_numpy().tolist() == [
        [1, "siamese", 0.5510, "siamese_5000", 930, ""],
        [1, "tag", 0.5508, "tag", 930, ""],
        [4, "siamese", 0.7203, "siamese_10000", 930, "10 trials"],
    ]
    assert filled["difference"].iloc[0] == pytest.approx(0.5432 - 0.5510, abs=1e-12)
    assert filled["spread"].iloc[2] == 0.01


def test_compare_reports_results_that_cover_too_few_tracks(compare):
    filled = compare(
        {"n_songs": 93},
        KNN | {"n_songs": 288},
        KNN | {"n_songs": 4, "model": "basic", "features": "basic_5000"},
        LINEAR | {"dataset": "naver", "n_songs": 7},
    ).set_index("protocol")["needs"]
    assert filled["retrieval"].startswith("the other tracks: only 93 of 930 were evaluated")
    assert "; GTZAN audio (930 clips) in DIR/gtzan; then delete splits" in filled["retrieval"]
    partial, complete = filled["knn"]
    assert partial.startswith("the other tracks: only 4 of 290") and complete == ""
    assert filled["linear"] == ""  # the paper does not state how many test tracks NAVER has


def test_compare_averages_runs_that_differ_only_in_the_seed(compare):
    """Test that other feature sets that match the same cell have their own rows, by name."""
    runs = [{"features": f"siamese_5000_{n}", "seed": n, "value": 0.5 + n / 10} for n in (0, 1)]
    filled = compare(*runs, {"features": "siamese_5000_best", "value": 0.9})
    assert list(filled["weights"]) == ["siamese_5000_best", "siamese_5000_{0,1}"]
    assert list(filled["ours"]) == [0.9, pytest.approx(0.55)]
    assert filled["spread"].iloc[1] == pytest.approx(0.05)
    assert list(filled["over"]) == ["", "2 seeds"]


def test_compare_appends_only_largest_models_for_other_datasets(write):
    demo, names = {"dataset": "demo_target"}, ("model", "artists", "value")
    values = [("basic", 20, 0.1), ("basic", 60, 0.2), ("siamese", 60, 0.3), ("mfcc", None, 0.9)]
    rows = [dict(zip(names, row, strict=True)) for row in values]
    results = [{**demo, "features": str(row), **row} for row in rows]
    tag = {**demo, **LINEAR, "model": "tag", "artists": None, "features": "tag"}
    # fma_medium appears in agf2018 only, so it is an additional dataset for ismir2018.
    other = {"dataset": "fma_medium", "features": "other"}
    table = compare_with_paper(write(*results, tag, other))
    assert len(table) == len(read_paper_tables()) + 4
    first = table[table["paper"].eq("ismir2018") & table["table"].eq(1)]
    assert list(first["dataset"])[9:] == ["demo_target", "demo_target", "fma_medium"]
    assert list(first["ours"])[9:] == [0.2, 0.3, 0.5432]
    assert first["paper's"].isna().tolist() == [False] * 9 + [True] * 3
    assert first["needs"].tolist()[9:] == ["", "", ""] and first["difference"].isna().all()
    third = table[table["paper"].eq("ismir2018") & table["table"].eq(3)].iloc[-1]
    assert (third["model"], third["dataset"]) == ("tag", "demo_target")


def test_compare_appends_all_sizes_to_tables_that_compare_sizes(compare):
    mine = TRANSFER | {"dataset": "mine"}
    filled = compare(*(mine | {"artists": n, "features": f"basic_{n}"} for n in (20, 60)))
    rows = filled[["table", "model", "artists"]].to_numpy().tolist()
    assert rows == [[1, "basic", 20], [1, "basic", 60], [2, "basic without LDA", 60]]


def test_compare_fills_the_arxiv2017_tables(compare):
    tagging = {"protocol": "tagging", "metric": "auc", "dataset": "mtat", "model": "basic"}
    filled = compare(
        tagging | {"label": "tags", "value": 0.91},
        tagging | {"label": "genre", "value": 0.11, "features": "other"},
        TRANSFER | {"value": 0.81},
        TRANSFER | {"value": 0.82, "model": "basic with LDA", "features": "lda"},
    )
    filled = filled[filled["paper"].eq("arxiv2017")]
    assert filled[["table", "protocol", "model", "ours"]].to_numpy().tolist() == [
        [1, "transfer", "basic", 0.81],
        [1, "tagging", "basic", 0.91],
        [2, "transfer", "basic without LDA", 0.81],
        [2, "tagging", "basic without LDA", 0.91],
        [2, "transfer", "basic with LDA", 0.82],
    ]


def test_select_paper_numbers_matches_model_dataset_and_metric(write):
    basic = LINEAR | {"model": "basic", "artists": 500}
    numbers = select_paper_numbers(write(basic, basic | {"artists": 1000, "features": "other"}))
    assert numbers[["model", "artists", "value"]].values.tolist() == [
        ["basic", 5000, 0.6721],
        ["basic", 10000, 0.7076],
    ]
    for change in ({"label": "artist"}, {"dataset": "mine"}, {"metric": "auc"}, {"model": "tag"}):
        numbers = select_paper_numbers(write(basic, LINEAR | {"features": "other"} | change))
        assert set(numbers["model"]) == {"basic"}
