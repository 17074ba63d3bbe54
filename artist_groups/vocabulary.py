"""Tracks as bags of symbols: the vocabularies of agf2018.

There are four vocabularies. Each is identified by a one-letter *word* and describes a track by
symbols:

| word | symbols of a track | vocabulary |
|---|---|---|
| m | the cluster of each frame's MFCCs | K-means clusters |
| d | the cluster of each frame's delta MFCCs | K-means clusters |
| e | the cluster of the track's Essentia descriptors | K-means clusters |
| s | the track's sub-genre labels | all sub-genres |

An artist is represented by the bag of symbols from all of the artist's training tracks;
`artist_groups.topics` learns the artist groups from these bags.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import librosa
import numpy as np
import pandas as pd
import threadpoolctl
from numpy.typing import ArrayLike

from common import cli
from common.arrays import Reservoir
from common.errors import InputError
from common.parallel import map_in_threads
from data_prep.mfcc import DELTA_WIDTH, MfccSettings, TrackFrames

WORDS = ("m", "d", "e", "s")
CLUSTERS = 2048
MFCC = MfccSettings(coefficients=25)

_SAMPLE = 50  # vectors per cluster in the sample used to learn the clusters
_ROUNDING = 1e-5  # largest relative standard deviation that float32 rounding alone can cause
_ROWS = 256  # vectors per matrix product, so that the result fits in the CPU cache


@dataclass(frozen=True, eq=False)
class Codebook:
    """K-means clusters of vectors with standardised coordinates."""

    centres: np.ndarray  # (clusters, d) float32, in units of `scale`
    scale: np.ndarray  # (d,) float32, by which each coordinate is divided

    def assign(self, vectors: ArrayLike) -> np.ndarray:
        """Return the nearest cluster to each vector (n, d) as (n,) int64; ties go to the first.

        Examples
        --------
        >>> centres = np.array([[0.0, 0.0], [1.0, 1.0]], np.float32)
        >>> Codebook(centres, np.ones(2, np.float32)).assign([[0.9, 0.8], [0.1, 0.3]])
        array([1, 0])
        """
        vectors = np.asarray(vectors, np.float32)
        clusters = np.empty(len(vectors), np.int64)
        for first in range(0, len(vectors), _ROWS):
            rows = slice(first, first + _ROWS)
            scaled = np.column_stack([vectors[rows] / self.scale, -np.ones_like(vectors[rows, 0])])
            clusters[rows] = (scaled @ self._weights).argmax(axis=1)
        return clusters

    @cached_property
    def _weights(self) -> np.ndarray:
        """Matrix (d + 1, clusters) float32 whose product with (v, -1) is v c - |c|² / 2.

        This product is largest for the centre c nearest to v.
        """
        offset = 0.5 * (self.centres.astype(np.float64) ** 2).sum(axis=1)
        return np.ascontiguousarray(np.column_stack([self.centres, offset]).T, np.float32)


def learn_codebook(
    vectors: Iterable[np.ndarray], clusters: int = CLUSTERS, *, seed: int = 0
) -> Codebook:
    """Learn clusters by mini-batch K-means on a random sample of 50 vectors per cluster.

    `vectors` are (n, d) float for each track.
    """
    reservoir, count = Reservoir(_SAMPLE * clusters, seed), 0
    for rows in vectors:
        if not np.isfinite(rows).all():
            raise InputError(
                "codebook: a track contains NaN or infinite values; rebuild the mel cache"
            )
        reservoir.offer(np.asarray(rows, np.float32))
        count += len(rows)
    if count < clusters:
        problem = f"{count} vectors for {clusters} clusters"
        raise InputError(f"codebook: {problem}; use fewer clusters or more tracks")
    sample = reservoir.drawn()
    deviation, largest = sample.std(axis=0, dtype=np.float64), np.abs(sample).max(axis=0)
    # Do not scale up a coordinate that varies only by rounding; it would count like the others.
    scale = np.where(deviation > _ROUNDING * largest, deviation, 1).astype(np.float32)
    # Import here to keep --help fast, but before setting the thread limit, so that the limit
    # applies to the libraries that scikit-learn loads.
    from sklearn.cluster import MiniBatchKMeans

    with threadpoolctl.threadpool_limits(1):  # rounding of sums depends on the number of threads
        kmeans = MiniBatchKMeans(clusters, n_init=1, batch_size=4096, random_state=seed)
        kmeans.fit(sample / scale)
    return Codebook(kmeans.cluster_centers_.astype(np.float32), scale)


def quantise_frames(
    word: str, frames: TrackFrames, clusters: int = CLUSTERS, *, seed: int = 0
) -> tuple[Iterable[np.ndarray], Codebook]:
    """Learn the codebook of the `m` or `d` vocabulary, and assign every frame to a cluster.

    Returns a lazy iterator over the clusters (n,) int64 of each track, and the codebook. In the `d`
    vocabulary, a track with fewer than 9 frames has no symbols.
    """
    to_vectors: Callable[[np.ndarray], np.ndarray] = delta_mfcc if word == "d" else np.asarray
    count, unit = len(frames.track_id), "track"
    vectors = map_in_threads(to_vectors, frames)
    vectors = cli.progress_bar(vectors, total=count, desc=f"{word}, sample", unit=unit)
    codebook = learn_codebook(vectors, clusters, seed=seed)
    symbols = map_in_threads(lambda mfcc: codebook.assign(to_vectors(mfcc)), frames)
    symbols = cli.progress_bar(symbols, total=count, desc=f"{word}, clusters", unit=unit)
    return symbols, codebook


def delta_mfcc(mfcc: np.ndarray) -> np.ndarray:
    """Return librosa's 9-frame delta features of MFCCs (n, d), with shape (0, d) if n < 9."""
    if len(mfcc) < DELTA_WIDTH:
        return np.zeros((0, mfcc.shape[1]), np.float32)
    return librosa.feature.delta(mfcc, width=DELTA_WIDTH, axis=0).astype(np.float32)


def count_symbols(
    symbols: Iterable[np.ndarray], artists: ArrayLike, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Count how often each symbol occurs in each artist's tracks.

    `symbols` are (n,) int for each track, from 0 to `size` - 1. Returns (artists, size) int64 and
    the artist names, in order of first appearance.
    """
    codes, names = pd.factorize(np.asarray(artists, dtype=object))
    counts = np.zeros((len(names), size), np.int64)
    for artist, track_symbols in zip(codes, symbols, strict=True):
        counts[artist] += np.bincount(track_symbols, minlength=size)
    return counts, names
