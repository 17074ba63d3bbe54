"""Artist groups (agf2018): soft labels of artists, out of the words that their tracks are made of.

A *word* is a way to describe a track by symbols: `m`, clusters of MFCC frames; `d`,
clusters of their first difference; `e`, clusters of Essentia's song descriptors; `s`,
sub-genre labels (`labels.tag_matrix`). An artist is the bag of all symbols of the tracks,
and latent Dirichlet allocation over the artists gives each a distribution over groups
(topics): the target of each of those tracks.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import threadpoolctl
from numpy.typing import ArrayLike

from common.errors import InputError
from common.reservoir import Reservoir

CLUSTERS = 2048
GROUPS = 40
_ROUNDING = 1e-5  # deviation of a constant float32 coordinate, as a part of it, at the most
_SAMPLE = 50  # vectors for each cluster that the clusters are learnt from
_ROWS = 256  # vectors whose distances are held at a time: they stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Codebook:
    """Clusters of vectors, each coordinate over its deviation so that all count alike.

    centres : (clusters, d) float32, of vectors so scaled
    scale : (d,) float32, what a vector is divided by
    """

    centres: np.ndarray
    scale: np.ndarray

    def assign(self, vectors: ArrayLike) -> np.ndarray:
        """The nearest cluster of each vector (n, d): (n,) int64; the first of equals.

        Some hundred vectors at a time: no array grows as vectors times clusters.
        """
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != len(self.scale):
            raise InputError(
                f"words: vectors of shape {vectors.shape}, clustered ones had "
                f"{len(self.scale)} dimensions; make both alike"
            )
        found = np.empty(len(vectors), np.int64)
        for first in range(0, len(vectors), _ROWS):
            some = slice(first, first + _ROWS)
            scaled = np.column_stack([vectors[some] / self.scale, -np.ones_like(vectors[some, 0])])
            found[some] = (scaled @ self._products).argmax(axis=1)
        return found

    @cached_property
    def _products(self) -> np.ndarray:
        """(d + 1, clusters) float32: by it (v, -1) gives v c - |c|^2 / 2, most for the nearest c.

        Within the product, since to subtract it afterwards costs as much again.
        """
        offset = 0.5 * (self.centres.astype(np.float64) ** 2).sum(axis=1)
        return np.ascontiguousarray(np.column_stack([self.centres, offset]).T, np.float32)


def learn_codebook(
    vectors: Iterable[np.ndarray], clusters: int = CLUSTERS, *, seed: int = 0
) -> Codebook:
    """K-means on a sample of the vectors of all tracks, each (n, d); scikit-learn's mini-batches.

    Raises
    ------
    InputError
        Fewer vectors than clusters, or NaN or infinity.
    """
    fair, count = Reservoir(_SAMPLE * clusters, seed), 0
    for some in vectors:
        if not np.isfinite(some).all():
            raise InputError("words: a track holds NaN or infinity; make the mel cache again")
        fair.offer(np.asarray(some, np.float32))
        count += len(some)
    sample = fair.drawn() if count else np.zeros((0, 1), np.float32)
    if count < clusters:
        raise InputError(
            f"words: {count} vectors for {clusters} clusters; take fewer clusters, or more tracks"
        )
    deviation, largest = sample.std(axis=0, dtype=np.float64), np.abs(sample).max(axis=0)
    # What is no more than float32's rounding must not be blown up to count like the others.
    scale = np.where(deviation > _ROUNDING * largest, deviation, 1).astype(np.float32)
    # Which --help does not wait for; before the limit, which holds for what is loaded by then.
    from sklearn.cluster import MiniBatchKMeans

    with threadpoolctl.threadpool_limits(1):  # so that the seed decides, not the threads
        means = MiniBatchKMeans(clusters, n_init=1, batch_size=4096, random_state=seed)
        means.fit(sample / scale)
    return Codebook(means.cluster_centers_.astype(np.float32), scale)


def count_symbols(
    symbols: Iterable[np.ndarray], artists: ArrayLike, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """How often each artist's tracks have each symbol.

    Parameters
    ----------
    symbols
        (n,) int of each track, from 0 to `size` - 1.
    artists : (tracks,) labels

    Returns
    -------
    counts : (artists, size) int64
    names : (artists,) in the order of their first tracks
    """
    codes, names = pd.factorize(np.asarray(artists, dtype=object))
    counts = np.zeros((len(names), size), np.int64)
    for artist, of_track in zip(codes, symbols, strict=True):
        counts[artist] += np.bincount(of_track, minlength=size)
    return counts, names


@dataclass(frozen=True, eq=False)
class ArtistGroups:
    """Artists over groups, and groups over symbols; every row sums to 1.

    artists : (a,) names
    proportions : (a, groups) float64, the soft label of each artist's tracks
    topics : (groups, size) float64, what each group is made of
    """

    artists: np.ndarray
    proportions: np.ndarray
    topics: np.ndarray

    def proportions_of(self, artists: ArrayLike) -> np.ndarray:
        """(n, groups) float32, the target of tracks by these artists.

        Raises
        ------
        InputError
            An artist without groups.
        """
        rows = self._rows(artists)
        if (rows < 0).any():
            name = np.asarray(artists, dtype=object)[int(np.argmin(rows))]
            raise InputError(
                f"artist groups: {str(name)!r} has none; make the groups of this split"
            )
        return self.proportions[rows].astype(np.float32)

    @property
    def diversity(self) -> float:
        """How much artists differ: the mean distance of their shares from the mean shares.

        In total variation, so from 0, where all artists have the same, to near 1.
        """
        return float(
            np.abs(self.proportions - self.proportions.mean(axis=0)).sum(axis=1).mean() / 2
        )

    def contains(self, artists: ArrayLike) -> np.ndarray:
        """(n,) bool: which of these artists have groups."""
        return self._rows(artists) >= 0

    def _rows(self, artists: ArrayLike) -> np.ndarray:
        return pd.Index(self.artists, dtype=object).get_indexer(np.asarray(artists, dtype=object))


def learn_groups(
    counts: np.ndarray, names: np.ndarray, groups: int = GROUPS, *, seed: int = 0
) -> ArtistGroups:
    """Latent Dirichlet allocation over artists' bags (artists, size); scikit-learn's, in batch.

    Raises
    ------
    InputError
        Fewer than two artists, or one whose tracks have no symbol.
    """
    if len(names) < 2:
        raise InputError(f"artist groups: {len(names)} artists; take a split with two or more")
    empty = counts.sum(axis=1) == 0
    if empty.any():
        raise InputError(
            f"artist groups: {empty.sum()} artists without a symbol, the first is "
            f"{str(names[int(np.argmax(empty))])!r}; leave them out"
        )
    from sklearn.decomposition import LatentDirichletAllocation  # likewise

    model = LatentDirichletAllocation(groups, random_state=seed, learning_method="batch", n_jobs=1)
    with threadpoolctl.threadpool_limits(1):
        shares = model.fit_transform(counts)
    symbols = model.components_ / model.components_.sum(axis=1, keepdims=True)
    return ArtistGroups(
        np.asarray(names, object), shares / shares.sum(axis=1, keepdims=True), symbols
    )
