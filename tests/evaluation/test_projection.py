"""LDA against scikit-learn's own transform and known clouds; its features; t-SNE's checks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from common.errors import InputError
from common.feature_file import Features
from evaluation.labelled_tracks import LabelledTracks
from evaluation.projection import fit_lda, fit_tsne, project_features, projection_inputs


def clouds(artists=6, songs=8, d=5, seed=0):
    """Features and artists: a Gaussian an artist, with unlike scales and a constant column."""
    random = np.random.default_rng(seed)
    names = np.repeat([f"artist {number}" for number in range(artists)], songs)
    centres = random.normal(size=(artists, d)).repeat(songs, axis=0)
    features = (centres + 0.3 * random.normal(size=centres.shape)) * 10.0 ** np.arange(-2, d - 2)
    return np.pad(features, ((0, 0), (0, 1)), constant_values=7), names


def test_lda_projects_as_scikit_learn_does():
    features, names = clouds()
    lda = LinearDiscriminantAnalysis(n_components=3).fit(features, names)
    others = clouds(seed=1)[0]
    found = fit_lda(features, names, 3).apply(others)
    assert found.shape == (48, 3)
    np.testing.assert_allclose(found, lda.transform(others))


def test_lda_finds_what_tells_artists_apart():
    # The artists differ in the second column only, which is small beside the first.
    random = np.random.default_rng(0)
    names = np.tile(["a", "b", "c"], 40)
    small = np.tile([0.0, 1.0, 2.0], 40) + 0.05 * random.normal(size=120)
    features = np.stack([1000 * random.normal(size=120), small], axis=1)
    projected = fit_lda(features, names, 1).apply(features)[:, 0]
    assert abs(np.corrcoef(projected, small)[0, 1]) > 0.999


def test_lda_does_not_know_the_order_or_names_of_the_songs():
    features, names = clouds()
    order = np.random.default_rng(1).permutation(len(names))
    one = fit_lda(features, names, 3).apply(features)
    renamed = np.array([f"x{name}" for name in names[order]])
    other = fit_lda(features[order], renamed, 3).apply(features)
    np.testing.assert_allclose(np.abs(one), np.abs(other), rtol=1e-6, atol=1e-8)


def test_lda_takes_artists_of_one_song_among_others():
    features, names = clouds()
    names[0] = "alone"
    assert fit_lda(features, names, 3).matrix.shape == (6, 3)


@pytest.mark.parametrize("dimensions", [0, 6, 100])
def test_lda_of_more_dimensions_than_artists_give_is_refused(dimensions):
    message = f"{dimensions} dimensions from 6 artists and features of 6; take from 1 to 5"
    with pytest.raises(InputError, match=message):
        fit_lda(*clouds(), dimensions)


def test_lda_of_more_dimensions_than_the_features_have_is_refused():
    # Six columns, of which one is constant.
    with pytest.raises(InputError, match=r"differ in 5 independent dimensions.*not in 6"):
        fit_lda(*clouds(artists=9), 6)


def test_lda_of_artists_who_are_alike_is_refused():
    features = np.tile(np.random.default_rng(0).integers(0, 9, (4, 3)), (3, 1))
    with pytest.raises(InputError, match="mean features of all artists are the same"):
        fit_lda(features, np.repeat(["a", "b", "c"], 4), 1)


@pytest.mark.parametrize(
    ("features", "names", "message"),
    [
        (np.eye(3), ["a"] * 3, "every song is by 'a'; give"),
        (np.eye(3), ["a", "b", "c"], "one song of each of 3 artists"),
        (np.repeat(np.eye(3), 2, axis=0), list("aabbcc"), "each artist have the same features"),
        (np.eye(3), ["a", None, "a"], "1 of 3 songs have no label"),
        (np.full((2, 2), np.nan), ["a", "b"], "NaN or infinity"),
    ],
)
def test_lda_of_too_little_is_refused(features, names, message):
    with pytest.raises(InputError, match=message):
        fit_lda(features, names, 1)


def test_a_projection_refuses_other_features():
    projection = fit_lda(*clouds(), 2)
    with pytest.raises(InputError, match="fitted to 6 dimensions, the features have 3"):
        projection.apply(np.eye(3))
    with pytest.raises(InputError, match="NaN or infinity"):
        projection.apply(np.full((1, 6), np.inf))


# Feature files


def test_projected_features_say_what_they_were_projected_by():
    features, names = clouds()
    ids = np.array([f"t{number}" for number in range(len(names))], object)
    inputs = {"weights": {"name": "run", "model": "basic", "artists": 6}, "input": "train"}
    made = Features(features.astype(np.float32), ids, {}, inputs, ["artist 0", "other"])
    split = pd.DataFrame({"track_id": ids, "artist": names})
    train = LabelledTracks(split, "train.csv", made.features, made, "train.h5")
    target = replace(made, features=2 * made.features, inputs={**inputs, "input": "target"})
    about = projection_inputs(train, target, 3)
    found = project_features(train, target, 3, about)
    expected = fit_lda(made.features, names, 3).apply(target.features)
    np.testing.assert_array_equal(found.features, expected)
    assert list(found.track_id) == list(ids) and found.inputs == about
    assert set(found.trained_on) == {*names, "other"}
    assert about["weights"] == {"name": "run_lda", "model": "basic with LDA", "artists": 6}
    assert about["input"] == "target" and about["lda"]["dimensions"] == 3
    assert projection_inputs(train, target, 2) != about
    others = replace(train, split=split.assign(artist=names[::-1]))
    assert projection_inputs(others, target, 3)["lda"] != about["lda"]


# t-SNE


def test_tsne_keeps_neighbours_together_and_is_the_same_for_a_seed():
    features, names = clouds(artists=3, songs=12, d=4)
    features = features / features.std(axis=0).clip(1e-9)
    plane, divergence = fit_tsne(features, perplexity=5, seed=1)
    assert plane.shape == (36, 2) and plane.dtype == np.float64 and np.isfinite(plane).all()
    np.testing.assert_array_equal(plane, fit_tsne(features, perplexity=5, seed=1)[0])
    assert 0 < divergence < fit_tsne(np.random.default_rng(1).normal(size=(40, 9)), 5, 1)[1]
    distance = np.linalg.norm(plane[:, None] - plane, axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert np.mean(names[distance.argmin(axis=1)] == names) > 0.9


@pytest.mark.parametrize("perplexity", [0, -1, 10, 30, float("nan")])
def test_tsne_refuses_a_perplexity_that_the_songs_do_not_give(perplexity):
    message = f"perplexity {perplexity:g} for 10 songs; take a --perplexity above 0 and below 10"
    with pytest.raises(InputError, match=message):
        fit_tsne(np.random.default_rng(0).normal(size=(10, 3)), perplexity)


def test_tsne_of_features_without_a_plane_is_refused():
    with pytest.raises(InputError, match="features of 1 dimension"):
        fit_tsne(np.arange(10.0)[:, None], 2)
    with pytest.raises(InputError, match="all songs have the same features"):
        fit_tsne(np.ones((10, 3)), 2)
