"""Clustering of tracks by artist, with the number of artists known.

The task, and both scores, are those of Royo-Letelier et al., "Disambiguating Music Artists at Scale
with Audio Metric Learning" (ISMIR 2018): the artists are unknown to the model, and the clusters are
compared with them by the adjusted Rand index (ARI) and adjusted mutual information (AMI). Here the
clusters are those of k-means on features of unit length, so that they depend on cosines only.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from common.errors import InputError
from evaluation import CLUSTER_STARTS
from evaluation.feature_checks import check_labelled_features, require_two_labels
from evaluation.retrieval import unit_rows


class Clustering(NamedTuple):
    """The result of `cluster_tracks`."""

    clusters: np.ndarray  # (n,) int32, number of each track's cluster
    ari: float  # adjusted Rand index, at most 1, and 0 on average for random clusters
    ami: float  # adjusted mutual information, with the same range


def cluster_tracks(
    features: ArrayLike, labels: ArrayLike, *, starts: int = CLUSTER_STARTS, seed: int = 0
) -> Clustering:
    """Cluster tracks into as many clusters as there are labels, and compare both.

    Parameters
    ----------
    features, labels : (n, d) float, finite; (n,) of any hashable type
    starts : number of k-means runs, of which the one with the smallest squared distances is kept
    seed : seed for the initial centres (k-means++)

    Raises
    ------
    InputError
        If there is only one label, no two tracks share one, or fewer distinct features than labels.

    Examples
    --------
    >>> cluster_tracks([[1, 0], [2, 0], [0, 1], [0, 3]], ["a", "a", "b", "b"]).ari
    1.0
    """
    from sklearn.cluster import KMeans  # slow to import
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

    features, labels = check_labelled_features(features, labels, "clustering")
    require_two_labels(labels, "clustering")
    codes, names = pd.factorize(labels)
    if len(names) == len(codes):
        raise InputError(
            f"clustering: each of the {len(codes)} tracks has a label of its own, so there is "
            "nothing to cluster; choose another column with --label, or add tracks"
        )
    units = unit_rows(features)
    distinct = len(np.unique(units, axis=0))
    if distinct < len(names):
        raise InputError(
            f"clustering: {distinct} distinct features for {len(names)} labels; "
            "extract the features again, or leave out duplicate tracks"
        )
    means = KMeans(len(names), n_init=starts, random_state=seed)
    clusters = means.fit_predict(units).astype(np.int32)
    return Clustering(
        clusters,
        float(adjusted_rand_score(codes, clusters)),
        float(adjusted_mutual_info_score(codes, clusters)),
    )
