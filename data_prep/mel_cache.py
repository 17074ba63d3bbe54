"""The mel cache: every track decoded once, all frames end to end in one HDF5 file.

Datasets of a cache file:

| dataset | shape, dtype | what |
|---|---|---|
| frames | (total_frames, 128) float16 | log-mel of all tracks, contiguous and uncompressed |
| track_id | (tracks,) str | in the order of the split |
| start, length | (tracks,) int64 | a track's frames are frames[start : start + length] |
| failed_track_id, failed_reason | (failures,) str | what could not be cached, and why |

Root attributes: `format`, `front_end` and `made_from` (JSON), and `mean` and
`std`, the scalars over all frames of the training tracks.

While a cache is being made, NAME.h5.making/ holds the frames so far and a
journal with a line a track. Both only ever grow, in the order of the split, so
a kill at any moment costs no more than the tracks in flight. The frames stand
in their file where they will stand in the cache: to finish it, HDF5's own bytes
are put before and behind them, and nothing is copied, however large it is.
"""

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import filelock
import h5py
import numpy as np
import pandas as pd

from common import cli, hdf5, provenance
from common.errors import InputError
from common.files import make_folder, write_all, written_whole
from common.parallel import Outcome, ordered_map
from data_prep import failures
from data_prep.mel import FrontEnd, log_mel_of_file

FORMAT = "mel-cache-1"
_FRAMES_AT = 4096  # bytes before the frames: one page, which HDF5's first structures fit in


# ---------------------------------------------------------------- reading


