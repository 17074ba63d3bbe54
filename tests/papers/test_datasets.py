"""What is in a folder of data, and the commands that make it ready."""

from pathlib import Path

import pandas as pd
import pytest

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import DATASETS
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
    assert data.find("naver") is None  # without its list
    assert data.absent("naver").endswith(" nor data/naver with data/naver.csv")
    Path("data/naver.csv").touch()
    assert "csv --root data/naver --metadata data/naver.csv" in told(data.find("naver"))[0]


def test_the_built_in_corpus_is_always_there(data):
    first, _ = told(data.find("demo_target"))
    assert first == "1_make_splits.py demo_target --root data --out splits/demo_target.csv"
    assert Data(None).find("demo") is None


def split(name: str, *artists: str) -> None:
    ids = [str(number) for number, _ in enumerate(artists)]
    table = pd.DataFrame({"track_id": ids, "path": ids, "subset": "test", "artist": list(artists)})
    split_csv.write_split(table, Path("splits", f"{name}.csv"), {"inputs": {}})


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
    for name in ("gtzan", "fma_small", "fma_metadata", "mine"):
        Path("data", name).mkdir()
    others = [data.find(name) for name in ("gtzan", "fma_small")]
    found = data.find("mine", "--split", "artists", exclude=others)
    assert "--exclude-artists-of splits/fma_small.csv --split artists --out" in told(found)[0]
    assert found.steps[0].of == (Path("splits/fma_small.csv"),)


def test_songs_to_train_on_are_called_by_their_number_of_artists(data):
    assert data.training("mine", [5]) == {}
    Path("data/mine").mkdir()
    sets = data.training("mine", [5, 30])
    assert sets[5] == sets[30] and sets[30].tracks == sets[30].steps[1].work.amount == 600
    assert (
        "folder --root data/mine --split artists --artists 30 --out splits/mine_30.csv"
        in (told(sets[5])[0])
    )
    assert list(data.training("demo", [10, 60])) == [10, 60]
    assert told(data.training("demo", [10])[10])[0].endswith(
        "demo --root data --out splits/demo.csv"
    )


def test_one_cache_serves_both_splits_of_the_msd(data):
    Path("data/msd").mkdir()
    sets = data.training("msd", [100, 5000, 10000])
    assert [one.name for one in sets.values()] == ["msd_5000", "msd_5000", "msd_10000"]
    assert {one.cache for one in sets.values()} == {Path("cache/msd_10000.h5")}
    [first] = told(sets[100])
    assert first == "1_make_splits.py msd --root data/msd --artists 5000 --out splits/msd_5000.csv"
    assert data.training("msd", [100])[100].cache == Path("cache/msd_100.h5")


def test_a_split_that_is_there_has_to_fit(data):
    Path("cache").mkdir()
    for name in ("mine", "judged", "msd"):
        Path(f"cache/{name}.h5").touch()
    split("mine", "A", "B", "C")
    split("judged", "D", "É")
    split("msd", *map(str, range(12_000)))
    judged = data.find("judged")
    assert data.training("mine", [2, 3], [judged])[3].steps == ()
    with pytest.raises(
        InputError, match=r"mine\.csv: has 3 artists, not 4; ask for fewer, or delete"
    ):
        data.training("mine", [4])
    split("mine", "A", "e\u0301 ", "C")
    with pytest.raises(InputError, match=r"mine\.csv: 1 of its artists are in splits/judged\.csv"):
        data.training("mine", [2], [judged])
    # However the MSD's split was made, it is that of all numbers of artists.
    sets = data.training("msd", [500, 10_000])
    assert {(one.name, one.audio) for one in sets.values()} == {("msd", None)}


def test_what_is_known_is_what_script_1_reads():
    assert set(KNOWN) - {"naver"} == set(DATASETS) - {"folder", "csv"}
