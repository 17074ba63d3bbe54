"""Tests of `evaluate.py tables`, `figures`, `tsne`, `explore` and `similar`."""

import itertools
import json
import re
import shutil

import mutagen
import numpy as np
import pandas as pd
import pytest
import soundfile

from common import feature_file
from tests.conftest import error_in_process, run_in_process
from tests.evaluation import feature_files
from tests.evaluation.result_files import RESULT
from tests.report.test_explorer import data_of

METRICS = {"retrieval": "map", "knn": "accuracy", "linear": "accuracy"}
DATASETS = ("gtzan", "v1.0")  # one has a dot in its name
GENRES = ("blues", "$ro_ck", "<pop>")
NAMES = {f"{protocol}_by_artists_{dataset}_genre" for protocol in METRICS for dataset in DATASETS}
NAMES |= {
    f"{protocol}_by_genre_{dataset}" for protocol in ("knn", "linear") for dataset in DATASETS
}


@pytest.fixture
def results(tmp_path):
    """Return a folder with results of two models on two datasets."""
    random, folder = np.random.default_rng(0), tmp_path / "results"
    folder.mkdir()
    conditions = itertools.product(DATASETS, METRICS, ("basic", "siamese"), (500, 5000))
    for dataset, protocol, model, artists in conditions:
        accuracies = {genre: float(random.random()) for genre in GENRES}
        result = {
            "protocol": protocol,
            "metric": METRICS[protocol],
            "value": float(random.random()),
            "n_songs": 930 if protocol == "retrieval" else 290,
            "dataset": dataset,
            "features": f"{model}_{artists}",
            "model": model,
            "artists": artists,
            "details": {} if protocol == "retrieval" else {"accuracy of each genre": accuracies},
        }
        path = folder / f"{protocol}_{model}_{artists}_{dataset}.json"
        path.write_text(json.dumps(RESULT | result))
    return folder


# ---------------------------------------------------------------- tables and figures


def test_tables_are_written_for_each_dataset_and_protocol(results):
    ran = run_in_process("evaluate.py", "tables", "--results", results)
    names = {*NAMES, "tables", "summary"}
    expected = {f"{name}.{kind}" for name in names for kind in ("csv", "md", "tex")}
    assert {path.name for path in results.iterdir() if path.suffix != ".json"} == expected
    table = pd.read_csv(results / "linear_by_genre_v1.0.csv")
    details = json.loads((results / "linear_siamese_5000_v1.0.json").read_text())["details"]
    accuracies = dict(zip(table["genre"], table["siamese, 5,000 artists"], strict=True))
    assert accuracies == pytest.approx(details["accuracy of each genre"])
    assert list(accuracies) == sorted(GENRES)
    assert f"| &lt;pop> | {table['basic, 5,000 artists'][1]:.4f} |" in ran.out
    assert r"\$ro\_ck &" in (results / "linear_by_genre_v1.0.tex").read_text()
    # The papers' tables
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
    assert "agf2018, Table 4" in (results / "tables.md").read_text()
    assert "agf2018, Table 4" not in ran.out


def test_tables_command_prints_a_single_paper(tmp_path):
    ran = run_in_process("evaluate.py", "tables", "--results", tmp_path, "--paper", "agf2018")
    assert "agf2018, Table 4" in ran.out and "ismir2018" not in ran.out


