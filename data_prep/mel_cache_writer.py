"""Write mel caches so that an interrupted run can be resumed.

While a cache NAME.h5 is being made, the folder NAME.h5.making/ contains the frames written
so far and a journal with one line per track. Both files only grow, in split order, so killing
the process loses only the tracks in progress. The frames are already at their final offset:
to finish the file, the HDF5 structures are written before and after them, and no frames are
copied. Each shard has such a folder of its own in NAME.h5.making/.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from common import cli, hdf5, provenance
from common.errors import InputError
from common.files import (
    add_suffix,
    atomic_write,
    exclusive_folder,
    make_folder,
    steady_writer,
    write_all,
)
from common.parallel import Outcome, ordered_map
from data_prep import failures, mel_cache
from data_prep.audio import QUIET_PEAK
from data_prep.mel import FrontEnd, frames_and_sums

_FRAMES_OFFSET = 4096  # bytes; one page, into which HDF5's first structures fit
_MAX_SHARDS = 100_000  # shard numbers have five digits


@dataclass(frozen=True)
class CacheReport:
    """Outcome of making a cache: number of tracks, failures, and whether it already existed."""

    tracks: int
    failed: dict[str, str]
    was_complete: bool
    quiet: int  # number of tracks with a peak below -10 dB


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

    An interrupted cache is resumed, and a complete one is left unchanged. The datasets are
    bit-identical regardless of interruptions and the number of workers. Failed tracks are
    listed in a file next to the cache.

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
        Dask scheduler address or scheduler file; its cluster then decodes the tracks, and
        needs the audio at the same path on every machine.

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
    if _are_complete(files):
        return _finish(files, folder, making, was_complete=True)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of audio; check the path")
    function = partial(frames_and_sums, front_end=front_end)
    if scheduler is None:
        mapped = partial(ordered_map, function, workers=workers)
    else:
        from data_prep import dask_map  # imported here because Dask is optional

        mapped = partial(dask_map.ordered_map, function, scheduler=scheduler)
    with exclusive_folder(making):
        if _are_complete(files):  # another process has just completed the cache
            return _finish(files, folder, making, was_complete=True)
        try:
            if shard_tracks is not None:
                _require_same_start(making, {**inputs, "shard_tracks": shard_tracks})
            _make_files(files, folder, mapped)
        except OSError as error:
            error.filename = error.filename or str(out)  # write errors do not name the file
            raise
        return _finish(files, folder, making, was_complete=False)


def existing_resampler(out: Path) -> str | None:
    """Return the resampler of a finished or unfinished cache, or None if there is no cache yet."""
    unfinished = add_suffix(out, ".making") / "inputs.json"
    files = mel_cache.cache_files(out)
    if files:
        return mel_cache.CacheFile(files[0]).front_end.resampler
    if not unfinished.exists():
        return None
    with contextlib.suppress(ValueError, LookupError, TypeError):
        return FrontEnd.from_dict(json.loads(unfinished.read_bytes())["front_end"]).resampler
    return None


def _digest(table: pd.DataFrame) -> str:
    """Return a digest of the split columns that determine the contents of the mel cache."""
    train = np.where(table["subset"].eq("train"), "train", "")
    return provenance.digest_rows(zip(table["track_id"], table["path"], train, strict=True))


def _are_complete(files: list["_PlannedFile"]) -> bool:
    """Check the existing files and return whether all files exist."""
    existing = [file for file in files if file.out.exists()]
    for file in existing:
        file.check()
    return len(existing) == len(files)


def _finish(
    files: list["_PlannedFile"], folder: Path, making: Path, was_complete: bool
) -> CacheReport:
    """Remove the working folder and, if every track in the cache failed, its files; report."""
    failed = {track: reason for file in files for track, reason in file.failed.items()}
    tracks = sum(len(file.table) for file in files)
    for file in files if len(failed) == tracks else ():
        file.out.unlink(missing_ok=True)
    shutil.rmtree(making, ignore_errors=True)
    if len(failed) < tracks:
        quiet = sum(file.quiet for file in files)
        return CacheReport(tracks - len(failed), failed, was_complete, quiet)
    track, reason = next(iter(failed.items()))
    raise InputError(
        f"{folder}: none of the {tracks} tracks could be used; the first, {track}: {reason}"
    )


def _plan_files(
    table: pd.DataFrame, out: Path, making: Path, inputs: dict, shard_tracks: int | None
) -> list["_PlannedFile"]:
    """Return the files to make, one or several shards, unless other files are in their place."""
    shards = mel_cache.find_shards(out)
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
    if count > _MAX_SHARDS:
        raise InputError(f"--shard-tracks: makes {count} files; use more tracks per file")
    if shards and max(shards) >= count:
        path = shards[max(shards)]
        raise InputError(f"{path}: not one of this cache's {count} shards; delete it")
    whole = {"of": count, "tracks": inputs["tracks"], "split": inputs["split"]}
    files = []
    for number in range(count):
        part = table.iloc[number * shard_tracks : (number + 1) * shard_tracks]
        shard = {"tracks": len(part), "split": _digest(part), "shard": {"number": number, **whole}}
        path = mel_cache.shard_path(out, number)
        files.append(_PlannedFile(path, part, inputs | shard, making / path.name))
    return files


def _make_files(files: list["_PlannedFile"], folder: Path, mapped: partial) -> None:
    """Make the missing files; `mapped` is an ordered map over paths."""
    missing = [file for file in files if not file.out.exists()]
    total, done = sum(len(file.table) for file in files), sum(file.count_done() for file in files)
    # All files share one map, so that no worker sits idle while the last track of a file is
    # decoded.
    outcomes = mapped(path for file in missing for path in file.remaining_paths(folder))
    with (
        contextlib.closing(outcomes),
        cli.progress_bar(total=total, initial=done, desc="mel cache", unit="track") as bar,
    ):
        for file in missing:
            with file.appending() as append:
                for outcome in islice(outcomes, len(file.table) - len(file.entries)):
                    if outcome.error is not None and not folder.is_dir():
                        raise InputError(
                            f"{folder}: no longer exists; restore it and run the same command again"
                        )
                    append(outcome)
                    bar.update()
            file.finish()


@dataclass
class _PlannedFile:
    """A file to make, a single cache or a shard, in its working folder `folder`."""

    out: Path
    table: pd.DataFrame
    inputs: dict
    folder: Path

    def __post_init__(self) -> None:
        # Known for finished files: {track_id: reason}, and the number of quiet tracks.
        self.failed: dict[str, str] = {}
        self.quiet = 0
        self._frames, self._journal = self.folder / "frames", self.folder / "journal"

    def check(self) -> None:
        """Read the existing file's failures, or refuse a file made from different inputs."""
        file = mel_cache.CacheFile(self.out)
        provenance.require_same(self.out, file.inputs, self.inputs)
        self.failed, self.quiet = file.failed, file.quiet

    def count_done(self) -> int:
        """Return the number of tracks already decoded."""
        if self.out.exists():
            return len(self.table)
        return len(self.entries) if self.folder.exists() else 0

    def remaining_paths(self, folder: Path) -> Iterator[str]:
        root = os.path.abspath(folder)  # cluster workers may run in a different folder
        return (os.path.join(root, path) for path in self.table["path"].iloc[len(self.entries) :])

    @cached_property
    def entries(self) -> list[tuple[int, float, float, str, float]]:
        """The journal's (length, sum, sum of squares, reason of failure, peak) for each track.

        Version 0.1 did not record the peak. It is then NaN.
        Both files are truncated after the last track that is complete in both.
        """
        _require_same_start(self.folder, self.inputs)
        if not self._frames.exists():  # moved into a finished file that has since been deleted
            self._journal.unlink(missing_ok=True)
        for file in (self._journal, self._frames):
            file.touch()
        row_bytes = 2 * self.inputs["front_end"]["n_mels"]
        frames_size = self._frames.stat().st_size
        entries, frames_end, journal_end = [], _FRAMES_OFFSET, 0
        with self._journal.open("rb") as lines:
            for line in islice(lines, len(self.table)):
                try:
                    length, total, squares, reason, peak = (*json.loads(line), np.nan)[:5]
                    end = frames_end + length * row_bytes
                except (TypeError, ValueError):
                    break
                if not line.endswith(b"\n") or end > frames_size:
                    break
                frames_end, journal_end = end, journal_end + len(line)
                entries.append((length, total, squares, reason, peak))
        os.truncate(self._journal, journal_end)
        os.truncate(self._frames, frames_end)
        return entries

    @contextlib.contextmanager
    def appending(self) -> Iterator[Callable[[Outcome], None]]:
        """Yield a function that writes the next track's outcome of `frames_and_sums`."""

        def append(outcome: Outcome) -> None:
            if outcome.error is None:
                values, total, squares, peak = outcome.result
                write_frames(values.data.cast("B"))
                entry = len(values), total, squares, "", peak
            else:
                entry = 0, 0.0, 0.0, failures.failure_reason(outcome.error), 0.0
            write_all(journal, memoryview((json.dumps(entry) + "\n").encode()))
            entries.append(entry)

        entries = self.entries  # this makes the folder
        # Unbuffered, so that a track's frames reach their file before its journal line is written.
        with (
            self._frames.open("ab", buffering=0) as frames,
            self._journal.open("ab", buffering=0) as journal,
            steady_writer(frames) as write_frames,
        ):
            yield append

    def finish(self) -> None:
        """Write the list of failures and, unless all tracks of a single file failed, the file."""
        reasons = [reason for _, _, _, reason, _ in self.entries]
        tracks = zip(self.table["track_id"], reasons, strict=True)
        self.failed = {track: reason for track, reason in tracks if reason}
        self.quiet = sum(peak < QUIET_PEAK for *_, reason, peak in self.entries if not reason)
        failures.write_failures(self.out, self.failed)
        if len(self.failed) < len(self.table) or "shard" in self.inputs:
            self._assemble()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _assemble(self) -> None:
        """Turn the frames file into a complete HDF5 file and move it to its final path."""
        n_mels = self.inputs["front_end"]["n_mels"]
        columns = ["length", "total", "squares", "reason", "peak"]
        entries = pd.DataFrame(self.entries, columns=columns)
        used = entries["reason"].eq("").to_numpy()
        length = entries["length"].to_numpy(np.int64)[used]
        total, squares = (entries[name].to_numpy(float)[used] for name in ("total", "squares"))
        train = self.table["subset"].eq("train").to_numpy()[used]
        shell = self.folder / "shell"
        page = {"alignment_threshold": _FRAMES_OFFSET, "alignment_interval": _FRAMES_OFFSET}
        # The shell is the complete cache file, with a hole where the frames belong.
        with hdf5.create_file(shell, **page) as file:
            end = _reserve_frames(file, int(length.sum()), n_mels)
            file.attrs["format"] = mel_cache.FORMAT
            file.attrs["front_end"] = json.dumps(self.inputs["front_end"], sort_keys=True)
            file.attrs["made_from"] = provenance.to_json(provenance.make_record(self.inputs))
            statistics = mel_cache.mean_and_std(length, train, total, squares, n_mels)
            file.attrs["mean"], file.attrs["std"] = statistics
            hdf5.write_strings(file, "track_id", self.table["track_id"].to_numpy(object)[used])
            file["length"], file["start"] = length, np.cumsum(length) - length
            file["peak"] = entries["peak"].to_numpy(np.float32)[used]
            hdf5.write_strings(file, "failed_track_id", self.failed)
            hdf5.write_strings(file, "failed_reason", self.failed.values())
            if "shard" in self.inputs:  # for statistics over all shards
                file["train"], file["total"], file["squares"] = train.view("u1"), total, squares
        if end is None:
            os.replace(shell, self.out)
            return
        with shell.open("rb") as source, self._frames.open("r+b") as target:
            target.write(source.read(_FRAMES_OFFSET))
            source.seek(end)
            target.seek(end)
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        os.replace(self._frames, self.out)


