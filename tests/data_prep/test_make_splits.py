"""Tests of `1_make_splits.py`: its datasets, its output and the arguments that it rejects."""

import hashlib
import tarfile

import pandas as pd
import pytest

from common import provenance
from common.errors import InputError
from data_prep import audio_archives, split_csv
from data_prep.datasets import DATASETS, load_dataset
from data_prep.datasets.catalog import read_registry
from data_prep.mel_cache import MelCache
from tests.conftest import error_in_process, run_in_process, run_script

SCRIPT = "data_prep/1_make_splits.py"


def make_splits(*arguments, status=0):
    return run_in_process(SCRIPT, *arguments, status=status)


@pytest.fixture
def library(tmp_path):
    for artist in range(4):
        for track in range(5):
            path = tmp_path / "library" / f"artist {artist}" / f"album {track % 2}" / f"{track}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    (tmp_path / "library" / "loose.wav").write_bytes(b"x")
    return tmp_path / "library"


@pytest.fixture
def write_list(library, tmp_path):
    """Return a function that lists the library's 20 tracks in a CSV file, and returns options."""

    def write(**columns):
        paths = sorted(library.rglob("*/*/*.wav"))
        table = pd.DataFrame({"path": [path.relative_to(library).as_posix() for path in paths]})
        table["artist"] = [path.parts[-3] for path in paths]
        table.assign(**columns).to_csv(tmp_path / "list.csv", index=False)
        return ("csv", "--metadata", tmp_path / "list.csv", "--root", library)

    return write


def test_folder_is_split_only_once(library, tmp_path):
    out = tmp_path / "splits" / "mine.csv"
    command = (SCRIPT, "folder", "--root", library, "--out", out, "--tracks-per-artist", 5)
    command += ("--pattern", "{artist}/{album}/{}", "--train", 3, "--valid", 1, "--test", 1)
    assert run_script(*command, "--max-artists", 3, "--workers", 1).lines == [
        f"{library}: 1 files do not match the pattern, such as 'loose.wav': left out",
        "artist: 4 in all, 4 qualify, 3 used",
        f"{out}: 9 train, 3 valid, 3 test",
    ]
    table = split_csv.read_split(out)
    assert table["artist"].nunique() == 3 and table.columns.tolist()[-1] == "album"
    assert all((library / path).is_file() for path in table["path"])
    inputs = provenance.read_sidecar(out)["inputs"]
    # Names and values are those of the first version, so that its splits are still recognised.
    assert inputs == {
        **{"source": "folder", "pattern": "{artist}/{album}/{}", "split": "official"},
        **{"by": "artist", "artists": 3, "songs": 5, "train": 3, "valid": 1, "test": 1},
        **{"test_share": None, "seed": 0, "excluded": None, "tracks": inputs["tracks"]},
    }
    before = out.stat().st_mtime_ns
    # The number of processes does not change the split, and old option names still work.
    again = run_in_process(*command[:6], *command[8:], "--songs", 5, "--artists", 3, "--workers", 2)
    assert again.lines[-1] == f"{out}: already complete"
    assert out.stat().st_mtime_ns == before
    error = error_in_process(*command, "--max-artists", 2, "--seed", 7)
    assert "artists: 3 -> 2" in error and "seed: 0 -> 7" in error


def test_rejects_invalid_arguments(library, tmp_path):
    out = ("--out", tmp_path / "s.csv")
    error = error_in_process(SCRIPT, "folder", "--root", tmp_path / "nowhere", *out)
    assert error == f"error: {tmp_path / 'nowhere'}: no such folder; check the path\n"
    assert "have 20 tracks or more" in error_in_process(SCRIPT, "folder", "--root", library, *out)
    assert "invalid choice: 'tapes'" in make_splits("tapes", status=2).err
    assert "required: --root\n" in make_splits("folder", *out, status=2).err
    stratified = (SCRIPT, "folder", "--root", library, *out, "--split", "stratified")
    assert "--max-artists: not used with" in error_in_process(*stratified, "--artists", 2)
    assert "--test-fraction: used with" in error_in_process(*stratified[:-2], "--test-share", 0.5)
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize("name", DATASETS)
def test_where_prints_licence_urls_and_checksums(name):
    printed = make_splits(name, "--where").out
    info = load_dataset(name)[1]
    assert info.licence in printed and info.citation in printed and info.homepage in printed
    for archive in audio_archives.list_archives(name):
        assert archive.address in printed and archive.digest in printed
    registry = read_registry()
    for listed in info.lists:
        assert registry[listed]["git_blob"] in printed


def test_validate_counts_missing_and_empty_files(write_list, library):
    command = (*write_list(), "--validate")
    assert make_splits(*command).lines == [
        f"{library}: 20 tracks listed, 20 present, 0 missing, 0 empty"
    ]
    (library / "artist 0/album 0/0.wav").unlink()
    (library / "artist 3/album 1/1.wav").write_bytes(b"")
    assert make_splits(*command, status=1).lines == [
        f"{library}: 1 of 20 tracks are missing, such as 'artist 0/album 0/0.wav': left out",
        f"{library}: 1 files are empty, such as 'artist 3/album 1/1.wav'",
        f"{library}: 20 tracks listed, 19 present, 1 missing, 1 empty",
    ]
    assert "no copy to validate" in error_in_process(
        SCRIPT, "demo", "--root", library, "--validate"
    )


