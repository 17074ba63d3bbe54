"""The mel cache, which decodes every track once and stores all frames in one HDF5 file.

| dataset | shape, dtype | content |
|---|---|---|
| frames | (total_frames, 128) float16 | log-mel of all tracks, contiguous and uncompressed |
| track_id | (tracks,) str | in split order |
| start, length | (tracks,) int64 | each track occupies frames[start : start + length] |
| failed_track_id, failed_reason | (failures,) str | tracks that could not be used, and why |

Root attributes: `format`; `front_end` and `made_from` (JSON); `mean` and `std`, scalars
computed over all frames of the training tracks.

A large cache can be divided into shards, which are read as if they were one file (see
`data_prep.mel_shards`). While a cache NAME.h5 is being made, the folder NAME.h5.making/
holds the part completed so far (see `data_prep.mel_cache_writer`).
"""

import contextlib
import math
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from common import cli, hdf5, provenance
from common.errors import InputError
from common.files import add_suffix, exclusive_folder
from common.parallel import Outcome, ordered_map
from data_prep import mel_shards
from data_prep.mel import FrontEnd, log_mel_of_file
from data_prep.mel_cache_writer import FORMAT, CacheWriter, mean_and_std, require_same_start

# ---------------------------------------------------------------- reading a cache


class MelCache:
    """A complete cache, with memory-mapped frames that are read on demand.

    If the file `path` does not exist but shards of it do, they are read as one cache.

    Attributes
    ----------
    frames
        (total_frames, n_mels) float16, memory-mapped; a `ShardedFrames` if there are shards.
    track_id
        (tracks,) str, as an object array.
    start, length
        First frame and number of frames of each track, (tracks,) int64 each.
    mean, std
        Scalar mean and standard deviation over the frames of the training tracks.
    front_end
        The `FrontEnd` that the cache was made with.
    made_from
        Provenance record of the cache.
    failed
        {track_id: reason} for the tracks that could not be used.

    Raises
    ------
    InputError
        If the file is not a mel cache or is damaged, or if a shard is missing or belongs to
        a different cache.

    Examples
    --------
    >>> cache = MelCache("cache/gtzan.h5")
    >>> cache["blues.00000"].shape
    (1291, 128)
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        shards = {} if self.path.exists() else mel_shards.find_shards(self.path)
        files = [_CacheFile(file) for file in shards.values() or [self.path]]
        self.made_from, self.front_end = files[0].made_from, files[0].front_end
        self.track_id = np.concatenate([file.track_id for file in files])
        self.length = np.concatenate([file.length for file in files])
        self.failed = _merge(file.failed for file in files)
        if shards:
            inputs = {
                number: {**file.inputs, "front_end": file.front_end.to_dict()}
                for number, file in zip(shards, files, strict=True)
            }
            merged = mel_shards.merge_inputs(self.path, inputs)
            self.made_from = {**self.made_from, "inputs": merged}
            self.frames: np.ndarray | mel_shards.ShardedFrames = mel_shards.ShardedFrames(
                [file.frames for file in files]
            )
            before = np.cumsum([0] + [len(file.frames) for file in files[:-1]])
            self.start = np.concatenate([f.start + b for f, b in zip(files, before, strict=True)])
            train, total, squares = map(
                np.concatenate, zip(*(file.sums for file in files), strict=True)
            )
            self.mean, self.std = mean_and_std(
                train.astype(bool), self.length, total, squares, self.front_end.n_mels
            )
        else:
            self.frames, self.start = files[0].frames, files[0].start
            self.mean, self.std = files[0].mean, files[0].std
        self._rows = pd.Index(self.track_id, dtype=object)
        if not self._rows.is_unique:
            duplicate = str(self._rows[self._rows.duplicated()][0])
            raise InputError(
                f"{self.path}: duplicate track {duplicate!r}; delete it and make it again"
            )
        if not len(self.frames):
            raise InputError(
                f"{self.path}: contains no frames, since all of its tracks failed; delete it and "
                "make it again"
            )
        if not self.std > 0:
            raise _damaged(self.path)

    def __len__(self) -> int:
        return len(self.track_id)

    def __contains__(self, track_id: str) -> bool:
        return track_id in self._rows

    def __getitem__(self, track_id: str) -> np.ndarray:
        """Return a track's (length, n_mels) float16 frames as a view."""
        row = self._rows.get_loc(track_id)
        return self.frames[self.start[row] : self.start[row] + self.length[row]]

    def rows(self, track_ids: Iterable[str]) -> np.ndarray:
        """Return the tracks' (n,) int64 row indices, or raise `InputError` if any is missing."""
        wanted = pd.Index(list(track_ids), dtype=object)
        rows = self._rows.get_indexer(wanted).astype(np.int64)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            raise InputError(
                f"{self.path}: {len(missing)} of {len(wanted)} tracks are missing, the first "
                f"{str(wanted[missing[0]])!r}; cache this split with data_prep/2_cache_mels.py"
            )
        return rows

    def require_front_end(self, wanted: FrontEnd) -> None:
        """Raise `InputError` if the front end differs in anything other than `max_frames`."""
        any_length = {"max_frames": None}
        changed = provenance.list_differences(
            self.front_end.to_dict() | any_length, wanted.to_dict() | any_length, "front_end."
        )
        if changed:
            raise InputError(
                f"{self.path}: made with another front end than the networks' ({'; '.join(changed)}"
                "); make the cache again with data_prep/2_cache_mels.py"
            )