class MelCache:
    """A finished cache, its frames mapped into memory and read only as they are used.

    Attributes
    ----------
    frames
        (total_frames, n_mels) float16, memory-mapped.
    track_id
        (tracks,) str, as an object array.
    start, length
        (tracks,) int64, in frames.
    mean, std
        Scalars of the training tracks' frames.
    front_end
        The `FrontEnd` that made it.
    failed
        {track_id: reason} of the tracks that could not be cached.

    Raises
    ------
    InputError
        Not a mel cache, or damaged.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with hdf5.open_file(self.path) as file:
            if not _is_mel_cache(file):
                raise InputError(
                    f"{self.path}: not a mel cache; make one with data_prep/2_cache_mels.py"
                )
            self.made_from = hdf5.json_attribute(file, "made_from")
            self.front_end = _front_end(hdf5.json_attribute(file, "front_end"), self.path)
            self.mean = hdf5.attribute(file, "mean", float)
            self.std = hdf5.attribute(file, "std", float)
            self.track_id = hdf5.strings(file, "track_id")
            self.start = hdf5.values(file, "start")
            self.length = hdf5.values(file, "length")
            failed = hdf5.strings(file, "failed_track_id"), hdf5.strings(file, "failed_reason")
            self.failed = dict(zip(*failed, strict=False))
            frames = hdf5.dataset(file, "frames")
            offset, shape, dtype = frames.id.get_offset(), frames.shape, frames.dtype
        self._check(offset, shape, dtype)
        self.frames = np.memmap(self.path, dtype, mode="r", offset=offset, shape=shape)
        self._row = {track: row for row, track in enumerate(self.track_id)}

    def __len__(self) -> int:
        return len(self.track_id)

    def __contains__(self, track_id: str) -> bool:
        return track_id in self._row

    def __getitem__(self, track_id: str) -> np.ndarray:
        """The (length, n_mels) float16 frames of one track, a view."""
        row = self._row[track_id]
        return self.frames[self.start[row] : self.start[row] + self.length[row]]

    def rows(self, track_ids: Iterable[str]) -> np.ndarray:
        """(n,) int64 positions of the tracks in the cache, or `InputError` naming one it lacks."""
        track_ids = list(track_ids)
        absent = [track for track in track_ids if track not in self._row]
        if absent:
            raise InputError(
                f"{self.path}: lacks {len(absent)} of {len(track_ids)} tracks, the first "
                f"{str(absent[0])!r}; cache this split with data_prep/2_cache_mels.py"
            )
        return np.fromiter((self._row[track] for track in track_ids), np.int64, len(track_ids))

    def require_front_end(self, wanted: FrontEnd) -> None:
        """Raise `InputError` unless `wanted` makes such frames, of however much of a track."""
        kept = {"max_frames": None}
        changed = provenance.differences(
            self.front_end.to_dict() | kept, wanted.to_dict() | kept, "front_end."
        )
        if changed:
            raise InputError(
                f"{self.path}: made with another front end than the networks' ({'; '.join(changed)}"
                "); make the cache again with data_prep/2_cache_mels.py"
            )

    def _check(self, offset: int | None, shape: tuple, dtype: np.dtype) -> None:
        damaged = InputError(f"{self.path}: a damaged mel cache; delete it and make it again")
        bands = (self.front_end.n_mels,)
        if offset is None or dtype != np.float16 or len(shape) != 2 or shape[1:] != bands:
            raise damaged
        if not 0 < shape[0] * shape[1] * 2 <= self.path.stat().st_size - offset:
            raise damaged
        if not isinstance(self.made_from.get("inputs"), dict):
            raise damaged
        for index in (self.start, self.length):
            if index.dtype != np.int64 or index.shape != self.track_id.shape:
                raise damaged
        if (self.start < 0).any() or (self.length < 0).any():
            raise damaged
        if (self.length > shape[0] - self.start).any():
            raise damaged
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise damaged


def _is_mel_cache(file: h5py.File) -> bool:
    try:
        return hdf5.attribute(file, "format", str) == FORMAT
    except InputError:
        return False


def _front_end(parameters: dict, path: Path) -> FrontEnd:
    try:
        return FrontEnd(**parameters)
    except TypeError as error:
        raise InputError(f"{path}: made by a front end unknown here ({error})") from error


# ---------------------------------------------------------------- making


@dataclass(frozen=True)
class Report:
    """What `make` did: tracks in the cache, tracks that failed, and whether it was there before."""

    tracks: int
    failed: dict[str, str]
    was_complete: bool


def make(
    table: pd.DataFrame,
    audio_folder: str | Path,
    out: str | Path,
    *,
    front_end: FrontEnd | None = None,
    workers: int = 1,
) -> Report:
    """Decode every track of a split into the cache file `out`.

    Goes on where an earlier, interrupted call stopped; does nothing where
    `out` is complete and made from the same tracks and front end. The
    datasets come out the same bytes whatever the interruptions and the number
    of workers.

    Parameters
    ----------
    table
        A split (see `data_prep.split_csv`).
    audio_folder
        What the split's paths are relative to.

    Raises
    ------
    InputError
        `out` was made from something else, another run is making it, or not
        one track could be read. Failed tracks are listed beside `out`.
    """
    out, folder, front_end = Path(out), Path(audio_folder), front_end or FrontEnd()
    inputs = {"front_end": front_end.to_dict(), "tracks": len(table), "split": _digest(table)}
    making = out.with_name(out.name + ".making")
    if out.exists():
        return _complete(out, inputs, making)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of audio; check the path")
    make_folder(making)
    with _only_run(making, out):
        if out.exists():  # by now, from a run that has just ended
            return _complete(out, inputs, making)
        try:
            with _Journal(making, inputs) as journal:
                _decode_rest(table, folder, front_end, workers, journal)
            failed = _failures(table, journal.entries)
            failures.write(out, failed)
            if len(failed) < len(table):
                _assemble(out, table, journal.entries, making, inputs)
        except OSError as error:
            error.filename = error.filename or str(out)  # writing says not whose write it was
            raise
        # Under the lock: without it, another run may have its frames there by now.
        shutil.rmtree(making, ignore_errors=True)
    _require_some(failed, table, folder)
    return Report(len(table) - len(failed), failed, was_complete=False)


def _complete(out: Path, inputs: dict, making: Path) -> Report:
    cache = MelCache(out)
    provenance.require_same(out, cache.made_from["inputs"], inputs)
    shutil.rmtree(making, ignore_errors=True)  # a kill after the cache was whole has left it
    return Report(len(cache), cache.failed, was_complete=True)


@contextlib.contextmanager
def _only_run(making: Path, out: Path) -> Iterator[None]:
    lock = filelock.FileLock(making / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise InputError(f"{out}: another run is making it; wait for that one") from error
    try:
        yield
    finally:
        lock.release()


def _require_some(failed: dict[str, str], table: pd.DataFrame, folder: Path) -> None:
    if len(failed) == len(table):
        track, reason = next(iter(failed.items()))
        raise InputError(
            f"{folder}: none of the {len(table)} tracks could be used; the first, {track}: {reason}"
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """A journal line: what became of the track of that row."""

    length: int  # frames; 0 if it failed
    total: float  # sum of its values
    squares: float  # sum of their squares
    reason: str  # why it failed, or ''

    @classmethod
    def of(cls, line: bytes) -> "_Entry | None":
        """The entry of a sound line; None for half of one, or what is none of ours."""
        try:
            length, total, squares, reason = json.loads(line) if line.endswith(b"\n") else ()
        except (ValueError, TypeError):
            return None
        if [type(length), type(total), type(squares), type(reason)] != [int, float, float, str]:
            return None
        if length < 0 or bool(length) == bool(reason) or not math.isfinite(total + squares):
            return None
        return cls(length, total, squares, reason)


class _Journal:
    """The raw frames and the lines that say which of them are sound."""

    def __init__(self, folder: Path, inputs: dict):
        row_bytes = 2 * inputs["front_end"]["n_mels"]
        self._frames, self._lines = folder / "frames", folder / "journal"
        _require_same_start(folder / "inputs.json", inputs)
        self.entries = _sound_entries(self._lines, self._frames, row_bytes, inputs["tracks"])

    def __enter__(self) -> "_Journal":
        # Unbuffered: when a line is in the journal, the frames are in the file before it.
        self._frames_file = self._frames.open("ab", buffering=0)
        self._lines_file = self._lines.open("ab", buffering=0)
        return self

    def __exit__(self, *_) -> None:
        self._frames_file.close()
        self._lines_file.close()

    def append(self, entry: _Entry, frames: np.ndarray | None) -> None:
        if frames is not None:
            write_all(self._frames_file, frames.data.cast("B"))
        write_all(self._lines_file, memoryview(_line(entry)))
        self.entries.append(entry)


def _line(entry: _Entry) -> bytes:
    return (json.dumps(astuple(entry)) + "\n").encode()


def _require_same_start(path: Path, inputs: dict) -> None:
    found = None
    if path.exists():
        with contextlib.suppress(ValueError):
            found = json.loads(path.read_bytes())
    if isinstance(found, dict):
        provenance.require_same(path.parent, found, inputs)
        return
    for stale in ("frames", "journal"):
        (path.parent / stale).unlink(missing_ok=True)
    with written_whole(path) as aside:
        aside.write_text(json.dumps(inputs), encoding="utf-8")


def _sound_entries(lines: Path, frames: Path, row_bytes: int, tracks: int) -> list[_Entry]:
    """Read the journal back and cut both files to what it vouches for."""
    for file in (lines, frames):
        file.touch()
    entries, frames_end, lines_end = [], _FRAMES_AT, 0
    frames_size = frames.stat().st_size
    with lines.open("rb") as journal:
        for line in journal:
            entry = _Entry.of(line)
            if entry is None or frames_end + entry.length * row_bytes > frames_size:
                break
            if len(entries) == tracks:
                break
            frames_end += entry.length * row_bytes
            lines_end += len(line)
            entries.append(entry)
    os.truncate(lines, lines_end)
    os.truncate(frames, frames_end)
    return entries


def _decode_rest(
    table: pd.DataFrame, folder: Path, front_end: FrontEnd, workers: int, journal: _Journal
) -> None:
    done = len(journal.entries)
    paths = [str(folder / path) for path in table["path"].iloc[done:]]
    outcomes = ordered_map(partial(_float16_frames, front_end=front_end), paths, workers=workers)
    with (
        contextlib.closing(outcomes),
        cli.progress(total=len(table), initial=done, desc="mel cache", unit="track") as bar,
    ):
        for outcome in outcomes:
            if outcome.error is not None and not folder.is_dir():
                raise InputError(f"{folder}: is gone; bring it back and run the same command again")
            journal.append(*_entry(outcome))
            bar.update()


def _float16_frames(path: str, front_end: FrontEnd) -> tuple[np.ndarray, float, float]:
    """In a worker: a track's frames, and the sums for the scalar mean and std."""
    frames = log_mel_of_file(path, front_end).astype(np.float16)
    rounded = frames.astype(np.float64).ravel()
    return frames, float(rounded.sum()), float(rounded @ rounded)


