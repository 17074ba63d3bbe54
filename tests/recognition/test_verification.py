"""Test enrolment, and compare the verification and identification metrics with brute force."""

from fractions import Fraction
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from evaluation.bootstrap import draw_artists
from recognition import verification as v

FIXED = settings(derandomize=True, deadline=None, max_examples=100)
# Use few distinct scores, so that ties are common among and between target and impostor trials.
SCORES = st.lists(st.integers(-6, 6), min_size=1, max_size=25)


def exact_eer(target, impostor):
    """Compute the EER exactly in fractions, interpolating linearly between all thresholds."""
    points = [
        (
            Fraction(sum(score >= t for score in impostor), len(impostor)),
            Fraction(sum(score < t for score in target), len(target)),
        )
        for t in [*sorted({*target, *impostor}), np.inf]
    ]
    for (fa, miss), (next_fa, next_miss) in pairwise(points):
        if next_miss >= next_fa:
            weight = (fa - miss) / (fa - miss + next_miss - next_fa)
            return miss + weight * (next_miss - miss)
    raise AssertionError("the rates do not cross")


@FIXED
@given(SCORES, SCORES, st.permutations(range(25)))
def test_eer_matches_brute_force(target, impostor, order):
    eer = v.equal_error_rate(target, impostor)
    assert eer == pytest.approx(float(exact_eer(target, impostor)), abs=1e-14)
    shuffled = [[scores[i] for i in order if i < len(scores)] for scores in (target, impostor)]
    assert v.equal_error_rate(*shuffled) == eer
    swapped = v.equal_error_rate(-np.array(impostor), -np.array(target))
    assert swapped == pytest.approx(eer, abs=1e-14)


@pytest.mark.parametrize("metric", [v.equal_error_rate, v.det_curve, v.min_dcf])
@pytest.mark.parametrize(
    ("target", "impostor", "message"),
    [
        ([], [1.0], r"target scores of shape \(0,\)"),
        ([1.0], [[1.0]], r"impostor scores of shape \(1, 1\)"),
        ([1.0, np.nan], [1.0], "not one or more finite"),
        ([1.0], [-np.inf], "not one or more finite"),
    ],
)
def test_metrics_reject_unusable_scores(metric, target, impostor, message):
    with pytest.raises(InputError, match=message):
        metric(target, impostor)


@FIXED
@given(SCORES, SCORES)
def test_det_curve_is_monotone_and_preserves_the_eer(target, impostor):
    false_alarm, miss = v.det_curve(target, impostor)
    assert (false_alarm[0], miss[0], false_alarm[-1], miss[-1]) == (1, 0, 0, 1)
    assert (np.diff(false_alarm) <= 0).all() and (np.diff(miss) >= 0).all()
    crossing = np.interp(0, miss - false_alarm, miss)
    assert crossing == pytest.approx(v.equal_error_rate(target, impostor), abs=1e-12)


def test_det_curve_thins_out_excess_points():
    random = np.random.default_rng(0)
    target, impostor = random.normal(1.5, 1, 60), random.normal(0, 1, 4000)
    curve = v.det_curve(target, impostor, points=2000)
    assert len(curve[0]) <= 2 * len(target) + 2  # points on straight lines are omitted
    thinned = v.det_curve(target, impostor, points=20)
    assert len(thinned[0]) == 20 and (thinned[0][0], thinned[1][-1]) == (1, 1)
    assert set(zip(*thinned, strict=True)) <= set(zip(*curve, strict=True))


@FIXED
@given(SCORES, SCORES, st.floats(0.001, 0.5))
def test_min_dcf_matches_brute_force(target, impostor, p):
    def cost(threshold):
        miss, false_alarm = np.array(target) < threshold, np.array(impostor) >= threshold
        return p * miss.mean() + (1 - p) * false_alarm.mean()

    expected = min(cost(t) for t in [-np.inf, *target, *impostor, np.inf]) / p
    with mock.patch.object(v, "_P_TARGET", p):
        cost = v.min_dcf(target, impostor)
    assert cost == pytest.approx(expected, rel=1e-12) and 0 <= cost <= 1 + 1e-12


def test_min_dcf_uses_the_nist_prior():
    # At the best threshold, one of ten targets is missed and there are no false alarms.
    assert v.min_dcf([0] + [2] * 9, [1] * 50) == pytest.approx(0.1)
    assert v.min_dcf([0] * 9 + [2], [1]) == pytest.approx(0.9)
    assert v.min_dcf([2] * 10, [0] * 999 + [3]) == pytest.approx(0.099)


def make_labels(tracks, artists=4):
    """Return artist labels for `tracks` tracks per artist, cycling through the artists."""
    return [f"artist {number}" for _ in range(tracks) for number in range(artists)]


def test_default_protocol_has_the_papers_number_of_trials():
    enrolment = v.draw_enrolment(make_labels(20, artists=500), seed=0)
    scores = np.random.default_rng(0).normal(size=(500, len(enrolment.test_rows)))
    target, impostor = v.split_trials(scores, enrolment.truth)
    assert (len(target), len(impostor)) == (2_500, 1_247_500)
    target, impostor = v.split_trials([[1, 2, 3], [4, 5, 6]], [0, 1, 1])
    assert target.tolist() == [1, 5, 6] and sorted(impostor) == [2, 3, 4]