def test_validate_verifies_the_published_lists(music_data, tmp_path):
    lists, root = music_data / "data" / "splits", music_data / "data" / "gtzan_clips"
    command = ("gtzan", "--validate", "--root", root, "--metadata")
    lines = make_splits(*command, lists, status=1).lines
    assert lines[0] == f"{lists / 'GTZAN_split/train_filtered.txt'}: content id verified"
    assert lines[-1].startswith(f"{root}: 930 tracks listed, ")
    for name in load_dataset("gtzan")[1].lists:
        changed = (lists / name).read_text() + "blues/blues.00099.wav\n"
        (tmp_path / name.rpartition("/")[2]).write_text(changed)
    assert "not the file that was published" in error_in_process(SCRIPT, *command, tmp_path)


def test_archive_is_verified_and_unpacked(tmp_path):
    """Test an archive named like MTG-Jamendo's, whose checksum is in the dataset's list."""
    archive = tmp_path / "raw_30s_audio-07.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(__file__, "07/7.mp3")
    lists = tmp_path / "data" / "download"
    lists.mkdir(parents=True)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (lists / "raw_30s_audio_sha256_tars.txt").write_text(f"{digest} {archive.name}\n")
    root = tmp_path / "audio"
    unpack = audio_archives.extract_dataset_archive
    assert unpack("jamendo", archive, root, tmp_path / "data") == 1
    assert [path.name for path in root.rglob("*.mp3")] == ["7.mp3"]
    with pytest.raises(InputError, match="is in download/raw_30s_audio_sha256_tars"):
        unpack("jamendo", archive, root, None)
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="download it again"):
        unpack("jamendo", archive, tmp_path / "other", tmp_path / "data")
    assert not (tmp_path / "other").exists()
    for name, file in (("jamendo", "music.tar"), ("gtzan", "raw_30s_audio-07.tar")):
        with pytest.raises(InputError, match=f"not an archive of {name}"):
            unpack(name, tmp_path / file, root, tmp_path / "data")


def test_csv_list_is_split_by_its_subsets_or_by_artist(write_list, tmp_path):
    command = (*write_list(subset="train"), "--out")
    assert make_splits(*command, tmp_path / "whole.csv").out.endswith("20 train, 0 valid, 0 test\n")
    by_artist = ("--split", "artists", "--max-artists", 2, "--tracks-per-artist", 5)
    by_artist += ("--train", 3, "--valid", 1, "--test", 1)
    printed = make_splits(*command, tmp_path / "first.csv", *by_artist).out
    assert printed.endswith("6 train, 2 valid, 2 test\n")
    # Both kinds of split can exclude artists that appear in another split.
    without = ("--exclude-artists-of", tmp_path / "first.csv")
    printed = make_splits(*command, tmp_path / "others.csv", *without, *by_artist).out
    assert "left out: 2 excluded artists" in printed
    printed = make_splits(*command, tmp_path / "rest.csv", *without).out
    assert "left out: 10 tracks of 2 excluded artists" in printed
    artists = {
        name: set(split_csv.read_split(tmp_path / f"{name}.csv")["artist"])
        for name in ("first", "others", "rest")
    }
    assert artists["others"] == artists["rest"] and not artists["first"] & artists["rest"]
    error = error_in_process(SCRIPT, *command, tmp_path / "x.csv", "--max-artists", 2)
    assert "add --split artists" in error


def test_csv_list_is_split_by_genre(write_list, tmp_path):
    out = tmp_path / "genres.csv"
    genres = ["rock"] * 12 + ["folk"] * 6 + ["polka", ""]
    command = write_list(subset="valid", genre=genres, mood="calm")
    command += ("--split", "stratified", "--out")
    assert make_splits(*command, out).lines[1:] == [
        "left out: 1 tracks with no genre",
        "1 genres have one track, which is used for training",
        f"{out}: 16 train, 0 valid, 3 test",
    ]
    assert split_csv.read_split(out).groupby("genre")["subset"].value_counts().to_dict() == {
        **{("rock", "train"): 10, ("rock", "test"): 2},
        **{("folk", "train"): 5, ("folk", "test"): 1, ("polka", "train"): 1},
    }
    inputs = provenance.read_sidecar(out)["inputs"]
    assert (inputs["by"], inputs["test_share"]) == ("genre", 0.15)
    assert make_splits(*command, out).lines[-1] == f"{out}: already complete"
    error = error_in_process(SCRIPT, *command, out, "--test-fraction", 0.5)
    assert "test_share: 0.15 -> 0.5" in error
    half = ("--by", "mood", "--test-fraction", 0.5)
    excluding = ("--exclude-artists-of", out)
    error = error_in_process(SCRIPT, *command, tmp_path / "half.csv", *half, *excluding)
    assert "no tracks remain" in error
    printed = make_splits(*command, tmp_path / "half.csv", *half).out
    assert printed.endswith("10 train, 0 valid, 10 test\n")


def test_real_gtzan_clips_are_split_and_cached(music_data, tmp_path):
    out, root = tmp_path / "gtzan.csv", music_data / "data" / "gtzan_clips"
    command = ("gtzan", "--root", root, "--metadata", music_data / "data" / "splits")
    printed = make_splits(*command, "--out", out).out
    table = split_csv.read_split(out)
    assert f"{930 - len(table)} of 930 tracks are missing" in printed
    assert (table["genre"] == table["track_id"].str.split(".").str[0]).all() and len(table) > 5
    cache = ("data_prep/2_cache_mels.py", out, "--audio", root, "--out", tmp_path / "c.h5")
    run_in_process(*cache, "--workers", 1)
    assert set(MelCache(tmp_path / "c.h5").track_id) == set(table["track_id"])
