"""Sharded mel caches: NAME-00000.h5, NAME-00001.h5 … are read as if they were NAME.h5.

Each shard is a complete cache of consecutive split rows, so it can be copied, read or
made again on its own. The entry `shard` in its inputs records its number, the number of
shards and the split. The mean and standard deviation over all shards are computed from
the shards' (tracks,) datasets `train`, `total` and `squares`.
"""

import bisect
import itertools
import re
from pathlib import Path

import numpy as np

from common import provenance
from common.errors import InputError

MAX_SHARDS = 100_000  # shard numbers have five digits


def shard_path(out: Path, number: int) -> Path:
    """Return the path of shard `number` of the cache `out`."""
    return out.with_name(f"{out.stem}-{number:05}{out.suffix}")


def shard_pattern(out: Path) -> Path:
    """Return a shell pattern that matches only the shards of the cache `out`."""
    return out.with_name(out.stem + "-" + 5 * "[0-9]" + out.suffix)


def find_shards(out: Path) -> dict[int, Path]:
    """Return the existing shards of the cache `out` as {number: path}, in order."""
    name = re.compile(re.escape(out.stem) + "-([0-9]{5})" + re.escape(out.suffix))
    files = out.parent.iterdir() if out.parent.is_dir() else ()
    matches = (name.fullmatch(path.name) for path in files)
    return {number: shard_path(out, number) for number in sorted(int(m[1]) for m in matches if m)}


def merge_inputs(out: Path, inputs: dict[int, dict]) -> dict:
    """Check that shards form a complete cache; return the inputs of an equivalent single file.

    Parameters
    ----------
    out
        Path of the cache.
    inputs
        Inputs of at least one shard, keyed by the number in the shard's file name.

    Raises
    ------
    InputError
        If a shard is missing, renamed, or made from different inputs than the first one.
    """
    first = min(inputs)
    for number, of_shard in inputs.items():
        path, shard = shard_path(out, number), of_shard.get("shard")
        if not isinstance(shard, dict) or not isinstance(shard.get("of"), int):
            raise InputError(f"{path}: named like a shard of {out.name}, but not one; move it away")
        if shard.get("number") != number:
            raise InputError(
                f"{path}: contains shard {shard.get('number')}, not {number}; rename it back"
            )
        changed = provenance.list_differences(_shared(inputs[first]), _shared(of_shard))
        if changed:
            raise InputError(
                f"{path}: made from other inputs than {shard_path(out, first).name} "
                f"({'; '.join(changed)}); delete the outdated shards and make them again"
            )
    count = inputs[first]["shard"]["of"]
    if len(inputs) != count:
        missing = next(number for number in itertools.count() if number not in inputs)
        raise InputError(
            f"{shard_path(out, missing)}: missing ({count - len(inputs)} of {count} shards); "
            "copy it here, or make it with data_prep/2_cache_mels.py"
        )
    merged = _shared(inputs[first])
    del merged["shards"]
    return merged


def _shared(inputs: dict) -> dict:
    """Return the inputs that all shards of a cache have in common."""
    shard = inputs["shard"]
    whole = {name: shard.get(name) for name in ("tracks", "split")}
    return {"front_end": inputs.get("front_end"), **whole, "shards": shard["of"]}


class ShardedFrames:
    """Frames of all shards in order, readable in slices like a (total_frames, n_mels) array.

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
