"""Script 1 as its user meets it: every source, what it prints, what it refuses."""

import hashlib
import os
import subprocess
import sys
import tarfile

import pandas as pd
import pytest

from common import provenance
from common.errors import InputError
from data_prep import audio_archives, split_csv
from data_prep.datasets import DATASETS
from data_prep.mel_cache import MelCache
from data_prep.split_csv import SUBSETS
from tests.conftest import ROOT

SCRIPT = ROOT / "data_prep" / "1_make_splits.py"


def make_splits(*arguments):
    words = [sys.executable, SCRIPT, *map(str, arguments)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def library(tmp_path):
    for artist in range(4):
        for song in range(5):
            path = tmp_path / "library" / f"artist {artist}" / f"album {song % 2}" / f"{song}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    (tmp_path / "library" / "loose.wav").write_bytes(b"x")
    return tmp_path / "library"


def test_script_1_makes_a_split_of_a_folder_once(library, tmp_path):
    out = tmp_path / "splits" / "mine.csv"
    command = ("folder", "--root", library, "--out", out, "--songs", 5)
    command += ("--pattern", "{artist}/{album}/{}")
    command += ("--train", 3, "--valid", 1, "--test", 1)
    status, said, error = make_splits(*command, "--artists", 3, "--workers", 1)
    assert (status, error) == (0, "")
    assert said.splitlines() == [
        f"{library}: 1 files do not fit the pattern, such as 'loose.wav': left out",
        "artist: 4 in all, 4 qualify, 3 used",
        f"{out}: 9 train, 3 valid, 3 test",
    ]
    table = split_csv.read_split(out)
    assert table["artist"].nunique() == 3 and table.columns.tolist()[-1] == "album"
    assert all((library / path).is_file() for path in table["path"])
    assert provenance.read_sidecar(out)["inputs"]["seed"] == 0
    before = out.stat().st_mtime_ns
    # How many processes there are makes no other split.
    status, said, _ = make_splits(*command, "--artists", 3, "--workers", 2)
    assert status == 0 and said.endswith("complete already\n")
    assert out.stat().st_mtime_ns == before
    status, _, error = make_splits(*command, "--artists", 2, "--seed", 7)
    assert status == 1 and error.count("\n") == 1
    assert "artists: 3 -> 2" in error and "seed: 0 -> 7" in error


def test_script_1_says_what_is_wrong(library, tmp_path):
    out = tmp_path / "s.csv"
    status, _, error = make_splits("folder", "--root", tmp_path / "nowhere", "--out", out)
    assert status == 1
    assert error == f"error: {tmp_path / 'nowhere'}: no such folder; check the path\n"
    status, _, error = make_splits("folder", "--root", library, "--out", out)
    assert status == 1 and "have 20 tracks or more" in error
    status, _, error = make_splits("tapes", "--root", library, "--out", out)
    assert status == 2 and "invalid choice: 'tapes'" in error
    assert not out.exists() and os.listdir(tmp_path) == ["library"]
    assert set(SUBSETS) == {"train", "valid", "test"}


@pytest.mark.parametrize("source", DATASETS)
def test_where_each_source_is_had(source):
    status, said, error = make_splits(source, "--where")
    assert (status, error) == (0, "") and said
    for archive in audio_archives.list_archives(source):
        assert archive.address in said and archive.digest in said


def test_every_archive_is_of_a_source():
    table = pd.read_csv(audio_archives.REGISTRY)
    assert set(table["source"]) < set(DATASETS)
    lengths = table["algorithm"].map({"md5": 32, "sha1": 40, "sha256": 64})
    one_file = table["digest"].notna() & ~table["file"].str.contains("NN")
    assert (table["digest"].str.len() == lengths)[one_file].all()


@pytest.fixture
def tars(tmp_path):
    """An archive as MTG-Jamendo's are named, and the dataset's list of checksums."""
    path = tmp_path / "raw_30s_audio-07.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(__file__, "07/7.mp3")
    lists = tmp_path / "data" / "download"
    lists.mkdir(parents=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (lists / "raw_30s_audio_sha256_tars.txt").write_text(f"{digest} {path.name}\n")
    return path


def test_an_archive_is_verified_and_unpacked(tars, tmp_path):
    root = tmp_path / "audio"
    assert audio_archives.extract_dataset_archive("jamendo", tars, root, tmp_path / "data") == 1
    assert [path.name for path in root.rglob("*.mp3")] == ["7.mp3"]
    with pytest.raises(InputError, match="is in download/raw_30s_audio_sha256_tars"):
        audio_archives.extract_dataset_archive("jamendo", tars, root, None)
    tars.write_bytes(tars.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="download it again"):
        audio_archives.extract_dataset_archive(
            "jamendo", tars, tmp_path / "other", tmp_path / "data"
        )
    assert not (tmp_path / "other").exists()
    for source, name in (("jamendo", "music.tar"), ("gtzan", "raw_30s_audio-07.tar")):
        with pytest.raises(InputError, match=f"not an archive of {source}"):
            audio_archives.extract_dataset_archive(source, tmp_path / name, root, tmp_path / "data")


def test_a_list_of_ones_own_by_its_subsets_or_by_the_rule(library, tmp_path):
    rows = [
        {"path": path.relative_to(library).as_posix(), "artist": path.parts[-3], "subset": "train"}
        for path in sorted(library.rglob("*/*/*.wav"))
    ]
    listed = tmp_path / "list.csv"
    pd.DataFrame(rows).to_csv(listed, index=False)
    command = ("csv", "--metadata", listed, "--root", library, "--out")
    status, said, _ = make_splits(*command, tmp_path / "whole.csv")
    assert status == 0 and said.endswith("20 train, 0 valid, 0 test\n")
    shares = ("--songs", 5, "--train", 3, "--valid", 1, "--test", 1)
    rule = ("--split", "artists", "--artists", 2, *shares)
    status, said, _ = make_splits(*command, tmp_path / "dealt.csv", *rule)
    assert status == 0 and said.endswith("6 train, 2 valid, 2 test\n")
    # The artists of one set are not in another that excludes them, dealt or not.
    without = ("--exclude-artists-of", tmp_path / "dealt.csv")
    status, said, _ = make_splits(*command, tmp_path / "others.csv", *without, *rule)
    assert status == 0 and "2 artists of target sets" in said
    status, said, _ = make_splits(*command, tmp_path / "rest.csv", *without)
    assert status == 0 and "left out: 10 tracks of 2 artists of target sets" in said
    artists = {
        name: set(split_csv.read_split(tmp_path / f"{name}.csv")["artist"])
        for name in ("dealt", "others", "rest")
    }
    assert artists["others"] == artists["rest"] and not artists["dealt"] & artists["rest"]
    status, _, error = make_splits(*command, tmp_path / "x.csv", "--artists", 2)
    assert status == 1 and "add --split artists" in error


def test_songs_of_each_genre_are_dealt_whatever_the_lists_own_subsets(library, tmp_path):
    rows = [
        {"path": path.relative_to(library).as_posix(), "artist": path.parts[-3], "subset": "valid"}
        for path in sorted(library.rglob("*/*/*.wav"))
    ]
    listed, out = tmp_path / "list.csv", tmp_path / "genres.csv"
    genres = ["rock"] * 12 + ["folk"] * 6 + ["polka", ""]
    pd.DataFrame(rows).assign(genre=genres, mood="calm").to_csv(listed, index=False)
    command = ("csv", "--metadata", listed, "--root", library, "--split", "stratified", "--out")
    status, said, error = make_splits(*command, out)
    assert (status, error) == (0, "")
    assert said.splitlines()[1:] == [
        "left out: 1 tracks with no genre",
        "1 genres have one track, which is for training",
        f"{out}: 16 train, 0 valid, 3 test",
    ]
    assert split_csv.read_split(out).groupby("genre")["subset"].value_counts().to_dict() == {
        ("rock", "train"): 10,
        ("rock", "test"): 2,
        ("folk", "train"): 5,
        ("folk", "test"): 1,
        ("polka", "train"): 1,
    }
    inputs = provenance.read_sidecar(out)["inputs"]
    assert (inputs["by"], inputs["test_share"]) == ("genre", 0.15)
    status, said, _ = make_splits(*command, out)
    assert status == 0 and said.endswith("complete already\n")
    status, _, error = make_splits(*command, out, "--test-share", 0.5)
    assert status == 1 and "test_share: 0.15 -> 0.5" in error
    half = ("--by", "mood", "--test-share", 0.5, "--exclude-artists-of", out)
    status, _, error = make_splits(*command, tmp_path / "half.csv", *half)
    assert status == 1 and "leaves no track" in error
    status, said, _ = make_splits(*command, tmp_path / "half.csv", *half[:4])
    assert status == 0 and said.endswith("10 train, 0 valid, 10 test\n")
    status, _, error = make_splits(*command, tmp_path / "x.csv", "--artists", 2)
    assert status == 1 and "--artists: all are taken with --split stratified" in error
    status, _, error = make_splits(*command[:-3], "--test-share", 0.5, "--out", tmp_path / "x.csv")
    assert status == 1 and "add --split stratified" in error


def test_gtzan_whole_on_the_clips_that_are_here(music_data, tmp_path):
    """Script 1 and 2 on the real clips and the published lists."""
    out, root = tmp_path / "gtzan.csv", music_data / "data" / "gtzan_clips"
    command = ("gtzan", "--root", root, "--metadata", music_data / "data" / "splits")
    status, said, error = make_splits(*command, "--out", out)
    assert (status, error) == (0, "")
    table = split_csv.read_split(out)
    assert f"{930 - len(table)} of 930 tracks are not there" in said
    assert (table["genre"] == table["track_id"].str.split(".").str[0]).all() and len(table) > 5
    words = [sys.executable, ROOT / "data_prep" / "2_cache_mels.py", out, "--audio", root]
    done = subprocess.run([*words, "--out", tmp_path / "c.h5"], cwd=ROOT, timeout=300)
    assert done.returncode == 0 and set(MelCache(tmp_path / "c.h5").track_id) == set(table.track_id)
