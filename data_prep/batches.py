"""Batches of random crops from the tracks in a mel cache.

A crop is one segment (129 frames, except for agf2018) at a random position in a track. Each
track is an anchor once per epoch. All crops of an epoch are drawn at once, and depend only on the
seed and the epoch, so the batches are the same in any order and for any number of readers.
"""

import abc
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

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
    fewest: ClassVar[int] = 1  # anchors that a loss needs to be computed
    _last_epoch: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return -(-(len(self.anchors) // self.multiple) // (self.batch_size // self.multiple))

    @property
    def larger(self) -> int:
        """Number of batches that have `multiple` anchors more than the others; they come first."""
        return len(self.anchors) // self.multiple % len(self)

    @property
    def smallest(self) -> int:
        """Number of anchors in the smallest batches."""
        return len(self.anchors) // self.multiple // len(self) * self.multiple

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


@dataclass(frozen=True, kw_only=True)
class ArtistBatches(Batches):
    """Anchors, each with further tracks by its artist, for losses that compare a whole batch.

    x has shape (batch, 1 + positives, segment, bands), and y contains the number of each anchor's
    artist, (batch,) int32.
    """

    sampler: "TrackSampler"  # draws from a set of tracks that includes all anchors
    positives: int  # number of further tracks by the same artist
    artists: np.ndarray  # (n,) int32, number of each anchor's artist
    fewest = 2

    @property
    def crops_per_anchor(self) -> int:
        """Number of crops per anchor."""
        return 1 + self.positives

    def _tracks(self, order, rng):
        return self.sampler.draw_positives(self.anchors[order], self.positives, rng)

    def _targets(self, order):
        return self.artists[order]


class Range(NamedTuple):
    """A range of sorted tracks for each of n anchors."""

    first: np.ndarray  # (n,) int64
    length: np.ndarray  # (n,) int64

    def of(self, positions: np.ndarray) -> "Range":
        """Return the ranges of some of the anchors."""
        return Range(self.first[positions], self.length[positions])

    @classmethod
    def of_groups(cls, groups: np.ndarray) -> "Range":
        """Return the range of each item's group, for (n,) items of which each group is adjacent."""
        begins = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
        counts = np.diff(np.append(begins, len(groups)))
        return cls(np.repeat(begins, counts), np.repeat(counts, counts))


@dataclass(frozen=True)
class TrackSampler:
    """Sampler that draws positives and negatives without listing all candidates.

    The tracks are sorted so that those of one genre, artist and album are adjacent. Candidates are
    therefore the tracks inside one range and outside another.
    """

    order: np.ndarray  # (tracks,) positions sorted by genre, artist and album
    rank: np.ndarray  # (positions,) index of each track in `order`; -1 if it is never drawn
    artist: Range  # ranges of `order` that contain the artist of each track in it
    # Ranges from which positives are not drawn: the track alone, or its album if there are others.
    excluded: Range
    genre: Range  # ranges that contain the artists of the same genre
    same_genre: float = 0.0  # probability that an anchor's negatives are of its genre

    @classmethod
    def from_artists(
        cls,
        artists: np.ndarray,
        tracks: np.ndarray,
        negatives: int,
        source: str | Path = "split",
        *,
        positives: int = 1,
        albums: np.ndarray | None = None,
        genres: np.ndarray | None = None,
        same_genre: float = 0.0,
    ) -> "TrackSampler":
        """Return a sampler that draws from `tracks`, (tracks,) positions in `artists`.

        With `albums`, positives are tracks from other albums where the artist has enough of them.
        With `genres`, all negatives of an anchor are, with the probability `same_genre`, by artists
        of the same genre if there are enough of them. An artist's genre is the most frequent known
        one of its tracks. `albums` and `genres` have the shape of `artists`; "" is an unknown one.

        Artists with too few tracks for `positives` besides the anchor, and too few tracks by other
        artists for `negatives` are refused with an `InputError` that names the split, `source`.
        """
        names, artist, counts = np.unique(artists[tracks], return_inverse=True, return_counts=True)
        if (counts < 1 + positives).any():
            name, fewest = str(names[int(np.argmin(counts))]), int(counts.min())
            have = "one track" if fewest == 1 else f"{fewest} tracks"
            need = f"--positives {positives} needs {1 + positives}"
            if positives == 1:
                need = "needs a second one as a positive"
            lower = f", or use --positives {fewest - 1}" * (positives > 1 and fewest > 1)
            raise InputError(
                f"{source}: artist {name!r} has {have}, but {need} "
                f"({(counts < 1 + positives).sum()} such artists); add tracks, or remove these "
                f"artists{lower}"
            )
        if len(tracks) - counts.max() < negatives:
            raise InputError(
                f"{source}: too few tracks of other artists for {negatives} negatives; use a split "
                "with more artists, or lower --negatives"
            )
        genre = np.zeros(len(tracks), np.int64)
        if genres is not None:
            genre = _most_frequent(genres[tracks], artist)[artist]
        album = np.arange(len(tracks))  # each track is its own album
        if albums is not None:
            album = np.unique(albums[tracks], return_inverse=True)[1]
            album[albums[tracks] == ""] = len(tracks) + np.flatnonzero(albums[tracks] == "")
        ranking = np.lexsort((album, artist, genre))
        order, rank = tracks[ranking], np.full(len(artists), -1)
        rank[order] = np.arange(len(order))
        by_artist = Range.of_groups(artist[ranking])
        alone = Range(np.arange(len(order)), np.ones(len(order), np.int64))
        pairs = np.unique(np.stack([artist, album]), axis=1, return_inverse=True)[1].ravel()
        by_album = Range.of_groups(pairs[ranking])
        few = by_artist.length - by_album.length < positives
        excluded = Range(*(np.where(few, *both) for both in zip(alone, by_album, strict=True)))
        return cls(order, rank, by_artist, excluded, Range.of_groups(genre[ranking]), same_genre)

    def draw(self, anchors: np.ndarray, negatives: int, rng: np.random.Generator) -> np.ndarray:
        """Draw tracks: (batch,) anchors -> (batch, 2 + negatives) anchor, positive and negatives.

        Positives are drawn uniformly from the artist's other tracks. An anchor's negatives are
        distinct and drawn uniformly from all tracks by other artists.
        """
        with_positive, artist = self._draw_positives(anchors, 1, rng)
        everyone = Range(np.zeros(len(anchors), np.int64), np.full(len(anchors), len(self.order)))
        if self.same_genre:
            genre = self.genre.of(with_positive[:, 0])
            chosen = rng.random(len(anchors)) < self.same_genre
            chosen &= genre.length - artist.length >= negatives
            everyone = Range(
                *(np.where(chosen, *both) for both in zip(genre, everyone, strict=True))
            )
        negative = _draw_distinct(everyone, artist, negatives, rng)
        return self.order[np.concatenate([with_positive, negative], axis=1)]

    def count_same_genre(self, negatives: int) -> int:
        """Count the tracks whose negatives `same_genre` can restrict to their genre."""
        enough = self.genre.length - self.artist.length >= negatives
        return int((enough & (self.genre.length < len(self.order))).sum())

    def draw_positives(
        self, anchors: np.ndarray, positives: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw tracks: (batch,) anchors -> (batch, 1 + positives) anchor and distinct positives."""
        return self.order[self._draw_positives(anchors, positives, rng)[0]]

    def _draw_positives(
        self, anchors: np.ndarray, positives: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, Range]:
        """Return ranks of the anchors and their positives, and the ranges of their artists."""
        ranks = self.rank[anchors]
        artist = self.artist.of(ranks)
        drawn = _draw_distinct(artist, self.excluded.of(ranks), positives, rng)
        return np.concatenate([ranks[:, None], drawn], axis=1), artist


def _draw_distinct(
    inside: Range, outside: Range, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw distinct numbers from each range `inside` but not in `outside`, as (n, count).

    Each range `outside` lies in the range `inside`.
    """
    numbers = np.empty((len(inside.first), count), np.int64)
    for column in range(count):
        # Draw from the remaining numbers, skipping those already drawn. Rejection sampling might
        # never finish if there are barely more than `count` candidates.
        drawn = rng.integers(inside.length - outside.length - column)
        for earlier in np.sort(numbers[:, :column]).T:
            drawn += drawn >= earlier
        numbers[:, column] = drawn
    numbers += inside.first[:, None]
    return numbers + outside.length[:, None] * (numbers >= outside.first[:, None])


def _most_frequent(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the number of the most frequent label of each group, (groups,) int64.

    The label "" is not counted, and a group that has no other gets a number of its own.
    """
    names, label = np.unique(labels, return_inverse=True)
    counts = np.zeros((groups.max() + 1, len(names)), np.int64)
    np.add.at(counts, (groups, label), 1)
    counts[:, names == ""] = 0
    own = len(names) + np.arange(len(counts))
    return np.where(counts.any(axis=1), counts.argmax(axis=1), own)