def _entry(outcome: Outcome) -> tuple[_Entry, np.ndarray | None]:
    if outcome.error is not None:
        return _Entry(0, 0.0, 0.0, failures.reason(outcome.error)), None
    frames, total, squares = outcome.result
    return _Entry(len(frames), total, squares, ""), frames


def _failures(table: pd.DataFrame, entries: list[_Entry]) -> dict[str, str]:
    return {
        track: entry.reason
        for track, entry in zip(table["track_id"], entries, strict=True)
        if entry.reason
    }


def _assemble(
    out: Path, table: pd.DataFrame, entries: list[_Entry], folder: Path, inputs: dict
) -> None:
    """Make the file of frames an HDF5 file, index and all, and put it in its place."""
    failed = _failures(table, entries)
    good = np.array([not entry.reason for entry in entries])
    length = np.array([entry.length for entry in entries], np.int64)[good]
    mean, std = _mean_and_std(
        table["subset"].eq("train").to_numpy(), entries, inputs["front_end"]["n_mels"]
    )
    shell = folder / "shell"
    # The shell is the finished cache but for the frames, whose place in it is a hole.
    with hdf5.written(shell, alignment_threshold=_FRAMES_AT, alignment_interval=_FRAMES_AT) as file:
        end = _reserve_frames(file, int(length.sum()), inputs["front_end"]["n_mels"])
        file.attrs["format"] = FORMAT
        file.attrs["front_end"] = json.dumps(inputs["front_end"], sort_keys=True)
        file.attrs["made_from"] = provenance.to_json(provenance.record(inputs))
        file.attrs["mean"], file.attrs["std"] = mean, std
        text = h5py.string_dtype()
        file.create_dataset("track_id", data=table["track_id"].to_numpy(object)[good], dtype=text)
        file["length"], file["start"] = length, np.cumsum(length) - length
        file.create_dataset("failed_track_id", data=list(failed), dtype=text)
        file.create_dataset("failed_reason", data=list(failed.values()), dtype=text)
    _put_around(shell, folder / "frames", end)
    os.replace(folder / "frames", out)


def _reserve_frames(file: h5py.File, count: int, n_mels: int) -> int:
    """Give the dataset `frames` its place in an empty file, unwritten; return where it ends."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    settings.set_obj_track_times(False)  # as h5py does: the same cache is the same bytes
    kind = h5py.h5t.py_create(np.dtype(np.float16))
    space = h5py.h5s.create_simple((count, n_mels))
    frames = h5py.h5d.create(file.id, b"frames", kind, space, dcpl=settings)
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


def _mean_and_std(train: np.ndarray, entries: list[_Entry], n_mels: int) -> tuple[float, float]:
    """Over the training tracks' frames; over all frames where a split has no training track."""
    used = [entry for entry, wanted in zip(entries, train, strict=True) if wanted and entry.length]
    used = used or entries
    count = n_mels * sum(entry.length for entry in used)
    mean = math.fsum(entry.total for entry in used) / count
    return mean, math.sqrt(math.fsum(entry.squares for entry in used) / count - mean**2)


def _digest(table: pd.DataFrame) -> str:
    """Identifies what of a split goes into its cache; a change of labels does not matter."""
    train = np.where(table["subset"].eq("train"), "train", "")
    return provenance.digest(zip(table["track_id"], table["path"], train, strict=True))
