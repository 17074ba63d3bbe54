"""Features in fewer dimensions: LDA for scoring, t-SNE for the eye (arxiv2017)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from common import hdf5, provenance
from common.checks import checked, checked_features
from common.errors import InputError


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
        features = checked_features(features, "projection")
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
    features, artists = checked(features, artists, "LDA")
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


def save(path: str | Path, projection: Projection, inputs: dict) -> None:
    """Write a projection whole, as HDF5: `mean`, `matrix`, and the attribute `made_from` (JSON).

    `inputs` says what it was fitted to (`common.provenance`); JSON values only.
    """
    with hdf5.written(path) as file:
        file["mean"] = projection.mean
        file["matrix"] = projection.matrix
        file.attrs["made_from"] = provenance.to_json(provenance.record(inputs))


def load(path: str | Path) -> tuple[Projection, dict]:
    """A projection that `save` wrote, and its `inputs`.

    Raises
    ------
    InputError
        No such file, or a damaged one, or one of something else.
    """
    with hdf5.open_file(path) as file:
        mean, matrix = hdf5.values(file, "mean"), hdf5.values(file, "matrix")
        inputs = hdf5.json_attribute(file, "made_from").get("inputs")
    fits = mean.ndim == 1 and matrix.ndim == 2 and len(mean) == len(matrix) and matrix.size
    if not fits or not np.isfinite(mean).all() or not np.isfinite(matrix).all():
        raise InputError(f"{path}: a damaged projection file; make it again")
    if not isinstance(inputs, dict):
        raise InputError(f"{path}: does not say what it was made from; make it again")
    return Projection(mean.astype(np.float64), matrix.astype(np.float64)), inputs


# One thread: with more, some hundred songs take longer, and a seed would not give the same map.
@threadpool_limits.wrap(limits=1)
def tsne(features: ArrayLike, perplexity: float = 30.0, seed: int = 0) -> np.ndarray:
    """t-SNE of songs to the plane, (n, 2) float64.

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
    features = checked_features(features, "t-SNE")
    if not 0 < perplexity < len(features):
        raise InputError(
            f"t-SNE: perplexity {perplexity:g} for {len(features)} songs; take one above 0 and "
            f"below {len(features)}, or more songs"
        )
    if features.shape[1] < 2:
        raise InputError("t-SNE: features of 1 dimension; draw them as they are")
    if not np.ptp(features, axis=0).any():
        raise InputError("t-SNE: all songs have the same features; extract them again")
    plane = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)
    return plane.astype(np.float64)