def test_figures_and_tables_are_made_for_every_protocol(tmp_path):
    curve = {"false alarm": [1.0, 0.3, 0.0], "miss": [0.0, 0.1, 1.0]}
    enrolment = {"DET": curve, "by enrolment songs": {"1": 0.3, "15": 0.1, "2": 0.2}}
    many, few = ({"accuracy of each genre": {f"g{n}": 0.5 for n in range(c)}} for c in (41, 3))
    for protocol, metric, label, model, value, details in (
        ("verification", "eer", "artist", "GMM-UBM", 0.2, enrolment),
        ("genre", "log_loss", "genre", "stn g", 1.5, {}),
        ("knn", "accuracy", "genre", "basic", 0.5, many),  # too many labels for a figure
        ("linear", "accuracy", "genre", "basic", 0.5, few),
    ):
        result = {"protocol": protocol, "metric": metric, "label": label, "dataset": "v1.0"}
        result |= {"model": model, "value": value, "details": details}
        (tmp_path / f"{protocol}.json").write_text(json.dumps(RESULT | result))
    run_in_process("evaluate.py", "tables", "--results", tmp_path)
    ran = run_in_process("evaluate.py", "figures", "--results", tmp_path)
    table = pd.read_csv(tmp_path / "verification_by_enrolment_v1.0_artist.csv")
    expected = {"system": "GMM-UBM", "enrolled by 1": 0.3, "enrolled by 2": 0.2}
    assert table.to_dict("records") == [expected | {"enrolled by 15": 0.1}]
    table = pd.read_csv(tmp_path / "combinations_v1.0.csv").set_index("tasks")
    assert table.loc["g", "STN log loss"] == 1.5
    assert len(pd.read_csv(tmp_path / "knn_by_genre_v1.0.csv")) == 41
    listed = pd.read_csv(tmp_path / "figures.csv", keep_default_na=False)
    drawn = listed[listed["file"].ne("")].set_index("file")["of_paper"].to_dict()
    assert drawn == {
        "v1.0_genre.png": "",
        "verification_by_artists_v1.0_artist.png": "arxiv2017, Figure 2",
        "knn_by_artists_v1.0_genre.png": "ismir2018, Figure 3",
        "linear_by_artists_v1.0_genre.png": "ismir2018, Figure 4",
        "linear_by_genre_v1.0.png": "ismir2018, Figure 5",
        "det_v1.0_artist.png": "",
        "verification_by_enrolment_v1.0_artist.png": "",
        "by_tasks_v1.0.png": "agf2018, Figure 3",
    }
    svg = {path.with_suffix(".png").name for path in tmp_path.glob("*.svg")}
    assert {path.name for path in tmp_path.glob("*.png")} == svg == set(drawn)
    missing = [line.partition(":")[0] for line in ran.lines if "not drawn; it needs" in line]
    assert missing == listed.loc[listed["file"].eq(""), "of_paper"].to_list()
    assert missing[:3] == [f"ismir2018, Figure {number}" for number in (2, 6, 7)]


# ---------------------------------------------------------------- t-SNE and the track explorer


@pytest.fixture
def tracks(tmp_path):
    return feature_files.write_files(tmp_path, "tracks", *feature_files.make_artists("abcdefgh"))


def test_tsne_result_is_drawn_by_the_figures_command(tracks, tmp_path):
    path = tmp_path / "results/map.json"
    command = ("evaluate.py", "tsne", *tracks, "--perplexity", 5, "--json", path)
    first = ("--label", "artist", "--max-labels", 3)
    ran = run_in_process(*command, *first)
    result = json.loads(path.read_text())
    assert ran.lines == [f"kl_divergence {result['value']:.4f}"] and result["n_songs"] == 18
    assert result["command"].startswith("python evaluate.py tsne ")
    assert set(result["details"]["map"]["label"]) == set("abc")
    assert "complete" in run_in_process(*command, *first).lines[0]
    assert "complete" not in run_in_process(*command).out
    assert json.loads(path.read_text())["n_songs"] == 48
    ran = run_in_process("evaluate.py", "figures", "--results", path.parent)
    assert ran.lines[0] == (
        f"{path.parent}/tsne_genre_basic_run_tracks.png: ismir2018, Figure 7: 48 tracks of tracks "
        "by genre, t-SNE of basic_run"
    )


def test_weights_name_cannot_place_a_figure_outside_the_folder(tmp_path):
    artists = feature_files.make_artists("abcdef")
    hostile = feature_files.write_files(tmp_path, "tracks", *artists, run="../../../x")
    path = tmp_path / "results/map.json"
    run_in_process("evaluate.py", "tsne", *hostile, "--perplexity", 5, "--json", path)
    run_in_process("evaluate.py", "figures", "--results", path.parent)
    assert [one.name for one in path.parent.glob("*.png")] == ["tsne_genre_.._.._.._x_tracks.png"]
    assert not list(tmp_path.parent.glob("*.png"))


def test_tsne_rejects_an_invalid_perplexity_or_label(tracks, tmp_path):
    out = tmp_path / "results/map.json"
    message = error_in_process("evaluate.py", "tsne", *tracks, "--json", out, "--perplexity", 48)
    assert "perplexity 48 " in message and "below 48" in message
    few = ("--label", "artist", "--max-labels", 2, "--perplexity", 12)
    assert "perplexity 12 " in error_in_process("evaluate.py", "tsne", *tracks, *few)
    message = error_in_process("evaluate.py", "tsne", *tracks, "--json", out, "--label", "mood")
    assert "has no column 'mood'" in message
    assert not out.parent.exists()


