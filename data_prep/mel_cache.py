"""The mel cache, one HDF5 file with the frames of all tracks of a split.

| dataset | shape, dtype | content |
|---|---|---|
| frames | (total_frames, 128) float16 | log-mel of all tracks, contiguous and uncompressed |
| track_id | (tracks,) str | in split order |
| start, length | (tracks,) int64 | each track occupies frames[start : start + length] |
| peak | (tracks,) float32 | peak of the waveform; absent or NaN in caches of version 0.1 |
| failed_track_id, failed_reason | (failures,) str | tracks that could not be used, and why |

Root attributes: `format`; `front_end` and `made_from` (JSON); `mean` and `std`, scalars
computed over all frames of the training tracks.

The shards of a large cache NAME.h5, NAME-00000.h5, NAME-00001.h5 …, are read as if they were
one file. Each shard is a complete cache of consecutive split rows, so it can be copied, read or
made again on its own. The entry `shard` in its inputs records its number, the number of shards
and the split. The mean and standard deviation over all shards are computed from the shards'
(tracks,) datasets `train`, `total` and `squares`.
"""

import bisect
import itertools
import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from common import hdf5, provenance
from common.errors import InputError
from data_prep.audio import QUIET_PEAK
from data_prep.mel import FrontEnd

FORMAT = "mel-cache-1"


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
    quiet
        Number of tracks whose peak is known to be below -10 dB.

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

    frames: "np.ndarray | ShardedFrames"

    def __init__(self, path: str | Path):
        self.path = Path(path)
        shards = {} if self.path.exists() else find_shards(self.path)
        files = [CacheFile(file) for file in shards.values() or [self.path]]
        self.made_from, self.front_end = files[0].made_from, files[0].front_end
        self.track_id = np.concatenate([file.track_id for file in files])
        self.length = np.concatenate([file.length for file in files])
        self.failed = {track: why for file in files for track, why in file.failed.items()}
        self.quiet = sum(file.quiet for file in files)
        if shards:
            inputs = _merge_inputs(self.path, dict(zip(shards, files, strict=True)))
            self.made_from = {**self.made_from, "inputs": inputs}
            self.frames = ShardedFrames([file.frames for file in files])
            before = np.cumsum([0] + [len(file.frames) for file in files[:-1]])
            self.start = np.concatenate([f.start + b for f, b in zip(files, before, strict=True)])
            sums = zip(*(file.sums for file in files), strict=True)
            train, total, squares = map(np.concatenate, sums)
            self.mean, self.std = mean_and_std(
                self.length, train, total, squares, self.front_end.n_mels
            )
        else:
            self.frames, self.start = files[0].frames, files[0].start
            self.mean, self.std = files[0].mean, files[0].std
        self._rows = pd.Index(self.track_id, dtype=object)
        if not len(self.frames):
            raise InputError(
                f"{self.path}: contains no frames, since all of its tracks failed; delete it and "
                "make it again"
            )
        if not self._rows.is_unique or not self.std > 0:
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
        missing = wanted[rows < 0]
        if len(missing):
            raise InputError(
                f"{self.path}: {len(missing)} of {len(wanted)} tracks are missing, the first "
                f"{str(missing[0])!r}; cache this split with data_prep/2_cache_mels.py"
            )
        return rows

    def require_front_end(self, wanted: FrontEnd) -> None:
        """Raise `InputError` if the front end differs in the dimensions or scale of the log-mel.

        It may differ in the number of frames, the resampler, the level of the tracks and the chip.
        """
        ignored = dict.fromkeys(("max_frames", "resampler", "normalise", "sid_model"))
        changed = provenance.list_differences(
            self.front_end.to_dict() | ignored, wanted.to_dict() | ignored, "front_end."
        )
        if changed:
            raise InputError(
                f"{self.path}: made with another front end than the networks' ({'; '.join(changed)}"
                "); make the cache again with data_prep/2_cache_mels.py"
            )


class CacheFile:
    """Content of a single cache or shard file; the attributes are those of `MelCache`.

    A shard also has `sums`, its datasets `train`, `total` and `squares`.
    """

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
            peak = hdf5.read_array(file, "peak") if "peak" in file else np.full(0, np.nan)
            self.quiet = int((peak < QUIET_PEAK).sum())
            failed = (hdf5.read_strings(file, f"failed_{name}") for name in ("track_id", "reason"))
            self.failed = dict(zip(*failed, strict=False))
            frames = hdf5.get_dataset(file, "frames")
            offset, shape, dtype = frames.id.get_offset(), frames.shape, frames.dtype
            self.inputs: dict = self.made_from.get("inputs", {})
            self.is_shard = isinstance(self.inputs, dict) and "shard" in self.inputs
            names = ("train", "total", "squares") if self.is_shard else ()
            self.sums = [hdf5.read_array(file, name) for name in names]
        try:
            self.front_end = FrontEnd.from_dict(parameters)
            self.frames: np.ndarray = np.empty(shape, dtype)
            if shape[0]:  # a chunked dataset has no offset
                self.frames = np.memmap(path, dtype, mode="r", offset=offset, shape=shape)
        except (TypeError, ValueError) as error:
            raise _damaged(path) from error
        columns = [self.start, self.length, *self.sums]
        if not (
            isinstance(self.inputs, dict)
            and self.inputs
            and (dtype, shape[1:]) == (np.float16, (self.front_end.n_mels,))
            and (shape[0] or self.is_shard)
            and self.start.dtype == self.length.dtype == np.int64
            and all(column.shape == self.track_id.shape for column in columns)
            and np.isfinite([self.mean, self.std]).all()
            and all(np.isfinite(column).all() for column in columns)
            and ((self.start >= 0) & (self.length >= 0)).all()
            and (self.length <= shape[0] - self.start).all()
        ):
            raise _damaged(path)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path}: a damaged mel cache; delete it and make it again")


