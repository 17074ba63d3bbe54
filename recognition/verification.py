"""Artist verification and identification, the protocols of arxiv2017 (Figures 2 and 3).

Verification decides whether a track is by a claimed artist; identification determines which artist
it is by. The paper enrols 500 artists unseen in training, with 15 tracks each, and scores 5 further
tracks per artist against all artists: 2,500 target and 1,247,500 impostor trials.

    enrolment = draw_enrolment(artists, seed=0)     # artist label of each track
    scores = cosine_scorer(features)(enrolment)     # or another scorer from recognition.systems
    equal_error_rate(*split_trials(scores, enrolment.truth))
    identification_accuracy(scores, enrolment.truth)

Scores are (artists, tests) matrices; a higher score means that the artist is more likely.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from common.errors import InputError
from data_prep.artist_names import artist_key
from recognition import ENROL_TRACKS, TEST_TRACKS

logger = logging.getLogger(__name__)

# Enrolment track counts per artist in the one-shot protocol.
ENROLMENT_SIZES = (1, 2, 5, 10, 15)

_P_TARGET = 0.01  # prior probability of a target trial in the detection cost


@dataclass(frozen=True)
class Enrolment:
    """The enrolment tracks of all artists, and the test tracks."""

    artists: np.ndarray  # (a,) names, in order of first appearance
    enrol_rows: np.ndarray  # (a, tracks) int64, row numbers of each artist's enrolment tracks
    test_rows: np.ndarray  # (t,) int64, row numbers of the test tracks, grouped by artist
    truth: np.ndarray  # (t,) int64, position in `artists` of each test track's true artist

    def truncate(self, tracks: int) -> "Enrolment":
        """Keep the tests but only the first `tracks` enrolment tracks of each artist.

        Smaller enrolments (`ENROLMENT_SIZES`) are therefore subsets of larger ones.
        """
        return replace(self, enrol_rows=self.enrol_rows[:, :tracks])


def draw_enrolment(
    artists: ArrayLike,
    enrol_tracks: int = ENROL_TRACKS,
    test_tracks: int | None = TEST_TRACKS,
    *,
    seed: int,
) -> Enrolment:
    """Draw enrolment and test tracks for each artist; the remaining tracks are not used.

    If `test_tracks` is None, all tracks that are not enrolled are test tracks, and artists who
    have none are left out.

    `artists` (n,) is the artist of each track; the model must not have been trained on these
    (`require_artist_disjoint`).

    Examples
    --------
    >>> enrolment = draw_enrolment(["a", "a", "b", "b"], enrol_tracks=1, test_tracks=1, seed=0)
    >>> enrolment.enrol_rows.shape, enrolment.test_rows.shape
    ((2, 1), (2,))
    """
    artists = np.asarray(artists, dtype=object)
    missing = np.flatnonzero(pd.isna(artists) | (artists == ""))
    if missing.size:
        raise InputError(
            f"verification: {missing.size} of {len(artists)} tracks have no artist, the first is "
            f"row {missing[0]}; fill that column of the split or leave those tracks out"
        )
    rows = np.arange(len(artists))
    if test_tracks is None:
        rows = _drop_small_artists(artists, enrol_tracks)
    codes, names = pd.factorize(artists[rows])
    if len(names) < 2:
        raise InputError(
            f"verification: {len(names)} artists, but impostors need a second one; add artists"
        )
    counts = np.bincount(codes)
    few = np.flatnonzero(counts < enrol_tracks + (test_tracks or 0))
    if few.size:
        raise InputError(
            f"verification: artist {str(names[few[0]])!r} has {counts[few[0]]} tracks, fewer than "
            f"{enrol_tracks} to enrol and {test_tracks} to test ({few.size} such artists of "
            f"{len(names)}); leave those artists out, or use fewer tracks"
        )
    order = np.random.default_rng(seed).permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    position = np.arange(len(codes)) - np.repeat(starts, counts)  # among the artist's tracks
    last = counts if test_tracks is None else np.minimum(counts, enrol_tracks + test_tracks)
    tested = (position >= enrol_tracks) & (position < np.repeat(last, counts))
    return Enrolment(
        np.asarray(names),
        rows[order[position < enrol_tracks]].reshape(len(names), enrol_tracks),
        rows[order[tested]],
        codes[order[tested]],
    )


def _drop_small_artists(artists: np.ndarray, enrol_tracks: int) -> np.ndarray:
    """Return the rows of artists with a track to test, and log how many artists have none."""
    counts = pd.Series(artists).value_counts()
    small = counts.index[counts <= enrol_tracks]
    if len(small):
        text = "verification: %d of %d artists left out, who have no track to test besides %d"
        logger.info(text, len(small), len(counts), enrol_tracks)
    return np.flatnonzero(~np.isin(artists, small))


def require_artist_disjoint(artists: ArrayLike, training_artists: Iterable[str]) -> None:
    """Raise `InputError` if the model was trained on any of these artists.

    Names are compared without regard to case, accents and spaces.
    """
    names = pd.unique(np.asarray(artists, dtype=object))
    training_keys = {artist_key(str(name)) for name in training_artists}
    shared = names[[artist_key(str(name)) in training_keys for name in names]]
    if shared.size:
        raise InputError(
            f"verification: the model was trained on {shared.size} of {len(names)} artists, the "
            f"first {str(shared[0])!r}; leave them out, or use another model"
        )


def split_trials(scores: ArrayLike, truth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Split the scores (a, t) of all trials into target and impostor scores.

    `truth` (t,) is the row number of each test track's true artist. Target scores have
    the shape (t,); impostor scores, of each test track against all other artists, (t * (a - 1),).
    """
    scores, truth = _check_scores(scores, truth)
    own = np.zeros(scores.shape, dtype=bool)
    own[truth, np.arange(len(truth))] = True
    return scores[truth, np.arange(len(truth))], scores[~own]


