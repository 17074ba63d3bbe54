"""Batches of random crops from the tracks in a mel cache.

A crop is one segment (129 frames, except for agf2018) at a random position in a track. Each
track is an anchor once per epoch. All crops of an epoch are drawn at once, and depend only on the
seed and the epoch, so the batches are the same in any order and for any number of readers.
"""

import abc
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.errors import InputError
from data_prep.mel import SEGMENT, FrontEnd
from data_prep.mel_cache import MelCache

# Crops copied by one call: few enough that their row numbers stay in the processor's cache.
_PART = 64
_INFINITY = np.array(np.inf, np.float16).view(np.uint16)  # bit pattern of infinity


class Crops:
    """Crops from a set of cached tracks, each identified by its first frame in the cache.

    The methods refer to tracks by their positions in `track_ids`; a crop has `segment` frames.
    A cache made with a different front end, a missing track, and a track that is shorter than
    one segment are refused with an `InputError`.
    """

    def __init__(self, cache: MelCache, track_ids: np.ndarray, segment: int = SEGMENT):
        cache.require_front_end(FrontEnd())
        rows = cache.rows(track_ids)
        self.cache, self.track_ids, self.segment = cache, track_ids, segment
        self._start, self._length = cache.start[rows], cache.length[rows]
        self._crops_per_track = self._length - segment + 1
        if (self._crops_per_track < 1).any():
            track = str(track_ids[int(np.argmin(self._crops_per_track))])
            raise InputError(f"{cache.path}: {track!r} is shorter than {segment} frames; remove it")

    def __len__(self) -> int:
        return len(self._start)

    def places(self, tracks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw one crop from each track: (...,) positions -> (...,) int64 first frames."""
        return self._start[tracks] + rng.integers(self._crops_per_track[tracks])

    def gather(
        self,
        places: np.ndarray,
        out: np.ndarray | None = None,
        readers: Executor | None = None,
    ) -> np.ndarray:
        """Copy crops: (...,) first frames -> (..., segment, bands) float16, into `out` if given.

        With `readers`, their threads copy parts of `_PART` crops side by side.
        """
        bands = self.cache.frames.shape[1]
        if out is None:
            out = np.empty((*places.shape, self.segment, bands), np.float16)
        crops, first = out.reshape(-1, self.segment, bands), places.reshape(-1, 1)

        def copy(begin: int) -> None:
            part = slice(begin, begin + _PART)
            rows = first[part] + np.arange(self.segment)
            # Unlike "raise", which copies twice, this mode writes into `out` directly. It lets
            # other threads run, which fancy indexing and a loop over the crops do not.
            self.cache.frames.take(rows, axis=0, out=crops[part], mode="clip")

        begins = range(0, len(crops), _PART)
        for _ in readers.map(copy, begins) if readers else map(copy, begins):
            pass
        return out

    def spans(self) -> np.ndarray:
        """Return the frame ranges that the tracks occupy: (spans, 2) int64, first and stop.

        The ranges are sorted and disjoint; adjacent tracks share a range.
        """
        first, stop = self._start, self._start + self._length
        order = np.argsort(first, kind="stable")
        first, stop = first[order], np.maximum.accumulate(stop[order])
        begins = np.concatenate([[True], first[1:] > stop[:-1]])
        return np.stack([first[begins], stop[np.append(begins[1:], True)]], axis=1)

    def require_finite(self, crops: np.ndarray, places: np.ndarray) -> None:
        """Raise `InputError` if `crops`, which begin at `places`, are not all finite."""
        # Viewed as integers, NaN and infinity are at least _INFINITY. So are negative values, but
        # log-mels have none. This test of every batch is fifty times faster than isfinite.
        if crops.view(np.uint16).max(initial=0) < _INFINITY:
            return
        finite = np.isfinite(crops).all(axis=(-1, -2)).ravel()
        if finite.all():
            return
        place = places.ravel()[int(np.argmin(finite))]
        start, length = self.cache.start, self.cache.length
        track = self.cache.track_id[np.argmax((start <= place) & (place < start + length))]
        raise InputError(
            f"{self.cache.path}: {str(track)!r} contains NaN or infinite values; delete the cache "
            "and rebuild it, or remove the track from the split"
        )


@dataclass(frozen=True)
class Batches(abc.ABC):
    """Batches for all epochs, indexed by (epoch, batch number).

    Indexing returns x, (batch, ..., segment, bands) float16 crops, and the targets y. The number
    of anchors in each batch is a multiple of `multiple`, so that the batch can be divided evenly
    among that many devices. Up to `multiple` - 1 anchors, different ones in each epoch, are left
    out.
    """

    crops: Crops
    anchors: np.ndarray  # (n,) int64 positions in `crops`, each an anchor once per epoch
    batch_size: int  # maximum number of anchors per batch
    seed: int
    multiple: int = 1
    _last_epoch: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return -(-(len(self.anchors) // self.multiple) // (self.batch_size // self.multiple))

    @property
    def larger(self) -> int:
        """Number of batches that have `multiple` anchors more than the others; they come first."""
        return len(self.anchors) // self.multiple % len(self)

    @property
    def step_bytes(self) -> int:
        """Size, in bytes, of the crops of a batch."""
        bands = self.crops.cache.frames.shape[1]
        return self.batch_size * self.crops_per_anchor * self.crops.segment * bands * 2

    @property
    def crops_per_anchor(self) -> int:
        """Number of crops per anchor."""
        return 1

    @property
    def in_epoch(self) -> int:
        """Number of anchors per epoch."""
        return len(self.anchors) // self.multiple * self.multiple

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        places, y = self.places(*key)
        return self.crops.gather(places), y

    def places(self, epoch: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a batch with each crop's first frame, (batch, ...) int64, in place of `x`."""
        order, places = self._draw_epoch(epoch)
        batch = self._span(number)
        return places[batch], self._targets(order[batch])

    def anchor_ids(self, epoch: int, number: int) -> np.ndarray:
        """Return the track IDs of a batch's anchors, (batch,) strings."""
        order, _ = self._draw_epoch(epoch)
        return self.crops.track_ids[self.anchors[order[self._span(number)]]]

    def _span(self, number: int) -> slice:
        """Return which of the epoch's anchors form a batch.

        Batch sizes differ by at most `multiple`, because a final batch of one or two tracks
        would distort the running means of batch normalisation.
        """
        count = len(self.anchors) // self.multiple // len(self)
        first, stop = (
            (count * n + min(n, self.larger)) * self.multiple for n in (number, number + 1)
        )
        return slice(first, stop)

    def _draw_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the order of the anchors in an epoch, and their places in this order."""
        if epoch not in self._last_epoch:
            rng = np.random.default_rng([self.seed, epoch])
            order = rng.permutation(len(self.anchors))
            places = self.crops.places(self._tracks(order, rng), rng)
            self._last_epoch.clear()
            self._last_epoch[epoch] = order, places
        return self._last_epoch[epoch]

    @abc.abstractmethod
    def _tracks(self, order: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return (n, ...) positions in `crops` for n indices into `anchors`."""

    @abc.abstractmethod
    def _targets(self, order: np.ndarray) -> np.ndarray:
        """Return y, one row for each of n indices into `anchors`."""


@dataclass(frozen=True, kw_only=True)
class LabelledBatches(Batches):
    """Labelled crops, for all models except the siamese one; x is (batch, segment, bands)."""

    labels: np.ndarray  # one row per anchor; y contains the rows of the batch's anchors

    def _tracks(self, order, rng):
        return self.anchors[order]

    def _targets(self, order):
        return self.labels[order]


@dataclass(frozen=True, kw_only=True)
class SiameseBatches(Batches):
    """Anchors, each with one positive and several negatives, for the siamese model.

    x has shape (batch, 2 + negatives, segment, bands), and y is all zeros, which the hinge loss
    ignores.
    """

    sampler: "TrackSampler"  # draws from a set of tracks that includes all anchors
    negatives: int  # number per anchor

    @property
    def crops_per_anchor(self) -> int:
        """Number of crops per anchor."""
        return 2 + self.negatives

    def _tracks(self, order, rng):
        return self.sampler.draw(self.anchors[order], self.negatives, rng)

    def _targets(self, order):
        return np.zeros(len(order), np.float32)


@dataclass(frozen=True)
class TrackSampler:
    """Sampler that draws positives and negatives without listing all candidates.

    The tracks are sorted by artist. A positive is drawn from the range of the anchor's artist,
    excluding the anchor; negatives are drawn from all tracks outside that range.
    """

    order: np.ndarray  # (tracks,) positions sorted by artist
    rank: np.ndarray  # (positions,) index of each track in `order`; -1 if it is never drawn
    first: np.ndarray  # (positions,) start of the range of the track's artist in `order`
    count: np.ndarray  # (positions,) length of that range

    @classmethod
    def from_artists(
        cls, artists: np.ndarray, tracks: np.ndarray, negatives: int, source: str | Path = "split"
    ) -> "TrackSampler":
        """Return a sampler that draws from `tracks`, (tracks,) positions in `artists`.

        Artists with only one track, and therefore no positive, and too few tracks by other
        artists for `negatives` are refused with an `InputError` that names the split, `source`.
        """
        names, artist, counts = np.unique(artists[tracks], return_inverse=True, return_counts=True)
        if (counts < 2).any():
            name = str(names[int(np.argmin(counts))])
            raise InputError(
                f"{source}: artist {name!r} has one track, so that it has no positive "
                f"({(counts < 2).sum()} such artists); add tracks, or remove these artists"
            )
        if len(tracks) - counts.max() < negatives:
            raise InputError(
                f"{source}: too few tracks of other artists for {negatives} negatives; use a split "
                "with more artists, or lower --negatives"
            )
        order = tracks[np.argsort(artist, kind="stable")]
        rank, first, count = (np.full(len(artists), -1) for _ in range(3))
        rank[order] = np.arange(len(order))
        first[tracks] = (np.cumsum(counts) - counts)[artist]
        count[tracks] = counts[artist]
        return cls(order, rank, first, count)

    def draw(self, anchors: np.ndarray, negatives: int, rng: np.random.Generator) -> np.ndarray:
        """Draw tracks: (batch,) anchors -> (batch, 2 + negatives) anchor, positive and negatives.

        Positives are drawn uniformly from the artist's other tracks. An anchor's negatives are
        distinct and drawn uniformly from all tracks by other artists.
        """
        first, count = self.first[anchors, None], self.count[anchors, None]
        positive = first + rng.integers(count - 1)
        positive += positive >= self.rank[anchors, None]
        negative = np.empty((len(anchors), negatives), np.int64)
        for column in range(negatives):
            # Draw from the remaining tracks, skipping the negatives already drawn. Rejection
            # sampling might never finish if there are barely more than `negatives` candidates.
            drawn = rng.integers(len(self.order) - count[:, 0] - column)
            for earlier in np.sort(negative[:, :column]).T:
                drawn += drawn >= earlier
            negative[:, column] = drawn
        negative += count * (negative >= first)
        drawn = np.concatenate([self.rank[anchors, None], positive, negative], axis=1)
        return self.order[drawn]
