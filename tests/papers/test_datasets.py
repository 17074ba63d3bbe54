from pathlib import Path

import pandas as pd
import pytest

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import DATASETS
from papers.datasets import KNOWN_DATASETS, DataFolder
from tests.papers.conftest import make_data


@pytest.fixture
def data(place):
    return DataFolder(Path("data"))


def commands(dataset) -> list[str]:
    return [str(step).removeprefix("python data_prep/") for step in dataset.steps]


def write_split(name: str, *artists: str) -> None:
    ids = [str(number) for number, _ in enumerate(artists)]
    table = pd.DataFrame({"track_id": ids, "path": ids, "subset": "test", "artist": list(artists)})
    split_csv.write_split(table, Path("splits", f"{name}.csv"), {"inputs": {}})


def touch_cache(*names: str) -> None:
    Path("cache").mkdir()
    for name in names:
        Path(f"cache/{name}.h5").touch()


def test_known_dataset_is_read_by_its_loader(data):
    make_data("gtzan", "fma_small", "fma_metadata", "lists")
    assert commands(data.find("gtzan")) == [
        "1_make_splits.py gtzan --root data/gtzan --metadata data/lists --out splits/gtzan.csv",
        "2_cache_mels.py splits/gtzan.csv --audio data/gtzan --out cache/gtzan.h5",
    ]
    first, _ = commands(data.find("fma_small"))
    assert "fma_small --root data/fma_small --metadata data/fma_metadata --out" in first
    assert not data.find("gtzan").has_artists


def test_unknown_dataset_is_read_from_its_folder_or_its_track_list(data):
    make_data("mine", "naver")
    assert "1_make_splits.py folder --root data/mine --out" in commands(data.find("mine"))[0]
    Path("data/mine.csv").write_text("path,artist\n")
    own_list = "csv --root data/mine --metadata data/mine.csv --out"
    assert own_list in commands(data.find("mine"))[0]
    assert data.find("naver") is None  # its track list is still missing
    assert data.describe_missing("naver").endswith(" nor data/naver with data/naver.csv")
    Path("data/naver.csv").touch()
    assert "csv --root data/naver --metadata data/naver.csv" in commands(data.find("naver"))[0]


def test_existing_split_and_cache_are_used(data):
    write_split("mine", "somebody")
    assert data.find("mine") is None  # the split alone is not enough
    touch_cache("mine")
    dataset = data.find("mine")
    assert (dataset.steps, dataset.has_artists, dataset.audio) == ((), True, None)
    assert DataFolder(None).find("mine") == dataset and DataFolder(None).find("demo") is None
    write_split("mine", "")
    assert not data.find("mine").has_artists
    Path("data/mine").mkdir()
    assert data.find("mine").audio == Path("data/mine")


def test_existing_cache_in_shards_is_used(data):
    write_split("mine", "somebody")
    touch_cache("mine-00000", "mine-00001")
    assert data.find("mine").steps == ()
    assert list(data.find_training_sets("mine", [1])) == [1]


def test_find_excludes_artists_only_of_datasets_with_artist_names(data):
    make_data("gtzan", "fma_small", "fma_metadata", "mine")
    others = [data.find(name) for name in ("gtzan", "fma_small")]
    dataset = data.find("mine", "--split", "artists", exclude=others)
    first = commands(dataset)[0]
    assert "--exclude-artists-of splits/fma_small.csv --split artists --out" in first
    assert dataset.steps[0].inputs == (Path("splits/fma_small.csv"),)


def test_existing_split_with_unsuitable_artists_is_rejected(data):
    touch_cache("mine", "evaluation", "msd")
    write_split("mine", "A", "B", "C")
    write_split("evaluation", "D", "É")
    write_split("msd", *map(str, range(12_000)))
    evaluation = data.find("evaluation")
    assert data.find_training_sets("mine", [2, 3], [evaluation])[3].steps == ()
    with pytest.raises(InputError, match=r"mine\.csv: has 3 artists instead of 4; use fewer"):
        data.find_training_sets("mine", [4])
    write_split("mine", "A", "e\u0301 ", "C")
    with pytest.raises(InputError, match=r"mine\.csv: 1 of its artists are also in .*evaluation\."):
        data.find_training_sets("mine", [2], [evaluation])
    # An existing MSD split is used for every number of artists.
    sets = data.find_training_sets("msd", [500, 10_000])
    assert {(each.name, each.audio) for each in sets.values()} == {("msd", None)}


def test_known_datasets_have_a_loader():
    assert set(KNOWN_DATASETS) - {"naver"} == set(DATASETS) - {"folder", "csv"}
