"""Features in fewer dimensions: LDA for scoring, t-SNE for the eye (arxiv2017)."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from common import provenance
from common.errors import InputError
from common.feature_file import Features
from evaluation.feature_checks import check_features, check_labelled_features
from evaluation.labelled_tracks import LabelledTracks


@dataclass(frozen=True)
class Projection:
    """An affine map of features from d to k dimensions: (x - mean) @ matrix.

    mean : (d,) float64
    matrix : (d, k) float64
    """

    mean: np.ndarray
    matrix: np.ndarray

    def apply(self, features: ArrayLike) -> np.ndarray:
        """Project features (n, d), to (n, k) float64.

        Raises
        ------
        InputError
            NaN or infinity, no rows, or another d.
        """
        features = check_features(features, "projection")
        if features.shape[1] != len(self.mean):
            raise InputError(
                f"projection: fitted to {len(self.mean)} dimensions, the features have "
                f"{features.shape[1]}; extract them with the weights it was fitted to"
            )
        return (features - self.mean) @ self.matrix


def fit_lda(features: ArrayLike, artists: ArrayLike, dimensions: int = 100) -> Projection:
    """Linear discriminant analysis of the training songs: what tells their artists apart.

    scikit-learn's, solver `svd`: it inverts no covariance matrix, so that features
    which depend on one another (ReLUs that never fire, for one) do it no harm, and
    has no shrinkage to choose. The best-separating dimension comes first.

    Parameters
    ----------
    features : (n, d) float, finite
        Songs that the model was trained on.
    artists : (n,) labels
    dimensions : int
        The paper's 100 of 256; at most d and one less than there are artists.

    Raises
    ------
    InputError
        NaN or infinity, a song without artist, one artist only, no artist with two
        songs, or more dimensions than the artists and features give.
    """
    features, artists = check_labelled_features(features, artists, "LDA")
    codes, names = pd.factorize(artists)
    _require_artists(features, codes, names)
    most = min(len(names) - 1, features.shape[1])
    if not 1 <= dimensions <= most:
        raise InputError(
            f"LDA: {dimensions} dimensions from {len(names)} artists and features of "
            f"{features.shape[1]}; take from 1 to {most}, or more artists"
        )
    lda = LinearDiscriminantAnalysis(solver="svd").fit(features, codes)
    if lda.scalings_.shape[1] < dimensions:
        raise InputError(
            f"LDA: the artists differ in {lda.scalings_.shape[1]} independent dimensions of the "
            f"features, not in {dimensions}; take fewer dimensions, or more artists"
        )
    return Projection(lda.xbar_, np.ascontiguousarray(lda.scalings_[:, :dimensions]))


def _require_artists(features: np.ndarray, codes: np.ndarray, names: np.ndarray) -> None:
    if len(names) < 2:
        raise InputError(
            f"LDA: every song is by {str(names[0])!r}; give songs of two artists or more"
        )
    counts = np.bincount(codes)
    if counts.max() == 1:
        raise InputError(
            f"LDA: one song of each of {len(names)} artists tells nothing of how an artist's "
            "songs differ; give two or more of some"
        )
    means = np.stack([np.bincount(codes, column) for column in features.T], axis=1)
    means /= counts[:, None]
    spread = np.abs(features - means[codes]).max(axis=0)
    rounding = 1e-12 * np.abs(features).max()
    if (spread <= rounding).all():
        raise InputError("LDA: the songs of each artist have the same features; extract them again")
    if (np.ptp(means, axis=0) <= rounding).all():
        raise InputError("LDA: the mean features of all artists are the same; extract them again")


def projection_inputs(train: LabelledTracks, found: Features, dimensions: int) -> dict:
    """What features are made from that `projected` gives: these, and LDA of those songs."""
    weights = found.inputs.get("weights", {})
    rows = train.split[["track_id", "artist"]].itertuples(index=False)
    return {
        **found.inputs,
        "weights": {
            **weights,
            "name": f"{weights.get('name', 'unknown')}_lda",
            "model": f"{weights.get('model') or 'unknown'} with LDA",
        },
        "lda": {
            "dimensions": dimensions,
            "songs": provenance.digest_rows(rows),
            "input": train.feature_file.inputs.get("input"),
        },
    }


def project_features(
    train: LabelledTracks, found: Features, dimensions: int, inputs: dict
) -> Features:
    """Features in the dimensions that tell the artists of other, training songs apart."""
    artists = train.labels("artist")
    lda = fit_lda(train.features, artists, dimensions)
    heard = sorted({*found.trained_on, *artists})
    return replace(found, features=lda.apply(found.features), inputs=inputs, trained_on=heard)


# One thread: with more, some hundred songs take longer, and a seed would not give the same map.
@threadpool_limits.wrap(limits=1)
def fit_tsne(
    features: ArrayLike, perplexity: float = 30.0, seed: int = 0
) -> tuple[np.ndarray, float]:
    """t-SNE of songs to the plane, (n, 2) float64, and the divergence that is left.

    That is Kullback and Leibler's, of the songs' nearness in the plane from that by the
    features: 0 where the plane shows all of it.

    scikit-learn's, from the two principal components, with Euclidean distances. The
    same on one machine for one seed; another machine may turn or fold the picture.

    Parameters
    ----------
    features : (n, d) float, finite, d >= 2
        The paper's are of the 5,000-artist model after LDA.
    perplexity : float
        About how many neighbours a song has; below n.

    Raises
    ------
    InputError
        NaN or infinity, features of one dimension, a perplexity not between 0 and n,
        or songs that all have the same features.
    """
    features = check_features(features, "t-SNE")
    if not 0 < perplexity < len(features):
        raise InputError(
            f"t-SNE: perplexity {perplexity:g} for {len(features)} songs; take a --perplexity "
            f"above 0 and below {len(features)}, or more songs"
        )
    if features.shape[1] < 2:
        raise InputError("t-SNE: features of 1 dimension; draw them as they are")
    if not np.ptp(features, axis=0).any():
        raise InputError("t-SNE: all songs have the same features; extract them again")
    made = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    plane = made.fit_transform(features).astype(np.float64)
    return plane, float(made.kl_divergence_)