def mean_and_std(
    length: np.ndarray, train: np.ndarray, total: np.ndarray, squares: np.ndarray, n_mels: int
) -> tuple[float, float]:
    """Return the mean and standard deviation of the training tracks, or of all if there are none.

    The (tracks,) arrays contain each track's number of frames, whether it is a training track,
    and the sum and sum of squares of its values.
    """
    used = train.astype(bool) if train.any() else np.ones(len(train), bool)
    count = n_mels * int(length[used].sum())
    if not count:
        return 0.0, 0.0
    # Sums are exact, so neither track order nor sharding makes a difference.
    mean = math.fsum(total[used]) / count
    return mean, math.sqrt(max(0.0, math.fsum(squares[used]) / count - mean**2))


# ---------------------------------------------------------------- shards


def shard_path(out: Path, number: int) -> Path:
    """Return the path of shard `number` of the cache `out`."""
    return out.with_name(f"{out.stem}-{number:05}{out.suffix}")


def shard_pattern(out: Path) -> Path:
    """Return a shell pattern that matches only the shards of the cache `out`."""
    return out.with_name(out.stem + "-" + 5 * "[0-9]" + out.suffix)


def cache_files(path: Path) -> list[Path]:
    """Return the files of the cache `path`: itself, its shards, or none if it does not exist."""
    return [path] if path.exists() else [*find_shards(path).values()]


def find_shards(out: Path) -> dict[int, Path]:
    """Return the existing shards of the cache `out` as {number: path}, in order."""
    name = re.compile(re.escape(out.stem) + "-([0-9]{5})" + re.escape(out.suffix))
    files = out.parent.iterdir() if out.parent.is_dir() else ()
    matches = (name.fullmatch(path.name) for path in files)
    return {number: shard_path(out, number) for number in sorted(int(m[1]) for m in matches if m)}


def _merge_inputs(out: Path, files: dict[int, CacheFile]) -> dict:
    """Check that shards form a complete cache; return the inputs of an equivalent single file."""
    first = next(iter(files))
    shared: dict = {}
    for number, file in files.items():
        shard = file.inputs.get("shard")
        keys = ("number", "of", "tracks")
        if not isinstance(shard, dict) or not all(isinstance(shard.get(k), int) for k in keys):
            raise InputError(
                f"{file.path}: named like a shard of {out.name}, but not one; move it away"
            )
        if shard["number"] != number:
            raise InputError(
                f"{file.path}: contains shard {shard['number']}, not {number}; rename it back"
            )
        whole = {"tracks": shard["tracks"], "split": shard.get("split"), "shards": shard["of"]}
        of_shard = {"front_end": file.front_end.to_dict(), **whole}
        shared = shared or of_shard
        if changed := provenance.list_differences(shared, of_shard):
            raise InputError(
                f"{file.path}: made from other inputs than {files[first].path.name} "
                f"({'; '.join(changed)}); delete the outdated shards and make them again"
            )
    count = shared.pop("shards")
    if len(files) != count:
        missing = next(number for number in itertools.count() if number not in files)
        raise InputError(
            f"{shard_path(out, missing)}: missing ({count - len(files)} of {count} shards); "
            "copy it here, or make it with data_prep/2_cache_mels.py"
        )
    return shared


class ShardedFrames:
    """Frames of all shards in order, readable like a (total_frames, n_mels) array.

    A slice within one shard is a view of its memory-mapped file; other slices are copies.
    """

    def __init__(self, shards: list[np.ndarray]):
        self._shards = [frames for frames in shards if len(frames)] or shards[:1]
        self._ends = list(itertools.accumulate(map(len, self._shards)))
        self.shape, self.dtype = (self._ends[-1], shards[0].shape[1]), shards[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, frames: slice) -> np.ndarray:
        if not isinstance(frames, slice) or frames.step not in (None, 1):
            raise TypeError("the frames of shards can only be read in slices with step 1")
        first, stop, _ = frames.indices(len(self))
        shard = bisect.bisect_right(self._ends, first, hi=len(self._ends) - 1)
        pieces: list[np.ndarray] = []
        while first < stop or not pieces:
            start = self._ends[shard] - len(self._shards[shard])
            pieces.append(self._shards[shard][first - start : max(first, stop) - start])
            first, shard = self._ends[shard], shard + 1
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def take(self, rows: np.ndarray, axis: int, out: np.ndarray, mode: str) -> np.ndarray:
        """Copy the frames with the indices `rows` into `out`, like `np.ndarray.take`."""
        shard = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(shard):
            start = self._ends[number] - len(self._shards[number])
            chosen = shard == number
            out[chosen] = self._shards[number].take(rows[chosen] - start, axis=axis, mode=mode)
        return out