def _require_same_start(folder: Path, inputs: dict) -> None:
    """Create a working folder that records its inputs, or refuse one with different inputs."""
    make_folder(folder)
    path = folder / "inputs.json"
    if path.exists():
        recorded = None
        with contextlib.suppress(RecursionError, ValueError):
            recorded = json.loads(path.read_bytes())
        if not isinstance(recorded, dict):
            raise InputError(f"{path}: is damaged; delete the folder {folder.name}")
        provenance.require_same(folder, recorded, inputs)
        return
    for stale in ("frames", "journal"):  # left by a process killed while it removed the folder
        (folder / stale).unlink(missing_ok=True)
    with atomic_write(path) as partial_file:
        partial_file.write_text(json.dumps(inputs), encoding="utf-8")


def _reserve_frames(file: h5py.File, count: int, n_mels: int) -> int | None:
    """Allocate the dataset `frames` in an empty file without writing it; return its end offset."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    settings.set_obj_track_times(False)  # so that identical caches are identical files
    frames = file.create_dataset("frames", (count, n_mels), np.float16, dcpl=settings)
    if not count:
        return None
    if frames.id.get_offset() != _FRAMES_OFFSET:
        raise RuntimeError(f"HDF5 put the frames at {frames.id.get_offset()}, not {_FRAMES_OFFSET}")
    return _FRAMES_OFFSET + frames.nbytes
