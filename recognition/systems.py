"""The artist-recognition systems of arxiv2017: features, or frames, and how they are scored.

A *scorer* is a function of an `Enrolment` (`recognition.verification.draw_enrolment`) that
gives the scores of all its trials, (artists, tests) float64. What it has to learn it
has learnt when it is made, so that it may be asked again for another enrolment.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from common import cli, provenance
from common.errors import InputError
from data_prep import failures, split_csv
from data_prep.mel_cache import MelCache
from data_prep.mfcc import SILENT
from evaluation import labelled_tracks
from evaluation.feature_checks import check_features
from evaluation.labelled_tracks import LabelledTracks
from evaluation.projection import fit_lda
from evaluation.results import BY_ENROLMENT, Evaluation
from evaluation.similarity import unit_rows
from recognition import gmm_ubm, ivector_model, verification
from recognition.ivector import Whitening, length_normalise
from recognition.ivector_model import IVectorModel
from recognition.plda import PLDA
from recognition.verification import Enrolment

# Equal cosines differ by float64 rounding, some 1e-15, and would else be no ties.
DECIMALS = 10

Scorer = Callable[[Enrolment], np.ndarray]


def enrol_artists(features: ArrayLike, who: Enrolment) -> np.ndarray:
    """Mean feature of each artist's enrolment songs, (a, d) float64.

    The paper's mean over all segments of those songs is the same where songs have
    equally many segments, as 30 s clips do.

    Parameters
    ----------
    features : (n, d) float, finite
        A row a song, in the order of the artists given to `enrol`.
    """
    features = check_features(features, "verification")
    if len(features) <= max(who.enrolment.max(), who.test.max()):
        raise InputError(
            f"verification: {len(features)} rows of features, but songs up to row "
            f"{max(who.enrolment.max(), who.test.max())} were chosen; give the rows of all songs"
        )
    # Song by song, so that no (a, songs, d) copy is made.
    return sum(features[songs] for songs in who.enrolment.T) / who.enrolment.shape[1]


def cosine_scores(models: ArrayLike, tests: ArrayLike) -> np.ndarray:
    """Cosine of every artist's model with every test song, (a, t) float64.

    Rounded to 10 decimals, so that equal cosines are ties; 0 with a zero vector.

    Parameters
    ----------
    models, tests : (a, d) and (t, d) float, finite

    Raises
    ------
    InputError
        NaN or infinity, no rows, or different d.
    """
    models = check_features(models, "verification, enrolment")
    tests = check_features(tests, "verification, tests")
    if models.shape[1] != tests.shape[1]:
        raise InputError(
            f"verification: features of {models.shape[1]} dimensions to enrol and of "
            f"{tests.shape[1]} to test; extract both with the same weights"
        )
    scores = unit_rows(models) @ unit_rows(tests).T
    return np.round(scores, DECIMALS, out=scores)


def cosine_scorer(features: ArrayLike) -> Scorer:
    """Cosine of an artist's mean feature with the test song's; features (n, d) of all songs."""

    def scores(who: Enrolment) -> np.ndarray:
        models = enrol_artists(features, who)
        return cosine_scores(models, np.asarray(features)[who.test])

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
    features, train = (length_normalise(whitening.transform(x)) for x in (features, train))
    model = PLDA.fit(train, artists)

    def scores(who: Enrolment) -> np.ndarray:
        means = enrol_artists(features, who)
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
    zeroth, first = gmm_ubm.collect_statistics(ubm, map(frames, tracks), len(tracks))

    def scores(who: Enrolment) -> np.ndarray:
        models = [
            gmm_ubm.adapt_means_by(
                ubm, *(s[songs].sum(axis=0, dtype=np.float64) for s in (zeroth, first)), relevance
            )
            for songs in who.enrolment
        ]
        tests = cli.progress_bar(tracks[who.test], desc="scores", unit="song")
        return gmm_ubm.llr_scores(models, ubm, map(frames, tests)).T

    return scores


def fuse_scorers(scorers: Sequence[Scorer]) -> Scorer:
    """Late fusion: the mean of the systems' z-normalised scores (`verification.fused`)."""
    return lambda who: fuse_scores([scorer(who) for scorer in scorers])


# ---------------------------------------------------------------- measures


def _equal_error_rate(scores: np.ndarray, who: Enrolment) -> float:
    return verification.equal_error_rate(*verification.split_trials(scores, who.truth))


def _of_verification(scores: np.ndarray, who: Enrolment) -> dict:
    target, impostor = verification.split_trials(scores, who.truth)
    false_alarm, miss = verification.det_curve(target, impostor, points=200)
    return {
        "minDCF": verification.min_dcf(target, impostor),
        "target trials": len(target),
        "impostor trials": len(impostor),
        "DET": {"false alarm": false_alarm.tolist(), "miss": miss.tolist()},
    }


def _accuracy(scores: np.ndarray, who: Enrolment) -> float:
    return verification.identification_accuracy(scores, who.truth, (1,))[1]