class _CacheFile:
    """Content of a single cache or shard file; the attributes are those of `MelCache`."""

    def __init__(self, path: Path):
        self.path = path
        message = "not a mel cache; make one with data_prep/2_cache_mels.py"
        with hdf5.open_format(path, FORMAT, message) as file:
            self.made_from = hdf5.read_json_attribute(file, "made_from")
            parameters = hdf5.read_json_attribute(file, "front_end")
            self.mean = hdf5.read_attribute(file, "mean", float)
            self.std = hdf5.read_attribute(file, "std", float)
            self.track_id = hdf5.read_strings(file, "track_id")
            self.start = hdf5.read_array(file, "start")
            self.length = hdf5.read_array(file, "length")
            failed_tracks = hdf5.read_strings(file, "failed_track_id")
            reasons = hdf5.read_strings(file, "failed_reason")
            self.failed = dict(zip(failed_tracks, reasons, strict=False))
            frames = hdf5.get_dataset(file, "frames")
            offset, shape, dtype = frames.id.get_offset(), frames.shape, frames.dtype
            self.inputs = self.made_from.get("inputs", {})
            is_shard = isinstance(self.inputs, dict) and "shard" in self.inputs
            names = ("train", "total", "squares") if is_shard else ()
            self.sums = [hdf5.read_array(file, name) for name in names]
        try:
            self.front_end = FrontEnd(**parameters)
        except TypeError as error:
            raise InputError(
                f"{path}: made with an unknown front end ({error}); make it again"
            ) from error
        if not self._is_valid(offset, shape, dtype, may_be_empty=is_shard):
            raise _damaged(path)
        self.frames: np.ndarray = np.empty(shape, dtype)
        if shape[0]:
            self.frames = np.memmap(path, dtype, mode="r", offset=offset, shape=shape)

    def _is_valid(
        self, offset: int | None, shape: tuple, dtype: np.dtype, *, may_be_empty: bool
    ) -> bool:
        if dtype != np.float16 or len(shape) != 2 or shape[1] != self.front_end.n_mels:
            return False
        if shape[0] == 0:
            in_file = may_be_empty
        else:  # chunked datasets have no offset
            end = None if offset is None else offset + shape[0] * shape[1] * 2
            in_file = end is not None and end <= self.path.stat().st_size
        tracks = self.track_id.shape
        return (
            in_file
            and isinstance(self.inputs, dict)
            and bool(self.inputs)
            and all(index.dtype == np.int64 for index in (self.start, self.length))
            and all(index.shape == tracks for index in (self.start, self.length))
            and bool(((self.start >= 0) & (self.length >= 0)).all())
            and bool((self.length <= shape[0] - self.start).all())
            and math.isfinite(self.mean)
            and math.isfinite(self.std)
            and all(sums.shape == tracks and np.isfinite(sums).all() for sums in self.sums)
        )


def _damaged(path: Path) -> InputError:
    return InputError(f"{path}: a damaged mel cache; delete it and make it again")


# ---------------------------------------------------------------- making a cache