def test_explore_writes_a_page_with_one_or_two_maps(tracks, tmp_path):
    features, _ = tracks
    page = tmp_path / "page.html"
    options = ("--perplexity", 5, "--label", "genre", "artist", "--out", page)
    ran = run_in_process("evaluate.py", "explore", *tracks, *options)
    assert ran.lines[-1].startswith(f"{page}: 48 ") and ", 1 map" in ran.lines[-1]
    other = shutil.copy(features, tmp_path / "other.h5")
    ran = run_in_process("evaluate.py", "explore", *tracks, *options, "--compare-with", other)
    assert ran.lines[-1].endswith(", 2 maps")
    assert "(other)" in page.read_text(), "two maps have the same name"


def test_explore_rejects_invalid_options_and_mismatched_features(tracks, tmp_path):
    page = ("--perplexity", 5, "--out", tmp_path / "page.html")
    others, _ = feature_files.write_files(tmp_path, "others", *feature_files.make_artists("xyz"))
    for options, expected in (
        ((*page, "--label", "mood"), f"{tracks[1]}: has no column 'mood'"),
        ((*page, "--audio", tmp_path / "none"), "none"),
        ((*page[2:], "--perplexity", 48), "below 48"),
        ((*page, "--compare-with", others), "48 of 48 tracks"),
    ):
        assert expected in error_in_process("evaluate.py", "explore", *tracks, *options)
    assert not (tmp_path / "page.html").exists()


@pytest.fixture
def music(tmp_path):
    """Return a feature file and its folder: nine tagged tracks, and one in an artist's folder."""
    folder = tmp_path / "music"
    paths = [f"{number}.flac" for number in range(9)] + ["Folder <i>Name/x.flac"]
    for number, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, np.zeros(2000), 22_050)
        if number < 9:
            file = mutagen.File(folder / path, easy=True)
            file["artist"], file["title"] = f"Artist {number % 2}", f"<b>Song</b> {number}"
            file["genre"] = ["Rock", "Folk"]
            file.save()
    return write_features(tmp_path / "music.h5", paths), folder


def write_features(path, tracks, failed=()):
    features = np.random.default_rng(0).normal(size=(len(tracks), 4))
    contents = feature_file.Features(
        features, np.array(tracks, object), dict.fromkeys(failed, "is silent"), {}
    )
    feature_file.write_features(path, contents)
    return path


def test_explore_without_a_split_labels_all_tracks_from_their_tags(music, tmp_path):
    features, folder = music
    page, other = tmp_path / "page.html", shutil.copy(features, tmp_path / "other.h5")
    options = ("--audio", folder, "--label", "artist", "genre", "--out", page)
    ran = run_in_process("evaluate.py", "explore", features, *options, "--compare-with", other)
    assert ran.lines == [
        "1 of 10 files have no artist, album, genre or title in their tags, such as "
        "'Folder <i>Name/x.flac'",
        "1 of 10 files have their artist from the folder's name and 9 from tags",
        *["t-SNE: perplexity 3, because there are 10 tracks"] * 2,
        f"{page}: 10 tracks, 2 maps",
    ]
    data = data_of(page)
    assert data["track_id"][-1] == "Folder <i>Name/x.flac" and data["title"][-1] == ""
    assert data["title"][:2] == ["<b>Song</b> 0", "<b>Song</b> 1"]
    artist, genre = data["columns"]
    assert artist["classes"] == ["Artist 0", "Artist 1", "Folder <i>Name"]
    assert artist["codes"] == [0, 1, 0, 1, 0, 1, 0, 1, 0, 2]
    assert genre["classes"] == ["Rock|Folk"] and genre["codes"] == [0] * 9 + [-1]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_explore_shows_very_few_tracks(music, tmp_path, count):
    features = write_features(tmp_path / "few.h5", [f"{number}.flac" for number in range(count)])
    options = ("--audio", music[1], "--out", tmp_path / "page.html")
    run_in_process("evaluate.py", "explore", features, *options)
    assert len(data_of(tmp_path / "page.html")["maps"][0]["x"]) == count


