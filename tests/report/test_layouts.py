"""`evaluate.py figures` of ismir2018's measures, and `evaluate.py tsne`."""

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.conftest import refused_here, run_here
from tests.evaluation import made_up

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
            "spread": None,
            "trials": None,
            "n_songs": 290,
            "dataset": dataset,
            "label": "genre",
            "features": f"{model}_{artists}",
            "model": model,
            "artists": artists,
            "details": {} if protocol == "retrieval" else {"accuracy of each genre": each},
            "made_from": {},
        }
        path = folder / f"{protocol}_{model}_{artists}_{dataset}.json"
        path.write_text(json.dumps(result))
    return folder


def test_each_dataset_and_protocol_has_its_figures(results):
    ran = run_here("evaluate.py", "figures", "--results", results)
    made = {path.name for path in results.iterdir() if path.suffix != ".json"}
    names = {f"{p}_by_artists_{d}_genre" for p in MEASURES for d in ("gtzan", "v1.0")}
    names |= {f"{p}_by_genre_{d}" for p in ("knn", "linear") for d in ("gtzan", "v1.0")}
    assert made == {f"{name}.{kind}" for name in names for kind in ("md", "csv", "png", "svg")}
    table = pd.read_csv(results / "linear_by_genre_v1.0.csv")
    kept = json.loads((results / "linear_siamese_5000_v1.0.json").read_text())["details"]
    found = dict(zip(table["genre"], table["siamese, 5,000 artists"], strict=True))
    assert found == pytest.approx(kept["accuracy of each genre"])
    assert list(found) == sorted(GENRES)
    assert f"| <pop> | {table['basic, 5,000 artists'][1]:.4f} |" in ran.out
    table = pd.read_csv(results / "retrieval_by_artists_gtzan_genre.csv")
    assert list(table)[3:] == ["500 artists", "5000 artists"]


def test_many_labels_have_a_table_and_no_figure(results):
    for path in results.glob("*.json"):
        each = {"accuracy of each genre": {f"artist {n}": 0.5 for n in range(41)}}
        found = json.loads(path.read_text()) | {"details": each, "label": "artist"}
        path.write_text(json.dumps(found))
    ran = run_here("evaluate.py", "figures", "--results", results)
    assert any(line.endswith("not drawn, of 41 labels; 40 are the most") for line in ran.lines)
    assert (results / "knn_by_artist_gtzan.md").exists()
    assert not (results / "knn_by_artist_gtzan.png").exists()


def test_results_that_do_not_say_how_many_artists_are_refused(results):
    for path in results.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"artists": None}))
    message = refused_here("evaluate.py", "figures", "--results", results)
    assert "holds no result of verification, " in message and "linear by features that" in message
    assert not list(results.glob("*.png"))


# ---------------------------------------------------------------- a map of songs


@pytest.fixture
def songs(tmp_path):
    return made_up.write(tmp_path, "songs", *made_up.artists("abcdefgh"))


def test_songs_are_drawn_by_label(songs, tmp_path):
    out = tmp_path / "figures/map.png"
    few = ("--perplexity", 5, "--out", out)
    ran = run_here("evaluate.py", "tsne", *songs, "--label", "artist", "--most", 3, *few)
    assert ran.lines[-1] == f"{out}: 48 songs, 3 of 8 labels in colour"
    assert {path.name for path in out.parent.iterdir()} == {"map.png", "map.svg"}
    first = out.read_bytes()
    run_here("evaluate.py", "tsne", *songs, "--label", "artist", "--most", 3, *few)
    assert out.read_bytes() == first
    ran = run_here("evaluate.py", "tsne", *songs, *few)
    assert ran.lines[-1] == f"{out}: 48 songs, 2 of 2 labels in colour"
    assert out.read_bytes() != first


def test_a_map_that_cannot_be_drawn_is_refused(songs, tmp_path):
    out = tmp_path / "figures/map.png"
    message = refused_here("evaluate.py", "tsne", *songs, "--out", out, "--perplexity", 48)
    assert "perplexity 48 for 48 songs; take a --perplexity above 0 and below 48" in message
    message = refused_here("evaluate.py", "tsne", *songs, "--out", out.with_suffix(".pdf"))
    assert "map.pdf: name a .png" in message
    message = refused_here("evaluate.py", "tsne", *songs, "--out", out, "--label", "mood")
    assert "has no column 'mood'" in message
    assert not out.parent.exists()


# ---------------------------------------------------------------- the page


def test_a_page_of_one_map_and_of_two(songs, tmp_path):
    features, _ = songs
    out = ("--perplexity", 5, "--label", "genre", "artist", "--out", tmp_path / "page.html")
    ran = run_here("evaluate.py", "explore", *songs, *out)
    assert ran.lines[-1] == f"{tmp_path / 'page.html'}: 48 songs, 1 maps"
    other = shutil.copy(features, tmp_path / "other.h5")
    ran = run_here("evaluate.py", "explore", *songs, *out, "--beside", other)
    assert ran.lines[-1].endswith("48 songs, 2 maps")
    assert "(other)" in (tmp_path / "page.html").read_text(), "two maps by one name"


def test_a_page_that_cannot_be_made_is_refused(songs, tmp_path):
    page = ("--perplexity", 5, "--out", tmp_path / "page.html")
    message = refused_here("evaluate.py", "explore", *songs, *page, "--label", "mood")
    assert "'mood'" in message
    message = refused_here("evaluate.py", "explore", *songs, *page, "--audio", tmp_path / "none")
    assert "none" in message
    assert not (tmp_path / "page.html").exists()
