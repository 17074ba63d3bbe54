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

A large cache may be made in shards (see `data_prep.mel_shards`), which are read
as one under the name that the one file would have. While a cache NAME.h5 is
being made, NAME.h5.making/ holds what there is of it (see
`data_prep.mel_cache_writer`).
"""

import contextlib
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from common import cli, hdf5, provenance
from common.errors import InputError
from common.files import exclusive_folder
from common.parallel import Outcome, ordered_map
from data_prep import mel_shards
from data_prep.mel import FrontEnd, log_mel_of_file
from data_prep.mel_cache_writer import FORMAT, Writer, mean_and_std_of, require_same_start

# ---------------------------------------------------------------- reading


class MelCache:
    """A finished cache, its frames mapped into memory and read only as they are used.

    Where there is no file `path`, but there are shards of it, these are read as one.

    Attributes
    ----------
    frames
        (total_frames, n_mels) float16, memory-mapped; of a cache in shards
        only slices can be read, see `data_prep.mel_shards.ShardedFrames`.
    track_id
        (tracks,) str, as an object array.
    start, length
        (tracks,) int64, in frames.
    mean, std
        Scalars of the training tracks' frames.
    front_end
        The `FrontEnd` that made it.
    made_from
        Its provenance; that of shards is what one file in their stead would have.
    failed
        {track_id: reason} of the tracks that could not be cached.

    Raises
    ------
    InputError
        Not a mel cache, or damaged, or a shard is missing or of another cache.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        shards = {} if self.path.exists() else mel_shards.find_shards(self.path)
        files = [_File(file) for file in shards.values() or [self.path]]
        self.made_from, self.front_end = files[0].made_from, files[0].front_end
        self.track_id = np.concatenate([file.track_id for file in files])
        self.length = np.concatenate([file.length for file in files])
        self.failed = {track: why for file in files for track, why in file.failed.items()}
        if shards:
            inputs = {
                number: {**file.inputs, "front_end": file.front_end.to_dict()}
                for number, file in zip(shards, files, strict=True)
            }
            made_from = mel_shards.require_one_set(self.path, inputs)
            self.made_from = {**self.made_from, "inputs": made_from}
            self.frames = mel_shards.ShardedFrames([file.frames for file in files])
            before = np.cumsum([0] + [len(file.frames) for file in files[:-1]])
            self.start = np.concatenate([f.start + b for f, b in zip(files, before, strict=True)])
            self.mean, self.std = _mean_and_std_of_all(files)
        else:
            self.frames, self.start = files[0].frames, files[0].start
            self.mean, self.std = files[0].mean, files[0].std
        self._rows = pd.Index(self.track_id, dtype=object)
        self._check()

    def __len__(self) -> int:
        return len(self.track_id)

    def __contains__(self, track_id: str) -> bool:
        return track_id in self._rows

    def __getitem__(self, track_id: str) -> np.ndarray:
        """The (length, n_mels) float16 frames of one track, a view."""
        row = self._rows.get_loc(track_id)
        return self.frames[self.start[row] : self.start[row] + self.length[row]]

    def rows(self, track_ids: Iterable[str]) -> np.ndarray:
        """(n,) int64 positions of the tracks in the cache, or `InputError` naming one it lacks."""
        wanted = pd.Index(list(track_ids), dtype=object)
        rows = self._rows.get_indexer(wanted).astype(np.int64)
        absent = np.flatnonzero(rows < 0)
        if len(absent):
            raise InputError(
                f"{self.path}: lacks {len(absent)} of {len(wanted)} tracks, the first "
                f"{str(wanted[absent[0]])!r}; cache this split with data_prep/2_cache_mels.py"
            )
        return rows

    def require_front_end(self, wanted: FrontEnd) -> None:
        """Raise `InputError` unless `wanted` makes such frames, of however much of a track."""
        kept = {"max_frames": None}
        changed = provenance.list_differences(
            self.front_end.to_dict() | kept, wanted.to_dict() | kept, "front_end."
        )
        if changed:
            raise InputError(
                f"{self.path}: made with another front end than the networks' ({'; '.join(changed)}"
                "); make the cache again with data_prep/2_cache_mels.py"
            )

    def _check(self) -> None:
        if not self._rows.is_unique:
            twice = str(self._rows[self._rows.duplicated()][0])
            raise InputError(f"{self.path}: holds {twice!r} twice; delete it and make it again")
        if not len(self.frames):
            raise InputError(
                f"{self.path}: holds no frames, as all of its tracks failed; delete it and make "
                "it again"
            )
        if not self.std > 0:
            raise _damaged(self.path)


