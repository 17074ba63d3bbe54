"""Average precision and its mean, against exact recomputation and known rankings."""

from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from evaluation import similarity
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
    """The mean, over relevant items, of how many of those up to it are relevant."""
    ranks = [rank for rank, hit in enumerate(relevant, start=1) if hit]
    return sum((i + 1) / rank for i, rank in enumerate(ranks)) / len(ranks) if ranks else None


@st.composite
def songs(draw):
    """Integer features full of ties and duplicates, with few labels."""
    n, d = draw(st.integers(2, 14)), draw(st.integers(1, 4))
    row = st.lists(st.integers(-2, 2), min_size=d, max_size=d)
    features = draw(st.lists(row, min_size=n, max_size=n))
    labels = draw(st.lists(st.sampled_from(["jazz", "metal", "disco"]), min_size=n, max_size=n))
    return features, labels


@FIXED
@given(RANKINGS)
def test_ap_is_the_recomputed_one(relevant):
    expected = recomputed_ap(relevant)
    found = average_precision(relevant)
    assert np.isnan(found) if expected is None else found == pytest.approx(expected, rel=1e-13)


@FIXED
@given(RANKINGS.filter(any))
def test_ap_lies_between_the_worst_and_the_perfect_ranking(relevant):
    n, m = len(relevant), sum(relevant)
    worst = sum(i / (n - m + i) for i in range(1, m + 1)) / m
    assert average_precision(sorted(relevant)) == pytest.approx(worst, rel=1e-13)
    assert average_precision(sorted(relevant, reverse=True)) == 1
    assert worst * (1 - 1e-13) <= average_precision(relevant) <= 1


def test_ap_of_several_rankings_is_that_of_each():
    rankings = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], dtype=bool)
    np.testing.assert_allclose(average_precision(rankings), [5 / 6, np.nan, 1 / 2])
    assert average_precision(rankings[:0]).shape == (0,)
    assert np.isnan(average_precision(rankings[0, :0]))


@FIXED
@given(songs())
def test_aps_and_map_are_the_recomputed_ones(case):
    features, labels = case
    expected = [
        recomputed_ap(
            [labels[row] == labels[q] for row in exact_ranking.ranking(features[q], features, q)]
        )
        for q in range(len(features))
    ]
    found = average_precisions(features, labels)
    np.testing.assert_allclose(found, [np.nan if ap is None else ap for ap in expected], rtol=1e-13)
    queries = [ap for ap in expected if ap is not None]
    if queries:
        expected_map = sum(queries) / len(queries)
        assert mean_average_precision(features, labels) == pytest.approx(expected_map, rel=1e-13)


@FIXED
@given(st.integers(2, 300), st.integers(1, 8), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_aps_are_those_of_the_definition_where_most_cosines_tie(n, directions, labels, seed):
    """Few directions at many lengths, blocks of a few queries: ties across labels and blocks."""
    random = np.random.default_rng(seed)
    kinds = random.integers(-1, 2, size=(directions, 3))
    features = kinds[random.integers(directions, size=n)] * random.uniform(0.1, 9, (n, 1))
    genres = random.integers(labels, size=n)
    cosines = np.rint(similarity.unit_rows(features) @ similarity.unit_rows(features).T * 1e10)
    with mock.patch.object(similarity, "BLOCK_CELLS", 3 * n):
        found = average_precisions(features, genres)
    for query in range(n):
        others = np.delete(np.arange(n), query)
        order = others[np.argsort(-cosines[query, others], kind="stable")]
        relevant = genres[order] == genres[query]
        precision = np.cumsum(relevant) / np.arange(1, n)
        expected = precision[relevant].sum() / relevant.sum() if relevant.any() else np.nan
        np.testing.assert_allclose(found[query], expected, rtol=1e-13)


@FIXED
@given(st.integers(0, 2**32 - 1))
def test_without_ties_the_order_of_the_songs_changes_nothing(seed):
    random = np.random.default_rng(seed)
    features, labels = random.normal(size=(30, 5)), random.integers(0, 3, 30)
    order = random.permutation(30)
    np.testing.assert_allclose(
        average_precisions(features[order], labels[order]),
        average_precisions(features, labels)[order],
        rtol=1e-13,
    )


@FIXED
@given(songs(), st.integers(0, 2**32 - 1))
def test_the_length_of_a_vector_changes_nothing(case, seed):
    features, labels = np.array(case[0], dtype=float), case[1]
    scale = 10.0 ** np.random.default_rng(seed).uniform(-300, 300, (len(features), 1))
    np.testing.assert_array_equal(
        average_precisions(features * scale, labels), average_precisions(features, labels)
    )


def test_separate_directions_are_retrieved_perfectly():
    features = np.repeat(np.eye(3), 4, axis=0)
    assert mean_average_precision(features, np.repeat(["a", "b", "c"], 4)) == 1


def test_a_zero_vector_is_nearer_than_an_opposite_and_farther_than_a_like_one():
    features = [[1.0], [-1.0], [0.0], [2.0]]
    # The first query ranks rows 3, 2, 1; the zero row ranks 0, 1, 3 as they stand.
    assert average_precisions(features, ["a", "b", "a", "b"])[0] == 1 / 2
    assert average_precisions(features, ["b", "b", "a", "a"])[2] == pytest.approx(1 / 3)


def test_a_song_alone_in_its_genre_is_no_query_but_is_ranked():
    features = [[1.0, 0.0], [1.0, 0.1], [1.0, 0.5]]
    aps = average_precisions(features, ["a", "single", "a"])
    np.testing.assert_array_equal(aps, [1 / 2, np.nan, 1 / 2])
    assert mean_average_precision(features, ["a", "single", "a"]) == 1 / 2


def test_only_single_genres_are_refused():
    with pytest.raises(InputError, match="no two songs share a label"):
        mean_average_precision(np.eye(3), ["a", "b", "c"])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_are_counted_and_located(bad):
    features = np.ones((5, 4))
    features[2, 1] = features[4, 0] = features[4, 3] = bad
    with pytest.raises(InputError, match=r"2 of 5 rows.*first is row 2; extract them again"):
        average_precisions(features, list("aabbb"))


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((3, 2)), ["a", "a"], "give one label a row"),
        (np.ones((2, 2)), ["a", None], r"1 of 2 songs have no label, the first is row 1"),
        (np.ones(3), ["a"] * 3, r"shape \(n, d\)"),
        (np.ones((0, 2)), [], "check the subset column"),
    ],
)
def test_what_does_not_fit_is_refused(features, labels, message):
    with pytest.raises(InputError, match=message):
        mean_average_precision(features, labels)


def test_labels_may_be_a_column_of_a_table():
    features, labels = np.repeat(np.eye(2), 2, axis=0), ["a", "a", "b", "b"]
    assert mean_average_precision(features, pd.Series(labels, index=[7, 5, 3, 1])) == 1
    assert mean_average_precision(features, pd.Categorical(labels)) == 1


def test_scores_by_label_are_means_that_pass_over_nan():
    means = mean_by_label(
        [1.0, 0.5, np.nan, 0.25], pd.Series(["b", "a", "a", "b"], index=[9, 8, 7, 6])
    )
    assert means.to_dict() == {"a": 0.5, "b": 0.625}
