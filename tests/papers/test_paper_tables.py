"""The papers' numbers, ours beside them."""

import pandas as pd
import pytest

from evaluation.results import read_results
from papers.paper_tables import compare_with_paper, read_paper_tables, tables_of_paper
from tests.evaluation.result_files import KNN, LINEAR, result_writer


@pytest.fixture
def write(tmp_path):
    return result_writer(tmp_path)


OF_CELL = ["paper", "table", "protocol", "dataset", "model", "artists", "metric", "note"]
COLUMNS = [
    *OF_CELL[:-1],
    *("paper's", "ours", "difference", "spread", "over", "songs", "weights", "note", "needs"),
]


def test_without_results_every_cell_of_the_papers_says_what_it_needs(tmp_path):
    table, paper = compare_with_paper(read_results(tmp_path)), read_paper_tables()
    assert list(table) == COLUMNS
    pd.testing.assert_frame_equal(
        table[[*OF_CELL, "paper's"]],
        paper.rename(columns={"value": "paper's"})[[*OF_CELL, "paper's"]],
        check_dtype=False,
    )
    assert table["ours"].isna().all()
    assert (table["needs"].str.len() > 20).all()
    assert not table["needs"].str.contains(r"[{}]").any()


def test_a_result_fills_its_cell_only(write):
    table = compare_with_paper(write({}, LINEAR | {"artists": 10000, "features": "siamese_10000"}))
    filled = table[table["ours"].notna()].set_index("table")
    assert list(filled.index) == [1, 4]
    assert list(filled["paper's"]) == [0.5510, 0.7203]
    assert filled.loc[1, "difference"] == pytest.approx(0.5432 - 0.5510, abs=1e-12)
    assert list(filled["weights"]) == ["siamese_5000", "siamese_10000"]
    assert list(filled["songs"]) == [930, 930]
    assert (filled.loc[4, "spread"], filled.loc[4, "over"]) == (0.01, "10 trials")
    assert list(filled["needs"]) == ["", ""]
    assert len(table) == len(read_paper_tables())
    assert (table.loc[table["ours"].isna(), "needs"] != "").all()


def test_a_cell_of_fewer_songs_than_the_papers_says_so(write):
    whole, part = (
        KNN | {"n_songs": 288},
        KNN | {"n_songs": 4, "model": "basic", "features": "basic_5000"},
    )
    results = write({"n_songs": 93}, whole, part, LINEAR | {"dataset": "naver", "n_songs": 7})
    filled = compare_with_paper(results).dropna(subset="ours").set_index("protocol")["needs"]
    assert filled["retrieval"].startswith("the other songs: 93 of 930 were judged")
    assert "; GTZAN audio (930 clips), in DIR/gtzan; then delete splits" in filled["retrieval"]
    few, all_of_them = filled["knn"]  # basic stands first
    assert few.startswith("the other songs: 4 of 290") and all_of_them == ""
    assert filled["linear"] == ""  # the paper does not say how many it judged on


def test_results_of_another_protocol_than_the_papers_fill_no_cell(write):
    table = compare_with_paper(write(KNN | {"variant": "k=1"}, {"variant": ""}))
    assert list(table.loc[table["ours"].notna(), "protocol"]) == ["retrieval"]


def test_what_other_papers_judge_on_is_other_data_here(write):
    table = compare_with_paper(write({"dataset": "fma_medium"}))
    rows = table[table["ours"].notna()].to_dict("records")
    assert [(row["paper"], row["table"], row["dataset"]) for row in rows] == [
        ("ismir2018", 1, "fma_medium")
    ]


def test_several_released_weights_for_one_cell_have_a_row_each(write):
    table = compare_with_paper(write({"features": "z", "value": 0.1}, {"features": "a"}))
    filled = table[table["ours"].notna()]
    assert list(filled["weights"]) == ["a", "z"]
    assert list(filled["ours"]) == [0.5432, 0.1]
    assert len(table) == len(read_paper_tables()) + 1


def test_own_trainings_that_differ_in_their_seed_are_one_mean(write):
    own = [{"features": f"siamese_5000_{n}", "seed": n, "value": 0.5 + n / 10} for n in (0, 1)]
    table = compare_with_paper(write(*own, {"features": "siamese_5000_best", "value": 0.9}))
    filled = table[table["ours"].notna()]
    assert list(filled["weights"]) == ["siamese_5000_best", "siamese_5000_{0,1}"]
    assert list(filled["ours"]) == [0.9, pytest.approx(0.55)]
    assert filled["spread"].iloc[1] == pytest.approx(0.05)
    assert list(filled["over"]) == ["", "2 seeds"]


