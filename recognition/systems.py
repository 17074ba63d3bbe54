"""The artist-recognition systems of arxiv2017: features or frames, and the way they are scored.

A *scorer* is a function that maps an `Enrolment` to the scores of all its trials, an (artists,
tests) float64 matrix. `cosine_scorer`, `plda_scorer` and `llr_scorer` build scorers from data and
train the models they need once, so the same scorer can be applied to several enrolments. A `System`
combines a scorer built from files with the tracks to recognise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from common import cli, provenance
from common.errors import InputError
from common.parallel import one_blas_thread
from data_prep import failures, split_csv
from data_prep.mel_cache import MelCache
from evaluation import labelled_tracks
from evaluation.feature_checks import check_features
from evaluation.labelled_tracks import LabelledTracks
from evaluation.projection import fit_lda
from evaluation.results import BY_ENROLMENT, DET_CURVE, Evaluation
from evaluation.retrieval import unit_rows
from evaluation.track_values import pack_values, rank_scores
from recognition import FEATURE_NAMES, gmm_ubm, ivector_model, verification
from recognition.ivector import Whitening, length_normalise
from recognition.ivector_model import IVectorModel
from recognition.plda import PLDA
from recognition.verification import Enrolment, identification_accuracy, split_trials

Scorer = Callable[[Enrolment], np.ndarray]

# The paper's names for the scorers.
_SCORER_NAMES = {"cosine": "cosine", "plda": "PLDA", "llr": "GMM-UBM"}


def cosine_scorer(features: ArrayLike) -> Scorer:
    """Score by the cosine between an artist's mean enrolment feature and the test track's feature.

    `features` (n, d) are those of all tracks, in the order of the labels that `draw_enrolment` had.
    """

    def score(enrolment: Enrolment) -> np.ndarray:
        models = enrol_artists(features, enrolment)
        return cosine_scores(models, np.asarray(features)[enrolment.test_rows])

    return score


def plda_scorer(
    features: ArrayLike,
    train_features: ArrayLike,
    train_artists: ArrayLike,
    lda_dimensions: int | None,
) -> Scorer:
    """Score by PLDA after LDA, whitening and length normalisation, like the paper's toolbox.

    All of them are fitted to the training tracks, (m, d) and (m,) labels; `features` (n, d) are
    those of all tracks to recognise. `lda_dimensions` is None to skip LDA.
    """
    features, train = np.asarray(features), np.asarray(train_features)
    with one_blas_thread():  # the matrices are so small that more threads would mostly wait
        if lda_dimensions is not None:
            projection = fit_lda(train, train_artists, lda_dimensions)
            features, train = projection.apply(features), projection.apply(train)
        try:
            whitening = Whitening.fit(train)
        except InputError as error:
            raise InputError(f"PLDA, {error}, for example with --lda-dimensions") from error
        features, train = (length_normalise(whitening.transform(x)) for x in (features, train))
        model = PLDA.fit(train, train_artists)

    def score(enrolment: Enrolment) -> np.ndarray:
        means = enrol_artists(features, enrolment)
        return model.score(means, enrolment.enrol_rows.shape[1], features[enrolment.test_rows])

    return score


def llr_scorer(
    model: IVectorModel,
    mels: MelCache | Mapping[str, np.ndarray],
    track_ids: ArrayLike,
    relevance: float,
) -> Scorer:
    """Score by the log-likelihood ratio of the artist's adapted mixture to the UBM (GMM-UBM).

    `model` provides the UBM and the frame settings, and `mels` maps the ids of all tracks (n,) to
    their log-mels (frames, n_mels). `relevance` is that of `gmm_ubm.adapt_means`.
    """

    def frames(track_id: str) -> np.ndarray:
        track_frames = model.extract_frames(mels[track_id])
        if not len(track_frames):
            raise InputError(
                f"GMM-UBM: {str(track_id)!r} {failures.SILENT}; leave it out of the split"
            )
        return track_frames

    # An artist's enrolment statistics are the sums of the statistics of single tracks.
    ubm, track_ids = model.ubm, np.asarray(track_ids, dtype=object)
    zeroth, first = gmm_ubm.collect_statistics(ubm, map(frames, track_ids), len(track_ids))

    def score(enrolment: Enrolment) -> np.ndarray:
        models = []
        for rows in enrolment.enrol_rows:
            n, f = (each[rows].sum(axis=0, dtype=np.float64) for each in (zeroth, first))
            models.append(gmm_ubm.adapt_means(ubm, n, f, relevance))
        tests = cli.progress_bar(track_ids[enrolment.test_rows], desc="scores", unit="track")
        return gmm_ubm.llr_scores(models, ubm, map(frames, tests)).T

    return score


def enrol_artists(features: ArrayLike, enrolment: Enrolment) -> np.ndarray:
    """Compute the mean feature of each artist's enrolment tracks, (a, d) float64.

    The paper averages over all segments of these tracks, which is equivalent if all tracks have the
    same number of segments, as 30 s clips do.
    """
    features = check_features(features, "verification")
    # Sum track by track to avoid an (a, tracks, d) copy.
    return sum(features[rows] for rows in enrolment.enrol_rows.T) / enrolment.enrol_rows.shape[1]


def cosine_scores(models: ArrayLike, tests: ArrayLike) -> np.ndarray:
    """Compute (a, t) float64 cosines between artist models (a, d) and test features (t, d).

    Cosines are rounded to 10 decimals, so that values that differ only by rounding errors of about
    1e-15 become ties. The cosine of a zero vector is 0.
    """
    models, tests = (np.asarray(each, dtype=np.float64) for each in (models, tests))
    scores = unit_rows(models) @ unit_rows(tests).T
    return np.round(scores, 10, out=scores)


def concatenate_features(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Concatenate several features (n, d1), (n, d2), … per track (early fusion) as float64.

    Each row of each part is scaled to unit length, so that the cosine between two tracks is the
    mean of the parts' cosines. The paper does not mention any scaling.
    """
    return np.concatenate([unit_rows(check_features(x, "early fusion")) for x in parts], axis=1)


