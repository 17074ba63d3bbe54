"""Tests of LDA against scikit-learn's own transform and synthetic clusters, and of t-SNE."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from common.errors import InputError
from evaluation.projection import fit_lda, fit_map, fit_tsne


def clouds(artists=6, songs=8, d=5, seed=0):
    """Return features and artists: one Gaussian per artist, columns on different scales.

    The last column is constant.
    """
    random = np.random.default_rng(seed)
    names = np.repeat([f"artist {number}" for number in range(artists)], songs)
    centres = random.normal(size=(artists, d)).repeat(songs, axis=0)
    features = (centres + 0.3 * random.normal(size=centres.shape)) * 10.0 ** np.arange(-2, d - 2)
    return np.pad(features, ((0, 0), (0, 1)), constant_values=7), names


def test_lda_matches_scikit_learn():
    features, names = clouds()
    lda = LinearDiscriminantAnalysis(n_components=3).fit(features, names)
    others = clouds(seed=1)[0]
    found = fit_lda(features, names, 3).apply(others)
    assert found.shape == (48, 3)
    np.testing.assert_allclose(found, lda.transform(others))


@pytest.mark.parametrize(
    ("artists", "dimensions", "message"),
    [
        (6, 0, "0 dimensions from 6 artists and features of 6; choose from 1 to 5"),
        (6, 6, "6 dimensions from 6 artists and features of 6; choose from 1 to 5"),
        # One of the six feature columns is constant.
        (9, 6, "differ in 5 independent dimensions of the features, not in 6"),
    ],
)
def test_lda_rejects_dimensions_out_of_range(artists, dimensions, message):
    with pytest.raises(InputError, match=message):
        fit_lda(*clouds(artists), dimensions)


@pytest.mark.parametrize(
    ("features", "names", "message"),
    [
        (np.eye(3), ["a"] * 3, "every track is by 'a'; give"),
        (np.eye(3), ["a", "b", "c"], "one track of each of 3 artists"),
        (np.tile(np.eye(3), (2, 1)), list("aaabbb"), "mean features of all artists are the same"),
        (np.repeat(np.eye(3), 2, axis=0), list("aabbcc"), "each artist have the same features"),
    ],
)
def test_lda_rejects_inseparable_artists(features, names, message):
    with pytest.raises(InputError, match=message):
        fit_lda(features, names, 1)


def test_tsne_preserves_neighbours_and_is_deterministic():
    features, names = clouds(artists=3, songs=12, d=4)
    features = features / features.std(axis=0).clip(1e-9)
    plane, divergence = fit_tsne(features, perplexity=5, seed=1)
    assert plane.shape == (36, 2) and plane.dtype == np.float64 and np.isfinite(plane).all()
    np.testing.assert_array_equal(plane, fit_tsne(features, perplexity=5, seed=1)[0])
    assert 0 < divergence < fit_tsne(np.random.default_rng(1).normal(size=(40, 9)), 5, 1)[1]
    distance = np.linalg.norm(plane[:, None] - plane, axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert np.mean(names[distance.argmin(axis=1)] == names) > 0.9


@pytest.mark.parametrize(
    ("features", "perplexity", "message"),
    [
        (np.eye(10), 10, "perplexity 10 for 10 tracks; choose a --perplexity above 0 and below 10"),
        (np.arange(10.0)[:, None], 2, "features of 1 dimension"),
        (np.ones((10, 3)), 2, "all tracks have the same features"),
    ],
)
def test_tsne_rejects_unusable_inputs(features, perplexity, message):
    with pytest.raises(InputError, match=message):
        fit_tsne(features, perplexity)


@pytest.mark.parametrize("tracks", [1, 2, 3])
@pytest.mark.parametrize("d", [1, 5])
def test_map_of_very_few_tracks_preserves_their_distances(tracks, d):
    features = np.random.default_rng(0).normal(size=(tracks, d))
    plane = fit_map(features)
    assert plane.shape == (tracks, 2)
    between = [np.linalg.norm(one[:, None] - one, axis=-1) for one in (features, plane)]
    np.testing.assert_allclose(*between, atol=1e-12)


def test_map_lowers_the_default_perplexity_alone(caplog):
    caplog.set_level("INFO")
    features, _ = clouds(artists=4, songs=10)
    np.testing.assert_array_equal(fit_map(features), fit_tsne(features, 13.0)[0])
    assert caplog.messages == ["t-SNE: perplexity 13, because there are 40 tracks"]
    with pytest.raises(InputError, match="perplexity 40 for 40 tracks"):
        fit_map(features, 40)