def test_explore_without_a_split_counts_tracks_that_it_cannot_show(music, tmp_path):
    tracks = ["0.flac", "1.flac", "gone.flac"]
    features = write_features(tmp_path / "some.h5", tracks, failed=["bad.flac"])
    file = mutagen.File(music[1] / "1.flac", easy=True)
    file["artist"] = "Unknown Artist"
    file.save()
    options = ("--audio", music[1], "--out", tmp_path / "page.html")
    ran = run_in_process("evaluate.py", "explore", features, *options)
    assert ran.lines[:3] == [
        f"{music[1]}: 1 of 3 tracks are not in this folder, such as 'gone.flac': left out",
        "1 of 2 tracks have no artist but a placeholder: 'Unknown Artist' (1)",
        f"{features}: 1 tracks failed and are not shown",
    ]
    data = data_of(tmp_path / "page.html")
    assert data["track_id"] == ["0.flac", "1.flac"] and data["columns"][0]["codes"] == [0, -1]


def test_explore_without_a_split_rejects_a_missing_or_wrong_audio_folder(music, tmp_path):
    features, folder = music
    page = ("--out", tmp_path / "page.html")
    ran = run_in_process("evaluate.py", "explore", features, *page, status=2)
    assert "--audio is required" in ran.err
    (tmp_path / "empty").mkdir()
    outside = write_features(tmp_path / "outside.h5", ["../secret.flac"])
    for path, audio, expected in (
        (features, tmp_path / "none", "none: no such folder"),
        (features, tmp_path / "empty", "10 of 10 tracks are not in this folder"),
        (outside, folder, "path '../secret.flac' is not below the audio folder"),
    ):
        command = ("evaluate.py", "explore", path, "--audio", audio, *page)
        assert expected in error_in_process(*command)
    assert not page[1].exists()


# ---------------------------------------------------------------- similar tracks


def test_similar_prints_the_nearest_tracks_with_their_tags(music):
    features, folder = music
    contents = feature_file.read_features(features)
    unit = contents.features / np.linalg.norm(contents.features, axis=1, keepdims=True)
    cosines = unit @ unit[3]
    order = [row for row in np.argsort(-cosines) if row != 3]
    command = ("evaluate.py", "similar", features, "3.FLAC", "-k", 9)
    ran = run_in_process(*command, "--audio", folder)
    assert ran.lines[0] == "most similar to 3.flac:"
    assert ran.lines[1].split() == ["rank", "cosine", "track", "artist", "title"]
    cells = [[cell.strip() for cell in re.split("  +", line)] for line in ran.lines[2:]]
    for rank, (row, found) in enumerate(zip(order, cells, strict=True), 1):
        labels = [f"Artist {row % 2}", f"<b>Song</b> {row}"] if row < 9 else ["Folder <i>Name"]
        assert found == [str(rank), f"{cosines[row]:.3f}", contents.track_id[row], *labels]
    start = {line.index(cells[0][3]) for line in ran.lines[2:3]} | {ran.lines[1].index("artist")}
    assert len(start) == 1, "the columns are not aligned"
    ran = run_in_process(*command[:-1], 2)
    assert [line.split()[2] for line in ran.lines[2:]] == [cell[2] for cell in cells[:2]]


def test_similar_finds_a_track_by_a_part_of_its_id(tmp_path):
    ids = ["a1", "A10", "Bjo\u0308rk/x.mp3", "b\x1b[31m"]
    features = write_features(tmp_path / "some.h5", ids)

    def first_line(part):
        return run_in_process("evaluate.py", "similar", features, part).lines[0]

    assert first_line("a1") == "most similar to a1:"
    assert first_line("A1") == "most similar to a1:"
    assert first_line("10") == "most similar to A10:"
    assert first_line("BJ\u00d6RK") == "most similar to Bjo\u0308rk/x.mp3:"
    assert first_line("[31") == "most similar to b?[31m:"


def test_similar_rejects_unknown_and_ambiguous_tracks(music, tmp_path):
    features, _ = music
    few, none = (write_features(tmp_path / f"{len(ids)}.h5", ids) for ids in (["one"], []))
    for arguments, expected in (
        ((features, "flac"), "flac: is part of 10 track ids: '0.flac', '1.flac', "),
        ((features, "33.flac"), "33.flac: none of the 10 track ids contains this; did you"),
        ((few, "one"), f"{few}: contains one track only"),
        ((none, "one"), f"{none}: contains no track"),
        ((features, "3.flac", "--audio", tmp_path / "none"), "none: no such folder"),
    ):
        assert expected in error_in_process("evaluate.py", "similar", *arguments)
