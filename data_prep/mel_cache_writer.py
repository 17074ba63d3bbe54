"""Writing of mel cache files in such a way that a killed process can resume.

The working folder contains the frames written so far and a journal with one line per
track. Both files only grow, in split order, so killing the process loses only the tracks
in progress. The frames are already at their final offset: to finish the file, the HDF5
structures are written before and after them, and no frames are copied.
"""

import contextlib
import json
import math
import os
import shutil
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from common import hdf5, provenance
from common.files import atomic_write, make_folder, write_all
from common.parallel import Outcome
from data_prep import failures

FORMAT = "mel-cache-1"
_FRAMES_OFFSET = 4096  # bytes; one page, into which HDF5's first structures fit


class CacheWriter:
    """Writer that stores the outcomes for a split's tracks in order; resumes interrupted caches.

    Parameters
    ----------
    out
        Path of the file to make.
    table
        Tracks to write, one per row.
    inputs
        Inputs of the cache; see `data_prep.mel_cache.make_mel_cache`.
    folder
        Working folder.

    Raises
    ------
    InputError
        If the folder contains a cache started from different inputs, or cannot be created.
    """

    def __init__(self, out: Path, table: pd.DataFrame, inputs: dict, folder: Path):
        self._out, self._table, self._inputs, self._folder = out, table, inputs, folder
        self._frames, self._journal = folder / "frames", folder / "journal"
        require_same_start(folder, inputs)
        self._entries = self._read_journal()

    @property
    def done(self) -> int:
        """Number of tracks written so far."""
        return len(self._entries)

    def __enter__(self) -> "CacheWriter":
        # Unbuffered, so that a track's frames reach their file before its journal line is written.
        self._frames_file = self._frames.open("ab", buffering=0)
        self._journal_file = self._journal.open("ab", buffering=0)
        return self

    def __exit__(self, *_) -> None:
        self._frames_file.close()
        self._journal_file.close()

    def append(self, outcome: Outcome) -> None:
        """Write the next track's outcome: (frames, sum, sum of squares), or its error."""
        if outcome.error is None:
            frames, total, squares = outcome.result
            write_all(self._frames_file, frames.data.cast("B"))
            entry = len(frames), total, squares, ""
        else:
            entry = 0, 0.0, 0.0, failures.failure_reason(outcome.error)
        write_all(self._journal_file, memoryview((json.dumps(entry) + "\n").encode()))
        self._entries.append(entry)

    def finish(self) -> dict[str, str]:
        """Write the list of failures and the finished file; return {track_id: reason}.

        If none of the tracks is usable, the file is only written if it is a shard.
        """
        reasons = [reason for *_, reason in self._entries]
        tracks = zip(self._table["track_id"], reasons, strict=True)
        failed = {track: reason for track, reason in tracks if reason}
        failures.write_failures(self._out, failed)
        if len(failed) < len(self._table) or "shard" in self._inputs:
            self._assemble(failed)
        return failed

    def _assemble(self, failed: dict[str, str]) -> None:
        """Turn the frames file into a complete HDF5 file and move it to its final path."""
        n_mels = self._inputs["front_end"]["n_mels"]
        columns = ["length", "total", "squares", "reason"]
        good = pd.DataFrame(self._entries, columns=columns).assign(
            track_id=self._table["track_id"].to_numpy(object),
            train=self._table["subset"].eq("train").to_numpy(),
        )
        good = good[good["reason"] == ""]
        length = good["length"].to_numpy(np.int64)
        total, squares = (good[name].to_numpy(np.float64) for name in ("total", "squares"))
        train = good["train"].to_numpy(bool)
        shell = self._folder / "shell"
        page = {"alignment_threshold": _FRAMES_OFFSET, "alignment_interval": _FRAMES_OFFSET}
        # The shell is the complete cache file, with a hole where the frames belong.
        with hdf5.create_file(shell, **page) as file:
            end = _reserve_frames(file, int(length.sum()), n_mels)
            file.attrs["format"] = FORMAT
            file.attrs["front_end"] = json.dumps(self._inputs["front_end"], sort_keys=True)
            file.attrs["made_from"] = provenance.to_json(provenance.make_record(self._inputs))
            statistics = mean_and_std(train, length, total, squares, n_mels)
            file.attrs["mean"], file.attrs["std"] = statistics
            hdf5.write_strings(file, "track_id", good["track_id"])
            file["length"], file["start"] = length, np.cumsum(length) - length
            hdf5.write_strings(file, "failed_track_id", failed)
            hdf5.write_strings(file, "failed_reason", failed.values())
            if "shard" in self._inputs:  # for statistics over all shards
                file["train"], file["total"], file["squares"] = train.view("u1"), total, squares
        if end is None:
            os.replace(shell, self._out)
            return
        _fill_in_shell(shell, self._frames, end)
        os.replace(self._frames, self._out)

    def _read_journal(self) -> list[tuple[int, float, float, str]]:
        """Read the valid journal entries, and truncate both files after the last of them."""
        if not self._frames.exists():  # moved into a finished file that has since been deleted
            self._journal.unlink(missing_ok=True)
        for file in (self._journal, self._frames):
            file.touch()
        row_bytes = 2 * self._inputs["front_end"]["n_mels"]
        frames_size = self._frames.stat().st_size
        entries, frames_end, journal_end = [], _FRAMES_OFFSET, 0
        with self._journal.open("rb") as lines:
            for line in islice(lines, len(self._table)):
                entry = _parse_entry(line)
                if entry is None:
                    break
                end = frames_end + entry[0] * row_bytes
                if end > frames_size:
                    break
                frames_end, journal_end = end, journal_end + len(line)
                entries.append(entry)
        os.truncate(self._journal, journal_end)
        os.truncate(self._frames, frames_end)
        return entries


