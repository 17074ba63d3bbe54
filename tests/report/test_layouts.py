"""`evaluate.py tables`, `figures`, `tsne` and `explore` as a researcher runs them."""

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.conftest import error_in_process, run_in_process
from tests.evaluation import feature_files
from tests.evaluation.result_files import RESULT

MEASURES = {"retrieval": "map", "knn": "accuracy", "linear": "accuracy"}
GENRES = ("blues", "$ro_ck", "<pop>")


@pytest.fixture
def results(tmp_path):
    """Made-up results of both models on two datasets, one of a name with a dot."""
    random = np.random.default_rng(0)
    folder = tmp_path / "results"
    folder.mkdir()
    everything = itertools.product(("gtzan", "v1.0"), MEASURES, ("basic", "siamese"), (500, 5000))
    for dataset, protocol, model, artists in everything:
        each = {genre: float(random.random()) for genre in GENRES}
        result = {
            "protocol": protocol,
            "metric": MEASURES[protocol],
            "value": float(random.random()),
            "n_songs": 930 if protocol == "retrieval" else 290,
            "dataset": dataset,
            "features": f"{model}_{artists}",
            "model": model,
            "artists": artists,
            "details": {} if protocol == "retrieval" else {"accuracy of each genre": each},
        }
        path = folder / f"{protocol}_{model}_{artists}_{dataset}.json"
        path.write_text(json.dumps(RESULT | result))
    return folder


def made(folder) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".json"}


NAMES = {f"{p}_by_artists_{d}_genre" for p in MEASURES for d in ("gtzan", "v1.0")}
NAMES |= {f"{p}_by_genre_{d}" for p in ("knn", "linear") for d in ("gtzan", "v1.0")}


def test_each_dataset_and_protocol_has_its_tables(results):
    ran = run_in_process("evaluate.py", "tables", "--results", results)
    assert made(results) == {
        f"{name}.{kind}" for name in {*NAMES, "tables", "summary"} for kind in ("csv", "md", "tex")
    }
    table = pd.read_csv(results / "linear_by_genre_v1.0.csv")
    kept = json.loads((results / "linear_siamese_5000_v1.0.json").read_text())["details"]
    found = dict(zip(table["genre"], table["siamese, 5,000 artists"], strict=True))
    assert found == pytest.approx(kept["accuracy of each genre"])
    assert list(found) == sorted(GENRES)
    assert f"| &lt;pop> | {table['basic, 5,000 artists'][1]:.4f} |" in ran.out
    assert r"\$ro\_ck &" in (results / "linear_by_genre_v1.0.tex").read_text()
    table = pd.read_csv(results / "retrieval_by_artists_gtzan_genre.csv")
    assert list(table)[3:] == ["500 artists", "5000 artists"]


def test_the_papers_tables_have_no_empty_cell_without_a_need(results):
    ran = run_in_process("evaluate.py", "tables", "--results", results)
    table = pd.read_csv(results / "tables.csv", keep_default_na=False)
    assert (table.loc[table["ours"] == "", "needs"] != "").all()
    ours = json.loads((results / "retrieval_siamese_5000_gtzan.json").read_text())["value"]
    cell = table.query("table == 1 and dataset == 'gtzan' and model == 'siamese'")
    [row] = cell.to_dict("records")
    assert float(row["ours"]) == ours and float(row["paper's"]) == 0.5510
    assert f"| gtzan | siamese | 5000 | map | 0.5510 | {ours:.4f} |" in ran.out
    assert "ismir2018: 6 of 31 numbers, and " in ran.out
    assert "arxiv2017: 0 of 14 numbers" in ran.lines and "agf2018: 0 of 146 numbers" in ran.lines
    assert "| [1] |" in ran.out and "\n[1] GTZAN audio" in ran.out
    text = (results / "tables.md").read_text()
    assert "agf2018, Table 4" in text and "agf2018, Table 4" not in ran.out
    ran = run_in_process("evaluate.py", "tables", "--results", results, "--paper", "agf2018")
    assert "agf2018, Table 4" in ran.out and "ismir2018" not in ran.out


