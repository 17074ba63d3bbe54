"""Tests that published files come from a mirror or are downloaded once, and are always verified."""

import subprocess

import pytest

from common import download
from common.download import fetch_published_file, git_blob_id
from common.errors import InputError
from tests.common.web import server

CONTENT = b"rock\npop\n"
NAME = "some_split/tags.txt"


@pytest.fixture(autouse=True)
def isolated_environment(tmp_path, monkeypatch):
    """Isolate the tests from the user's mirror, cache and proxy settings."""
    monkeypatch.delenv(download.MIRROR_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def origin(tmp_path):
    """Return the location at which `NAME` is published."""
    (tmp_path / "published").write_bytes(CONTENT)
    return {
        "repository": "someone/somewhere",
        "commit": "0" * 40,
        "path": "splits/tags.txt",
        "git_blob": git_blob_id(tmp_path / "published"),
    }


def test_git_blob_id_matches_git(tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(256)) * 5000)
    command = ["git", "hash-object", "--no-filters", tmp_path / "file"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert git_blob_id(tmp_path / "file") == result.stdout.strip()


@pytest.mark.parametrize("place", [NAME, "tags.txt"])
def test_fetch_finds_the_mirror_from_argument_or_environment_variable(
    place, origin, tmp_path, monkeypatch
):
    mirror = tmp_path / "mirror"
    (mirror / place).parent.mkdir(parents=True)
    (mirror / place).write_bytes(CONTENT)
    assert fetch_published_file(NAME, **origin, mirror=mirror) == mirror / place
    monkeypatch.setenv(download.MIRROR_VARIABLE, str(mirror))
    assert fetch_published_file(NAME, **origin) == mirror / place
    with pytest.raises(InputError, match=r"elsewhere.some_split.tags\.txt: not in the mirror"):
        fetch_published_file(NAME, **origin, mirror=tmp_path / "elsewhere")


def test_fetch_rejects_but_keeps_a_different_file_in_the_mirror(origin, tmp_path):
    (tmp_path / "tags.txt").write_bytes(CONTENT + b" ")
    with pytest.raises(InputError, match=r"tags\.txt: not the file that was published; copy"):
        fetch_published_file(NAME, **origin, mirror=tmp_path)
    assert (tmp_path / "tags.txt").exists()


def test_fetch_downloads_once_and_prints_nothing(origin, tmp_path, monkeypatch, capfd):
    with server(CONTENT) as (address, asked):
        monkeypatch.setattr(download, "_RAW", address)
        paths = [fetch_published_file(NAME, **origin) for _ in range(2)]
    assert paths[0] == paths[1] and paths[0].read_bytes() == CONTENT
    assert paths[0].is_relative_to(tmp_path / "cache")
    assert asked == [f"/someone/somewhere/{'0' * 40}/splits/tags.txt"]
    assert capfd.readouterr() == ("", "")


def test_fetch_deletes_corrupt_downloads(origin, tmp_path, monkeypatch):
    with server(CONTENT[:-1]) as (address, _):
        monkeypatch.setattr(download, "_RAW", address)
        with pytest.raises(InputError, match="is not the file that was published, and is deleted"):
            fetch_published_file(NAME, **origin)
    assert not list((tmp_path / "cache").rglob("*.txt"))
    with server(CONTENT) as (address, asked):
        monkeypatch.setattr(download, "_RAW", address)
        fetch_published_file(NAME, **origin).write_bytes(b"rot")
        with pytest.raises(InputError, match="deleted; try again"):
            fetch_published_file(NAME, **origin)
        assert fetch_published_file(NAME, **origin).read_bytes() == CONTENT
    assert len(asked) == 2


@pytest.mark.parametrize("content", [b"", CONTENT])
def test_fetch_reports_failed_downloads(content, origin, tmp_path, monkeypatch):
    """Test with a missing file, and with a cache folder that cannot be created."""
    if content:
        (tmp_path / "cache").touch()
    with server(content) as (address, _):
        monkeypatch.setattr(download, "_RAW", address)
        with pytest.raises(InputError, match=r"set XDG_CACHE_HOME .*--mirror") as caught:
            fetch_published_file(NAME, **origin)
    assert str(caught.value).startswith(f"{NAME}: cannot be downloaded from {address}/")
    assert "\n" not in str(caught.value)
