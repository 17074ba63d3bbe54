"""Verification: the protocol, and its measures against scikit-learn's ROC and brute force."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from common.errors import InputError
from recognition import systems
from recognition import verification as v

FIXED = settings(derandomize=True, deadline=None, max_examples=100)
# Few distinct scores, so that ties within and between the kinds abound.
SCORES = st.lists(st.integers(-6, 6), min_size=1, max_size=25)


def gaussian_trials(targets=60, impostors=4000, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(1.5, 1, targets), random.normal(0, 1, impostors)


# EER


def eer_of_roc(target, impostor):
    """Where the ROC of scikit-learn, joined by lines, has misses equal to false alarms."""
    truth = np.repeat([1, 0], [len(target), len(impostor)])
    false_alarm, hit, _ = roc_curve(truth, np.append(target, impostor), drop_intermediate=False)
    excess = 1 - hit - false_alarm  # falls from 1 to -1
    return np.interp(0, -excess, false_alarm)


def exact_eer(target, impostor):
    """The same in fractions, counting every threshold anew."""
    points = [
        (
            Fraction(sum(score >= t for score in impostor), len(impostor)),
            Fraction(sum(score < t for score in target), len(target)),
        )
        for t in [*sorted({*target, *impostor}), np.inf]
    ]
    for (fa, miss), (next_fa, next_miss) in pairwise(points):
        if next_miss >= next_fa:
            share = (fa - miss) / (fa - miss + next_miss - next_fa)
            return miss + share * (next_miss - miss)
    raise AssertionError("the rates do not cross")


@FIXED
@given(SCORES, SCORES)
def test_eer_is_the_recomputed_one(target, impostor):
    found = v.equal_error_rate(target, impostor)
    assert found == pytest.approx(float(exact_eer(target, impostor)), abs=1e-14)
    assert found == pytest.approx(eer_of_roc(target, impostor), abs=1e-12)


@pytest.mark.parametrize("decimals", [1, 2, 12])
def test_eer_is_that_of_the_roc_curve_of_scikit_learn(decimals):
    target, impostor = (np.round(scores, decimals) for scores in gaussian_trials())
    assert v.equal_error_rate(target, impostor) == pytest.approx(
        eer_of_roc(target, impostor), abs=1e-12
    )


def test_eer_of_known_scores():
    assert v.equal_error_rate([3, 4], [1, 2]) == 0
    assert v.equal_error_rate([1, 2], [3, 4, 5]) == 1
    assert v.equal_error_rate([7, 7, 7], [7, 7]) == 0.5
    assert v.equal_error_rate([2, 4], [1, 3]) == 0.5
    assert v.equal_error_rate([1, 5, 6, 7], [0, 0, 2, 0]) == 0.25
    # (false alarm, miss) goes from (1/4, 0) to (1/4, 1/2): equal at no threshold, but between.
    assert v.equal_error_rate([1, 3], [0, 0, 0, 2]) == pytest.approx(1 / 4)


def test_eer_of_ties_between_kinds_lies_on_the_line_across_them():
    # (false alarm, miss) goes from (1, 0) to (1/2, 0) to (0, 1/2), the second across the tie.
    assert v.equal_error_rate([2, 3], [1, 2]) == 0.25


@FIXED
@given(SCORES, SCORES, st.permutations(range(25)))
def test_eer_does_not_know_the_order_of_trials(target, impostor, order):
    shuffled = [[scores[i] for i in order if i < len(scores)] for scores in (target, impostor)]
    assert v.equal_error_rate(*shuffled) == v.equal_error_rate(target, impostor)


@FIXED
@given(SCORES, SCORES)
def test_measures_do_not_change_under_a_monotone_map(target, impostor):
    mapped = [np.exp(np.array(scores) / 3) ** 3 - 5 for scores in (target, impostor)]
    for measure in (v.equal_error_rate, v.min_dcf):
        assert measure(*mapped) == measure(target, impostor)
    for ours, theirs in zip(v.det_curve(*mapped), v.det_curve(target, impostor), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@FIXED
@given(SCORES, SCORES)
def test_eer_of_swapped_and_turned_scores_is_the_same(target, impostor):
    swapped = v.equal_error_rate(-np.array(impostor), -np.array(target))
    assert swapped == pytest.approx(v.equal_error_rate(target, impostor), abs=1e-14)


@pytest.mark.parametrize("measure", [v.equal_error_rate, v.det_curve, v.min_dcf])
def test_measures_refuse_what_is_no_scores(measure):
    with pytest.raises(InputError, match="target scores of shape \\(0,\\)"):
        measure([], [1.0])
    with pytest.raises(InputError, match="impostor scores of shape \\(0,\\)"):
        measure([1.0], [])
    with pytest.raises(InputError, match="impostor scores of shape \\(1, 1\\)"):
        measure([1.0], [[1.0]])
    with pytest.raises(InputError, match="1 of 2 of the target scores are NaN"):
        measure([1.0, np.nan], [1.0])
    with pytest.raises(InputError, match="1 of 1 of the impostor scores are NaN"):
        measure([1.0], [-np.inf])


# DET and detection cost


@FIXED
@given(SCORES, SCORES)
def test_det_curve_is_monotone_and_keeps_the_eer(target, impostor):
    false_alarm, miss = v.det_curve(target, impostor)
    assert (false_alarm[0], miss[0], false_alarm[-1], miss[-1]) == (1, 0, 0, 1)
    assert (np.diff(false_alarm) <= 0).all() and (np.diff(miss) >= 0).all()
    # Straight stretches are left out, so that the curve still crosses where it did.
    crossing = np.interp(0, miss - false_alarm, miss)
    assert crossing == pytest.approx(v.equal_error_rate(target, impostor), abs=1e-12)


def test_det_curve_leaves_out_what_a_plot_does_not_need():
    target, impostor = gaussian_trials()
    false_alarm, miss = v.det_curve(target, impostor)
    assert len(false_alarm) <= 2 * len(target) + 2
    few_false_alarm, few_miss = v.det_curve(target, impostor, points=20)
    assert len(few_false_alarm) == 20
    whole = set(zip(false_alarm, miss, strict=True))
    assert set(zip(few_false_alarm, few_miss, strict=True)) <= whole
    assert (few_false_alarm[0], few_miss[-1]) == (1, 1)
    with pytest.raises(InputError, match="curve of 1 points"):
        v.det_curve(target, impostor, points=1)


def brute_min_dcf(target, impostor, p, c_miss, c_fa):
    def cost(t):
        miss, fa = np.mean(np.array(target) < t), np.mean(np.array(impostor) >= t)
        return c_miss * p * miss + c_fa * (1 - p) * fa

    lowest = min(cost(t) for t in [-np.inf, *target, *impostor, np.inf])
    return lowest / min(c_miss * p, c_fa * (1 - p))


@FIXED
@given(
    SCORES,
    SCORES,
    st.floats(0.001, 0.999),
    st.floats(0.1, 10),
    st.floats(0.1, 10),
)
def test_min_dcf_is_that_of_brute_force(target, impostor, p, c_miss, c_fa):
    found = v.min_dcf(target, impostor, p, c_miss, c_fa)
    assert found == pytest.approx(brute_min_dcf(target, impostor, p, c_miss, c_fa), rel=1e-12)
    assert 0 <= found <= 1 + 1e-12


def test_min_dcf_of_known_scores():
    assert v.min_dcf([3, 4], [1, 2]) == 0
    assert v.min_dcf([1, 1], [1, 1]) == 1
    # One of ten targets is missed without a false alarm.
    assert v.min_dcf([0] + [2] * 9, [1] * 50) == pytest.approx(0.1)


@pytest.mark.parametrize("wrong", [{"p_target": 0}, {"p_target": 1}, {"c_miss": 0}, {"c_fa": -1}])
def test_min_dcf_refuses_what_is_no_prior_or_cost(wrong):
    with pytest.raises(InputError, match="p_target between 0 and 1"):
        v.min_dcf([1.0], [0.0], **wrong)


# Enrolment


def artists_of(songs, artists=4):
    """Songs of each artist, dealt in turn."""
    return [f"artist {number}" for _ in range(songs) for number in range(artists)]


def test_the_first_songs_enrol_and_the_next_test():
    who = v.draw_enrolment(list("abbabaab"), enrolment=2, tests=1)
    assert list(who.artists) == ["a", "b"]
    assert who.enrolment.tolist() == [[0, 3], [1, 2]]
    assert who.test.tolist() == [5, 4]
    assert who.truth.tolist() == [0, 1]


def test_the_papers_protocol_has_its_numbers_of_trials():
    names = artists_of(20, artists=500)
    who = v.draw_enrolment(names)
    features = np.random.default_rng(0).normal(size=(len(names), 3))
    scores = systems.cosine_scores(systems.enrol_artists(features, who), features[who.test])
    target, impostor = v.split_trials(scores, who.truth)
    assert (len(target), len(impostor)) == (2_500, 1_247_500)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_songs_enrol_or_test_only_their_own_artist(seed):
    names = np.array(artists_of(22))
    who = v.draw_enrolment(names, seed=seed)
    assert who.enrolment.shape == (4, 15) and who.test.shape == (20,)
    assert (names[who.enrolment] == who.artists[:, None]).all()
    assert (names[who.test] == who.artists[who.truth]).all()
    assert len({*who.enrolment.ravel(), *who.test}) == 80


def test_a_seed_draws_the_same_songs_and_another_draws_others():
    names = artists_of(30)
    one, again, other = (v.draw_enrolment(names, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.enrolment, again.enrolment)
    assert set(one.enrolment[0]) != set(other.enrolment[0])
    assert list(one.artists) == list(other.artists)


def test_enrolments_of_the_one_shot_protocol_are_nested_with_the_same_tests():
    who = v.draw_enrolment(artists_of(20), seed=3)
    protocols = [who.truncate(songs) for songs in v.ENROLMENT_SIZES]
    for fewer, more in pairwise(protocols):
        np.testing.assert_array_equal(
            fewer.enrolment, more.enrolment[:, : fewer.enrolment.shape[1]]
        )
        np.testing.assert_array_equal(fewer.test, more.test)
    assert [one.enrolment.shape[1] for one in protocols] == [1, 2, 5, 10, 15]


@pytest.mark.parametrize("songs", [0, 16])
def test_an_enrolment_by_more_songs_than_there_are_is_refused(songs):
    with pytest.raises(InputError, match=f"by {songs} of 15 songs; take from 1 to 15"):
        v.draw_enrolment(artists_of(20)).truncate(songs)


def test_an_artist_with_too_few_songs_is_named():
    names = [*artists_of(20), *["rare"] * 19]
    message = r"'rare' has 19 songs.*15 to enrol and 5 to test \(1 such artists of 5\); leave"
    with pytest.raises(InputError, match=message):
        v.draw_enrolment(names)
    assert len(v.draw_enrolment(names, enrolment=14).artists) == 5


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"] * 20, "1 artists, and an impostor needs another"),
        ([], "0 artists"),
        (["a", "", "b"], "1 of 3 songs have no artist, the first is row 1"),
        (["a", None, "b"], "1 of 3 songs have no artist, the first is row 1"),
        ([["a"]], "artists of shape"),
    ],
)
def test_songs_without_artists_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        v.draw_enrolment(names)


def test_an_empty_enrolment_is_refused():
    with pytest.raises(InputError, match="one or more of both"):
        v.draw_enrolment(artists_of(20), tests=0)


def test_artists_seen_in_training_are_counted():
    v.require_artist_disjoint(["a", "b", "a"], ["c"])
    with pytest.raises(InputError, match="trained on 2 of 3 artists, the first 'b'; leave"):
        v.require_artist_disjoint(["a", "b", "b", "c"], ["c", "b", "d"])
    with pytest.raises(InputError, match="trained on 1 of 1 artists, the first 'Björk'; leave"):
        v.require_artist_disjoint(["Björk"], ["  BJORK "])


# Scores


def test_models_are_means_and_scores_their_cosines():
    features = np.array([[2, 0], [0, 2], [3, 0], [4, 0], [0, 3], [0, 5]], dtype=np.float32)
    who = v.draw_enrolment(list("abaabb"), enrolment=2, tests=1)
    models = systems.enrol_artists(features, who)
    assert models.tolist() == [[2.5, 0], [0, 2.5]]
    assert systems.cosine_scores(models, features[who.test]).tolist() == [[1, 0], [0, 1]]
    assert systems.cosine_scores([[0, 0], [1, 1]], [[1, 0]]).T.tolist() == [[0, 0.7071067812]]


def test_equal_cosines_are_ties():
    models = np.random.default_rng(0).normal(size=(1, 7)) * np.array([[1], [1 / 3], [1e9]])
    scores = systems.cosine_scores(models, np.random.default_rng(1).normal(size=(5, 7)))
    assert (scores == scores[0]).all()


def test_scores_of_broken_features_are_refused():
    who = v.draw_enrolment(list("aabb"), enrolment=1, tests=1)
    with pytest.raises(InputError, match="3 rows of features, but songs up to row 3"):
        systems.enrol_artists(np.eye(3), who)
    with pytest.raises(InputError, match="NaN or infinity"):
        systems.enrol_artists(np.full((4, 2), np.nan), who)
    with pytest.raises(InputError, match="2 dimensions to enrol and of 3 to test"):
        systems.cosine_scores(np.eye(2), np.eye(3))


def test_trials_are_told_apart():
    target, impostor = v.split_trials([[1, 2, 3], [4, 5, 6]], [0, 1, 1])
    assert target.tolist() == [1, 5, 6]
    assert sorted(impostor) == [2, 3, 4]


@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        (np.eye(2), [0, 1, 0], "shape \\(2, 2\\) and \\(3,\\) true artists"),
        (np.ones(2), [0, 1], "shape \\(2,\\)"),
        (np.eye(2), [0, 2], "numbers from 0 to 1"),
        (np.eye(2), [0, -1], "numbers from 0 to 1"),
        (np.eye(2), ["a", "b"], "numbers from 0 to 1"),
        (np.array([[1, np.nan], [0, 1]]), [0, 1], "1 of 4 of the scores are NaN"),
    ],
)
def test_scores_that_do_not_fit_are_refused(scores, truth, message):
    for function in (
        v.split_trials,
        lambda scores, truth: v.identification_accuracy(scores, truth, top=(1,)),
    ):
        with pytest.raises(InputError, match=message):
            function(scores, truth)


# Identification


def test_identification_of_known_scores():
    scores = np.array([[9, 1, 3], [5, 2, 9], [1, 3, 5]])
    assert v.identification_accuracy(scores, [0, 1, 2], top=(1, 2, 3)) == {1: 1 / 3, 2: 1, 3: 1}
    with pytest.raises(InputError, match="the 5 best of 3 artists; take from 1 to 3"):
        v.identification_accuracy(scores, [0, 1, 2])


def test_scores_that_tell_nothing_identify_by_chance():
    found = v.identification_accuracy(np.zeros((10, 4)), [0, 3, 5, 9])
    assert found == {1: pytest.approx(0.1), 5: pytest.approx(0.5)}


@FIXED
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=6),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_identification_is_the_mean_over_all_orders_of_ties(rows, k, random):
    truth = [random.randrange(5) for _ in rows]
    expected = []
    for row, own in zip(rows, truth, strict=True):
        # As likely as any other, the own artist stands at each rank among its equals.
        better = sum(score > row[own] for score in row)
        ranks = range(better + 1, better + row.count(row[own]) + 1)
        expected.append(np.mean([rank <= k for rank in ranks]))
    found = v.identification_accuracy(np.array(rows).T, truth, top=(k,))
    assert found[k] == pytest.approx(np.mean(expected))


# Fusion


def test_early_fusion_weighs_all_parts_the_same():
    random = np.random.default_rng(0)
    one, other = random.normal(size=(8, 3)), 1000 * random.normal(size=(8, 5))
    songs = [f"song {number}" for number in range(8)]
    both = systems.concatenate_features([one, other], [songs, songs])
    assert both.shape == (8, 8)
    cosines = [systems.cosine_scores(part, part) for part in (one, other, both)]
    np.testing.assert_allclose(cosines[2], (cosines[0] + cosines[1]) / 2, atol=1e-9)


def test_early_fusion_of_z_normalised_parts():
    random = np.random.default_rng(0)
    one, other = random.normal(5, 3, (50, 4)), random.normal(-100, 0.1, (50, 9))
    other[:, 0] = 0.1  # constant: no deviation to divide by
    both = systems.concatenate_features([one, other], [range(50), range(50)], "z")
    np.testing.assert_allclose(both.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(both[:, :4].var(axis=0), 1 / 4)
    np.testing.assert_allclose(both[:, 5:].var(axis=0), 1 / 9)
    assert (both[:, 4] == 0).all()


@pytest.mark.parametrize(
    ("parts", "songs", "normalisation", "message"),
    [
        ([np.eye(2)], [["a", "b"]], "length", "1 features and the songs of 1"),
        ([np.eye(2)] * 2, [["a", "b"]], "length", "2 features and the songs of 1"),
        ([np.eye(2)] * 2, [["a", "b"], ["a", "c"]], "length", "part 2 has other songs"),
        ([np.eye(2)] * 2, [["a", "b"], ["b", "a"]], "length", "in another order"),
        ([np.eye(2), np.eye(3)], [["a", "b"]] * 2, "length", "part 2: 3 rows of features"),
        ([np.eye(2), np.eye(2) * np.nan], [["a", "b"]] * 2, "length", "part 2: 2 of 2 rows"),
        ([np.eye(2)] * 2, [["a", "b"]] * 2, "unit", "normalisation 'unit'; take"),
    ],
)
def test_early_fusion_refuses_what_does_not_fit(parts, songs, normalisation, message):
    with pytest.raises(InputError, match=message):
        systems.concatenate_features(parts, songs, normalisation)


def test_late_fusion_does_not_know_the_scale_of_the_scores():
    cosine, ratio = np.random.default_rng(0).normal(size=(2, 6, 9))
    found = systems.fuse_scores([cosine, ratio])
    np.testing.assert_allclose(systems.fuse_scores([cosine, 50 * ratio - 300]), found)
    assert found.mean() == pytest.approx(0)
    np.testing.assert_array_equal(
        systems.fuse_scores([cosine, ratio], "none"), (cosine + ratio) / 2
    )


@pytest.mark.parametrize(
    ("scores", "normalisation", "message"),
    [
        ([np.eye(2)], "z", "1 scores of shapes"),
        ([np.eye(2), np.eye(3)], "z", "shapes.*the same trials"),
        ([np.eye(2), np.ones((2, 2))], "z", "every score of system 2 is 1; leave"),
        ([np.eye(2), np.eye(2) * np.nan], "none", "4 of 4 of the scores of system 2 are NaN"),
        ([np.eye(2)] * 2, "rank", "normalisation 'rank'; take 'z' or 'none'"),
    ],
)
def test_late_fusion_refuses_what_does_not_fit(scores, normalisation, message):
    with pytest.raises(InputError, match=message):
        systems.fuse_scores(scores, normalisation)