def _of_identification(scores: np.ndarray, who: Enrolment) -> dict:
    several = min(5, len(scores))
    found = verification.identification_accuracy(scores, who.truth, (several,))
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
            n: [measure(scorer(who.truncate(n)), who) for who in draws]
            for n in verification.ENROLMENT_SIZES
            if n < most
        }
        details[BY_ENROLMENT] = {
            str(n): float(np.mean(each)) for n, each in {**by, most: values}.items()
        }
    return Evaluation(metric, values, first.enrolment.size + len(first.test), details)


# ---------------------------------------------------------------- fusion


def concatenate_features(
    parts: Sequence[ArrayLike], songs: Sequence[ArrayLike], normalisation: str = "length"
) -> np.ndarray:
    """Early fusion: several features of the same songs as one, (n, d1 + d2 + ...) float64.

    The paper puts the features side by side and does not say how they are scaled;
    here all parts weigh the same, whatever their scale and dimensions.

    Parameters
    ----------
    parts : (n, d) float, finite, each
        Different d are fine.
    songs : (n,) track_id of each part
    normalisation : str
        "length": each row of each part to Euclidean length 1, so that the cosine of
        two songs is the mean of the parts' cosines. "z": each dimension to mean 0
        and deviation 1 over these songs (0 where it is constant), and each part
        divided by the root of its d; for features with a common offset, as MFCCs.

    Raises
    ------
    InputError
        Fewer than two parts, parts of different songs or in different order, NaN or
        infinity, or another normalisation.
    """
    if len(parts) < 2 or len(songs) != len(parts):
        raise InputError(
            f"early fusion: {len(parts)} features and the songs of {len(songs)}; give two or more "
            "features and the songs of each"
        )
    if normalisation not in ("length", "z"):
        raise InputError(f"early fusion: normalisation {normalisation!r}; take 'length' or 'z'")
    parts = [check_features(part, f"early fusion, part {i}") for i, part in enumerate(parts, 1)]
    songs = [np.asarray(of_part, dtype=object) for of_part in songs]
    for i, (part, of_part) in enumerate(zip(parts, songs, strict=True), 1):
        if of_part.shape != part.shape[:1]:
            raise InputError(
                f"early fusion, part {i}: {len(part)} rows of features for songs of shape "
                f"{of_part.shape}; give one song a row"
            )
        if not np.array_equal(of_part, songs[0]):
            raise InputError(
                f"early fusion: part {i} has other songs than part 1, or in another order; "
                "give the same songs of each"
            )
    scaled = unit_rows if normalisation == "length" else _z_columns
    return np.concatenate([scaled(part) for part in parts], axis=1)


def _z_columns(features: np.ndarray) -> np.ndarray:
    deviation = features.std(axis=0)
    centred = features - features.mean(axis=0)
    # Rounding leaves a constant column a deviation of some 1e-17 of its value, not quite zero.
    constant = np.ptp(features, axis=0) == 0
    scale = np.where(constant, np.inf, deviation) * np.sqrt(features.shape[1])
    return centred / scale


def fuse_scores(scores: Sequence[ArrayLike], normalisation: str = "z") -> np.ndarray:
    """Late fusion: the mean of several systems' scores of the same trials, (a, t) float64.

    Parameters
    ----------
    scores : (a, t) float, finite, each
    normalisation : str
        "z": each to mean 0 and deviation 1 over all its trials first, as cosines and
        log-likelihood ratios differ in scale. "none": the scores as they are.

    Raises
    ------
    InputError
        Fewer than two scores, scores of different shape, NaN or infinity, constant
        scores under "z", or another normalisation.
    """
    scores = [np.asarray(one, dtype=np.float64) for one in scores]
    shapes = {one.shape for one in scores}
    if len(scores) < 2 or len(shapes) != 1 or scores[0].ndim != 2 or not scores[0].size:
        raise InputError(
            f"late fusion: {len(scores)} scores of shapes {[one.shape for one in scores]}; "
            "give two or more of the same trials, (artists, tests)"
        )
    if normalisation not in ("z", "none"):
        raise InputError(f"late fusion: normalisation {normalisation!r}; take 'z' or 'none'")
    for number, one in enumerate(scores, 1):
        verification.require_finite(one, f"the scores of system {number}")
        if normalisation == "z" and np.ptp(one) == 0:
            raise InputError(
                f"late fusion: every score of system {number} is {one.flat[0]:g}; "
                "leave that system out"
            )
    if normalisation == "z":
        scores = [(one - one.mean()) / one.std() for one in scores]
    return sum(scores) / len(scores)


# ---------------------------------------------------------------- files

# What the paper calls the features of these models, and the ways to score them.
FEATURES = {"ivector": "i-vector", "basic": "DeepArtistID"}
SCORERS = {"cosine": "cosine", "plda": "PLDA", "llr": "GMM-UBM"}


@dataclass(frozen=True)
class System:
    """A system with the songs that it is to recognise.

    scorer : makes what scores an `Enrolment` of these songs, which may take its time
    artists : (n,) labels of the songs
    about : features, model, artists: what names its result
    inputs : what it was made from, JSON values
    """

    make_scorer: Callable[[], Scorer]
    artists: np.ndarray
    description: dict
    inputs: dict


