"""The artist-recognition systems of arxiv2017: features, or frames, and how they are scored.

A *scorer* is a function of an `Enrolment` (`recognition.verification.draw_enrolment`) that
gives the scores of all its trials, (artists, tests) float64. What it has to learn it
has learnt when it is made, so that it may be asked again for another enrolment.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from common import cli
from common.errors import InputError
from data_prep.mfcc import SILENT
from evaluation.projection import fit_lda
from evaluation.protocols import Evaluation
from evaluation.results import BY_ENROLMENT
from recognition import gmm_ubm, verification
from recognition.ivector import Whitening, length_normalised
from recognition.ivector_model import IVectorModel
from recognition.plda import PLDA
from recognition.verification import Enrolment

Scorer = Callable[[Enrolment], np.ndarray]


def cosine_scorer(features: ArrayLike) -> Scorer:
    """Cosine of an artist's mean feature with the test song's; features (n, d) of all songs."""

    def scores(who: Enrolment) -> np.ndarray:
        models = verification.artist_models(features, who)
        return verification.cosine_scores(models, np.asarray(features)[who.test])

    return scores


def plda_scorer(
    features: ArrayLike, train: ArrayLike, artists: ArrayLike, lda: int | None
) -> Scorer:
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


def llr_scorer(
    extractor: IVectorModel, mels: Mapping[str, np.ndarray], tracks: ArrayLike, relevance: float
) -> Scorer:
    """GMM-UBM: log-likelihood ratio of the artist's adapted mixture and the UBM.

    Parameters
    ----------
    extractor
        Its background model and front end are used.
    mels
        The (frames, n_mels) log-mel of a track; a mel cache, for one.
    tracks
        (n,) str, of all songs.
    relevance
        Of the adaptation (see `recognition.gmm_ubm.adapt_means`).

    Raises
    ------
    InputError
        A song without a frame that is loud enough, where only such are taken.
    """

    def frames(track: str) -> np.ndarray:
        found = extractor.frames(mels[track])
        if not len(found):
            raise InputError(f"GMM-UBM: {str(track)!r} {SILENT}; take it out of the split")
        return found

    # Of all songs once: any enrolment is a sum of some.
    ubm, tracks = extractor.ubm, np.asarray(tracks, dtype=object)
    zeroth, first = gmm_ubm.total_statistics(ubm, map(frames, tracks), len(tracks))

    def scores(who: Enrolment) -> np.ndarray:
        models = [
            gmm_ubm.adapt_means_by(
                ubm, *(s[songs].sum(axis=0, dtype=np.float64) for s in (zeroth, first)), relevance
            )
            for songs in who.enrolment
        ]
        tests = cli.progress_bar(tracks[who.test], desc="scores", unit="song")
        return gmm_ubm.llr_matrix(models, ubm, map(frames, tests)).T

    return scores


def fuse_scorers(scorers: Sequence[Scorer]) -> Scorer:
    """Late fusion: the mean of the systems' z-normalised scores (`verification.fused`)."""
    return lambda who: verification.fuse_scores([scorer(who) for scorer in scorers])


# ---------------------------------------------------------------- measures


def _equal_error_rate(scores: np.ndarray, who: Enrolment) -> float:
    return verification.eer(*verification.trials(scores, who.truth))


def _of_verification(scores: np.ndarray, who: Enrolment) -> dict:
    target, impostor = verification.trials(scores, who.truth)
    false_alarm, miss = verification.det_curve(target, impostor, points=200)
    return {
        "minDCF": verification.min_dcf(target, impostor),
        "target trials": len(target),
        "impostor trials": len(impostor),
        "DET": {"false alarm": false_alarm.tolist(), "miss": miss.tolist()},
    }


def _accuracy(scores: np.ndarray, who: Enrolment) -> float:
    return verification.identification(scores, who.truth, (1,))[1]


def _of_identification(scores: np.ndarray, who: Enrolment) -> dict:
    several = min(5, len(scores))
    found = verification.identification(scores, who.truth, (several,))
    return {f"top-{several} accuracy": found[several], "artists": len(scores)}


# Of each protocol: its measure's name, the measure, and what else is told of the first trial.
MEASURES = {
    "verification": ("eer", _equal_error_rate, _of_verification),
    "identification": ("accuracy", _accuracy, _of_identification),
}


def evaluate_recognition(
    protocol: str, scorer: Scorer, draws: Sequence[Enrolment], one_shot: bool
) -> Evaluation:
    """What a system is worth by one of the protocols, "verification" or "identification".

    Parameters
    ----------
    draws
        Enrolments, a trial each.
    one_shot
        Judge it too where fewer of these songs enrol each artist (`ONE_SHOT`): means
        over the trials, in the details.
    """
    metric, measure, more = MEASURES[protocol]
    first, scores = draws[0], scorer(draws[0])
    details = more(scores, first)
    values = [measure(scores, first), *(measure(scorer(who), who) for who in draws[1:])]
    if one_shot:
        most = first.enrolment.shape[1]
        by = {
            n: [measure(scorer(who.by(n)), who) for who in draws]
            for n in verification.ONE_SHOT
            if n < most
        }
        details[BY_ENROLMENT] = {
            str(n): float(np.mean(each)) for n, each in {**by, most: values}.items()
        }
    return Evaluation(metric, values, first.enrolment.size + len(first.test), details)
