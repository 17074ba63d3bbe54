"""Batches of random crops out of a mel cache.

A crop is one segment, 129 frames but for agf2018, at a random place of a track.
Every track is an anchor once an epoch. What is drawn depends on the seed, the epoch and
the batch's number only, so that any number of readers gives the same batches.
"""

import abc
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import InputError
from data_prep.mel import SEGMENT, FrontEnd
from data_prep.mel_cache import MelCache

_INFINITY = 0x7C00  # the bits of float16's


class Crops:
    """Crops of some tracks of a cache.

    A crop is named by the place of its first frame in the cache.

    Parameters
    ----------
    cache
        Where the frames are.
    track_ids
        The tracks, at least one segment long each; positions below refer to these.
    segment
        Frames of a crop.
    """

    def __init__(self, cache: MelCache, track_ids: np.ndarray, segment: int = SEGMENT):
        cache.require_front_end(FrontEnd())
        rows = cache.rows(track_ids)
        self.cache, self.segment = cache, segment
        self._start, self._length = cache.start[rows], cache.length[rows]
        self._places = self._length - segment + 1
        if (self._places < 1).any():
            short = str(track_ids[int(np.argmin(self._places))])
            raise InputError(f"{cache.path}: {short!r} is shorter than {segment} frames; remove it")

    def __len__(self) -> int:
        return len(self._start)

    def places(self, tracks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A random crop of each track: (...,) positions -> (...,) int64 first frames."""
        return self._start[tracks] + rng.integers(self._places[tracks])

    def gather(self, places: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The crops themselves: (...,) first frames -> (..., segment, bands) float16.

        Written into `out` where that is given.
        """
        bands = self.cache.frames.shape[1]
        if out is None:
            out = np.empty((*places.shape, self.segment, bands), np.float16)
        # A loop over copies of 32 KB: as fast as fancy indexing, which cannot write into `out`.
        for crop, place in zip(out.reshape(-1, self.segment, bands), places.ravel(), strict=True):
            crop[:] = self.cache.frames[place : place + self.segment]
        return out

    def spans(self) -> np.ndarray:
        """(spans, 2) int64: first frame, and frame after the last, of what the tracks occupy.

        Sorted and apart from each other; tracks that follow each other share one.
        """
        first, after = self._start, self._start + self._length
        order = np.argsort(first, kind="stable")
        first, after = first[order], np.maximum.accumulate(after[order])
        begins = np.concatenate([[True], first[1:] > after[:-1]])
        return np.stack([first[begins], after[np.append(begins[1:], True)]], axis=1)

    def require_finite(self, crops: np.ndarray, places: np.ndarray) -> None:
        """Raise `InputError` naming the track if `crops`, from `places`, hold NaN or infinity."""
        # As integers, NaN and infinity are no smaller than this; so is what is below zero, which
        # log-mels are not. That takes a fiftieth of the time of isfinite, on every batch.
        if crops.view(np.uint16).max(initial=0) < _INFINITY:
            return
        finite = np.isfinite(crops).all(axis=(-1, -2)).ravel()
        if finite.all():
            return
        place = places.ravel()[int(np.argmin(finite))]
        found = (self.cache.start <= place) & (place < self.cache.start + self.cache.length)
        track = str(self.cache.track_id[int(np.argmax(found))])
        raise InputError(
            f"{self.cache.path}: {track!r} holds values that are no numbers; delete the cache and "
            "make it again, or take the track out of the split"
        )


@dataclass(frozen=True)
class Batches(abc.ABC):
    """What all batches share: which songs are in which, and how their crops are had.

    Indexing with (epoch, number) gives x, (batch, ..., segment, bands)
    float16 crops, and y.

    Attributes
    ----------
    crops
        Where x comes from.
    anchors
        (n,) int64 positions in `crops`: the tracks that become an anchor once an epoch.
    batch
        Anchors a batch, at most.
    multiple
        Each batch holds a multiple of so many anchors, so that as many devices
        can share it; fewer than this sit out an epoch, others in each.
    """

    crops: Crops
    anchors: np.ndarray
    batch_size: int
    seed: int
    multiple: int = 1

    def __len__(self) -> int:
        return _batches(len(self.anchors), self.batch_size, self.multiple)

    @property
    def in_epoch(self) -> int:
        """Anchors in an epoch."""
        return len(self.anchors) // self.multiple * self.multiple

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        places, y = self.places(*key)
        return self.crops.gather(places), y

    def places(self, epoch: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The same batch, with its crops' first frames, (batch, ...) int64, in their stead."""
        rng = _rng(self.seed, epoch, number)
        drawn = _drawn(len(self.anchors), self.batch_size, self.multiple, self.seed, epoch, number)
        songs, y = self._songs(drawn, rng)
        return self.crops.places(songs, rng), y

    @abc.abstractmethod
    def _songs(self, drawn: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The songs, (batch, ...) positions in `crops`, and y of the anchors `drawn`."""


@dataclass(frozen=True, kw_only=True)
class LabelledBatches(Batches):
    """Crops with their labels, for all models but the siamese one.

    x is (batch, segment, bands); y the rows of `labels`, one an anchor, that belong to it.
    """

    labels: np.ndarray

    def _songs(self, drawn, rng):
        return self.anchors[drawn], self.labels[drawn]


@dataclass(frozen=True, kw_only=True)
class SiameseBatches(Batches):
    """Anchors with a positive and negatives, for the siamese model.

    x is (batch, 2 + negatives, 129, bands); y zeros, which the hinge loss does not use.

    Attributes
    ----------
    sampler
        Of the songs that positives and negatives are drawn from, all anchors among them.
    negatives
        For each anchor.
    """

    sampler: "TrackSampler"
    negatives: int

    def _songs(self, drawn, rng):
        songs = self.sampler.draw(self.anchors[drawn], self.negatives, rng)
        return songs, np.zeros(len(songs), np.float32)


@dataclass(frozen=True)
class TrackSampler:
    """Draws positives and negatives without ever listing the candidates.

    Songs sorted by artist stand in runs: a positive is drawn from the anchor's
    run leaving out the anchor, negatives from all that is not the run.

    Attributes
    ----------
    order
        (songs,) positions sorted by artist.
    rank
        (positions,) each song's place in `order`; -1 of one that is not drawn from.
    first, count
        (positions,) where the run of the song's artist begins in `order`, and its length.
    """

    order: np.ndarray
    rank: np.ndarray
    first: np.ndarray
    count: np.ndarray

    @classmethod
    def from_artists(
        cls, artists: np.ndarray, songs: np.ndarray, negatives: int, source: str | Path = "split"
    ) -> "TrackSampler":
        """Sort songs by their artists.

        Parameters
        ----------
        artists
            (positions,) of anything comparable.
        songs
            The positions to draw from.

        Raises
        ------
        InputError
            An artist with one song has no positive; or too few songs of other artists.
            `source` names the split.
        """
        names, artist, counts = np.unique(artists[songs], return_inverse=True, return_counts=True)
        if (counts < 2).any():
            lonely = str(names[int(np.argmin(counts))])
            raise InputError(
                f"{source}: artist {lonely!r} has one song, so no positive for it "
                f"({(counts < 2).sum()} such artists); give each at least two, or take them out "
                "of the split"
            )
        if len(songs) - counts.max() < negatives:
            raise InputError(
                f"{source}: too few songs of other artists for {negatives} negatives; "
                "use a split with more artists, or fewer --negatives"
            )
        order = songs[np.argsort(artist, kind="stable")]
        rank, first, count = (np.full(len(artists), -1) for _ in range(3))
        rank[order] = np.arange(len(order))
        first[songs] = (np.cumsum(counts) - counts)[artist]
        count[songs] = counts[artist]
        return cls(order, rank, first, count)

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


def _batches(count: int, batch: int, multiple: int) -> int:
    return -(-(count // multiple) // (batch // multiple))


def _drawn(count: int, batch: int, multiple: int, seed: int, epoch: int, number: int) -> np.ndarray:
    """The anchors of one batch: a slice of the epoch's own shuffle.

    Batches differ by at most `multiple`: the statistics of a last batch of one
    or two songs would spoil the batch normalisation's running means.
    """
    batches = _batches(count, batch, multiple)
    first, last = (count // multiple * n // batches * multiple for n in (number, number + 1))
    return _shuffle(count, seed, epoch)[first:last]


@functools.lru_cache(maxsize=4)
def _shuffle(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def _rng(seed: int, epoch: int, number: int) -> np.random.Generator:
    # Not `number` itself: NumPy takes [seed, epoch, 0] for [seed, epoch], the shuffle's.
    return np.random.default_rng([seed, epoch, 1 + number])