@dataclass(frozen=True)
class CacheReport:
    """Outcome of making a cache: number of tracks, failures, and whether it already existed."""

    tracks: int
    failed: dict[str, str]
    was_complete: bool


def make_mel_cache(
    table: pd.DataFrame,
    audio_folder: str | Path,
    out: str | Path,
    *,
    front_end: FrontEnd | None = None,
    workers: int = 1,
    shard_tracks: int | None = None,
    scheduler: str | None = None,
) -> CacheReport:
    """Decode every track in a split into the cache file `out`.

    An interrupted cache is resumed. A complete cache that was made from the same tracks
    and front end is left unchanged. The datasets are bit-identical regardless of
    interruptions and the number of workers. Failed tracks are listed in a file next to
    the cache.

    Parameters
    ----------
    table
        Split to cache (see `data_prep.split_csv`).
    audio_folder
        Folder to which the split's paths are relative.
    out
        Path of the cache.
    front_end
        Front-end parameters; defaults to those of the papers.
    workers
        Number of worker processes on this machine.
    shard_tracks
        Number of split rows per shard; None writes a single file.
    scheduler
        Dask scheduler address or scheduler file; if given, its cluster decodes the
        tracks instead, and needs the audio at the same path on every machine.

    Raises
    ------
    InputError
        If `out` was made from different inputs, another process is making it, or no
        track could be used.

    Examples
    --------
    >>> make_mel_cache(read_split("splits/demo.csv"), "corpus", "cache/demo.h5", workers=4)
    """
    out, folder, front_end = Path(out), Path(audio_folder), front_end or FrontEnd()
    inputs = {"front_end": front_end.to_dict(), "tracks": len(table), "split": _digest(table)}
    making = add_suffix(out, ".making")
    files = _plan_files(table, out, making, inputs, shard_tracks)
    if all(file.out.exists() for file in files):
        return _finish(files, table, folder, making)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of audio; check the path")
    with exclusive_folder(making):
        if all(file.out.exists() for file in files):  # another process has just completed the cache
            return _finish(files, table, folder, making)
        try:
            if shard_tracks is not None:
                require_same_start(making, {**inputs, "shard_tracks": shard_tracks})
            function = partial(_decode, front_end=front_end)
            failed = _make_files(files, folder, _choose_map(function, workers, scheduler))
        except OSError as error:
            error.filename = error.filename or str(out)  # write errors do not name the file
            raise
        # Clean up while the folder is locked, since another process may use it afterwards.
        _clean_up(files, making, all_failed=len(failed) == len(table))
    return _report(failed, table, folder, was_complete=False)


@dataclass(frozen=True)
class _PlannedFile:
    """A file to make: its path, split rows, inputs and working folder."""

    out: Path
    table: pd.DataFrame
    inputs: dict
    folder: Path

    @cached_property
    def writer(self) -> CacheWriter:
        return CacheWriter(self.out, self.table, self.inputs, self.folder)

    def count_done(self) -> int:
        """Return the number of tracks already decoded."""
        if self.out.exists():
            return len(self.table)
        return self.writer.done if self.folder.exists() else 0

    def remaining_paths(self, folder: Path) -> Iterator[str]:
        root = os.path.abspath(folder)  # cluster workers may run in a different folder
        for path in self.table["path"].iloc[self.writer.done :]:
            yield os.path.join(root, path)

    def read_failed(self) -> dict[str, str]:
        """Return the existing file's failures as {track_id: reason}.

        Raises `InputError` if the file was made from different inputs.
        """
        file = _CacheFile(self.out)
        provenance.require_same(self.out, file.inputs, self.inputs)
        return file.failed