class _File:
    """What one file holds, be it a whole cache or a shard; names are `MelCache`'s."""

    def __init__(self, path: Path):
        self.path = path
        with hdf5.open_file(path) as file:
            if not _is_mel_cache(file):
                raise InputError(
                    f"{path}: not a mel cache; make one with data_prep/2_cache_mels.py"
                )
            self.made_from = hdf5.read_json_attribute(file, "made_from")
            self.front_end = _front_end(hdf5.read_json_attribute(file, "front_end"), path)
            self.mean = hdf5.read_attribute(file, "mean", float)
            self.std = hdf5.read_attribute(file, "std", float)
            self.track_id = hdf5.read_strings(file, "track_id")
            self.start = hdf5.read_array(file, "start")
            self.length = hdf5.read_array(file, "length")
            failed = (
                hdf5.read_strings(file, "failed_track_id"),
                hdf5.read_strings(file, "failed_reason"),
            )
            self.failed = dict(zip(*failed, strict=False))
            frames = hdf5.get_dataset(file, "frames")
            offset, shape, dtype = frames.id.get_offset(), frames.shape, frames.dtype
            self.inputs = self.made_from.get("inputs")
            self.is_shard = isinstance(self.inputs, dict) and "shard" in self.inputs
            names = ("train", "total", "squares") if self.is_shard else ()
            self.sums = [hdf5.read_array(file, name) for name in names]
        self._check(offset, shape, dtype)
        if shape[0]:
            self.frames = np.memmap(path, dtype, mode="r", offset=offset, shape=shape)
        else:
            self.frames = np.empty(shape, dtype)

    def _check(self, offset: int | None, shape: tuple, dtype: np.dtype) -> None:
        damaged, bands = _damaged(self.path), (self.front_end.n_mels,)
        if dtype != np.float16 or len(shape) != 2 or shape[1:] != bands:
            raise damaged
        empty = self.is_shard and shape[0] == 0
        if not empty and (
            offset is None or not 0 < shape[0] * shape[1] * 2 <= self.path.stat().st_size - offset
        ):
            raise damaged
        if not isinstance(self.inputs, dict):
            raise damaged
        for index in (self.start, self.length):
            if index.dtype != np.int64 or index.shape != self.track_id.shape:
                raise damaged
        if (self.start < 0).any() or (self.length < 0).any():
            raise damaged
        if (self.length > shape[0] - self.start).any():
            raise damaged
        if not (math.isfinite(self.mean) and math.isfinite(self.std)):
            raise damaged
        for values in self.sums:
            if values.shape != self.track_id.shape or not np.isfinite(values).all():
                raise damaged


def _mean_and_std_of_all(files: list[_File]) -> tuple[float, float]:
    """To the last bit those that the cache would have in one file."""
    sums = zip(*(file.sums for file in files), strict=True)
    train, total, squares = (np.concatenate(of_files) for of_files in sums)
    length = np.concatenate([file.length for file in files])
    return mean_and_std_of(train.astype(bool), length, total, squares, files[0].front_end.n_mels)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path}: a damaged mel cache; delete it and make it again")


def _is_mel_cache(file: h5py.File) -> bool:
    try:
        return hdf5.read_attribute(file, "format", str) == FORMAT
    except InputError:
        return False


