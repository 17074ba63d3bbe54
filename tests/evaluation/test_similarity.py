"""The cosine ranking: exact order, ties, blocks."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from evaluation import similarity
from evaluation.similarity import nearest_neighbours, ranked_blocks, unit_rows


def whole_order(queries, items=None):
    return np.concatenate([order for _, order in ranked_blocks(queries, items)])


def test_unit_rows_have_length_one_at_any_scale_and_zero_stays_zero():
    rows = np.array([[3.0, 4.0], [3e300, 4e300], [3e-300, 4e-300], [0.0, 0.0]])
    expected = [[0.6, 0.8]] * 3 + [[0, 0]]
    np.testing.assert_allclose(unit_rows(rows), expected, rtol=1e-14)


def test_nearest_first():
    items = np.array([[-1.0, 0.0], [1.0, 1.0], [5.0, 0.1], [0.0, 2.0]])
    np.testing.assert_array_equal(whole_order(np.array([[1.0, 0.0]]), items), [[2, 1, 3, 0]])


def test_the_same_direction_at_other_lengths_ties_and_ranks_in_row_order():
    random = np.random.default_rng(0)
    direction = random.normal(size=64)
    items = direction * random.uniform(0.1, 10, size=(200, 1))
    unrounded = unit_rows(items) @ unit_rows(items)[0]
    assert len(np.unique(unrounded)) > 1  # so the rounding is what makes them tie
    np.testing.assert_array_equal(whole_order(direction[None], items)[0], np.arange(200))


def test_a_query_is_left_out_of_its_own_ranking_even_among_duplicates():
    order = whole_order(np.ones((4, 2)))
    np.testing.assert_array_equal(order, [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])


def test_an_opposite_song_still_ranks_before_the_query_itself():
    np.testing.assert_array_equal(whole_order(np.array([[1.0], [-1.0]])), [[1], [0]])


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_the_size_of_the_blocks_changes_nothing(n, cells, seed):
    features = np.random.default_rng(seed).integers(-2, 3, size=(n, 3)).astype(float)
    whole = list(ranked_blocks(features))
    with mock.patch.object(similarity, "BLOCK_CELLS", cells):
        blocks = list(ranked_blocks(features))
    assert len(whole) == 1
    assert len(blocks) == -(-n // max(1, cells // n))
    np.testing.assert_array_equal(np.concatenate([order for _, order in blocks]), whole[0][1])
    covered = np.concatenate([np.arange(rows.start, rows.stop) for rows, _ in blocks])
    np.testing.assert_array_equal(covered, np.arange(n))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.integers(2, 60), st.integers(1, 60), st.booleans(), st.integers(0, 2**32 - 1))
def test_the_nearest_k_are_the_first_of_the_whole_ranking(n, k, alone, seed):
    """Of features with ties, duplicates and zero vectors among them."""
    features = np.random.default_rng(seed).integers(-2, 3, size=(n, 3)).astype(float)
    items, k = None if alone else features, min(k, n - alone)
    order, cosine = nearest_neighbours(features, items, k=k)
    np.testing.assert_array_equal(order, whole_order(features, items)[:, :k])
    unit = unit_rows(features)
    expected = np.take_along_axis(unit @ unit.T, order, axis=1)
    np.testing.assert_allclose(cosine, expected, atol=1e-15)


def test_few_queries_need_the_whole_ranking_where_few_tie():
    features = np.random.default_rng(0).normal(size=(300, 8))
    features[7:10] = features[6]  # so that one song, asked for its nearest, finds several
    with mock.patch.object(similarity, "ranked_blocks", wraps=ranked_blocks) as whole:
        order, cosine = nearest_neighbours(features, k=1)
    (queries, _), _ = whole.call_args
    assert 4 <= len(queries) < 10  # and of whom the four are nearest
    np.testing.assert_array_equal(order, whole_order(features)[:, :1])
    assert order[6:10, 0].tolist() == [7, 6, 6, 6]
    np.testing.assert_allclose(cosine[6:10], 1, rtol=1e-12)


def test_a_measure_is_told_each_query_with_its_order():
    features = np.random.default_rng(0).normal(size=(7, 3))
    with mock.patch.object(similarity, "BLOCK_CELLS", 21):  # three queries a block
        found = list(ranked_blocks(features, measure=lambda query, order: 100 * query + order[0]))
    assert [rows for rows, _ in found] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    expected = 100 * np.arange(7) + whole_order(features)[:, 0]
    np.testing.assert_array_equal(np.concatenate([each for _, each in found]), expected)


def test_other_dimensions_are_refused():
    for rank in (
        lambda *both: list(ranked_blocks(*both)),
        lambda *both: nearest_neighbours(*both, k=1),
    ):
        with pytest.raises(InputError, match=r"3 and of 2 dimensions.*same weights"):
            rank(np.ones((1, 3)), np.ones((1, 2)))
