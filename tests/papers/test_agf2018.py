"""The plan of agf2018."""

import pytest

from common.errors import InputError
from papers import agf2018
from tests.papers.plans import plan


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(agf2018, "find_spec", lambda name: name)  # as if Essentia were there
    return tmp_path


def test_groups_runs_of_each_seed_and_their_results_are_planned():
    commands, left_out = plan(agf2018, "--songs", "demo_genres", "--seeds", 0, 3)
    assert left_out == []
    commands = commands[2:]  # split and cache
    assert len(commands) == 1 + 2 * (1 + 31 + 26 + 4) + 2
    songs = "splits/demo_genres.csv cache/demo_genres.h5"
    assert commands[0].startswith(f"data_prep/2b_artist_groups.py {songs} --out o/groups.h5 ")
    assert "--words m d e s --audio data --subgenres genres --clusters 2048" in commands[0]
    assert sum(line.startswith("train_agf.py") for line in commands) == 2
    judged = [line for line in commands if "evaluate.py genre" in line]
    assert judged[0].endswith("--json o/genre_stn_g_0.json")
    assert judged[-1].split()[2] == "o/runs/wstn_5_3/features.h5"
    assert commands[-2:] == [
        "evaluate.py groups o/groups.h5 splits/demo_genres.csv --out o/groups",
        "evaluate.py report --results o",
    ]


def test_the_papers_songs_are_dealt_by_genre(place):
    for name in ("fma_medium", "fma_metadata"):
        (place / "data" / name).mkdir()
    commands, _ = plan(agf2018)
    assert (
        "fma_medium --root data/fma_medium --metadata data/fma_metadata --split stratified"
        in (commands[0])
    )


def test_without_essentia_there_is_no_word_e(monkeypatch):
    monkeypatch.setattr(agf2018, "find_spec", lambda name: None)
    commands, left_out = plan(agf2018, "--songs", "demo_genres")
    assert left_out == ["the word e: it needs the audio, and Essentia"]
    # 15 sets of four tasks.
    assert len(commands) == 2 + 1 + (1 + 15 + 11 + 3) + 2
    assert "--words m d s --subgenres" in commands[2] and not any("_e" in line for line in commands)


def test_fewer_words_have_fewer_sets():
    commands, _ = plan(agf2018, "--songs", "demo_genres", "--words", "m", "s")
    judged = [line for line in commands if "evaluate.py genre" in line]
    assert [line.rpartition("genre_")[2].removesuffix("_0.json") for line in judged] == [
        *("stn_g", "stn_s", "stn_m", "stn_gs", "stn_gm", "stn_sm", "stn_gsm"),
        *("mtn_gs", "mtn_gm", "mtn_sm", "mtn_gsm", "wstn_2", "wstn_3"),
    ]


def test_songs_that_are_not_there_are_an_error():
    lists = r"fma_medium: neither .* nor data/fma_medium with data/fma_metadata; see"
    with pytest.raises(InputError, match=lists):
        plan(agf2018)


def test_words_are_made_of_what_there_is(place):
    (place / "data/mine").mkdir()
    of_folder = plan(agf2018, "--songs", "mine")
    assert "--words m d e --audio data/mine" in of_folder[0][2]
    assert of_folder[1] == [
        "the word s: it needs songs with a column genres; name one with --subgenres"
    ]
    (place / "data/mine.csv").write_text("path,artist,genre,styles\n")
    assert "--words m d e s" in plan(agf2018, "--songs", "mine", "--subgenres", "styles")[0][2]
    for folder in ("splits", "cache"):
        (place / folder).mkdir()
    (place / "splits/made.csv").write_text("track_id,path,subset,artist\na,a,train,a\n")
    (place / "cache/made.h5").touch()
    with pytest.raises(InputError, match="the word e: it needs the audio"):
        plan(agf2018, "--songs", "made", "--words", "m", "e")
