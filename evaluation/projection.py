"""Dimensionality reduction of features: LDA, and t-SNE for figures (arxiv2017)."""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from common.errors import InputError
from evaluation.feature_checks import check_features, check_labelled_features

logger = logging.getLogger(__name__)

PERPLEXITY = 30.0  # of t-SNE
_SLOW = 5000  # tracks


@dataclass(frozen=True)
class Projection:
    """An affine map of features from d to k dimensions: (x - mean) @ matrix."""

    mean: np.ndarray  # (d,) float64
    matrix: np.ndarray  # (d, k) float64

    def apply(self, features: ArrayLike) -> np.ndarray:
        """Project features (n, d) to (n, k) float64."""
        return (check_features(features, "projection") - self.mean) @ self.matrix


def fit_lda(features: ArrayLike, artists: ArrayLike, dimensions: int = 100) -> Projection:
    """Fit a linear discriminant analysis that separates the artists of the training tracks.

    scikit-learn's `svd` solver does not invert a covariance matrix, so linearly dependent features
    (such as ReLUs that are never active) do no harm, and no shrinkage needs to be chosen. The
    dimensions are ordered from the most to the least discriminative.

    Parameters
    ----------
    features, artists : (n, d) float, finite; (n,) labels
    dimensions : int
        At most d and at most the number of artists - 1; the paper reduces 256 dimensions to 100.
    """
    features, artists = check_labelled_features(features, artists, "LDA")
    codes, names = pd.factorize(artists)
    _require_separable(features, codes, names)
    most = min(len(names) - 1, features.shape[1])
    if not 1 <= dimensions <= most:
        raise InputError(
            f"LDA: {dimensions} dimensions from {len(names)} artists and features of "
            f"{features.shape[1]}; choose from 1 to {most}, or add artists"
        )
    lda = LinearDiscriminantAnalysis(solver="svd").fit(features, codes)
    if lda.scalings_.shape[1] < dimensions:
        raise InputError(
            f"LDA: the artists differ in {lda.scalings_.shape[1]} independent dimensions of the "
            f"features, not in {dimensions}; choose fewer dimensions, or add artists"
        )
    return Projection(lda.xbar_, np.ascontiguousarray(lda.scalings_[:, :dimensions]))


def _require_separable(features: np.ndarray, codes: np.ndarray, names: np.ndarray) -> None:
    """Raise `InputError` unless the features vary both within and between artists."""
    means = pd.DataFrame(features).groupby(codes).transform("mean").to_numpy()
    rounding = 1e-12 * np.abs(features).max()
    problems = {
        f"every track is by {str(names[0])!r}; give tracks of more artists": len(names) < 2,
        f"one track of each of {len(names)} artists; give more tracks": len(names) == len(codes),
        "the tracks of each artist have the same features; extract them again": (
            np.abs(features - means).max() <= rounding
        ),
        "the mean features of all artists are the same; extract them again": (
            np.ptp(means, axis=0).max() <= rounding
        ),
    }
    for problem, is_present in problems.items():
        if is_present:
            raise InputError(f"LDA: {problem}")


# With several threads, mapping a few hundred tracks would take longer, and the map would depend on
# the number of threads.
@threadpool_limits.wrap(limits=1)
def fit_tsne(
    features: ArrayLike, perplexity: float = PERPLEXITY, seed: int = 0
) -> tuple[np.ndarray, float]:
    """Map tracks to the plane with scikit-learn's t-SNE, initialised with a PCA.

    Returns the positions (n, 2) float64 and the Kullback-Leibler divergence between the
    neighbourhoods in feature space and in the plane. The map is deterministic for a given seed on a
    given machine; on another machine, it may come out rotated or reflected.
    """
    features = check_features(features, "t-SNE")
    if not 0 < perplexity < len(features):
        raise InputError(
            f"t-SNE: perplexity {perplexity:g} for {len(features)} tracks; choose a --perplexity "
            f"above 0 and below {len(features)}, or add tracks"
        )
    if features.shape[1] < 2:
        raise InputError("t-SNE: features of 1 dimension; use two or more")
    if not np.ptp(features, axis=0).any():
        raise InputError("t-SNE: all tracks have the same features; extract them again")
    model = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    plane = model.fit_transform(features).astype(np.float64)
    return plane, float(model.kl_divergence_)


def fit_map(features: ArrayLike, perplexity: float | None = None, seed: int = 0) -> np.ndarray:
    """Map any number of tracks to the plane, and return their positions (n, 2) float64.

    t-SNE considers about three times as many neighbours as its perplexity, so if none is given, it
    is at most a third of the other tracks. Three tracks or fewer lie in a plane, whose principal
    axes are used.
    """
    features = check_features(features, "map")
    tracks = len(features)
    if tracks <= 3:
        axes, scales, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
        plane = (axes * scales)[:, :2]
        return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))
    if perplexity is None:
        perplexity = min(PERPLEXITY, (tracks - 1) / 3)
        if perplexity < PERPLEXITY:
            logger.info("t-SNE: perplexity %.3g, because there are %d tracks", perplexity, tracks)
    if tracks > _SLOW:
        logger.info("t-SNE: mapping %d tracks takes minutes", tracks)
    return fit_tsne(features, perplexity, seed)[0]