def _front_end(parameters: dict, path: Path) -> FrontEnd:
    try:
        return FrontEnd(**parameters)
    except TypeError as error:
        raise InputError(f"{path}: made by a front end unknown here ({error})") from error


# ---------------------------------------------------------------- making


@dataclass(frozen=True)
class CacheReport:
    """What `make` did: tracks in the cache, tracks that failed, and whether it was there before."""

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
    """Decode every track of a split into the cache file `out`.

    Goes on where an earlier, interrupted call stopped; does nothing where
    `out` is complete and made from the same tracks and front end. The
    datasets come out the same bytes whatever the interruptions, the number of
    workers and where they run.

    Parameters
    ----------
    table
        A split (see `data_prep.split_csv`).
    audio_folder
        What the split's paths are relative to.
    workers
        Processes on this machine.
    shard_tracks
        Make a file of each so many rows of the split, which `MelCache(out)`
        reads as one (see `data_prep.mel_shards`); None: one file.
    scheduler
        Of a Dask cluster that decodes in their stead; its workers find the
        audio at the same path.

    Raises
    ------
    InputError
        `out` was made from something else, another run is making it, or not
        one track could be read. Failed tracks are listed beside each file.
    """
    out, folder, front_end = Path(out), Path(audio_folder), front_end or FrontEnd()
    inputs = {"front_end": front_end.to_dict(), "tracks": len(table), "split": _digest(table)}
    making = out.with_name(out.name + ".making")
    files = _planned(table, out, making, inputs, shard_tracks)
    if all(file.out.exists() for file in files):
        return _complete(files, table, folder, making)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of audio; check the path")
    with exclusive_folder(making):
        if all(file.out.exists() for file in files):  # by now, from a run that has just ended
            return _complete(files, table, folder, making)
        try:
            if shard_tracks is not None:
                require_same_start(making, {**inputs, "shard_tracks": shard_tracks})
            function = partial(_float16_frames, front_end=front_end)
            failed = _make_rest(files, folder, _mapped(function, workers, scheduler))
        except OSError as error:
            error.filename = error.filename or str(out)  # writing says not whose write it was
            raise
        # Under the lock: without it, another run may have its frames there by now.
        _tidy(files, making, all_failed=len(failed) == len(table))
    _require_some(failed, table, folder)
    return CacheReport(len(table) - len(failed), failed, was_complete=False)


@dataclass(frozen=True)
class _Planned:
    """A file that is to be: where, of which rows, made from what, and in which folder."""

    out: Path
    table: pd.DataFrame
    inputs: dict
    folder: Path

    @cached_property
    def writer(self) -> Writer:
        return Writer(self.out, self.table, self.inputs, self.folder)

    def done(self) -> int:
        """Tracks that need not be decoded any more."""
        if self.out.exists():
            return len(self.table)
        return self.writer.done if self.folder.exists() else 0

    def paths(self, folder: Path) -> Iterator[str]:
        """Of the tracks that are to be decoded still."""
        root = os.path.abspath(folder)  # a cluster's workers run elsewhere
        for path in self.table["path"].iloc[self.writer.done :]:
            yield os.path.join(root, path)

    def failed(self) -> dict[str, str]:
        """{track_id: reason} of the file that is there; `InputError` if from other inputs."""
        file = _File(self.out)
        provenance.require_same(self.out, file.inputs, self.inputs)
        return file.failed