def identification_accuracy(scores: ArrayLike, truth: ArrayLike, k: int = 1) -> float:
    """Return the fraction of tests whose true artist is among the k best scores (top-k accuracy).

    Ties are treated as ranked at random: if b artists score better than the true artist, and e
    artists including the true one score equally, the test contributes (k - b) / e, clipped to
    [0, 1]. Constant scores therefore give an accuracy of k / a rather than 1. The arrays are those
    of `split_trials`.
    """
    return float(accuracy_by_test(scores, truth, k).mean())


def accuracy_by_test(scores: ArrayLike, truth: ArrayLike, k: int = 1) -> np.ndarray:
    """Return the contribution (t,) of each test to `identification_accuracy`."""
    scores, truth = _check_scores(scores, truth)
    own = scores[truth, np.arange(len(truth))]
    better, equal = (scores > own).sum(axis=0), (scores == own).sum(axis=0)
    return np.clip((k - better) / equal, 0, 1)


def _check_scores(scores: ArrayLike, truth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    scores, truth = np.asarray(scores, dtype=np.float64), np.asarray(truth)
    if scores.ndim != 2 or truth.shape != scores.shape[1:] or not np.isfinite(scores).all():
        raise InputError(
            f"verification: scores of shape {scores.shape} for {truth.shape} true artists contain "
            "NaN or infinite values, or are not (artists, tests); compute them again"
        )
    return scores, truth


def equal_error_rate(target_scores: ArrayLike, impostor_scores: ArrayLike) -> float:
    """Compute the equal error rate (EER), at which miss rate and false alarm rate are equal.

    The EER is the point where the polyline through the rates at all thresholds crosses the
    diagonal; the convex hull is not used. A score shared by target and impostor trials forms a
    single segment of the polyline, so the order of ties does not matter.

    It is 0 if every target score exceeds every impostor score, 0.5 for uninformative scores, and 1
    if every impostor score exceeds every target score. See `split_trials` for the arguments.

    Examples
    --------
    >>> equal_error_rate([2.0, 3.0], [1.0, 2.0])
    0.25
    """
    false_alarms, misses = _count_errors(target_scores, impostor_scores)
    impostors, targets = false_alarms[0], misses[-1]
    # Miss rate minus false alarm rate, scaled by both trial counts to give exact integers. The
    # values increase from below zero, because the lowest threshold accepts all trials.
    excess = misses * impostors - false_alarms * targets
    right = int(np.searchsorted(excess, 0))
    left = right - 1
    weight = -excess[left] / (excess[right] - excess[left])
    miss = misses / targets
    return float((1 - weight) * miss[left] + weight * miss[right])


def resampled_error_rates(scores: ArrayLike, truth: ArrayLike, draws: np.ndarray) -> np.ndarray:
    """Compute the EER (r,) of each resample of the artists, from `bootstrap.draw_artists`.

    The arrays `scores` (a, t) and `truth` (t,) are those of `split_trials`; `draws` (r, a) states
    how often each artist is drawn, both as a claimed artist and with its test tracks. An artist is
    never an impostor for a copy of itself. A resample that contains a single artist is NaN.
    """
    scores, truth = _check_scores(scores, truth)
    artists, order = len(scores), np.argsort(scores, axis=None)
    claimed, test = np.unravel_index(order, scores.shape)
    by = truth[test]
    own = claimed == by
    # A threshold is above the trials before its position, and never between equal scores.
    changes = np.diff(scores.ravel()[order]) > 0
    positions = np.flatnonzero(np.concatenate([[True], changes, [True]]))

    def count_before(threshold: int) -> np.ndarray:
        """Count the targets and impostors below a threshold in each resample, (2, r)."""
        position = positions[threshold]
        pairs = np.bincount(claimed[:position] * artists + by[:position], minlength=artists**2)
        pairs = pairs.reshape(artists, artists).astype(np.float64)
        targets = pairs.diagonal().copy()
        np.fill_diagonal(pairs, 0)
        return np.array([draws @ targets, np.einsum("ra,ra->r", draws @ pairs, draws)])

    total = count_before(-1)

    def find_crossing(number: int, first: int, last: int, before: np.ndarray) -> tuple[int, float]:
        """Return the first threshold with miss rate >= false alarm rate, and the EER, if found."""
        draw, rows = draws[number], slice(positions[first], positions[last])
        weights = np.where(own[rows], 1, draw[claimed[rows]]) * draw[by[rows]]
        at = positions[first : last + 1] - positions[first]
        miss, correct = (
            (start + np.append(0, np.cumsum(weights * kind))[at]) / all_trials
            for kind, start, all_trials in zip(
                (own[rows], ~own[rows]), before, total[:, number], strict=True
            )
        )
        excess = miss - (1 - correct)
        right = int(np.argmax(excess >= 0))
        if right == 0:  # not among these thresholds
            return first, np.nan
        weight = -excess[right - 1] / (excess[right] - excess[right - 1])
        return first + right, float((1 - weight) * miss[right - 1] + weight * miss[right])

    # The crossing of a resample is close to that of the first, so only the thresholds around it
    # are tried, and all others only where it is not among them.
    whole = 0, len(positions) - 1
    middle = positions[find_crossing(0, *whole, np.zeros(2))[0]]
    margin = int(len(order) / 2 / np.sqrt(artists))
    first, last = np.searchsorted(positions, (middle - margin, middle + margin))
    last = min(last, whole[1])
    before, rates = count_before(first), np.full(len(draws), np.nan)
    for number in np.flatnonzero(total[1]).tolist():
        rates[number] = find_crossing(number, first, last, before[:, number])[1]
        if np.isnan(rates[number]):
            rates[number] = find_crossing(number, *whole, np.zeros(2))[1]
    return rates


def det_curve(
    target_scores: ArrayLike, impostor_scores: ArrayLike, points: int = 200
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the detection error trade-off (DET) curve, with at most `points` points.

    Points on a straight line between their neighbours are omitted first; if too many remain, they
    are thinned out evenly, but both end points are kept. The false alarm rates (k,) decrease from 1
    to 0, and the miss rates (k,) increase from 0 to 1.
    """
    false_alarms, misses = _count_errors(target_scores, impostor_scores)
    step_x, step_y = np.diff(false_alarms), np.diff(misses)
    bend = step_x[1:] * step_y[:-1] != step_x[:-1] * step_y[1:]
    corners = np.flatnonzero(np.concatenate([[True], bend, [True]]))
    if len(corners) > points:
        corners = corners[np.linspace(0, len(corners) - 1, points).astype(np.int64)]
    return false_alarms[corners] / false_alarms[0], misses[corners] / misses[-1]


def min_dcf(target_scores: ArrayLike, impostor_scores: ArrayLike) -> float:
    """Compute the minimum detection cost (minDCF) over all thresholds, normalised as by NIST.

    The cost is P P_miss + (1 - P) P_false_alarm, where P = 0.01 is the prior probability of a
    target trial. It is divided by P, the cost of rejecting all trials, and lies between 0 and 1.
    """
    false_alarms, misses = _count_errors(target_scores, impostor_scores)
    false_alarm, miss = false_alarms / false_alarms[0], misses / misses[-1]
    return float(np.min(_P_TARGET * miss + (1 - _P_TARGET) * false_alarm) / _P_TARGET)


def _count_errors(
    target_scores: ArrayLike, impostor_scores: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Count false alarms (k,) and misses (k,) at every threshold, in increasing threshold order.

    The thresholds are all distinct scores and one value above them. The first threshold accepts
    all impostors, and the last misses all targets.
    """
    target, impostor = (np.sort(np.asarray(s, float)) for s in (target_scores, impostor_scores))
    for name, scores in (("target", target), ("impostor", impostor)):
        if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
            raise InputError(
                f"verification: {name} scores of shape {scores.shape} are not one or more finite "
                "numbers; compute them again"
            )
    thresholds = np.unique(np.concatenate([target, impostor]))
    false_alarms = np.append(impostor.size - np.searchsorted(impostor, thresholds), 0)
    misses = np.append(np.searchsorted(target, thresholds), target.size)
    return false_alarms, misses
