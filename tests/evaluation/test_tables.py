"""Reading results, and the papers' tables beside them."""

import json

import pandas as pd
import pytest

from common.errors import InputError
from evaluation.tables import (
    SYSTEMS,
    by_artists,
    by_features,
    by_label,
    margins,
    of_paper,
    paper_beside_ours,
    read_paper_tables,
    read_results,
    to_markdown,
    with_footnotes,
)

RESULT = {
    "protocol": "retrieval",
    "metric": "map",
    "value": 0.5432,
    "spread": None,
    "trials": None,
    "n_songs": 930,
    "dataset": "gtzan",
    "label": "genre",
    "features": "siamese_5000",
    "model": "siamese",
    "artists": 5000,
    "made_from": {"features": "sha256"},
}
LINEAR = {"protocol": "linear", "metric": "accuracy", "spread": 0.01, "trials": 10}
KNN = {"protocol": "knn", "metric": "accuracy"}


@pytest.fixture
def write(tmp_path):
    """Write results that differ from `RESULT` as told, and read the folder."""

    def read_after(*changes):
        for i, change in enumerate(changes):
            (tmp_path / f"{i}.json").write_text(json.dumps(RESULT | change), encoding="utf-8")
        return read_results(tmp_path)

    return read_after


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


def test_without_results_every_cell_of_the_papers_says_what_it_needs(tmp_path):
    table, paper = paper_beside_ours(read_results(tmp_path)), read_paper_tables()
    pd.testing.assert_frame_equal(table[list(paper.columns)], paper)
    assert table["ours"].isna().all()
    assert (table["needs"].str.len() > 20).all()
    assert not table["needs"].str.contains(r"[{}]").any()


def needs(cells, **cell):
    rows = cells[(cells[list(cell)] == pd.Series(cell)).all(axis=1)]
    assert len(rows) == 1
    return rows.iloc[0]["needs"]


def test_needs_are_the_commands_and_data_of_the_cell(tmp_path):
    cells = paper_beside_ours(read_results(tmp_path))
    released = needs(cells, table=1, dataset="gtzan", model="siamese", protocol="retrieval")
    assert released.startswith("GTZAN audio (930 clips)")
    assert (
        "python extract_features.py siamese_5000 cache/gtzan.h5 "
        "--out features/siamese_5000_gtzan.h5; python evaluate.py retrieval "
        "features/siamese_5000_gtzan.h5 splits/gtzan.csv --label genre "
        "--json results/retrieval_siamese_5000_gtzan.json"
    ) in released
    knn = needs(cells, dataset="fma_small", model="basic", protocol="knn")
    assert "FMA small" in knn and "basic_5000 cache/fma_small.h5" in knn
    tag = needs(cells, dataset="gtzan", model="tag", protocol="linear")
    assert "not released" in tag and "train_basic.py" in tag and "--labels tags" in tag
    assert "private list" in needs(cells, dataset="naver", model="basic", protocol="linear")
    many = needs(cells, table=4, dataset="gtzan", model="siamese", protocol="linear")
    assert "siamese_10000_149" in many and "likewise siamese_10000_399" in many
    quoted = cells[cells["note"] == "quoted by the paper"]
    assert quoted["needs"].str.startswith("nothing to run").all()
    few = needs(cells, paper="arxiv2017", dataset="mtat", model="basic", artists=100)
    assert "--tags splits/mtat.csv cache/mtat.h5 --artists 100 --out" in few
    released = needs(cells, paper="arxiv2017", dataset="mtat", model="basic", artists=1000)
    assert "basic_1000_149 cache/mtat.h5" in released and "evaluate.py tagging" in released
    assert "--label tags" in released
    plain = needs(cells, paper="arxiv2017", dataset="gtzan", model="basic without LDA")
    assert "basic_5000 cache/gtzan.h5" in plain and "evaluate.py transfer" in plain
    lda = needs(cells, paper="arxiv2017", dataset="gtzan", model="basic with LDA")
    assert "reproduce.py arxiv2017" in lda and "--genres splits/gtzan.csv" in lda
    groups = needs(cells, paper="agf2018", model="mtn gse", metric="macro_f1")
    assert groups.startswith("FMA medium audio (25,000 clips)")
    assert "python reproduce.py agf2018 --songs splits/fma_medium.csv cache/fma_medium.h5" in groups