def test_each_dataset_and_protocol_has_its_figures(results):
    ran = run_in_process("evaluate.py", "figures", "--results", results)
    names = {*NAMES, "gtzan_genre", "v1.0_genre"}
    drawn = {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert made(results) == {*drawn, "figures.csv"}
    listed = pd.read_csv(results / "figures.csv", keep_default_na=False)
    assert set(listed["file"]) - {""} == {f"{name}.png" for name in names}
    absent = listed[listed["file"].eq("")]
    assert absent["of_paper"].tolist() == [
        *("ismir2018, Figure 6", "ismir2018, Figure 7"),
        *(f"arxiv2017, Figure {n}" for n in (2, 3, 4, 5)),
        "agf2018, Figure 3",
    ]
    assert len(ran.lines) == len(listed)
    assert sum("not drawn; it needs evaluate.py " in line for line in ran.lines) == len(absent)


def test_many_labels_have_a_table_and_no_figure(results):
    for path in results.glob("*.json"):
        each = {"accuracy of each genre": {f"artist {n}": 0.5 for n in range(41)}}
        found = json.loads(path.read_text()) | {"details": each, "label": "artist"}
        path.write_text(json.dumps(found))
    run_in_process("evaluate.py", "tables", "--results", results)
    run_in_process("evaluate.py", "figures", "--results", results)
    assert (results / "knn_by_artist_gtzan.md").exists()
    assert not (results / "knn_by_artist_gtzan.png").exists()
    assert (results / "knn_by_artists_gtzan_artist.png").exists()


def test_seeds_are_one_row_and_one_bar(results):
    for path in list(results.glob("*_siamese_500_gtzan.json")):
        found = json.loads(path.read_text()) | {"seed": 0, "features": "siamese_500_0"}
        path.write_text(json.dumps(found))
        again = found | {"seed": 1, "features": "siamese_500_1", "value": found["value"] / 2}
        path.with_name(f"again_{path.name}").write_text(json.dumps(again))
    run_in_process("evaluate.py", "tables", "--results", results)
    table = pd.read_csv(results / "summary.csv").query("dataset == 'gtzan'")
    assert "siamese_500_{0,1}" in set(table["features"]) and len(table) == 4


# ---------------------------------------------------------------- a map of songs


@pytest.fixture
def songs(tmp_path):
    return feature_files.write_files(tmp_path, "songs", *feature_files.make_artists("abcdefgh"))


def test_a_map_is_a_result_that_figures_draws(songs, tmp_path):
    kept = tmp_path / "results/map.json"
    few = ("--perplexity", 5, "--json", kept)
    ran = run_in_process("evaluate.py", "tsne", *songs, "--label", "artist", "--first", 3, *few)
    result = json.loads(kept.read_text())
    assert ran.lines == [f"kl_divergence {result['value']:.4f}"] and result["n_songs"] == 18
    assert result["command"].startswith("python evaluate.py tsne ")
    assert set(result["details"]["map"]["label"]) == set("abc")
    again = run_in_process("evaluate.py", "tsne", *songs, "--label", "artist", "--first", 3, *few)
    assert again.lines[0] == f"{kept}: complete already"
    assert "complete already" not in run_in_process("evaluate.py", "tsne", *songs, *few).out
    assert json.loads(kept.read_text())["n_songs"] == 48
    ran = run_in_process("evaluate.py", "figures", "--results", kept.parent)
    assert ran.lines[0] == (
        f"{kept.parent}/tsne_genre_basic_run_songs.png: ismir2018, Figure 7: 48 songs of songs by "
        "genre, t-SNE of basic_run"
    )
    svg = kept.parent / "tsne_genre_basic_run_songs.svg"
    first = svg.read_bytes()
    run_in_process("evaluate.py", "figures", "--results", kept.parent)
    assert svg.read_bytes() == first


def test_a_name_of_weights_leaves_no_folder(tmp_path):
    hostile = feature_files.write_files(
        tmp_path, "songs", *feature_files.make_artists("abcdef"), run="../../../x"
    )
    kept = tmp_path / "results/map.json"
    run_in_process("evaluate.py", "tsne", *hostile, "--perplexity", 5, "--json", kept)
    run_in_process("evaluate.py", "figures", "--results", kept.parent)
    assert {path.name for path in kept.parent.glob("*.png")} == {"tsne_genre_.._.._.._x_songs.png"}
    assert not list(tmp_path.parent.glob("*.png"))


def test_a_map_that_cannot_be_made_is_refused(songs, tmp_path):
    out = tmp_path / "results/map.json"
    message = error_in_process("evaluate.py", "tsne", *songs, "--json", out, "--perplexity", 48)
    assert "perplexity 48 for 48 songs; take a --perplexity above 0 and below 48" in message
    few = ("--label", "artist", "--first", 2, "--perplexity", 12)
    assert "perplexity 12 for 12 songs" in error_in_process("evaluate.py", "tsne", *songs, *few)
    message = error_in_process("evaluate.py", "tsne", *songs, "--json", out, "--label", "mood")
    assert "has no column 'mood'" in message
    assert not out.parent.exists()


# ---------------------------------------------------------------- the page of songs


def test_a_page_of_one_map_and_of_two(songs, tmp_path):
    features, _ = songs
    out = ("--perplexity", 5, "--label", "genre", "artist", "--out", tmp_path / "page.html")
    ran = run_in_process("evaluate.py", "explore", *songs, *out)
    assert ran.lines[-1] == f"{tmp_path / 'page.html'}: 48 songs, 1 maps"
    other = shutil.copy(features, tmp_path / "other.h5")
    ran = run_in_process("evaluate.py", "explore", *songs, *out, "--beside", other)
    assert ran.lines[-1].endswith("48 songs, 2 maps")
    assert "(other)" in (tmp_path / "page.html").read_text(), "two maps by one name"


def test_a_page_that_cannot_be_made_is_refused(songs, tmp_path):
    page = ("--perplexity", 5, "--out", tmp_path / "page.html")
    message = error_in_process("evaluate.py", "explore", *songs, *page, "--label", "mood")
    assert "'mood'" in message
    message = error_in_process(
        "evaluate.py", "explore", *songs, *page, "--audio", tmp_path / "none"
    )
    assert "none" in message
    message = error_in_process("evaluate.py", "explore", *songs, *page[2:], "--perplexity", 48)
    assert "take a --perplexity above 0 and below 48" in message
    others, _ = feature_files.write_files(tmp_path, "others", *feature_files.make_artists("xyz"))
    message = error_in_process("evaluate.py", "explore", *songs, *page, "--beside", others)
    assert "lacks 48 of 48 tracks" in message
    assert not (tmp_path / "page.html").exists()
