"""Tests of average precision and its mean against exact computations and known rankings."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from evaluation.retrieval import (
    average_precision,
    average_precisions,
    mean_average_precision,
    mean_by_label,
)
from tests.evaluation import exact_ranking

FIXED = settings(derandomize=True, deadline=None, max_examples=100)
RANKINGS = st.lists(st.booleans(), min_size=1, max_size=30)


def recomputed_ap(relevant):
    """Compute the mean, over all relevant items, of the precision at the item's rank."""
    ranks = [rank for rank, hit in enumerate(relevant, start=1) if hit]
    return sum((i + 1) / rank for i, rank in enumerate(ranks)) / len(ranks) if ranks else None


@st.composite
def labelled_tracks(draw):
    """Draw integer features with many ties and duplicates, and few distinct labels."""
    n, d = draw(st.integers(2, 14)), draw(st.integers(1, 4))
    row = st.lists(st.integers(-2, 2), min_size=d, max_size=d)
    features = draw(st.lists(row, min_size=n, max_size=n))
    labels = draw(st.lists(st.sampled_from(["jazz", "metal", "disco"]), min_size=n, max_size=n))
    return features, labels


@FIXED
@given(RANKINGS)
def test_average_precision_matches_the_definition(relevant):
    expected = recomputed_ap(relevant)
    found = average_precision(relevant)
    assert np.isnan(found) if expected is None else found == pytest.approx(expected, rel=1e-13)


def test_average_precision_of_several_rankings():
    rankings = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], dtype=bool)
    np.testing.assert_allclose(average_precision(rankings), [5 / 6, np.nan, 1 / 2])
    assert average_precision(rankings[:0]).shape == (0,)
    assert np.isnan(average_precision(rankings[0, :0]))


@FIXED
@given(labelled_tracks())
def test_average_precisions_match_exact_rankings(case):
    features, labels = case
    rankings = [exact_ranking.ranking(query, features, q) for q, query in enumerate(features)]
    expected = [
        recomputed_ap([labels[row] == labels[q] for row in ranking])
        for q, ranking in enumerate(rankings)
    ]
    found = average_precisions(features, labels)
    np.testing.assert_allclose(found, [np.nan if ap is None else ap for ap in expected], rtol=1e-13)
    queries = [ap for ap in expected if ap is not None]
    if queries:
        expected_map = sum(queries) / len(queries)
        assert mean_average_precision(features, labels) == pytest.approx(expected_map, rel=1e-13)


def test_average_precision_for_known_rankings_of_tracks():
    features = np.repeat(np.eye(3), 4, axis=0)
    assert mean_average_precision(features, np.repeat(["a", "b", "c"], 4)) == 1
    # A zero vector ranks between a similar and an opposite vector: for query row 0, the ranking is
    # rows 3, 2, 1. For the zero vector as query, it is rows 0, 1, 3, in row order.
    features = [[1.0], [-1.0], [0.0], [2.0]]
    assert average_precisions(features, ["a", "b", "a", "b"])[0] == 1 / 2
    assert average_precisions(features, ["b", "b", "a", "a"])[2] == pytest.approx(1 / 3)
    # A track with a unique label is not used as a query, but it is ranked.
    features = [[1.0, 0.0], [1.0, 0.1], [1.0, 0.5]]
    aps = average_precisions(features, ["a", "single", "a"])
    np.testing.assert_array_equal(aps, [1 / 2, np.nan, 1 / 2])
    with pytest.raises(InputError, match="no two tracks share a label"):
        mean_average_precision(np.eye(3), ["a", "b", "c"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_retrieval_counts_and_locates_nan_and_infinity(bad):
    features = np.ones((5, 4))
    features[2, 1] = features[4, 0] = features[4, 3] = bad
    with pytest.raises(InputError, match=r"2 of 5 rows.*first is row 2; extract them again"):
        average_precisions(features, list("aabbb"))


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((3, 2)), ["a", "a"], "give one label per row"),
        (np.ones((2, 2)), ["a", None], r"1 of 2 tracks have no label, the first is row 1"),
        (np.ones(3), ["a"] * 3, r"shape \(n, d\)"),
        (np.ones((0, 2)), [], "check the subset column"),
    ],
)
def test_retrieval_rejects_incompatible_inputs(features, labels, message):
    with pytest.raises(InputError, match=message):
        mean_average_precision(features, labels)


def test_labels_may_be_a_pandas_series_or_categorical():
    features, labels = np.repeat(np.eye(2), 2, axis=0), ["a", "a", "b", "b"]
    assert mean_average_precision(features, pd.Series(labels, index=[7, 5, 3, 1])) == 1
    assert mean_average_precision(features, pd.Categorical(labels)) == 1
    labels = pd.Series(["b", "a", "a", "b"], index=[9, 8, 7, 6])
    means = mean_by_label([1.0, 0.5, np.nan, 0.25], labels)
    assert means.to_dict() == {"a": 0.5, "b": 0.625}
