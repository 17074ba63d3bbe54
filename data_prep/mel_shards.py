"""A mel cache in shards: NAME-00000.h5, NAME-00001.h5 and so on stand for NAME.h5.

Each is a whole cache of some rows of the split, so that it is safe when it is
finished, and can be copied, read or made again alone. In the inputs that it
was made from, `shard` says which of how many it is, and of what split; its
datasets `train`, `total` and `squares`, (tracks,) each, are what the mean and
std over all shards are computed from.
"""

import bisect
import itertools
import re
from pathlib import Path

import numpy as np

from common import provenance
from common.errors import InputError

MAX_SHARDS = 100_000  # that the names have room for


def shard_path(out: Path, number: int) -> Path:
    """The file of one shard of the cache `out`."""
    return out.with_name(f"{out.stem}-{number:05}{out.suffix}")


def shard_pattern(out: Path) -> Path:
    """All shards of the cache `out`, and no other file, as one would name them in a shell."""
    return out.with_name(out.stem + "-" + 5 * "[0-9]" + out.suffix)


def find_shards(out: Path) -> dict[int, Path]:
    """{number: path} of the shards of the cache `out` that are there, in their order."""
    name = re.compile(re.escape(out.stem) + "-([0-9]{5})" + re.escape(out.suffix))
    beside = out.parent.iterdir() if out.parent.is_dir() else ()
    matches = (name.fullmatch(path.name) for path in beside)
    return {number: shard_path(out, number) for number in sorted(int(m[1]) for m in matches if m)}


def require_one_set(out: Path, inputs: dict[int, dict]) -> dict:
    """Return what the cache of these shards was made from.

    Raises `InputError` unless they are all of one cache, and all of it.

    Parameters
    ----------
    inputs
        {number by its name: what it was made from}, at least one.
    """
    first = min(inputs)
    for number, made_from in inputs.items():
        path, shard = shard_path(out, number), made_from.get("shard")
        if not isinstance(shard, dict) or not isinstance(shard.get("of"), int):
            raise InputError(f"{path}: not a shard of {out.name}, but named as one; move it away")
        if shard.get("number") != number:
            raise InputError(
                f"{path}: holds shard {shard.get('number')}, not {number}; give it its name back"
            )
        changed = provenance.list_differences(_of_all(inputs[first]), _of_all(made_from))
        if changed:
            raise InputError(
                f"{path}: made from other inputs than {shard_path(out, first).name} "
                f"({'; '.join(changed)}); delete the stale ones and make them again"
            )
    count = inputs[first]["shard"]["of"]
    if len(inputs) != count:
        absent = next(number for number in itertools.count() if number not in inputs)
        raise InputError(
            f"{shard_path(out, absent)}: is missing ({count - len(inputs)} of {count} shards are); "
            "copy it here, or make it with data_prep/2_cache_mels.py"
        )
    shared = _of_all(inputs[first])
    del shared["shards"]
    return shared


def _of_all(inputs: dict) -> dict:
    """What all shards of a cache share."""
    shard = inputs["shard"]
    whole = {name: shard.get(name) for name in ("tracks", "split")}
    return {"front_end": inputs.get("front_end"), **whole, "shards": shard["of"]}


class ShardedFrames:
    """The frames of all shards end to end, read like one array (total_frames, n_mels).

    Only slices are read: one that lies within a shard is a view of its mapped
    file, one that goes over its end a copy.

    Parameters
    ----------
    shards
        (frames, n_mels) each.
    """

    def __init__(self, shards: list[np.ndarray]):
        self._shards = [frames for frames in shards if len(frames)] or shards[:1]
        self._after = list(itertools.accumulate(map(len, self._shards)))
        self.shape, self.dtype = (self._after[-1], shards[0].shape[1]), shards[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: slice) -> np.ndarray:
        if not isinstance(places, slice) or places.step not in (None, 1):
            raise TypeError("the frames of shards are read in slices, one frame after the other")
        first, after, _ = places.indices(len(self))
        shard = bisect.bisect_right(self._after, first, hi=len(self._after) - 1)
        pieces = []
        while first < after or not pieces:
            before = self._after[shard] - len(self._shards[shard])
            pieces.append(self._shards[shard][first - before : max(first, after) - before])
            first, shard = self._after[shard], shard + 1
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
