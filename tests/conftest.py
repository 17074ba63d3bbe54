"""What the tests of several rooms share: real files where they are, and a small corpus."""

import contextlib
import io
import os
import re
import runpy
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import soundfile

from data_prep import mel_cache, split_csv, synthetic_corpus

# Who runs the tests in the background has Ctrl-C ignored, and so would the processes under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent  # of the project, where the scripts run


def pytest_collection_modifyitems(items):
    """The tests of whole scripts come first: they take longest, and two processes share the files.

    So neither is left with a long file when the other is done.
    """
    items.sort(key=lambda item: len(item.path.parents))


# ---------------------------------------------------------------- scripts

STUCK = 600  # seconds after which a script will not end any more; the longest takes a tenth


def start(*arguments, **variables) -> subprocess.Popen:
    """Start a script from the root, in an environment of which only `variables` is the test's."""
    clean = {"TF_CPP_MIN_LOG_LEVEL", "MUSIC_MIRROR", "KERAS_BACKEND"}
    environment = {name: value for name, value in os.environ.items() if name not in clean}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def run(*arguments, status: int = 0, **variables) -> SimpleNamespace:
    """Run a script; it must end with `status`, and on success be silent on stderr."""
    process = start(*arguments, **variables)
    try:
        out, err = process.communicate(timeout=STUCK)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == status, err + out
    if status == 0:
        assert err == ""
    return SimpleNamespace(out=out, lines=out.splitlines(), err=err)


def refused(*arguments, **variables) -> str:
    """The one line with which a script ends that was given something wrong."""
    message = run(*arguments, status=1, **variables).err
    assert re.fullmatch(r"error: .*\n", message), message
    assert "Traceback" not in message
    return message


def run_here(*arguments, status: int = 0) -> SimpleNamespace:
    """`run` within this process, which has the libraries loaded already."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    with (
        mock.patch.object(sys, "argv", [str(argument) for argument in arguments]),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
        pytest.raises(SystemExit) as ended,
    ):
        runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
    out, err = (_written(stream) for stream in streams)
    assert ended.value.code == status, err + out
    if status == 0:
        assert err == ""
    return SimpleNamespace(out=out, lines=out.splitlines(), err=err)


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode()


def refused_here(*arguments) -> str:
    """`refused` within this process."""
    message = run_here(*arguments, status=1).err
    assert re.fullmatch(r"error: .*\n", message), message
    return message


def together(function, *commands) -> list:
    """`function` of each command, two at a time: a start of TensorFlow keeps one core busy."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda command: function(*command), commands))


# ---------------------------------------------------------------- music


@pytest.fixture(scope="session")
def music_data() -> Path:
    """The folder of real clips, released weights and golden values, or a skip."""
    folder = os.environ.get("MUSIC_TEST_DATA")
    if not folder:
        pytest.skip("MUSIC_TEST_DATA names no folder with golden/ and data/")
    if not Path(folder, "golden").is_dir():
        pytest.skip(f"MUSIC_TEST_DATA: {folder} holds no golden/")
    return Path(folder)


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory) -> tuple[Path, Path, Path]:
    """(split_path, audio_folder, cache_path): 4 artists of 2 genres with 6 songs of 5 s each.

    Subsets are 3 train, 2 valid and 1 test songs an artist. The songs are the
    demo corpus's, so artists and genres can be told apart by ear.
    """
    folder = tmp_path_factory.mktemp("small_corpus")
    table = synthetic_corpus.corpus_table(source_artists=60, source_tracks=6, target_artists=0)
    genres = table["genre"].unique()[:2]
    artists = [a for g in genres for a in table.loc[table["genre"] == g, "artist"].unique()[:2]]
    table = table[table["artist"].isin(artists)].reset_index(drop=True)
    table["subset"] = ["train", "train", "train", "valid", "valid", "test"] * 4
    for path in table["path"]:
        song = synthetic_corpus.render_track(path)[
            10 * synthetic_corpus.RATE : 15 * synthetic_corpus.RATE
        ]
        place = folder / "audio" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, song, synthetic_corpus.RATE, subtype="PCM_16")
    table = table[["track_id", "path", "subset", "artist", "genre", "tags"]]
    split, cache = folder / "small.csv", folder / "small.h5"
    split_csv.write_split(table, split, {"inputs": {}})
    mel_cache.make_mel_cache(split_csv.read_split(split), folder / "audio", cache, workers=1)
    return split, folder / "audio", cache