def test_a_result_fills_its_cell_only(write):
    table = paper_beside_ours(write({}, LINEAR | {"artists": 10000, "features": "siamese_10000"}))
    filled = table[table["ours"].notna()].set_index("table")
    assert list(filled.index) == [1, 4]
    assert list(filled["value"]) == [0.5510, 0.7203]
    assert filled.loc[1, "difference"] == pytest.approx(0.5432 - 0.5510, abs=1e-12)
    assert list(filled["features"]) == ["siamese_5000", "siamese_10000"]
    assert list(filled["n_songs"]) == [930, 930]
    assert filled.loc[4, "spread"] == 0.01
    assert list(filled["needs"]) == ["", ""]
    assert len(table) == len(read_paper_tables())
    assert (table.loc[table["ours"].isna(), "needs"] != "").all()


def test_several_features_for_one_cell_have_a_row_each(write):
    table = paper_beside_ours(write({"features": "z", "value": 0.1}, {"features": "a"}))
    filled = table[table["ours"].notna()]
    assert list(filled["features"]) == ["a", "z"]
    assert list(filled["ours"]) == [0.5432, 0.1]
    assert len(table) == len(read_paper_tables()) + 1


def test_a_result_for_another_label_fills_no_cell(write):
    results = write({"label": "artist"})
    assert paper_beside_ours(results)["ours"].isna().all()


def test_features_side_by_side_are_sorted_by_map(write):
    demo = {"dataset": "demo_target"}
    table = by_features(
        write(
            demo | {"features": "low", "value": 0.2},
            demo | {"features": "high", "value": 0.9},
            demo | LINEAR | {"features": "low", "value": 0.3},
            demo | KNN | {"features": "unranked", "value": 0.99},
        )
    )
    assert list(table.columns) == ["dataset", "label", "features", "MAP", "k-NN", "linear"]
    assert list(table["features"]) == ["high", "low", "unranked"]
    assert table.loc[1, ["MAP", "linear"]].to_list() == [0.2, 0.3]
    assert table.loc[2, "k-NN"] == 0.99
    assert table[["MAP", "k-NN", "linear"]].isna().sum().sum() == 5


def test_a_tag_model_has_no_artists_and_fills_its_cell(write):
    table = paper_beside_ours(write({"model": "tag", "features": "tag", "artists": None}))
    filled = table[table["ours"].notna()]
    assert list(filled["model"]) == ["tag"]
    assert list(filled["value"]) == [0.5508]


def test_footnotes_tell_each_need_once_and_number_them_from_one(write):
    table = paper_beside_ours(write({}))
    text = with_footnotes(table)
    needs = [need for need in table["needs"].unique() if need]
    for number, need in enumerate(needs, 1):
        assert f"\n{number}. {need}\n" in text
        assert f"| [{number}] |" in text
    assert f"[{len(needs) + 1}]" not in text


def test_margins_say_how_far_trained_features_are_above_each_baseline(write):
    lines = margins(
        write(
            {"features": "siamese", "value": 0.5},
            LINEAR | {"features": "siamese", "value": 0.75},
            {"features": "mfcc", "model": "mfcc", "value": 0.625},
            {"features": "untrained", "model": "untrained", "value": 0.25},
            LINEAR | {"features": "untrained", "model": "untrained", "value": 0.5},
        )
    )
    assert lines == [
        "siamese against mfcc: -0.125 MAP",
        "siamese against untrained: +0.250 MAP, +0.250 linear",
    ]


def test_markdown_is_plain():
    table = pd.DataFrame(
        {
            "name": ["a|b", "two\nlines"],
            "value": [0.123456, float("nan")],
            "artists": pd.array([5000, None], dtype="Int64"),
            "difference": [-0.00001, -0.5],
        },
        index=[3, 4],
    )
    assert to_markdown(table).splitlines() == [
        "| name | value | artists | difference |",
        "| --- | ---: | ---: | ---: |",
        r"| a\|b | 0.1235 | 5000 | 0.0000 |",
        "| two lines |  |  | -0.5000 |",
    ]


