"""One mel cache file in the making, which a kill at any moment does not harm.

Its folder holds the frames so far and a journal with a line a track. Both only
ever grow, in the order of the split, so a kill costs no more than the tracks in
flight. The frames stand in their file where they will stand in the cache: to
finish it, HDF5's own bytes are put before and behind them, and nothing is
copied, however large it is.
"""

import contextlib
import json
import math
import os
import shutil
from array import array
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from common import hdf5, provenance
from common.files import atomic_write, make_folder, write_all
from common.parallel import Outcome
from data_prep import failures

FORMAT = "mel-cache-1"
_FRAMES_AT = 4096  # bytes before the frames: one page, which HDF5's first structures fit in


class Writer:
    """Takes the outcomes of a split's tracks in turn; goes on where an earlier one stopped.

    Parameters
    ----------
    out
        The file that it becomes.
    table
        The tracks that belong in it.
    inputs
        What it is made from, see `data_prep.mel_cache.make_mel_cache`.
    folder
        Where it is made.

    Raises
    ------
    InputError
        The folder holds a beginning made from other inputs, or cannot be made.
    """

    def __init__(self, out: Path, table: pd.DataFrame, inputs: dict, folder: Path):
        self._out, self._table, self._inputs, self._folder = out, table, inputs, folder
        self._frames, self._journal = folder / "frames", folder / "journal"
        require_same_start(folder, inputs)
        row_bytes = 2 * inputs["front_end"]["n_mels"]
        self._entries = _sound_entries(self._journal, self._frames, row_bytes, len(table))

    @property
    def done(self) -> int:
        """Tracks that it has the outcomes of, the first of the table."""
        return len(self._entries)

    def __enter__(self) -> "Writer":
        # Unbuffered: when a line is in the journal, the frames are in the file before it.
        self._frames_file = self._frames.open("ab", buffering=0)
        self._journal_file = self._journal.open("ab", buffering=0)
        return self

    def __exit__(self, *_) -> None:
        self._frames_file.close()
        self._journal_file.close()

    def append(self, outcome: Outcome) -> None:
        """Keep the next track's (frames, their sum, the sum of their squares), or its error."""
        if outcome.error is None:
            frames, total, squares = outcome.result
            write_all(self._frames_file, frames.data.cast("B"))
            entry = len(frames), total, squares, ""
        else:
            entry = 0, 0.0, 0.0, failures.failure_reason(outcome.error)
        write_all(self._journal_file, memoryview((json.dumps(entry) + "\n").encode()))
        self._entries.append(*entry)

    def finish(self) -> dict[str, str]:
        """List the failures and put the file in its place; return {track_id: reason}.

        The file of a split of which no track could be used is not written,
        unless it is a shard, which may hold no track.
        """
        rows = self._entries.reasons
        tracks = self._table["track_id"].iloc[list(rows)]
        failed = dict(zip(tracks, rows.values(), strict=True))
        failures.write_failures(self._out, failed)
        if len(failed) < len(self._table) or "shard" in self._inputs:
            self._assemble(failed)
        return failed

    def _assemble(self, failed: dict[str, str]) -> None:
        """Make the file of frames an HDF5 file, index and all, and put it in its place."""
        entries, n_mels = self._entries, self._inputs["front_end"]["n_mels"]
        good = np.ones(len(entries), bool)
        good[list(entries.reasons)] = False
        length, total, squares = (values[good] for values in entries.arrays())
        train = self._table["subset"].eq("train").to_numpy()[good]
        shell = self._folder / "shell"
        page = {"alignment_threshold": _FRAMES_AT, "alignment_interval": _FRAMES_AT}
        # The shell is the finished cache but for the frames, whose place in it is a hole.
        with hdf5.create_file(shell, **page) as file:
            end = _reserve_frames(file, int(length.sum()), n_mels)
            file.attrs["format"] = FORMAT
            file.attrs["front_end"] = json.dumps(self._inputs["front_end"], sort_keys=True)
            file.attrs["made_from"] = provenance.to_json(provenance.make_record(self._inputs))
            mean_and_std = mean_and_std_of(train, length, total, squares, n_mels)
            file.attrs["mean"], file.attrs["std"] = mean_and_std
            text = h5py.string_dtype()
            tracks = self._table["track_id"].to_numpy(object)[good]
            file.create_dataset("track_id", data=tracks, dtype=text)
            file["length"], file["start"] = length, np.cumsum(length) - length
            file.create_dataset("failed_track_id", data=list(failed), dtype=text)
            file.create_dataset("failed_reason", data=list(failed.values()), dtype=text)
            if "shard" in self._inputs:  # what the mean and std over all shards are made of
                file["train"], file["total"], file["squares"] = train.view("u1"), total, squares
        if end is None:
            os.replace(shell, self._out)
            return
        _put_around(shell, self._frames, end)
        os.replace(self._frames, self._out)