def test_other_data_stands_below_the_papers_at_the_most_artists(write):
    demo = {"dataset": "demo_target"}
    numbers = {("basic", 20): 0.1, ("basic", 60): 0.2, ("siamese", 60): 0.3, ("mfcc", None): 0.9}
    table = compare_with_paper(
        write(
            *(
                {**demo, "model": model, "artists": artists, "value": v, "features": f"{model}{v}"}
                for (model, artists), v in numbers.items()
            ),
            {**demo, **LINEAR, "model": "tag", "artists": None, "features": "tag"},
        )
    )
    assert len(table) == len(read_paper_tables()) + 3
    first = table[table["paper"].eq("ismir2018") & table["table"].eq(1)]
    assert list(first["dataset"])[-2:] == ["demo_target"] * 2 and list(first["ours"])[-2:] == [
        0.2,
        0.3,
    ]
    assert first["paper's"].isna().tolist() == [False] * 9 + [True] * 2
    assert (first["needs"].tolist()[-2:], first["difference"].notna().sum()) == (["", ""], 0)
    third = table[table["paper"].eq("ismir2018") & table["table"].eq(3)].iloc[-1]
    assert (third["model"], third["dataset"]) == ("tag", "demo_target")


def test_where_the_paper_has_several_numbers_of_artists_other_data_has_too(write):
    transfer = {"protocol": "transfer", "metric": "accuracy", "model": "basic", "dataset": "mine"}
    made = [{**transfer, "artists": n, "features": f"basic_{n}"} for n in (20, 60)]
    table = compare_with_paper(write(*made))
    mine = table[table["dataset"].eq("mine")]
    found = mine[["table", "model", "artists"]].to_numpy().tolist()
    assert found == [[1, "basic", 20], [1, "basic", 60], [2, "basic without LDA", 60]]


def test_a_result_for_another_label_fills_no_cell(write):
    results = write({"label": "artist"})
    assert compare_with_paper(results)["ours"].isna().all()


def test_a_tag_model_has_no_artists_and_fills_its_cell(write):
    table = compare_with_paper(write({"model": "tag", "features": "tag", "artists": None}))
    filled = table[table["ours"].notna()]
    assert list(filled["model"]) == ["tag"]
    assert list(filled["paper's"]) == [0.5508]


def test_tags_fill_the_cells_of_tagging_and_the_basic_model_those_without_lda(write):
    tagging = {"protocol": "tagging", "metric": "auc", "dataset": "mtat", "model": "basic"}
    transfer = {"protocol": "transfer", "metric": "accuracy", "model": "basic"}
    cells = compare_with_paper(
        write(
            {**tagging, "label": "tags", "value": 0.91},
            {**tagging, "label": "genre", "value": 0.11, "features": "other"},
            {**transfer, "value": 0.81},
            {**transfer, "value": 0.82, "model": "basic with LDA", "features": "lda"},
        )
    )
    ours = cells[cells["paper"].eq("arxiv2017")].dropna(subset="ours")
    found = ours[["table", "protocol", "model", "ours"]].to_numpy().tolist()
    assert found == [
        [1, "transfer", "basic", 0.81],
        [1, "tagging", "basic", 0.91],
        [2, "transfer", "basic without LDA", 0.81],
        [2, "tagging", "basic without LDA", 0.91],
        [2, "transfer", "basic with LDA", 0.82],
    ]


def test_the_papers_numbers_are_those_of_the_same_measure_by_artists(write):
    basic = LINEAR | {"model": "basic", "artists": 500}
    found = tables_of_paper(write(basic, basic | {"artists": 1000, "features": "other"}))
    assert found[["model", "artists", "value"]].values.tolist() == [
        ["basic", 5000, 0.6721],
        ["basic", 10000, 0.7076],
    ]
    for change in ({"label": "artist"}, {"dataset": "mine"}, {"metric": "auc"}, {"model": "tag"}):
        other = LINEAR | {"features": "other"} | change
        assert not len(tables_of_paper(write(basic, other)).query("model != 'basic'"))
