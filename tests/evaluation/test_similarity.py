"""Tests of the order, ties and blocks of the cosine ranking."""

from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import similarity
from evaluation.similarity import nearest_neighbours, ranked_blocks, unit_rows
from tests.evaluation import exact_ranking


def full_ranking(queries, items=None):
    return np.concatenate([ranking for _, ranking in ranked_blocks(queries, items)])


def test_unit_rows_normalises_rows_of_any_scale():
    rows = np.array([[3.0, 4.0], [3e300, 4e300], [3e-300, 4e-300], [0.0, 0.0]])
    expected = [[0.6, 0.8]] * 3 + [[0, 0]]
    np.testing.assert_allclose(unit_rows(rows), expected, rtol=1e-14)


def test_ranking_of_known_vectors():
    items = np.array([[-1.0, 0.0], [1.0, 1.0], [5.0, 0.1], [0.0, 2.0]])
    np.testing.assert_array_equal(full_ranking(np.array([[1.0, 0.0]]), items), [[2, 1, 3, 0]])
    # The query itself is left out of its ranking, so even an opposite vector ranks first.
    np.testing.assert_array_equal(full_ranking(np.array([[1.0], [-1.0]])), [[1], [0]])
    order = full_ranking(np.ones((4, 2)))
    np.testing.assert_array_equal(order, [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])


def test_equal_directions_tie_and_rank_in_row_order():
    random = np.random.default_rng(0)
    direction = random.normal(size=64)
    items = direction * random.uniform(0.1, 10, size=(200, 1))
    unrounded = unit_rows(items) @ unit_rows(items)[0]
    assert len(np.unique(unrounded)) > 1  # only the rounded cosines tie
    np.testing.assert_array_equal(full_ranking(direction[None], items)[0], np.arange(200))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_ranking_does_not_depend_on_the_block_size(n, cells, seed):
    features = np.random.default_rng(seed).integers(-2, 3, size=(n, 3)).astype(float)
    whole = list(ranked_blocks(features))
    with mock.patch.object(similarity, "BLOCK_CELLS", cells):
        blocks = list(ranked_blocks(features))
    assert len(whole) == 1 and len(blocks) == -(-n // max(1, cells // n))
    np.testing.assert_array_equal(np.concatenate([order for _, order in blocks]), whole[0][1])
    covered = np.concatenate([np.arange(rows.start, rows.stop) for rows, _ in blocks])
    np.testing.assert_array_equal(covered, np.arange(n))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.integers(2, 60), st.integers(1, 60), st.booleans(), st.integers(0, 2**32 - 1))
def test_nearest_neighbours_are_the_start_of_the_full_ranking(n, k, exclude_self, seed):
    """The features include ties, duplicates and zero vectors."""
    features = np.random.default_rng(seed).integers(-2, 3, size=(n, 3)).astype(float)
    items, k = None if exclude_self else features, min(k, n - exclude_self)
    order, cosine = nearest_neighbours(features, items, k=k)
    np.testing.assert_array_equal(order, full_ranking(features, items)[:, :k])
    query = seed % n
    without = query if exclude_self else None
    exact = exact_ranking.ranking(features[query], features, without)
    assert order[query].tolist() == exact[:k]
    unit = unit_rows(features)
    expected = np.take_along_axis(unit @ unit.T, order, axis=1)
    np.testing.assert_allclose(cosine, expected, atol=1e-15)


def test_metric_receives_each_query_with_its_ranking():
    features = np.random.default_rng(0).normal(size=(7, 3))
    with mock.patch.object(similarity, "BLOCK_CELLS", 21):  # three queries per block
        blocks = list(ranked_blocks(features, metric=lambda query, order: 100 * query + order[0]))
    assert [rows for rows, _ in blocks] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    expected = 100 * np.arange(7) + full_ranking(features)[:, 0]
    np.testing.assert_array_equal(np.concatenate([values for _, values in blocks]), expected)
