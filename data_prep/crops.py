"""Batches of random crops out of a mel cache.

A crop is one segment of 129 frames at a random place of a track. Every track
is an anchor once an epoch. What is drawn depends on the seed, the epoch and
the batch's number only, so that any number of readers gives the same batches.
"""

import functools
from dataclasses import dataclass

import numpy as np

from common.errors import InputError
from data_prep.mel import SEGMENT
from data_prep.mel_cache import MelCache


class Crops:
    """Crops of some tracks of a cache.

    Parameters
    ----------
    cache
        Where the frames are.
    track_ids
        The tracks, at least one segment long each; positions below refer to these.
    """

    def __init__(self, cache: MelCache, track_ids: np.ndarray):
        rows = cache.rows(track_ids)
        self._start, self._places = cache.start[rows], cache.length[rows] - SEGMENT + 1
        if (self._places < 1).any():
            short = str(track_ids[int(np.argmin(self._places))])
            raise InputError(f"{cache.path}: {short!r} is shorter than {SEGMENT} frames; remove it")
        frames, bands = cache.frames.shape
        # A crop is one contiguous run of the cache, and so one row of this overlapping view.
        self._runs = np.lib.stride_tricks.as_strided(
            cache.frames, (frames - SEGMENT + 1, SEGMENT * bands), (2 * bands, 2), writeable=False
        )
        self._bands = bands

    def __len__(self) -> int:
        return len(self._start)

    def gather(self, tracks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One random crop of each track: (...,) int positions -> (..., 129, bands) float16."""
        place = self._start[tracks] + rng.integers(self._places[tracks])
        return self._runs[place].reshape(*tracks.shape, SEGMENT, self._bands)


class LabelledBatches:
    """Crops with their labels, for the basic and tag models.

    Indexing with (epoch, number) gives x (batch, 129, bands) float16 and y,
    the rows of `labels` that belong to it.
    """

    def __init__(self, crops: Crops, labels: np.ndarray, *, batch: int, seed: int):
        self.crops, self.labels, self.batch, self.seed = crops, labels, batch, seed

    def __len__(self) -> int:
        return -(-len(self.crops) // self.batch)

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        epoch, number = key
        tracks = _anchors(len(self.crops), self.batch, self.seed, epoch, number)
        return self.crops.gather(tracks, _rng(self.seed, epoch, number)), self.labels[tracks]


class SiameseBatches:
    """Anchors with a positive and negatives, for the siamese model.

    Indexing with (epoch, number) gives x (batch, 2 + negatives, 129, bands)
    float16 and zeros as y, which the hinge loss does not use.

    Parameters
    ----------
    anchors
        Positions in `crops` of the tracks that become an anchor once an epoch.
    """

    def __init__(
        self,
        crops: Crops,
        sampler: "SongSampler",
        anchors: np.ndarray,
        *,
        negatives: int,
        batch: int,
        seed: int,
    ):
        self.crops, self.sampler, self.anchors = crops, sampler, anchors
        self.negatives, self.batch, self.seed = negatives, batch, seed

    def __len__(self) -> int:
        return -(-len(self.anchors) // self.batch)

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        epoch, number = key
        drawn = _anchors(len(self.anchors), self.batch, self.seed, epoch, number)
        rng = _rng(self.seed, epoch, number)
        songs = self.sampler.draw(self.anchors[drawn], self.negatives, rng)
        return self.crops.gather(songs, rng), np.zeros(len(songs), np.float32)


@dataclass(frozen=True)
class SongSampler:
    """Draws positives and negatives without ever listing the candidates.

    Songs sorted by artist stand in runs: a positive is drawn from the anchor's
    run leaving out the anchor, negatives from all that is not the run.

    Attributes
    ----------
    order
        (songs,) positions sorted by artist.
    rank
        (songs,) each position's place in `order`.
    first, count
        (songs,) where the run of the song's artist begins in `order`, and its length.
    """

    order: np.ndarray
    rank: np.ndarray
    first: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, artists: np.ndarray, negatives: int) -> "SongSampler":
        """Sort songs by their artists, (songs,) of anything comparable.

        Raises
        ------
        InputError
            An artist with one song has no positive; or too few songs of other artists.
        """
        names, artist, counts = np.unique(artists, return_inverse=True, return_counts=True)
        if (counts < 2).any():
            lonely = str(names[int(np.argmin(counts))])
            raise InputError(
                f"artist {lonely!r} has one song, so no positive for it ({(counts < 2).sum()} such "
                "artists); give each at least two, or take them out of the split"
            )
        if len(artists) - counts.max() < negatives:
            raise InputError(
                f"too few songs of other artists for {negatives} negatives; "
                "use a split with more artists, or fewer --negatives"
            )
        order = np.argsort(artist, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        first = np.cumsum(counts) - counts
        return cls(order, rank, first[artist], counts[artist])

    def draw(self, anchors: np.ndarray, negatives: int, rng: np.random.Generator) -> np.ndarray:
        """(batch,) anchors -> (batch, 2 + negatives) positions: anchor, positive, negatives.

        Positives are uniform over the artist's other songs; the negatives of
        an anchor are distinct and uniform over all songs of other artists.
        """
        first, count = self.first[anchors, None], self.count[anchors, None]
        positive = first + rng.integers(count - 1)
        positive += positive >= self.rank[anchors, None]
        negative = np.empty((len(anchors), negatives), np.int64)
        for turn in range(negatives):
            # Each among those left, stepping over the earlier ones: drawing again until all differ
            # would not end where hardly more than `negatives` songs are to choose from.
            drawn = rng.integers(len(self.order) - count[:, 0] - turn)
            for earlier in np.sort(negative[:, :turn]).T:
                drawn += drawn >= earlier
            negative[:, turn] = drawn
        negative += count * (negative >= first)
        drawn = np.concatenate([self.rank[anchors, None], positive, negative], axis=1)
        return self.order[drawn]


def _anchors(count: int, batch: int, seed: int, epoch: int, number: int) -> np.ndarray:
    """The tracks of one batch: a slice of the epoch's own shuffle.

    Batches differ by at most one track: the statistics of a last batch of one
    or two would spoil the batch normalisation's running means.
    """
    batches = -(-count // batch)
    first, last = (count * n // batches for n in (number, number + 1))
    return _shuffle(count, seed, epoch)[first:last]


@functools.lru_cache(maxsize=4)
def _shuffle(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def _rng(seed: int, epoch: int, number: int) -> np.random.Generator:
    # Not `number` itself: NumPy takes [seed, epoch, 0] for [seed, epoch], the shuffle's.
    return np.random.default_rng([seed, epoch, 1 + number])
