"""Tests of listing and digesting the audio files in a folder."""

import os

import pytest

from common.errors import InputError
from data_prep import audio_folder


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_list_audio_files_returns_sorted_paths(tmp_path):
    good = ["B.WAV", "a/b/c.mp3", "a/ü 日.flac", "a/x.m4a", "z.au", "z.ogg", "z.opus", "z.tar.aif"]
    touch(tmp_path, *good, "notes.txt", "a/cover.jpg", "wav", ".hidden.wav", ".git/x.wav", "a.raw")
    (tmp_path / "a" / "circle").symlink_to(tmp_path)
    assert audio_folder.list_audio_files(tmp_path) == sorted(good)
    assert audio_folder.list_audio_files(str(tmp_path / "a")) == ["b/c.mp3", "x.m4a", "ü 日.flac"]


def test_list_audio_files_rejects_folders_without_audio(tmp_path):
    touch(tmp_path, "notes.txt")
    with pytest.raises(InputError, match=r"contains no audio files \(.*\.flac.*\.wav"):
        audio_folder.list_audio_files(tmp_path)
    with pytest.raises(InputError, match=r"notes.txt: no such folder"):
        audio_folder.list_audio_files(tmp_path / "notes.txt")


def test_list_audio_files_rejects_names_that_are_not_utf8(tmp_path):
    touch(tmp_path, "good.wav")
    try:
        with open(os.fsencode(tmp_path) + b"/caf\xe9.wav", "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(InputError, match=r"'caf\\udce9.wav' is not UTF-8; rename it"):
        audio_folder.list_audio_files(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_list_audio_files_raises_for_unreadable_folders(tmp_path):
    touch(tmp_path, "a.wav", "locked/b.wav")
    (tmp_path / "locked").chmod(0)
    try:
        with pytest.raises(PermissionError):
            audio_folder.list_audio_files(tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o700)


def test_digest_files_depends_on_names_sizes_and_times(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    before = audio_folder.digest_files(tmp_path, ["a.wav", "b.wav"])
    assert audio_folder.digest_files(tmp_path, ["a.wav", "b.wav"]) == before
    assert audio_folder.digest_files(tmp_path, ["a.wav"]) != before
    os.utime(tmp_path / "a.wav", ns=(1, 1))
    changed = audio_folder.digest_files(tmp_path, ["a.wav", "b.wav"])
    assert changed != before
    (tmp_path / "a.wav").unlink()
    assert audio_folder.digest_files(tmp_path, ["a.wav", "b.wav"]) not in (before, changed)