def load_feature_system(
    features: Path,
    split: Path,
    label: str,
    *,
    scorer: str,
    train: tuple[Path, Path] | None = None,
    max_train_artists: int | None = None,
    lda_dimensions: int | None = None,
    fusion: str | None = None,
    other_features: list[Path] | None = None,
) -> System:
    """The system that scores feature files by cosine or PLDA, of one kind or of two fused.

    Parameters
    ----------
    features, split, label
        The songs to recognise, and the column that says whose they are.
    scorer
        "cosine" or "plda".
    train, train_artists
        For PLDA: features and split of the training songs, and how many artists of it.
    lda
        Dimensions left before PLDA; None: all.
    fuse, other
        "early" or "late", with which features, and for PLDA which of the training songs.

    Raises
    ------
    InputError
        Files that are wrong or do not fit one another; an artist who is recognised
        and was trained on.
    """
    files = [features, *(other_features or [])[:1]]
    parts = [labelled_tracks.read_labelled_tracks(file, split, label) for file in files]
    parts = _same_songs(parts)
    artists = parts[0].labels(label)
    learnt = []
    if scorer == "plda":
        paths = [train[0], *(other_features or [])[1:]]
        learnt = [
            labelled_tracks.read_training_tracks(path, train[1], max_train_artists)
            for path in paths
        ]
        learnt = _same_songs(learnt)
        for part, one, *names in zip(parts, learnt, files, paths, strict=True):
            labelled_tracks.require_same_weights(part.feature_file, one.feature_file, names)
    heard = [name for part in parts for name in part.feature_file.trained_on]
    heard += [name for one in learnt[:1] for name in one.labels("artist")]
    verification.require_artist_disjoint(artists, heard)

    def make() -> Scorer:
        arrays, train_arrays = ([one.features for one in each] for each in (parts, learnt))
        if fusion == "early":
            arrays, train_arrays = ([_beside(each)] if each else [] for each in (parts, learnt))
        if scorer == "cosine":
            scorers = [cosine_scorer(one) for one in arrays]
        else:
            of_songs = learnt[0].labels("artist")
            pairs = zip(arrays, train_arrays, strict=True)
            scorers = [plda_scorer(*pair, of_songs, lda_dimensions) for pair in pairs]
        return fuse_scorers(scorers) if fusion == "late" else scorers[0]

    models = [part.weights.get("model") or "unknown" for part in parts]
    names = [part.weights.get("name", file.stem) for part, file in zip(parts, files, strict=True)]
    about = {
        "features": " ".join([" and ".join(names), *([fusion] if fusion else []), scorer]),
        "model": f"{_kind(models, fusion)} + {SCORERS[scorer]}",
        "artists": parts[0].weights.get("artists"),
        "seed": parts[0].weights.get("seed"),
    }
    inputs = {
        "features": [part.feature_file.inputs for part in parts],
        "split": parts[0].digest,
        "train": [one.feature_file.inputs for one in learnt],
        "train_split": learnt[0].digest if learnt else None,
    }
    return System(make, artists, about, inputs)


def load_gmm_ubm_system(
    path: Path, split: Path, label: str, cache: Path, relevance: float
) -> System:
    """GMM-UBM: the background model of an i-vector extractor on the frames of a mel cache."""
    made, mels = ivector_model.load_ivector_model(path), MelCache(cache)
    mels.require_front_end(made.front_end)
    table = labelled_tracks.drop_unlabelled(
        failures.drop_failed(split_csv.read_split(split), mels.failed, cache), label, split
    )
    artists = split_csv.label_column(table, label, split)
    tracks = table["track_id"].to_numpy(object)
    mels.rows(tracks)  # all are there
    verification.require_artist_disjoint(artists, made.trained_on)
    origin = ivector_model.describe_ivector_model(path, made)
    about = {
        "features": f"{origin['name']} llr",
        "model": SCORERS["llr"],
        "artists": origin["artists"],
        "seed": origin["seed"],
    }
    rows = provenance.digest_rows(table.itertuples(index=False))
    inputs = {"weights": origin, "cache": mels.made_from["inputs"], "split": rows}
    return System(
        lambda: llr_scorer(made, mels, tracks, relevance),
        artists,
        about,
        inputs,
    )


def _kind(models: list[str], fuse: str | None) -> str:
    """What the paper calls features by these models; of a fusion that it has not, of which."""
    names = [FEATURES.get(model, model) for model in models]
    if not fuse:
        return names[0]
    own = sorted(models) == sorted(FEATURES)
    return f"{fuse} fusion" if own else f"{fuse} fusion of {' and '.join(names)}"


def _same_songs(parts: list[LabelledTracks]) -> list[LabelledTracks]:
    """The songs that each part has, in one order: another's extraction may have failed on some."""
    common = set.intersection(*(set(part.split["track_id"]) for part in parts))
    if not common:
        raise InputError(
            f"{parts[0].split_path}: no song has all of the features; extract them again"
        )
    return [part.select(common) for part in parts]


def _beside(parts: list[LabelledTracks]) -> np.ndarray:
    return concatenate_features(
        [part.features for part in parts], [part.split["track_id"] for part in parts]
    )
