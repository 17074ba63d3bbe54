"""What is in a folder of data, and the commands that make it ready."""

from pathlib import Path

import pandas as pd
import pytest

from common.errors import InputError
from data_prep import split_csv
from data_prep.catalogs import SOURCES
from papers.datasets import KNOWN, Data, require


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty folder of data; splits and caches are sought beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return Data(Path("data"))


def told(found) -> list[str]:
    return [str(one).removeprefix("python data_prep/") for one in found.steps]


def test_what_is_not_there_is_not_found_and_said(data):
    assert data.find("gtzan") is None
    absent = "gtzan: neither splits/gtzan.csv with cache/gtzan.h5 nor data/gtzan"
    assert data.absent("gtzan") == absent
    assert "a folder of --data" in Data(None).absent("gtzan")
    with pytest.raises(InputError, match=absent):
        require(None, absent)


def test_a_folder_of_a_known_dataset_is_read_as_that(data):
    for name in ("gtzan", "fma_small", "fma_metadata", "lists"):
        Path("data", name).mkdir()
    assert told(data.find("gtzan")) == [
        "1_make_splits.py gtzan --root data/gtzan --metadata data/lists --out splits/gtzan.csv",
        "2_cache_mels.py splits/gtzan.csv --audio data/gtzan --out cache/gtzan.h5 --allow-failures",
    ]
    first, _ = told(data.find("fma_small"))
    assert "fma_small --root data/fma_small --metadata data/fma_metadata --out" in first
    assert data.find("gtzan").tracks == 930 and not data.find("gtzan").artists


def test_any_other_folder_is_music_or_a_list(data):
    Path("data/mine").mkdir()
    assert "1_make_splits.py folder --root data/mine --out" in told(data.find("mine"))[0]
    Path("data/mine.csv").write_text("path,artist\n")
    assert "csv --root data/mine --metadata data/mine.csv --out" in told(data.find("mine"))[0]
    assert data.find("mine").tracks is None
    Path("data/naver").mkdir()
    assert "csv --root data/naver --metadata data/naver.csv" in told(data.find("naver"))[0]


def test_the_built_in_corpus_is_always_there(data):
    first, _ = told(data.find("demo_target"))
    assert first == "1_make_splits.py demo_target --root data --out splits/demo_target.csv"
    assert Data(None).find("demo") is None


def split(name: str, artist: str) -> None:
    table = pd.DataFrame({"track_id": ["a"], "path": ["a"], "subset": ["test"], "artist": [artist]})
    split_csv.write(table, Path("splits", f"{name}.csv"), {"inputs": {}})


def test_split_and_cache_that_are_there_are_taken_as_they_are(data):
    split("mine", "somebody")
    assert data.find("mine") is None  # the split alone is not enough
    Path("cache").mkdir()
    Path("cache/mine.h5").touch()
    found = data.find("mine")
    assert (found.steps, found.tracks, found.artists, found.audio) == ((), 1, True, None)
    assert Data(None).find("mine") == found
    split("mine", "")
    assert not data.find("mine").artists
    Path("data/mine").mkdir()
    assert data.find("mine").audio == Path("data/mine")


def test_artists_to_be_judged_on_are_left_out_where_they_have_names(data):
    for name in ("gtzan", "fma_small", "mine"):
        Path("data", name).mkdir()
    others = [data.find(name) for name in ("gtzan", "fma_small")]
    found = data.find("mine", "--split", "artists", exclude=others)
    assert "--exclude-artists-of splits/fma_small.csv --split artists --out" in told(found)[0]
    assert found.steps[0].of == (Path("splits/fma_small.csv"),)


def test_one_cache_may_serve_two_splits(data):
    Path("data/msd").mkdir()
    found = data.find("msd_15_3_2", source="msd", cache=Path("cache/msd.h5"))
    assert len(found.steps) == 1 and found.cache == Path("cache/msd.h5")
    assert "1_make_splits.py msd --root data/msd --out splits/msd_15_3_2.csv" in told(found)[0]


def test_what_is_known_is_what_script_1_reads():
    assert set(KNOWN) - {"naver"} == set(SOURCES) - {"folder", "csv"}
