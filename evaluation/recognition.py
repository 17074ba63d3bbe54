"""The artist-recognition systems of arxiv2017: features, or frames, and how they are scored.

A *scorer* is a function of an `Enrolment` (`evaluation.verification.enrol`) that
gives the scores of all its trials, (artists, tests) float64. What it has to learn it
has learnt when it is made, so that it may be asked again for another enrolment.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from common import cli
from common.errors import InputError
from data_prep.mfcc import SILENT
from evaluation import verification
from evaluation.projection import fit_lda
from evaluation.protocols import Judged
from evaluation.verification import Enrolment
from models import gmm_ubm
from models.extractor import Extractor
from models.ivector import Whitening, length_normalised
from models.plda import PLDA

Scorer = Callable[[Enrolment], np.ndarray]


def by_cosine(features: ArrayLike) -> Scorer:
    """Cosine of an artist's mean feature with the test song's; features (n, d) of all songs."""

    def scores(who: Enrolment) -> np.ndarray:
        models = verification.artist_models(features, who)
        return verification.cosine_scores(models, np.asarray(features)[who.test])

    return scores


def by_plda(features: ArrayLike, train: ArrayLike, artists: ArrayLike, lda: int | None) -> Scorer:
    """PLDA behind LDA, whitening and length normalisation, as in the paper's toolbox.

    All of it is trained on other songs. An artist counts as the number of songs enrolled,
    not as one.

    Parameters
    ----------
    features, train : (n, d) and (m, d) float, finite
    artists : (m,) labels of the training songs
    lda : int or None
        Dimensions that LDA leaves; None: no LDA.

    Raises
    ------
    InputError
        Features of other dimensions than the training songs', songs that do not span
        all dimensions, or what `fit_lda` and `PLDA.fit` refuse.
    """
    features, train = np.asarray(features), np.asarray(train)
    if features.shape[1:] != train.shape[1:]:
        raise InputError(
            f"PLDA: features of {features.shape[1]} dimensions, trained on those of "
            f"{train.shape[1]}; extract both with the same weights"
        )
    if lda is not None:
        projection = fit_lda(train, artists, lda)
        features, train = projection.apply(features), projection.apply(train)
    try:
        whitening = Whitening.fit(train)
    except InputError as error:
        raise InputError(f"PLDA, {error}, by --lda for one") from error
    features, train = (length_normalised(whitening.apply(x)) for x in (features, train))
    model = PLDA.fit(train, artists)

    def scores(who: Enrolment) -> np.ndarray:
        means = verification.artist_models(features, who)
        return model.score(means, who.enrolment.shape[1], features[who.test])

    return scores


def by_llr(
    extractor: Extractor, mels: Sequence[np.ndarray], tracks: Sequence[str], relevance: float
) -> Scorer:
    """GMM-UBM: log-likelihood ratio of the artist's adapted mixture and the UBM.

    Parameters
    ----------
    extractor
        Its background model and front end are used.
    mels, tracks
        The (frames, n_mels) log-mel of each song, and its name for errors.
    relevance
        Of the adaptation (see `models.gmm_ubm.adapt_means`).

    Raises
    ------
    InputError
        A song without a frame that is loud enough, where only such are taken.
    """
    ubm = extractor.ubm

    def frames(song: int) -> np.ndarray:
        found = extractor.frames(mels[song])
        if not len(found):
            raise InputError(f"GMM-UBM: {tracks[song]!r} {SILENT}; take it out of the split")
        return found

    # Of all songs once: any enrolment is a sum of some.
    zeroth = np.empty((len(mels), *ubm.weights.shape), np.float32)
    first = np.empty((len(mels), *ubm.means.shape), np.float32)
    found = gmm_ubm.statistics(ubm, map(frames, range(len(mels))))
    found = cli.progress(found, total=len(mels), desc="statistics", unit="song")
    for song, both in enumerate(found):
        zeroth[song], first[song] = both

    def scores(who: Enrolment) -> np.ndarray:
        models = [
            gmm_ubm.adapt_means_by(
                ubm, *(s[songs].sum(axis=0, dtype=np.float64) for s in (zeroth, first)), relevance
            )
            for songs in who.enrolment
        ]
        tests = cli.progress(who.test, desc="scores", unit="song")
        return gmm_ubm.llr_matrix(models, ubm, map(frames, tests)).T

    return scores


def judged(judge: Callable, scorer: Scorer, draws: Sequence[Enrolment], one_shot: bool) -> Judged:
    """What a system is worth: `judge_verification` or `judge_identification` of its scores.

    Parameters
    ----------
    draws
        Enrolments, a trial each; details are those of the first.
    one_shot
        Judge it too where fewer of these songs enrol each artist (`ONE_SHOT`): means
        over the trials, in the details.
    """
    found = [judge(scorer(who), who) for who in draws]
    values, details = [value for value, _ in found], found[0][1]
    metric = "eer" if judge is judge_verification else "accuracy"
    if one_shot:
        most = draws[0].enrolment.shape[1]
        by = {
            n: [judge(scorer(who.by(n)), who)[0] for who in draws]
            for n in verification.ONE_SHOT
            if n < most
        }
        details[f"{metric} by enrolment songs"] = {
            f"{metric} enrolled by {n}": float(np.mean(each))
            for n, each in {**by, most: values}.items()
        }
    first = draws[0]
    return Judged(metric, values, first.enrolment.size + len(first.test), details)


def judge_verification(scores: np.ndarray, who: Enrolment) -> tuple[float, dict]:
    """Equal error rate over all trials: every test song against every artist."""
    target, impostor = verification.trials(scores, who.truth)
    false_alarm, miss = verification.det_curve(target, impostor, points=200)
    return verification.eer(target, impostor), {
        "minDCF": verification.min_dcf(target, impostor),
        "target trials": len(target),
        "impostor trials": len(impostor),
        "DET": {"false alarm": false_alarm.tolist(), "miss": miss.tolist()},
    }


def judge_identification(scores: np.ndarray, who: Enrolment) -> tuple[float, dict]:
    """Share of the test songs whose own artist scores best."""
    several = min(5, len(scores))
    found = verification.identification(scores, who.truth, (1, several))
    return found[1], {f"top-{several} accuracy": found[several], "artists": len(scores)}


def fused(scorers: Sequence[Scorer]) -> Scorer:
    """Late fusion: the mean of the systems' z-normalised scores (`verification.fused`)."""
    return lambda who: verification.fused([scorer(who) for scorer in scorers])