def test_enrolment_and_test_tracks_are_distinct_and_by_the_right_artist():
    labels = np.array(make_labels(22))
    enrolment, same, other = (v.draw_enrolment(labels, seed=seed) for seed in (1, 1, 2))
    assert (labels[enrolment.enrol_rows] == enrolment.artists[:, None]).all()
    assert (labels[enrolment.test_rows] == enrolment.artists[enrolment.truth]).all()
    assert len({*enrolment.enrol_rows.ravel(), *enrolment.test_rows}) == 80
    np.testing.assert_array_equal(enrolment.enrol_rows, same.enrol_rows)
    assert set(enrolment.enrol_rows[0]) != set(other.enrol_rows[0])


def test_all_tracks_that_are_not_enrolled_are_tested_if_no_number_is_given():
    labels = np.array([*"aaaaa", *"bbb", *"cc", *"dddd"])  # c has no track to test
    enrolment = v.draw_enrolment(labels, 2, None, seed=5)
    assert enrolment.artists.tolist() == ["a", "b", "d"]
    assert (labels[enrolment.enrol_rows] == enrolment.artists[:, None]).all()
    assert labels[enrolment.test_rows].tolist() == [*"aaa", "b", *"dd"]
    assert enrolment.truth.tolist() == [0, 0, 0, 1, 2, 2]
    rows = {*enrolment.enrol_rows.ravel(), *enrolment.test_rows}
    assert rows == set(np.flatnonzero(labels != "c"))
    with pytest.raises(InputError, match="1 artists, but impostors need a second one"):
        v.draw_enrolment(labels, 4, None, seed=0)


def test_truncated_enrolments_are_nested_and_keep_the_tests():
    enrolment = v.draw_enrolment(make_labels(20), seed=3)
    for size in v.ENROLMENT_SIZES:
        smaller = enrolment.truncate(size)
        np.testing.assert_array_equal(smaller.enrol_rows, enrolment.enrol_rows[:, :size])
        np.testing.assert_array_equal(smaller.test_rows, enrolment.test_rows)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 20, "1 artists, but impostors need a second one"),
        (["a", "", "b"], "1 of 3 tracks have no artist, the first is row 1"),
        (["a", None, "b"], "1 of 3 tracks have no artist, the first is row 1"),
        ([*make_labels(20), *["rare"] * 19], r"'rare' has 19 tracks.*\(1 such artists of 5\)"),
    ],
)
def test_enrolment_rejects_unusable_artists(labels, message):
    with pytest.raises(InputError, match=message):
        v.draw_enrolment(labels, seed=0)


def test_require_artist_disjoint_rejects_training_artists():
    v.require_artist_disjoint(["a", "b", "a"], ["c"])
    with pytest.raises(InputError, match="trained on 2 of 3 artists, the first 'b'; leave"):
        v.require_artist_disjoint(["a", "b", "b", " C"], ["c", "B", "d"])


@pytest.mark.parametrize("function", [v.split_trials, v.identification_accuracy])
@pytest.mark.parametrize("scores", [np.ones((2, 3)), np.ones(2), [[1, np.nan], [0, 1]]])
def test_unusable_scores_are_rejected(function, scores):
    with pytest.raises(InputError, match=r"NaN or infinite values, or are not \(artists, tests\)"):
        function(scores, [0, 1])


def test_identification_accuracy_matches_known_values():
    scores = np.array([[9, 1, 3], [5, 2, 9], [1, 3, 5]])
    assert [v.identification_accuracy(scores, [0, 1, 2], k) for k in (1, 2, 3)] == [1 / 3, 1, 1]
    for k in (1, 5):  # constant scores give chance-level accuracy
        chance = v.identification_accuracy(np.zeros((10, 4)), [0, 3, 5, 9], k)
        assert chance == pytest.approx(k / 10)


@FIXED
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=6),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_identification_accuracy_averages_over_all_orders_of_ties(rows, k, random):
    truth = [random.randrange(5) for _ in rows]
    expected = []
    for row, own in zip(rows, truth, strict=True):
        # Among tied artists, the true artist takes every rank with equal probability.
        better = sum(score > row[own] for score in row)
        ranks = range(better + 1, better + row.count(row[own]) + 1)
        expected.append(np.mean([rank <= k for rank in ranks]))
    accuracy = v.identification_accuracy(np.array(rows).T, truth, k)
    assert accuracy == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("levels", [4, 1000])
def test_resampled_error_rates_match_a_loop_over_copies(levels):
    """A drawn copy of an artist is a claimed artist with tests, and no impostor for its copies."""
    generator = np.random.default_rng(levels)
    artists, tests = 15, 3
    truth = np.repeat(np.arange(artists), tests)
    scores = generator.integers(levels, size=(artists, len(truth))).astype(float)
    scores[truth, np.arange(len(truth))] += levels / 3
    draws = np.vstack([np.ones((1, artists), int), draw_artists(artists, 30, generator)[1:]])
    draws = np.vstack([draws, artists * np.eye(artists, dtype=int)[:1]])
    rates = v.resampled_error_rates(scores, truth, draws)
    assert rates[0] == pytest.approx(v.equal_error_rate(*v.split_trials(scores, truth)))
    for draw, rate in zip(draws[:-1], rates, strict=False):
        drawn = np.repeat(np.arange(artists), draw)
        target = [s for artist in drawn for s in scores[artist, truth == artist]]
        impostor = [
            s
            for claimed in drawn
            for by in drawn
            if by != claimed
            for s in scores[claimed, truth == by]
        ]
        assert rate == pytest.approx(v.equal_error_rate(target, impostor))
    assert np.isnan(rates[-1])  # a single artist has no impostors