class _Entries:
    """What became of the tracks so far, row by row: 24 bytes a track, however many they are."""

    def __init__(self):
        self.reasons: dict[int, str] = {}  # why a row failed
        self._length, self._total, self._squares = array("q"), array("d"), array("d")

    def __len__(self) -> int:
        return len(self._length)

    def append(self, length: int, total: float, squares: float, reason: str) -> None:
        """Of one track: its frames, the sum of their values and of its squares, or a reason."""
        if reason:
            self.reasons[len(self)] = reason
        self._length.append(length)
        self._total.append(total)
        self._squares.append(squares)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(tracks,) int64 lengths, float64 sums and sums of squares."""
        lengths = np.array(self._length, np.int64)
        return lengths, np.array(self._total), np.array(self._squares)


def require_same_start(folder: Path, inputs: dict) -> None:
    """Make `folder`, and note in it what is made from; raise `InputError` if that differs."""
    make_folder(folder)
    path, found = folder / "inputs.json", None
    if path.exists():
        with contextlib.suppress(ValueError):
            found = json.loads(path.read_bytes())
    if isinstance(found, dict):
        provenance.require_same(folder, found, inputs)
        return
    for stale in ("frames", "journal"):
        (folder / stale).unlink(missing_ok=True)
    with atomic_write(path) as aside:
        aside.write_text(json.dumps(inputs), encoding="utf-8")


def mean_and_std_of(
    train: np.ndarray, length: np.ndarray, total: np.ndarray, squares: np.ndarray, n_mels: int
) -> tuple[float, float]:
    """Over the training tracks' frames; over all frames where there is no training track.

    Parameters
    ----------
    train, length, total, squares
        (tracks,) whether it trains, its frames, the sum of their values and of its squares.
    """
    used = train if train.any() else np.ones(len(train), bool)
    count = n_mels * int(length[used].sum())
    if not count:
        return 0.0, 0.0
    # Rounded once, at the end, so that the tracks' order and the shards they lie in do not matter.
    mean = math.fsum(total[used]) / count
    return mean, math.sqrt(max(0.0, math.fsum(squares[used]) / count - mean**2))


def _sound_entries(journal: Path, frames: Path, row_bytes: int, tracks: int) -> _Entries:
    """Read the journal back and cut both files to what it vouches for."""
    if not frames.exists():  # they were put in place, and that file was deleted since
        journal.unlink(missing_ok=True)
    for file in (journal, frames):
        file.touch()
    entries, frames_end, journal_end = _Entries(), _FRAMES_AT, 0
    frames_size = frames.stat().st_size
    with journal.open("rb") as lines:
        for line in lines:
            entry = _sound_entry(line)
            if entry is None or frames_end + entry[0] * row_bytes > frames_size:
                break
            if len(entries) == tracks:
                break
            frames_end += entry[0] * row_bytes
            journal_end += len(line)
            entries.append(*entry)
    os.truncate(journal, journal_end)
    os.truncate(frames, frames_end)
    return entries


def _sound_entry(line: bytes) -> tuple[int, float, float, str] | None:
    """What a sound line says; None for half of one, or what is none of ours."""
    try:
        length, total, squares, reason = json.loads(line) if line.endswith(b"\n") else ()
    except (ValueError, TypeError):
        return None
    if [type(length), type(total), type(squares), type(reason)] != [int, float, float, str]:
        return None
    if not 0 <= length < 2**63 or bool(length) == bool(reason):
        return None
    return (length, total, squares, reason) if math.isfinite(total + squares) else None


def _reserve_frames(file: h5py.File, count: int, n_mels: int) -> int | None:
    """Give the dataset `frames` its place in an empty file, unwritten; return where it ends.

    None if there are no frames to have a place.
    """
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    settings.set_obj_track_times(False)  # as h5py does: the same cache is the same bytes
    kind = h5py.h5t.py_create(np.dtype(np.float16))
    space = h5py.h5s.create_simple((count, n_mels))
    frames = h5py.h5d.create(file.id, b"frames", kind, space, dcpl=settings)
    if not count:
        return None
    if frames.get_offset() != _FRAMES_AT:
        raise RuntimeError(f"HDF5 put the frames at {frames.get_offset()}, not {_FRAMES_AT}")
    return _FRAMES_AT + frames.get_storage_size()


def _put_around(shell: Path, frames: Path, end: int) -> None:
    """Write what the shell has before and behind its hole around the frames, synced."""
    with shell.open("rb") as source, frames.open("r+b") as target:
        target.write(source.read(_FRAMES_AT))
        for file in (source, target):
            file.seek(end)
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
