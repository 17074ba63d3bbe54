"""Tests of the cosine ranking and of average precision against exact computations."""

from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from evaluation import retrieval
from evaluation.retrieval import (
    average_precision,
    average_precisions,
    mean_average_precision,
    nearest_neighbours,
    ranked_blocks,
    unit_rows,
)
from tests.evaluation import exact_ranking

FIXED = settings(derandomize=True, deadline=None, max_examples=100)

# ---------------------------------------------------------------- ranking


def full_ranking(queries, items=None):
    return np.concatenate([ranking for _, ranking in ranked_blocks(queries, items)])


def test_unit_rows_normalises_rows_of_any_scale():
    rows = np.array([[3.0, 4.0], [3e300, 4e300], [3e-300, 4e-300], [0.0, 0.0]])
    np.testing.assert_allclose(unit_rows(rows), [[0.6, 0.8]] * 3 + [[0, 0]], rtol=1e-14)


def test_equal_directions_tie_and_rank_in_row_order():
    random = np.random.default_rng(0)
    direction = random.normal(size=64)
    items = direction * random.uniform(0.1, 10, size=(200, 1))
    unrounded = unit_rows(items) @ unit_rows(items)[0]
    assert len(np.unique(unrounded)) > 1  # only the rounded cosines tie
    np.testing.assert_array_equal(full_ranking(direction[None], items)[0], np.arange(200))


@FIXED
@given(st.integers(1, 60), st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_ranking_does_not_depend_on_the_block_size(n, cells, seed):
    features = np.random.default_rng(seed).integers(-2, 3, size=(n, 3)).astype(float)
    whole = full_ranking(features)
    with mock.patch.object(retrieval, "BLOCK_CELLS", cells):
        blocks = list(ranked_blocks(features))
        values = list(ranked_blocks(features, metric=lambda query, order: query + order.sum()))
    assert len(blocks) == -(-n // max(1, cells // n))
    np.testing.assert_array_equal(np.concatenate([order for _, order in blocks]), whole)
    covered = np.concatenate([np.arange(rows.start, rows.stop) for rows, _ in blocks])
    np.testing.assert_array_equal(covered, np.arange(n))
    found = np.concatenate([value for _, value in values])
    np.testing.assert_array_equal(found, np.arange(n) + whole.sum(axis=1))


@FIXED
@given(st.integers(2, 60), st.integers(1, 60), st.booleans(), st.integers(0, 2**32 - 1))
def test_nearest_neighbours_match_the_exact_ranking(n, k, exclude_self, seed):
    """The features include ties, duplicates and zero vectors."""
    features = np.random.default_rng(seed).integers(-2, 3, size=(n, 3)).astype(float)
    items, k = None if exclude_self else features, min(k, n - exclude_self)
    order, cosine = nearest_neighbours(features, items, k=k)
    np.testing.assert_array_equal(order, full_ranking(features, items)[:, :k])
    query = seed % n
    exact = exact_ranking.ranking(features[query], features, query if exclude_self else None)
    assert order[query].tolist() == exact[:k]
    unit = unit_rows(features)
    expected = np.take_along_axis(unit @ unit.T, order, axis=1)
    np.testing.assert_allclose(cosine, expected, atol=1e-15)


# ---------------------------------------------------------------- average precision


def recomputed_ap(relevant):
    """Compute the mean, over all relevant items, of the precision at the item's rank."""
    ranks = [rank for rank, hit in enumerate(relevant, start=1) if hit]
    return sum((i + 1) / rank for i, rank in enumerate(ranks)) / len(ranks) if ranks else np.nan


@FIXED
@given(st.lists(st.booleans(), max_size=30))
def test_average_precision_matches_the_definition(relevant):
    np.testing.assert_allclose(average_precision(relevant), recomputed_ap(relevant), rtol=1e-13)


@st.composite
def labelled_tracks(draw):
    """Draw integer features with many ties and duplicates, and few distinct labels."""
    n, d = draw(st.integers(2, 14)), draw(st.integers(1, 4))
    row = st.lists(st.integers(-2, 2), min_size=d, max_size=d)
    features = draw(st.lists(row, min_size=n, max_size=n))
    labels = draw(st.lists(st.sampled_from(["jazz", "metal", "disco"]), min_size=n, max_size=n))
    return features, labels


@FIXED
@given(labelled_tracks())
def test_average_precisions_match_exact_rankings(case):
    features, labels = case
    rankings = [exact_ranking.ranking(query, features, q) for q, query in enumerate(features)]
    expected = [
        recomputed_ap([labels[row] == labels[q] for row in ranking])
        for q, ranking in enumerate(rankings)
    ]
    np.testing.assert_allclose(average_precisions(features, labels), expected, rtol=1e-13)
    queries = [ap for ap in expected if not np.isnan(ap)]
    if queries:
        expected_map = sum(queries) / len(queries)
        assert mean_average_precision(features, labels) == pytest.approx(expected_map, rel=1e-13)


def test_average_precision_for_known_rankings_of_tracks():
    # A zero vector ranks between a similar and an opposite vector: for query row 0, the ranking is
    # rows 3, 2, 1. For the zero vector as query, it is rows 0, 1, 3, in row order.
    features = [[1.0], [-1.0], [0.0], [2.0]]
    assert average_precisions(features, ["a", "b", "a", "b"])[0] == 1 / 2
    assert average_precisions(features, ["b", "b", "a", "a"])[2] == pytest.approx(1 / 3)
    # A track with a unique label is not used as a query, but it is ranked.
    features = [[1.0, 0.0], [1.0, 0.1], [1.0, 0.5]]
    aps = average_precisions(features, ["a", "single", "a"])
    np.testing.assert_array_equal(aps, [1 / 2, np.nan, 1 / 2])
    labels = pd.Series(["a", "a", "b", "b"], index=[7, 5, 3, 1])
    assert mean_average_precision(np.repeat(np.eye(2), 2, axis=0), labels) == 1


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.eye(3), list("abc"), "no two tracks share a label"),
        (np.ones((3, 2)), ["a", "a"], "give one label per row"),
        (np.ones((2, 2)), ["a", None], r"1 of 2 tracks have no label, the first is row 1"),
        (np.ones(3), ["a"] * 3, r"shape \(n, d\)"),
        (np.ones((0, 2)), [], "check the subset column"),
        ([[1], [np.nan], [-np.inf]], list("aab"), r"2 of 3 rows.*first is row 1; extract them"),
    ],
)
def test_retrieval_rejects_unusable_inputs(features, labels, message):
    with pytest.raises(InputError, match=message):
        mean_average_precision(features, labels)
