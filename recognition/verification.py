"""Artist verification and identification: whose song is this? (arxiv2017, Figures 2 and 3)

The paper enrols 500 artists whom the model has not seen, each by 15 songs, and
tries 5 other songs of each against all of them: 2,500 target trials and
1,247,500 impostor trials.

    who = enrol(artists)                       which songs enrol an artist, which test
    models = artist_models(features, who)      one mean feature an artist
    scores = cosine_scores(models, features[who.test])     or log-likelihood ratios of PLDA
    eer(*trials(scores, who.truth))
    identification(scores, who.truth)

Scores are (artists, tests) matrices, a higher one for a likelier artist.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from common.errors import InputError
from data_prep.artist_split import artist_key

# Enrolment songs of the one-shot protocol.
ENROLMENT_SIZES = (1, 2, 5, 10, 15)

# ---------------------------------------------------------------- protocol


@dataclass(frozen=True)
class Enrolment:
    """Which songs enrol each of a artists, and which t songs test; from `enrol`.

    artists : (a,) names, in the order of their first song
    enrolment : (a, songs) int64, row numbers of each artist's songs
    test : (t,) int64, row numbers, the tests of the first artist first
    truth : (t,) int64, whose song each test is: a position in `artists`
    """

    artists: np.ndarray
    enrolment: np.ndarray
    test: np.ndarray
    truth: np.ndarray

    def truncate(self, songs: int) -> "Enrolment":
        """The same tests for artists enrolled by the first `songs` of their songs only.

        So the enrolment by one song is part of that by two, and so on (`ONE_SHOT`).

        Raises
        ------
        InputError
            Fewer than one song, or more than there are.
        """
        if not 1 <= songs <= self.enrolment.shape[1]:
            raise InputError(
                f"verification: enrolment by {songs} of {self.enrolment.shape[1]} songs; "
                f"take from 1 to {self.enrolment.shape[1]}"
            )
        return replace(self, enrolment=self.enrolment[:, :songs])


def draw_enrolment(
    artists: ArrayLike, enrolment: int = 15, tests: int = 5, seed: int | None = None
) -> Enrolment:
    """Choose the songs that enrol each artist and those that test; defaults are the paper's.

    Songs beyond `enrolment` + `tests` of an artist are not used.

    Parameters
    ----------
    artists : (n,) labels
        The artist of each song; artists whom the model has not seen (`require_unseen`).
    seed : int or None
        None: an artist's first songs enrol, the next ones test. Else drawn by it.

    Raises
    ------
    InputError
        A song without artist, fewer than two artists, or one with too few songs.
    """
    if enrolment < 1 or tests < 1:
        raise InputError(
            f"verification: {enrolment} enrolment songs and {tests} test songs of each artist; "
            "take one or more of both"
        )
    artists = _labels(artists, "verification")
    codes, names = pd.factorize(artists)
    if len(names) < 2:
        raise InputError(
            f"verification: {len(names)} artists, and an impostor needs another; add artists"
        )
    counts = np.bincount(codes)
    _require_enough(names, counts, enrolment, tests)
    n = len(codes)
    order = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
    order = order[np.argsort(codes[order], kind="stable")]
    first = np.cumsum(counts) - counts
    songs = order[first[:, None] + np.arange(enrolment + tests)]
    return Enrolment(
        np.asarray(names),
        songs[:, :enrolment],
        songs[:, enrolment:].ravel(),
        np.repeat(np.arange(len(names)), tests),
    )


def _require_enough(names: np.ndarray, counts: np.ndarray, enrolment: int, tests: int) -> None:
    few = np.flatnonzero(counts < enrolment + tests)
    if few.size:
        raise InputError(
            f"verification: artist {str(names[few[0]])!r} has {counts[few[0]]} songs, fewer than "
            f"{enrolment} to enrol and {tests} to test ({few.size} such artists of {len(names)}); "
            "leave those artists out, or enrol or test by fewer songs"
        )


def require_artist_disjoint(artists: ArrayLike, training_artists: ArrayLike) -> None:
    """Raise `InputError` if the model was trained on any of the artists to verify.

    Case, accents and spaces of the names do not count.
    """
    unseen = pd.unique(_labels(artists, "verification"))
    known = {artist_key(str(name)) for name in training_artists}
    seen = unseen[[artist_key(str(name)) in known for name in unseen]]
    if seen.size:
        raise InputError(
            f"verification: the model was trained on {seen.size} of {len(unseen)} artists, the "
            f"first {str(seen[0])!r}; leave them out, or use a model that was not"
        )


def _labels(labels: ArrayLike, name: str) -> np.ndarray:
    """One-dimensional labels, as objects, none of which is missing or empty."""
    labels = np.asarray(labels, dtype=object)
    if labels.ndim != 1:
        raise InputError(f"{name}: artists of shape {labels.shape}; give one a song")
    missing = np.flatnonzero(pd.isna(labels) | (labels == ""))
    if missing.size:
        raise InputError(
            f"{name}: {missing.size} of {len(labels)} songs have no artist, the first is row "
            f"{missing[0]}; fill that column of the split or leave those songs out"
        )
    return labels


# ---------------------------------------------------------------- scores


def split_trials(scores: ArrayLike, truth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """All trials as (t,) target scores, of songs by the artist, and (t (a - 1),) impostor scores.

    Parameters
    ----------
    scores : (a, t) float, finite
    truth : (t,) int
        The row of each test's own artist.
    """
    scores, truth = _checked_matrix(scores, truth)
    own = np.zeros(scores.shape, dtype=bool)
    own[truth, np.arange(len(truth))] = True
    return scores[truth, np.arange(len(truth))], scores[~own]


def _checked_matrix(scores: ArrayLike, truth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    scores, truth = np.asarray(scores, dtype=np.float64), np.asarray(truth)
    if scores.ndim != 2 or truth.shape != scores.shape[1:] or not scores.size:
        raise InputError(
            f"verification: scores of shape {scores.shape} and {truth.shape} true artists; "
            "give scores of shape (artists, tests) and one artist a test"
        )
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= len(scores):
        raise InputError(
            f"verification: a test's true artist is no row of the scores; give numbers from 0 to "
            f"{len(scores) - 1}"
        )
    require_finite(scores, "the scores")
    return scores, truth


def require_finite(scores: np.ndarray, name: str) -> None:
    bad = scores.size - np.count_nonzero(np.isfinite(scores))
    if bad:
        raise InputError(
            f"verification: {bad} of {scores.size} of {name} are NaN or infinite; score again"
        )


# ---------------------------------------------------------------- measures


@dataclass(frozen=True)
class _Errors:
    """Errors at every distinct score as the threshold, rising, and at one above them all.

    misses : (k,) int64, target trials below the threshold
    false_alarms : (k,) int64, impostor trials at or above it
    targets, impostors : int, how many trials of each kind
    """

    misses: np.ndarray
    false_alarms: np.ndarray
    targets: int
    impostors: int

    def rates(self) -> tuple[np.ndarray, np.ndarray]:
        """(k,) false alarm and miss rates."""
        return self.false_alarms / self.impostors, self.misses / self.targets


def _errors(target: ArrayLike, impostor: ArrayLike) -> _Errors:
    target, impostor = (np.asarray(s, dtype=np.float64) for s in (target, impostor))
    for name, scores in (("target scores", target), ("impostor scores", impostor)):
        if scores.ndim != 1 or not scores.size:
            raise InputError(
                f"verification: {name} of shape {scores.shape}; give one score a trial and at "
                "least one trial of each kind"
            )
        require_finite(scores, f"the {name}")
    target, impostor = np.sort(target), np.sort(impostor)
    thresholds = np.unique(np.concatenate([target, impostor]))
    return _Errors(
        np.append(np.searchsorted(target, thresholds), target.size),
        np.append(impostor.size - np.searchsorted(impostor, thresholds), 0),
        target.size,
        impostor.size,
    )


def equal_error_rate(target_scores: ArrayLike, impostor_scores: ArrayLike) -> float:
    """Equal error rate: where as large a share of targets is missed as of impostors accepted.

    The rates at all thresholds, joined by straight lines, cross the diagonal in one
    point; it is no hull of them. Equal scores of both kinds are one such line, so
    that no order of ties matters. O(n log n).

    Parameters
    ----------
    target_scores, impostor_scores : (m,) and (n,) float, finite
        Of trials by the artist claimed, and by others; `trials` makes both.

    Returns
    -------
    float
        0 where every target scores above every impostor, 0.5 for scores that tell
        nothing, 1 where every impostor scores above every target.

    Raises
    ------
    InputError
        NaN or infinity, or no trials of one kind.
    """
    found = _errors(target_scores, impostor_scores)
    # Miss rate minus false alarm rate in units of 1 / (targets impostors): integers, so exact.
    # It rises from below zero, as the lowest threshold accepts all.
    excess = found.misses * found.impostors - found.false_alarms * found.targets
    right = int(np.searchsorted(excess, 0))
    left = right - 1
    share = -excess[left] / (excess[right] - excess[left])
    _, miss = found.rates()
    return float((1 - share) * miss[left] + share * miss[right])


def det_curve(
    target_scores: ArrayLike, impostor_scores: ArrayLike, points: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """Detection error trade-off: (k,) false alarm and (k,) miss rates, k <= `points`.

    The false alarm rate falls from 1 to 0 and the miss rate rises from 0 to 1.
    Points on a straight line between others are left out first; if there are still
    too many, of the others every so many-th is kept, and both ends.

    Raises
    ------
    InputError
        As `eer`; or fewer than two points.
    """
    if points < 2:
        raise InputError(f"verification: a curve of {points} points; take two or more")
    found = _errors(target_scores, impostor_scores)
    step_x, step_y = np.diff(found.false_alarms), np.diff(found.misses)
    bend = step_x[1:] * step_y[:-1] != step_x[:-1] * step_y[1:]
    kept = np.flatnonzero(np.concatenate([[True], bend, [True]]))
    if len(kept) > points:
        kept = kept[np.linspace(0, len(kept) - 1, points).astype(np.int64)]
    false_alarm, miss = found.rates()
    return false_alarm[kept], miss[kept]


def min_dcf(
    target_scores: ArrayLike,
    impostor_scores: ArrayLike,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Least detection cost over all thresholds, normalised as NIST does.

    c_miss p_target P(miss) + c_fa (1 - p_target) P(false alarm), divided by its
    value for the better of accepting all and accepting none; so from 0 to 1.

    Parameters
    ----------
    p_target : float
        Prior probability of a target trial, between 0 and 1.
    c_miss, c_fa : float
        Costs of a miss and of a false alarm, above 0.

    Raises
    ------
    InputError
        As `eer`; or a prior or cost out of range.
    """
    if not (0 < p_target < 1 and 0 < c_miss < np.inf and 0 < c_fa < np.inf):
        raise InputError(
            f"verification: p_target {p_target}, c_miss {c_miss}, c_fa {c_fa}; take p_target "
            "between 0 and 1 and costs above 0"
        )
    false_alarm, miss = _errors(target_scores, impostor_scores).rates()
    of_miss, of_fa = c_miss * p_target, c_fa * (1 - p_target)
    return float(np.min(of_miss * miss + of_fa * false_alarm) / min(of_miss, of_fa))


def identification_accuracy(
    scores: ArrayLike, truth: ArrayLike, top: Sequence[int] = (1, 5)
) -> dict[int, float]:
    """Share of tests whose own artist is among the k best scored, for each k of `top`.

    Equal scores rank in random order: where b artists score better than the own one
    and e equally, itself included, the test counts (k - b) / e, from 0 to 1. So
    scores that are all equal give k / a, not 1.

    Parameters
    ----------
    scores : (a, t) float, finite
    truth : (t,) int
        The row of each test's own artist.

    Raises
    ------
    InputError
        NaN or infinity, truth that does not fit the scores, or k not from 1 to a.
    """
    scores, truth = _checked_matrix(scores, truth)
    wrong = [k for k in top if not 1 <= k <= len(scores)]
    if wrong:
        raise InputError(
            f"identification: the {wrong[0]} best of {len(scores)} artists; "
            f"take from 1 to {len(scores)}"
        )
    own = scores[truth, np.arange(len(truth))]
    better, equal = (scores > own).sum(axis=0), (scores == own).sum(axis=0)
    return {k: float(np.clip((k - better) / equal, 0, 1).mean()) for k in top}