def _plan_files(
    table: pd.DataFrame, out: Path, making: Path, inputs: dict, shard_tracks: int | None
) -> list[_PlannedFile]:
    """Return the files to make: a single one, or one per shard.

    Raises `InputError` if shards exist where a single file is to be made, or vice versa.
    """
    shards = mel_shards.find_shards(out)
    if shard_tracks is None:
        if shards and not out.exists():
            raise InputError(
                f"{next(iter(shards.values()))}: seems a shard of {out.name}; use the same "
                "--shard-tracks as before, or choose another --out"
            )
        return [_PlannedFile(out, table, inputs, making)]
    if out.exists():
        raise InputError(
            f"{out}: already there, in one file; omit --shard-tracks, or choose another --out"
        )
    count = -(-len(table) // shard_tracks)
    if count > mel_shards.MAX_SHARDS:
        raise InputError(f"--shard-tracks: makes {count} files; use more tracks per file")
    for number, path in shards.items():
        if number >= count:
            raise InputError(f"{path}: not one of this cache's {count} shards; delete it")
    whole = {"of": count, "tracks": inputs["tracks"], "split": inputs["split"]}
    files = []
    for number in range(count):
        part = table.iloc[number * shard_tracks : (number + 1) * shard_tracks]
        of_part = {
            "tracks": len(part),
            "split": _digest(part),
            "shard": {"number": number, **whole},
        }
        path = mel_shards.shard_path(out, number)
        files.append(_PlannedFile(path, part, inputs | of_part, making / path.name))
    return files


def _make_files(
    files: list[_PlannedFile],
    folder: Path,
    mapped: Callable[[Iterable], Generator[Outcome, None, None]],
) -> dict[str, str]:
    """Make the missing files; return the failures in all files as {track_id: reason}."""
    failed = {file.out: file.read_failed() for file in files if file.out.exists()}
    missing = [file for file in files if file.out not in failed]
    total, done = sum(len(file.table) for file in files), sum(file.count_done() for file in files)
    # All files share one map, so that no worker sits idle while the last track of a file is
    # decoded.
    outcomes = mapped(path for file in missing for path in file.remaining_paths(folder))
    with (
        contextlib.closing(outcomes),
        cli.progress_bar(total=total, initial=done, desc="mel cache", unit="track") as bar,
    ):
        for file in missing:
            with file.writer as writer:
                for outcome in islice(outcomes, len(file.table) - writer.done):
                    if outcome.error is not None and not folder.is_dir():
                        raise InputError(
                            f"{folder}: no longer exists; restore it and run the same command again"
                        )
                    writer.append(outcome)
                    bar.update()
            failed[file.out] = writer.finish()
            shutil.rmtree(file.folder, ignore_errors=True)
    return _merge(failed[file.out] for file in files)


def _choose_map(
    function: Callable, workers: int, scheduler: str | None
) -> Callable[[Iterable], Generator[Outcome, None, None]]:
    if scheduler is None:
        return partial(ordered_map, function, workers=workers)
    from data_prep import dask_map  # imported here because Dask is optional

    return partial(dask_map.ordered_map, function, scheduler=scheduler)


def _decode(path: str, front_end: FrontEnd) -> tuple[np.ndarray, float, float]:
    """Return a track's frames, their sum and their sum of squares; runs in a worker process."""
    frames = log_mel_of_file(path, front_end).astype(np.float16)
    rounded = frames.astype(np.float64).ravel()
    return frames, float(rounded.sum()), float(rounded @ rounded)


def _finish(
    files: list[_PlannedFile], table: pd.DataFrame, folder: Path, making: Path
) -> CacheReport:
    """Report a complete cache, after removing anything that a killed process left behind."""
    failed = _merge(file.read_failed() for file in files)
    _clean_up(files, making, all_failed=len(failed) == len(table))
    return _report(failed, table, folder, was_complete=True)


def _clean_up(files: list[_PlannedFile], making: Path, all_failed: bool) -> None:
    """Remove the working folder and, if every track in the cache failed, its files."""
    for file in files if all_failed else ():
        file.out.unlink(missing_ok=True)
    shutil.rmtree(making, ignore_errors=True)


def _report(
    failed: dict[str, str], table: pd.DataFrame, folder: Path, was_complete: bool
) -> CacheReport:
    if len(failed) == len(table):
        track, reason = next(iter(failed.items()))
        raise InputError(
            f"{folder}: none of the {len(table)} tracks could be used; the first, {track}: {reason}"
        )
    return CacheReport(len(table) - len(failed), failed, was_complete)


def _merge(failed: Iterable[dict[str, str]]) -> dict[str, str]:
    return {track: reason for of_file in failed for track, reason in of_file.items()}


def _digest(table: pd.DataFrame) -> str:
    """Return a digest of the split columns that determine the contents of the mel cache."""
    train = np.where(table["subset"].eq("train"), "train", "")
    return provenance.digest_rows(zip(table["track_id"], table["path"], train, strict=True))