def _planned(
    table: pd.DataFrame, out: Path, making: Path, inputs: dict, shard_tracks: int | None
) -> list[_Planned]:
    """The one file, or each shard; `InputError` if what is there is of the other kind."""
    shards = mel_shards.find_shards(out)
    if shard_tracks is None:
        if shards and not out.exists():
            raise InputError(
                f"{next(iter(shards.values()))}: seems a shard of {out.name}; give --shard-tracks "
                "as when it was made, or choose another --out"
            )
        return [_Planned(out, table, inputs, making)]
    if out.exists():
        raise InputError(
            f"{out}: already there, in one file; leave --shard-tracks out, or choose another --out"
        )
    count = -(-len(table) // shard_tracks)
    if count > mel_shards.MAX_SHARDS:
        raise InputError(f"--shard-tracks: makes {count} files; take more tracks in each")
    for number, path in shards.items():
        if number >= count:
            raise InputError(f"{path}: none of this cache's {count} shards; delete it")
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
        files.append(_Planned(path, part, inputs | of_part, making / path.name))
    return files


def _complete(
    files: list[_Planned], table: pd.DataFrame, folder: Path, making: Path
) -> CacheReport:
    failed = _merged(file.failed() for file in files)
    _tidy(files, making, all_failed=len(failed) == len(table))
    _require_some(failed, table, folder)
    return CacheReport(len(table) - len(failed), failed, was_complete=True)


def _merged(failed: Iterable[dict[str, str]]) -> dict[str, str]:
    return {track: reason for of_file in failed for track, reason in of_file.items()}


def _tidy(files: list[_Planned], making: Path, all_failed: bool) -> None:
    """Remove what is of no use any more; of a cache of which all failed, all."""
    for file in files if all_failed else ():
        file.out.unlink(missing_ok=True)
    shutil.rmtree(making, ignore_errors=True)  # a kill after the cache was whole has left it


def _require_some(failed: dict[str, str], table: pd.DataFrame, folder: Path) -> None:
    if len(failed) == len(table):
        track, reason = next(iter(failed.items()))
        raise InputError(
            f"{folder}: none of the {len(table)} tracks could be used; the first, {track}: {reason}"
        )


def _make_rest(
    files: list[_Planned], folder: Path, mapped: Callable[[Iterable], Iterator[Outcome]]
) -> dict[str, str]:
    """Make the files that are not there yet; return {track_id: reason} of all."""
    failed = {file.out: file.failed() for file in files if file.out.exists()}
    rest = [file for file in files if file.out not in failed]
    total, done = sum(len(file.table) for file in files), sum(file.done() for file in files)
    # One map over all files, so that no worker waits for a file's last track.
    outcomes = mapped(path for file in rest for path in file.paths(folder))
    with (
        contextlib.closing(outcomes),
        cli.progress_bar(total=total, initial=done, desc="mel cache", unit="track") as bar,
    ):
        for file in rest:
            with file.writer as writer:
                for outcome in islice(outcomes, len(file.table) - writer.done):
                    if outcome.error is not None and not folder.is_dir():
                        raise InputError(
                            f"{folder}: is gone; bring it back and run the same command again"
                        )
                    writer.append(outcome)
                    bar.update()
            failed[file.out] = writer.finish()
            shutil.rmtree(file.folder, ignore_errors=True)
    return _merged(failed[file.out] for file in files)


def _mapped(
    function: Callable, workers: int, scheduler: str | None
) -> Callable[[Iterable], Iterator[Outcome]]:
    """The ordered map of `function`, here or on a cluster."""
    if scheduler is None:
        return partial(ordered_map, function, workers=workers)
    from data_prep import dask_map  # Dask need not be installed

    return partial(dask_map.ordered_map, function, scheduler=scheduler)


def _float16_frames(path: str, front_end: FrontEnd) -> tuple[np.ndarray, float, float]:
    """In a worker: a track's frames, and the sums for the scalar mean and std."""
    frames = log_mel_of_file(path, front_end).astype(np.float16)
    rounded = frames.astype(np.float64).ravel()
    return frames, float(rounded.sum()), float(rounded @ rounded)


def _digest(table: pd.DataFrame) -> str:
    """Identifies what of a split goes into its cache; a change of labels does not matter."""
    train = np.where(table["subset"].eq("train"), "train", "")
    return provenance.digest_rows(zip(table["track_id"], table["path"], train, strict=True))