def _parse_entry(line: bytes) -> tuple[int, float, float, str] | None:
    """Return an entry of the journal; None if it is incomplete or damaged."""
    try:
        length, total, squares, reason = json.loads(line)
    except (TypeError, ValueError):
        return None
    if [type(value) for value in (length, total, squares, reason)] != [int, float, float, str]:
        return None
    # A track has either frames or a reason for its failure.
    if not line.endswith(b"\n") or length < 0 or bool(length) == bool(reason):
        return None
    return (length, total, squares, reason) if math.isfinite(total + squares) else None


def require_same_start(folder: Path, inputs: dict) -> None:
    """Create a working folder that records its inputs, or raise `InputError` if they differ."""
    make_folder(folder)
    path, existing = folder / "inputs.json", None
    if path.exists():
        with contextlib.suppress(ValueError):
            existing = json.loads(path.read_bytes())
    if isinstance(existing, dict):
        provenance.require_same(folder, existing, inputs)
        return
    for stale in ("frames", "journal"):
        (folder / stale).unlink(missing_ok=True)
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(inputs), encoding="utf-8")


def mean_and_std(
    train: np.ndarray, length: np.ndarray, total: np.ndarray, squares: np.ndarray, n_mels: int
) -> tuple[float, float]:
    """Return the mean and standard deviation of the training tracks, or of all if there are none.

    Parameters
    ----------
    train, length, total, squares
        (tracks,) arrays: whether each is a training track, its number of frames, and the
        sum and sum of squares of its values.
    n_mels
        Number of values per frame.
    """
    used = train if train.any() else np.ones(len(train), bool)
    count = n_mels * int(length[used].sum())
    if not count:
        return 0.0, 0.0
    # Sums are exact, so neither track order nor sharding makes a difference.
    mean = math.fsum(total[used]) / count
    return mean, math.sqrt(max(0.0, math.fsum(squares[used]) / count - mean**2))


def _reserve_frames(file: h5py.File, count: int, n_mels: int) -> int | None:
    """Allocate the dataset `frames` in an empty file without writing it; return its end offset."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    settings.set_obj_track_times(False)  # so that identical caches are identical files
    kind = h5py.h5t.py_create(np.dtype(np.float16))
    space = h5py.h5s.create_simple((count, n_mels))
    frames = h5py.h5d.create(file.id, b"frames", kind, space, dcpl=settings)
    if not count:
        return None
    if frames.get_offset() != _FRAMES_OFFSET:
        raise RuntimeError(f"HDF5 put the frames at {frames.get_offset()}, not {_FRAMES_OFFSET}")
    return _FRAMES_OFFSET + frames.get_storage_size()


def _fill_in_shell(shell: Path, frames: Path, end: int) -> None:
    """Copy the parts of the shell before and after its hole into the frames file."""
    with shell.open("rb") as source, frames.open("r+b") as target:
        target.write(source.read(_FRAMES_OFFSET))
        for file in (source, target):
            file.seek(end)
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
