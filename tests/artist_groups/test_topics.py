"""Artist groups: clusters, bags and topics, each against the same by another way."""

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances_argmin

from artist_groups import topics
from artist_groups.topics import ArtistGroups, Codebook, count_symbols, learn_codebook, learn_groups
from common.errors import InputError


def tracks(count=30, d=4, seed=0):
    """Vectors of tracks around three far points, at unlike scales."""
    random = np.random.default_rng(seed)
    centres = 20 * random.normal(size=(3, d))
    scale = 10.0 ** np.arange(d)
    return [
        ((centres[n % 3] + random.normal(size=(random.integers(5, 20), d))) * scale).astype(
            np.float32
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("rows", [1, 7, 4096])
def test_streaming_assignment_is_the_batch_one(monkeypatch, rows):
    monkeypatch.setattr(topics, "_ROWS", rows)
    vectors = np.concatenate(tracks())
    book = learn_codebook(tracks(), 8, seed=0)
    expected = pairwise_distances_argmin(vectors / book.scale, book.centres)
    np.testing.assert_array_equal(book.assign(vectors), expected)
    assert book.assign(vectors[:0]).shape == (0,)


def test_clusters_find_what_lies_apart_whatever_the_scales():
    book = learn_codebook(tracks(), 3, seed=0)
    found = [np.unique(book.assign(track)) for track in tracks()]
    assert all(len(symbols) == 1 for symbols in found)
    assert [symbols[0] for symbols in found[:6]] == [symbols[0] for symbols in found[:3]] * 2
    assert len({symbols[0] for symbols in found[:3]}) == 3


def test_a_coordinate_of_rounding_errors_decides_nothing():
    vectors = np.concatenate(tracks(d=2))
    noise = np.float32(5.1993) + np.float32(1e-7) * np.arange(len(vectors), dtype=np.float32)
    with_noise = np.column_stack([vectors, noise]).astype(np.float32)
    assert 0 < with_noise[:, 2].std() < 1e-3
    alone, beside = (learn_codebook([given], 3, seed=0) for given in (vectors, with_noise))
    one, other = alone.assign(vectors), beside.assign(with_noise)
    assert len(set(one)) == 3
    assert len({(a, b) for a, b in zip(one, other, strict=True)}) == 3, "the same three clusters"


def test_the_seed_decides_the_clusters():
    one, same, other = (learn_codebook(tracks(), 5, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.centres, same.centres)
    assert (one.centres != other.centres).any()


def test_vectors_that_cannot_be_clustered_are_refused():
    count = sum(map(len, tracks(3)))
    with pytest.raises(InputError, match=f"{count} vectors for 500 clusters; take fewer"):
        learn_codebook(tracks(3), 500)
    with pytest.raises(InputError, match="0 vectors for 2 clusters"):
        learn_codebook([], 2)
    with pytest.raises(InputError, match="NaN or infinity"):
        learn_codebook([np.full((9, 2), np.nan)], 2)
    with pytest.raises(InputError, match=r"shape \(1, 3\), clustered ones had 2 dimensions"):
        Codebook(np.zeros((2, 2), np.float32), np.ones(2, np.float32)).assign(np.ones((1, 3)))


def test_bags_count_the_symbols_of_all_tracks_of_an_artist():
    symbols = [np.array([0, 0, 2]), np.array([1]), np.array([2]), np.zeros(0, int)]
    counts, names = count_symbols(symbols, ["b", "a", "b", "a"], 3)
    assert list(names) == ["b", "a"] and counts.tolist() == [[2, 0, 2], [0, 1, 0]]


def made_up_bags():
    """Two kinds of artists, of disjoint symbols; the last has one track's symbol only."""
    random = np.random.default_rng(0)
    counts = np.zeros((9, 10), np.int64)
    counts[:4, :5] = random.integers(5, 20, (4, 5))
    counts[4:8, 5:] = random.integers(5, 20, (4, 5))
    counts[8, 7] = 1
    return counts, np.array([f"artist {n}" for n in range(9)], object)


def test_groups_are_distributions_that_tell_the_kinds_apart():
    counts, names = made_up_bags()
    groups = learn_groups(counts, names, 2, seed=0)
    np.testing.assert_allclose(groups.proportions.sum(axis=1), 1)
    np.testing.assert_allclose(groups.topics.sum(axis=1), 1)
    kinds = groups.proportions.argmax(axis=1)
    assert len(set(kinds[:4])) == 1 and len(set(kinds[4:])) == 1 and kinds[0] != kinds[4]
    assert (groups.proportions[:8].max(axis=1) > 0.95).all()
    # One word is little to go by, and the label says so.
    assert 0.5 < groups.proportions[8].max() < 0.9
    of_tracks = groups.proportions_of(["artist 4", "artist 0", "artist 4"])
    np.testing.assert_array_equal(of_tracks[0], of_tracks[2])
    assert of_tracks.dtype == np.float32
    np.testing.assert_allclose(of_tracks.sum(axis=1), 1, rtol=1e-6)
    assert groups.contains(["x", "artist 8", "artist 0"]).tolist() == [False, True, True]
    with pytest.raises(InputError, match="'x' has none"):
        groups.proportions_of(["artist 0", "x"])


def test_artists_that_cannot_be_grouped_are_refused():
    counts, names = made_up_bags()
    counts[3] = 0
    with pytest.raises(InputError, match="1 artists without a symbol, the first is 'artist 3'"):
        learn_groups(counts, names, 2)
    with pytest.raises(InputError, match="1 artists; take a split with two or more"):
        learn_groups(counts[:1], names[:1], 2)


def test_variety_tells_groups_that_are_no_more_than_one():
    """Artists whose tracks are all of one symbol leave nothing to group by."""
    names = np.array([f"artist {number}" for number in range(12)], object)
    assert learn_groups(np.full((12, 1), 4), names, 4, seed=0).diversity < 0.05
    assert learn_groups(*made_up_bags(), 2, seed=0).diversity > 0.4
    shares = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], float)
    assert ArtistGroups(names[:4], shares, shares[:2]).diversity == 0.5