def fuse_scores(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Average several systems' scores (a, t) for the same trials (late fusion) as (a, t) float64.

    Each system's scores are first normalised to mean 0 and standard deviation 1 over all trials,
    because cosines and log-likelihood ratios differ in scale. Constant scores raise `InputError`.
    """
    for number, system_scores in enumerate(scores, 1):
        if np.ptp(system_scores) == 0:
            raise InputError(
                f"late fusion: every score of system {number} is {system_scores.flat[0]:g}; leave "
                "that system out"
            )
    return np.mean([(each - each.mean()) / each.std() for each in scores], axis=0)


def evaluate_recognition(
    protocols: Sequence[str], scorer: Scorer, draws: Sequence[Enrolment], one_shot: bool
) -> dict[str, Evaluation]:
    """Evaluate a scorer with the protocols "verification" and "identification", or one of them.

    The draws are `draw_enrolment` of the same tracks with several seeds, so that their tests are by
    the same artists in the same order. All protocols use the same scores, which take most of the
    time. The metrics are the equal error rate and the accuracy. Each draw gives one value of the
    metric. Of the details, the minDCF, the DET curve and the top-5 accuracy describe the first
    draw, and the values per track all draws. With `one_shot`, the details also contain the mean
    metric over the draws for each smaller enrolment size (`ENROLMENT_SIZES`).
    """

    def measure(scores: np.ndarray) -> dict[str, float]:
        return {name: _PROTOCOLS[name][1](scores, truth) for name in protocols}

    first, truth = draws[0], draws[0].truth
    scores = [scorer(draw) for draw in draws]
    details = {name: _PROTOCOLS[name][2](scores, first) for name in protocols}
    values = [measure(each) for each in scores]
    if one_shot:
        full = first.enrol_rows.shape[1]
        by_size = {}
        for size in verification.ENROLMENT_SIZES:
            if size < full:
                smaller = [draw.truncate(size) for draw in draws]
                by_size[str(size)] = [measure(scorer(draw)) for draw in smaller]
        by_size[str(full)] = values
        for name in protocols:
            details[name][BY_ENROLMENT] = {
                size: float(np.mean([one[name] for one in each])) for size, each in by_size.items()
            }
    tracks = first.enrol_rows.size + len(first.test_rows)
    return {
        name: Evaluation(_PROTOCOLS[name][0], [one[name] for one in values], tracks, details[name])
        for name in protocols
    }


def _equal_error_rate(scores: np.ndarray, truth: np.ndarray) -> float:
    return verification.equal_error_rate(*split_trials(scores, truth))


def _describe_verification(scores: Sequence[np.ndarray], draw: Enrolment) -> dict:
    target, impostor = split_trials(scores[0], draw.truth)
    false_alarm, miss = verification.det_curve(target, impostor)
    return {
        "minDCF": verification.min_dcf(target, impostor),
        "target trials": len(target),
        "impostor trials": len(impostor),
        DET_CURVE: {"false alarm": false_alarm.tolist(), "miss": miss.tolist()},
        **pack_values(draw.artists[draw.truth], ranks=[rank_scores(each) for each in scores]),
    }


def _describe_identification(scores: Sequence[np.ndarray], draw: Enrolment) -> dict:
    artists, truth = len(scores[0]), draw.truth
    k = min(5, artists)
    accuracy = identification_accuracy(scores[0], truth, k)
    # The n-th test is another track in each draw, but always by the same artist.
    correct = np.mean([verification.accuracy_by_test(each, truth) for each in scores], axis=0)
    values = pack_values(draw.artists[truth], value=correct)
    return {f"top-{k} accuracy": accuracy, "artists": artists, **values}


# Each protocol's metric name, metric function and details function.
_PROTOCOLS = {
    "verification": ("eer", _equal_error_rate, _describe_verification),
    "identification": ("accuracy", identification_accuracy, _describe_identification),
}


@dataclass(frozen=True)
class System:
    """A recognition system and the tracks that it recognises."""

    make_scorer: Callable[[], Scorer]  # trains and returns the scorer; may take a long time
    artists: np.ndarray  # (n,) labels of the tracks
    description: dict  # the features, model, artists and seed named in result files
    inputs: dict  # everything that determines the scores, as JSON-serialisable values


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
    """Load a system that scores one feature, or the fusion of two, by cosine or PLDA.

    PLDA needs `train`, the feature file and split of its training tracks. `lda_dimensions` is None
    to skip LDA. `fusion` is "early" or "late", and `other_features` are then the second feature
    file and, for PLDA, the second feature file of the training tracks.
    """
    other_features = other_features or []
    read, read_train = labelled_tracks.read_labelled_tracks, labelled_tracks.read_training_tracks
    paths = [features, *other_features[:1]]
    parts = _select_common_tracks([read(path, split, label) for path in paths])
    artists = parts[0].labels(label)
    train_parts, train_artists = [], np.array([], object)
    if train:
        paths = [train[0], *other_features[1:]]
        train_parts = [read_train(path, train[1], max_train_artists) for path in paths]
        train_parts = _select_common_tracks(train_parts)
        for x, y in zip(parts, train_parts, strict=True):
            both_paths = x.feature_path, y.feature_path
            labelled_tracks.require_same_weights(x.feature_file, y.feature_file, both_paths)
        train_artists = train_parts[0].labels("artist")
    of_weights = [name for part in parts for name in part.feature_file.trained_on]
    verification.require_artist_disjoint(artists, [*of_weights, *train_artists])

    def make_scorer() -> Scorer:
        sides = [[part.features for part in side] for side in (parts, train_parts) if side]
        if fusion == "early":
            sides = [[concatenate_features(side)] for side in sides]
        if scorer == "cosine":
            scorers = [cosine_scorer(part) for part in sides[0]]
        else:
            pairs = zip(*sides, strict=True)
            scorers = [plda_scorer(x, y, train_artists, lda_dimensions) for x, y in pairs]
        if fusion == "late":
            return lambda enrolment: fuse_scores([score(enrolment) for score in scorers])
        return scorers[0]

    models = [part.weights.get("model") or "unknown" for part in parts]
    names = [part.weights.get("name", part.feature_path.stem) for part in parts]
    description = {
        "features": " ".join([" and ".join(names), *([fusion] if fusion else []), scorer]),
        "model": f"{_name_features(models, fusion)} + {_SCORER_NAMES[scorer]}",
        "artists": parts[0].weights.get("artists"),
        "seed": parts[0].weights.get("seed"),
    }
    inputs = {
        "features": [part.feature_file.inputs for part in parts],
        "split": parts[0].digest,
        "train": [part.feature_file.inputs for part in train_parts],
        "train_split": train_parts[0].digest if train_parts else None,
    }
    return System(make_scorer, artists, description, inputs)


def load_gmm_ubm_system(
    path: Path, split: Path, label: str, cache: Path, relevance: float
) -> System:
    """Load the GMM-UBM system, which applies an i-vector model's UBM to frames from a mel cache."""
    model, mels = ivector_model.load_ivector_model(path), MelCache(cache)
    mels.require_front_end(model.front_end)
    tracks = split_csv.read_usable_tracks(split, mels.failed, cache)
    tracks = labelled_tracks.drop_unlabelled(tracks, label, split)
    artists = split_csv.label_column(tracks, label, split)
    track_ids = tracks["track_id"].to_numpy(object)
    mels.rows(track_ids)  # raises `InputError` if a track is missing from the cache
    verification.require_artist_disjoint(artists, model.trained_on)
    weights = ivector_model.describe_ivector_model(path, model)
    description = {
        "features": f"{weights['name']} llr",
        "model": _SCORER_NAMES["llr"],
        "artists": weights["artists"],
        "seed": weights["seed"],
    }
    digest = provenance.digest_rows(tracks.itertuples(index=False))
    inputs = {"weights": weights, "cache": mels.made_from["inputs"], "split": digest}
    scorer = partial(llr_scorer, model, mels, track_ids, relevance)
    return System(scorer, artists, description, inputs)


def _name_features(models: list[str], fusion: str | None) -> str:
    """Return the paper's name for the features of the given models, or for their fusion."""
    names = [FEATURE_NAMES.get(model, model) for model in models]
    if not fusion:
        return names[0]
    in_paper = sorted(models) == sorted(FEATURE_NAMES)
    return f"{fusion} fusion" if in_paper else f"{fusion} fusion of {' and '.join(names)}"


def _select_common_tracks(parts: list[LabelledTracks]) -> list[LabelledTracks]:
    """Select tracks that have all features, as extraction may have failed for individual tracks."""
    common = set.intersection(*(set(part.split["track_id"]) for part in parts))
    if not common:
        path = parts[0].split_path
        raise InputError(f"{path}: no track has all of the features; extract them again")
    return [part.select(common) for part in parts]
