"""Tests of clustering by artist."""

import numpy as np
import pytest
from scipy.special import comb

from common.errors import InputError
from evaluation.clustering import cluster_tracks


@pytest.fixture
def tracks():
    """Return features (60, 8) and labels of six artists, whose tracks overlap."""
    generator = np.random.default_rng(3)
    labels = np.repeat(list("abcdef"), 10)
    centres = np.repeat(generator.normal(size=(6, 8)), 10, axis=0)
    return centres + generator.normal(scale=0.9, size=(60, 8)), labels


def test_separate_artists_are_clustered_without_error_at_any_level(tracks):
    features = np.repeat(np.eye(6), 10, axis=0) + 0.01 * tracks[0][:, :6]
    levels = np.geomspace(1e-3, 1e3, 60)[:, None]
    result = cluster_tracks(features * levels, tracks[1])
    assert (result.ari, result.ami) == (1, 1)


def test_ari_equals_the_count_of_track_pairs(tracks):
    labels = tracks[1]
    result = cluster_tracks(*tracks)
    same_label, same_cluster = (np.triu(np.equal.outer(x, x), 1) for x in (labels, result.clusters))
    both, by_label, by_cluster = (
        pairs.sum() for pairs in (same_label & same_cluster, same_label, same_cluster)
    )
    expected = by_label * by_cluster / comb(len(labels), 2)
    ari = (both - expected) / ((by_label + by_cluster) / 2 - expected)
    assert result.ari == pytest.approx(ari)
    assert 0.1 < result.ari < 0.9 and len(set(result.clusters)) == 6


def test_clustering_depends_on_the_seed_alone(tracks):
    first, second = (cluster_tracks(*tracks, starts=1, seed=5) for _ in range(2))
    assert np.array_equal(first.clusters, second.clusters)
    others = [cluster_tracks(*tracks, starts=1, seed=seed).clusters for seed in range(4)]
    assert any(not np.array_equal(first.clusters, other) for other in others)


@pytest.mark.parametrize(
    ("features", "labels", "error"),
    [
        (np.eye(3), ["a"] * 3, "every track has the label a"),
        (np.eye(3), ["a", "b", "c"], "each of the 3 tracks has a label of its own"),
        (np.ones((3, 2)), ["a", "b", "b"], "1 distinct features for 2 labels"),
        (np.full((3, 2), np.nan), ["a", "b", "b"], "NaN"),
    ],
)
def test_clustering_rejects_tracks_that_cannot_be_clustered(features, labels, error):
    with pytest.raises(InputError, match=f"clustering: .*{error}"):
        cluster_tracks(features, labels)
