"""Fixtures and helpers shared by the tests of several packages."""

import contextlib
import io
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import soundfile

from data_prep import mel_cache_writer, split_csv, synthetic_corpus

# If a shell starts the tests in the background, they ignore Ctrl-C, and the scripts under test
# would inherit this setting.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # some tests import onnxruntime themselves

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 600  # seconds; the slowest script takes a tenth of this


def pytest_collection_modifyitems(items):
    """Run the tests of whole scripts first, because they take the longest.

    With two processes, this avoids leaving one of them with a long test file at the end.
    """
    items.sort(key=lambda item: len(item.path.parents))


# ---------------------------------------------------------------- running scripts


def start_script(
    *arguments, cwd: Path = ROOT, start_new_session: bool = False, **variables
) -> subprocess.Popen:
    """Start a script, with `variables` added to a clean environment."""
    removed = {"TF_CPP_MIN_LOG_LEVEL", "MUSIC_MIRROR", "KERAS_BACKEND", "ORT_DISABLE_TELEMETRY"}
    environment = {name: value for name, value in os.environ.items() if name not in removed}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=start_new_session,
    )


def start_python(*words, cwd: Path = ROOT) -> subprocess.Popen:
    """Start Python in its own process group, with the repository root on its import path."""
    return start_script(*words, cwd=cwd, start_new_session=True, PYTHONPATH=str(ROOT))


def run_script(*arguments, status: int = 0, **variables) -> SimpleNamespace:
    """Run a script and check its exit status; on success, stderr must be empty."""
    process = start_script(*arguments, **variables)
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return _check_output(process.returncode, out, err, status)


def _check_output(returned: int, out: str, err: str, status: int) -> SimpleNamespace:
    assert returned == status, err + out
    err = without_progress(err)
    if status == 0:
        assert err == ""
    return SimpleNamespace(out=out, lines=out.splitlines(), err=err)


def without_progress(err: str) -> str:
    """Remove the lines of progress that a slow machine prints to stderr."""
    return re.sub(r"(?m)^.*, [\d.]+[kMG]? \w+/s.*\n", "", err)


def error_of(*arguments, **variables) -> str:
    """Return the one-line error message of a script that exits with status 1."""
    message = run_script(*arguments, status=1, **variables).err
    assert re.fullmatch(r"error: .*\n", message), message
    return message


def run_in_process(*arguments, status: int = 0) -> SimpleNamespace:
    """Like `run_script`, but run in this process, where the libraries are already imported."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    with (
        mock.patch.object(sys, "argv", [str(argument) for argument in arguments]),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
        pytest.raises(SystemExit) as exit_,
    ):
        runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue().decode() for stream in streams)
    return _check_output(exit_.value.code, out, err, status)


def error_in_process(*arguments) -> str:
    """Like `error_of`, but run the script in this process."""
    message = run_in_process(*arguments, status=1).err
    assert re.fullmatch(r"error: .*\n", message), message
    return message


# ---------------------------------------------------------------- music fixtures


@pytest.fixture(scope="session")
def music_data() -> Path:
    """Return the folder with real clips, released weights and golden values, or skip the test."""
    folder = os.environ.get("MUSIC_TEST_DATA")
    if not folder:
        pytest.skip("MUSIC_TEST_DATA is not set to a folder with golden/ and data/")
    if not Path(folder, "golden").is_dir():
        pytest.skip(f"MUSIC_TEST_DATA: {folder} contains no golden/")
    return Path(folder)


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory) -> tuple[Path, Path, Path]:
    """Return (split, audio folder, cache) for 4 artists in 2 genres with 6 tracks of 5 s each.

    Each artist has 3 train, 2 valid and 1 test tracks, excerpted from the synthetic corpus.
    """
    folder = tmp_path_factory.mktemp("small_corpus")
    table = synthetic_corpus.corpus_table(source_artists=60, source_tracks=6, target_artists=0)
    genres = table["genre"].unique()[:2]
    artists = [a for g in genres for a in table.loc[table["genre"] == g, "artist"].unique()[:2]]
    table = table[table["artist"].isin(artists)].reset_index(drop=True)
    table["subset"] = ["train", "train", "train", "valid", "valid", "test"] * 4
    for path in table["path"]:
        rate = synthetic_corpus.RATE
        song = synthetic_corpus.render_track(path)[10 * rate : 15 * rate]
        place = folder / "audio" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, song, rate, subtype="PCM_16")
    table = table[["track_id", "path", "subset", "artist", "genre", "tags"]]
    split, cache = folder / "small.csv", folder / "small.h5"
    split_csv.write_split(table, split, {"inputs": {}})
    mel_cache_writer.make_mel_cache(split_csv.read_split(split), folder / "audio", cache, workers=1)
    return split, folder / "audio", cache