# ---------------------------------------------------------------- artist recognition


EER = {"protocol": "verification", "metric": "eer", "label": "artist", "dataset": "unseen"}


def recognised(model, artists, value, **more):
    features = f"{model} {artists} {more.pop('seed', 0)}"
    return {**EER, "model": model, "artists": artists, "value": value, "features": features, **more}


def test_systems_stand_in_the_papers_order_against_the_number_of_artists(write):
    results = write(
        recognised("late fusion + PLDA", 100, 0.05),
        recognised("my system", 100, 0.5),
        recognised("GMM-UBM", 1000, 0.2, spread=0.03, trials=3),
        recognised("GMM-UBM", 100, 0.3),
        recognised("i-vector + PLDA", 100, 0.1, seed=0, spread=0.5, trials=3),
        recognised("i-vector + PLDA", 100, 0.2, seed=1, spread=0.5, trials=3),
    )
    table = by_artists(results)
    assert table.to_dict("list") == {
        "dataset": ["unseen"] * 4,
        "label": ["artist"] * 4,
        "system": ["GMM-UBM", "i-vector + PLDA", "late fusion + PLDA", "my system"],
        "100 artists": ["0.3000", "0.1500 ± 0.0500", "0.0500", "0.5000"],
        "1000 artists": ["0.2000 ± 0.0300", "", "", ""],
    }
    assert len(SYSTEMS) == 7
    others = by_artists(write(recognised("a", 5, 0.1), recognised("a", 5, 0.3, label="genre")))
    assert others["5 artists"].tolist()[-2:] == ["0.1000", "0.3000"]


def test_tags_fill_the_cells_of_tagging_and_the_basic_model_those_without_lda(write):
    tagging = {"protocol": "tagging", "metric": "auc", "dataset": "mtat", "model": "basic"}
    transfer = {"protocol": "transfer", "metric": "accuracy", "model": "basic"}
    cells = paper_beside_ours(
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


# ---------------------------------------------------------------- ismir2018's figures


def test_the_papers_numbers_are_those_of_the_same_measure_by_artists(write):
    basic = LINEAR | {"model": "basic", "artists": 500}
    found = of_paper(write(basic, basic | {"artists": 1000, "features": "other"}))
    assert found[["model", "artists", "value"]].values.tolist() == [
        ["basic", 5000, 0.6721],
        ["basic", 10000, 0.7076],
    ]
    for change in ({"label": "artist"}, {"dataset": "mine"}, {"metric": "auc"}, {"model": "tag"}):
        other = LINEAR | {"features": "other"} | change
        assert not len(of_paper(write(basic, other)).query("model != 'basic'"))


def each(**accuracies):
    return {"details": {"accuracy of each genre": accuracies}}


def test_genres_are_compared_at_the_most_artists_that_both_models_have(write):
    def of(model, artists, seed, **accuracies):
        features = f"{model}_{artists}_{seed}"
        about = {"model": model, "artists": artists, "features": features}
        return LINEAR | about | each(**accuracies)

    results = write(
        of("basic", 1000, 0, rock=0.1),
        of("basic", 5000, 0, rock=0.2, folk=0.4),
        of("siamese", 5000, 0, rock=0.5, ska=0.25),
        of("siamese", 5000, 1, rock=0.7, ska=0.75),
        of("siamese", 10000, 0, rock=1.0),
        of("tag", 9000, 0, rock=0.9),
        LINEAR | {"model": "basic", "artists": 10000, "features": "of another kind"},
    )
    table = by_label(results)
    assert list(table) == ["genre", "basic, 5,000 artists", "siamese, 5,000 artists"]
    assert table["genre"].tolist() == ["folk", "rock", "ska"]
    assert table.iloc[1].tolist() == ["rock", 0.2, pytest.approx(0.6)]
    assert table.isna().to_numpy().sum() == 2
    apart = by_label(results[results["artists"].ne(5000)])
    assert list(apart) == ["genre", "basic, 1,000 artists", "siamese, 10,000 artists"]
    assert not len(by_label(results[results["model"].eq("tag")]))
    assert not len(by_label(results.iloc[:0]))
