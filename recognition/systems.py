"""The artist-recognition systems of arxiv2017: features or frames, and the way they are scored.

A *scorer* is a function that maps an `Enrolment` to the scores of all its trials, an (artists,
tests) float64 matrix. `cosine_scorer`, `plda_scorer` and `llr_scorer` build scorers from data and
train the models they need once, so the same scorer can be applied to several enrolments. A `System`
combines a scorer built from files with the tracks to recognise.

Scorers raise `InputError` if features or frames contain NaN or infinity, or if a track has no
frames.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from common import cli, provenance
from common.errors import InputError
from data_prep import split_csv
from data_prep.failures import read_usable_tracks
from data_prep.mel_cache import MelCache
from data_prep.mfcc import SILENT
from evaluation import labelled_tracks
from evaluation.feature_checks import check_features
from evaluation.labelled_tracks import LabelledTracks
from evaluation.projection import fit_lda
from evaluation.results import BY_ENROLMENT, DET_CURVE, Evaluation
from evaluation.similarity import unit_rows
from recognition import gmm_ubm, ivector_model, verification
from recognition.ivector import Whitening, length_normalise
from recognition.ivector_model import IVectorModel
from recognition.plda import PLDA
from recognition.verification import Enrolment

Scorer = Callable[[Enrolment], np.ndarray]

_DECIMALS = 10  # precision of cosines, whose float64 rounding errors are about 1e-15

# The paper's names for each model's features and for the scorers.
_FEATURE_NAMES = {"ivector": "i-vector", "basic": "DeepArtistID"}
_SCORER_NAMES = {"cosine": "cosine", "plda": "PLDA", "llr": "GMM-UBM"}


# ---------------------------------------------------------------- scorers


def cosine_scorer(features: ArrayLike) -> Scorer:
    """Score by the cosine between an artist's mean enrolment feature and the test track's feature.

    Parameters
    ----------
    features : (n, d) float, finite; features of all tracks

    Examples
    --------
    >>> enrolment = draw_enrolment(artists)
    >>> scores = cosine_scorer(features)(enrolment)
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

    LDA, whitening and PLDA are fitted to the training tracks. Scores take the number of enrolment
    tracks into account.

    Parameters
    ----------
    features : (n, d) float, finite; features of all tracks to recognise
    train_features : (m, d) float, finite
    train_artists : (m,) labels
    lda_dimensions
        Number of dimensions after LDA; None skips LDA.
    """
    features, train = np.asarray(features), np.asarray(train_features)
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

    Parameters
    ----------
    model
        I-vector model that provides the UBM and the frame settings.
    mels
        Mapping from track ID to log-mel (frames, n_mels), such as a `MelCache`.
    track_ids : (n,) str, IDs of all tracks
    relevance
        Relevance factor for adaptation (`gmm_ubm.adapt_means`).
    """

    def frames(track_id: str) -> np.ndarray:
        track_frames = model.extract_frames(mels[track_id])
        if not len(track_frames):
            raise InputError(f"GMM-UBM: {str(track_id)!r} {SILENT}; leave it out of the split")
        return track_frames

    # An artist's enrolment statistics are the sums of the statistics of single tracks.
    ubm, track_ids = model.ubm, np.asarray(track_ids, dtype=object)
    zeroth, first = gmm_ubm.collect_statistics(ubm, map(frames, track_ids), len(track_ids))

    def score(enrolment: Enrolment) -> np.ndarray:
        models = []
        for rows in enrolment.enrol_rows:
            n = zeroth[rows].sum(axis=0, dtype=np.float64)
            f = first[rows].sum(axis=0, dtype=np.float64)
            models.append(gmm_ubm.adapt_means(ubm, n, f, relevance))
        tests = cli.progress_bar(track_ids[enrolment.test_rows], desc="scores", unit="track")
        return gmm_ubm.llr_scores(models, ubm, map(frames, tests)).T

    return score


def enrol_artists(features: ArrayLike, enrolment: Enrolment) -> np.ndarray:
    """Compute the mean feature of each artist's enrolment tracks, (a, d) float64.

    The paper averages over all segments of these tracks, which is equivalent if all tracks have the
    same number of segments, as 30 s clips do. `features` (n, d) must be finite and list all tracks
    in the same order as the labels passed to `draw_enrolment`.
    """
    features = check_features(features, "verification")
    # Sum track by track to avoid an (a, tracks, d) copy.
    return sum(features[rows] for rows in enrolment.enrol_rows.T) / enrolment.enrol_rows.shape[1]


def cosine_scores(models: ArrayLike, tests: ArrayLike) -> np.ndarray:
    """Compute (a, t) float64 cosines between artist models (a, d) and test features (t, d).

    Cosines are rounded to 10 decimals, so that values that differ only by rounding errors become
    ties. The cosine of a zero vector is 0.
    """
    models, tests = (np.asarray(each, dtype=np.float64) for each in (models, tests))
    scores = unit_rows(models) @ unit_rows(tests).T
    return np.round(scores, _DECIMALS, out=scores)


# ---------------------------------------------------------------- fusion


def concatenate_features(
    parts: Sequence[np.ndarray], track_ids: Sequence[Sequence[str]]
) -> np.ndarray:
    """Concatenate several features per track (early fusion) as (n, d1 + d2 + …) float64.

    Each row of each part is scaled to unit length, so that the cosine between two tracks is the
    mean of the parts' cosines. The paper does not mention any scaling.

    Parameters
    ----------
    parts : (n, d1), (n, d2), … float, finite
    track_ids : (n,) str for each part
    """
    for number, (part, ids) in enumerate(zip(parts, track_ids, strict=True), 1):
        if len(part) != len(ids) or not np.array_equal(ids, track_ids[0]):
            raise InputError(
                f"early fusion: part {number} contains different tracks from part 1, or lists them "
                "in a different order; give the same tracks in all parts"
            )
    checked = [check_features(part, f"early fusion, part {i}") for i, part in enumerate(parts, 1)]
    return np.concatenate([unit_rows(part) for part in checked], axis=1)


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


def fuse_scorers(scorers: Sequence[Scorer]) -> Scorer:
    """Combine scorers by late fusion (`fuse_scores`)."""
    return lambda enrolment: fuse_scores([scorer(enrolment) for scorer in scorers])


# ---------------------------------------------------------------- evaluation


def evaluate_recognition(
    protocol: str, scorer: Scorer, draws: Sequence[Enrolment], one_shot: bool
) -> Evaluation:
    """Evaluate a scorer with the verification or identification protocol.

    Parameters
    ----------
    protocol
        "verification" (metric: equal error rate; details: minDCF, DET curve) or "identification"
        (metric: accuracy; details: top-5 accuracy). The details describe the first draw.
    scorer
        Scorer to evaluate.
    draws
        Enrolments to evaluate; each gives one value of the metric.
    one_shot
        Whether to also evaluate smaller enrolments (`ENROLMENT_SIZES`). The details then contain,
        for each enrolment size, the mean metric over the draws.
    """
    metric, measure, describe = _PROTOCOLS[protocol]
    first, scores = draws[0], scorer(draws[0])
    details = describe(scores, first)
    values = [measure(scores, first), *(measure(scorer(draw), draw) for draw in draws[1:])]
    if one_shot:
        full = first.enrol_rows.shape[1]
        by_size = {}
        for size in (size for size in verification.ENROLMENT_SIZES if size < full):
            smaller = [draw.truncate(size) for draw in draws]
            by_size[size] = [measure(scorer(draw), draw) for draw in smaller]
        by_size[full] = values
        details[BY_ENROLMENT] = {str(size): float(np.mean(v)) for size, v in by_size.items()}
    return Evaluation(metric, values, first.enrol_rows.size + len(first.test_rows), details)


def _equal_error_rate(scores: np.ndarray, enrolment: Enrolment) -> float:
    return verification.equal_error_rate(*verification.split_trials(scores, enrolment.truth))


def _describe_verification(scores: np.ndarray, enrolment: Enrolment) -> dict:
    target, impostor = verification.split_trials(scores, enrolment.truth)
    false_alarm, miss = verification.det_curve(target, impostor, points=200)
    return {
        "minDCF": verification.min_dcf(target, impostor),
        "target trials": len(target),
        "impostor trials": len(impostor),
        DET_CURVE: {"false alarm": false_alarm.tolist(), "miss": miss.tolist()},
    }


def _accuracy(scores: np.ndarray, enrolment: Enrolment) -> float:
    return verification.identification_accuracy(scores, enrolment.truth, (1,))[1]


def _describe_identification(scores: np.ndarray, enrolment: Enrolment) -> dict:
    k = min(5, len(scores))
    accuracy = verification.identification_accuracy(scores, enrolment.truth, (k,))[k]
    return {f"top-{k} accuracy": accuracy, "artists": len(scores)}


# Each protocol's metric name, metric function and details function.
_PROTOCOLS = {
    "verification": ("eer", _equal_error_rate, _describe_verification),
    "identification": ("accuracy", _accuracy, _describe_identification),
}


# ---------------------------------------------------------------- systems loaded from files


@dataclass(frozen=True)
class System:
    """A recognition system and the tracks that it recognises.

    Attributes
    ----------
    make_scorer
        Function that trains and returns the scorer; this may take a long time.
    artists : (n,) labels of the tracks
    description
        Features, model, artists and seed, keyed by the names used in result files.
    inputs
        Everything that determines the scores, as JSON-serialisable values.
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
    """Load a system that scores one feature, or the fusion of two, by cosine or PLDA.

    Parameters
    ----------
    features, split, label
        Feature file and split of the tracks to recognise, and the name of the split's artist
        column.
    scorer
        "cosine" or "plda".
    train, max_train_artists
        For PLDA: feature file and split of the training tracks, and maximum number of training
        artists.
    lda_dimensions
        Number of dimensions after LDA; None skips LDA.
    fusion, other_features
        Type of fusion, "early" or "late", and the second feature file, followed for PLDA by the
        second feature file of the training tracks.

    Raises
    ------
    InputError
        If files are invalid or incompatible, or if an artist is also a training artist.
    """
    other_features = other_features or []
    paths = [features, *other_features[:1]]
    parts = _select_common_tracks(
        [labelled_tracks.read_labelled_tracks(path, split, label) for path in paths]
    )
    artists = parts[0].labels(label)
    train_parts = []
    if train:
        train_paths = [train[0], *other_features[1:]]
        train_parts = _select_common_tracks(
            [
                labelled_tracks.read_training_tracks(path, train[1], max_train_artists)
                for path in train_paths
            ]
        )
        for part, train_part, *pair in zip(parts, train_parts, paths, train_paths, strict=True):
            labelled_tracks.require_same_weights(
                part.feature_file, train_part.feature_file, (pair[0], pair[1])
            )
    train_artists = train_parts[0].labels("artist") if train_parts else np.array([], object)
    of_weights = [name for part in parts for name in part.feature_file.trained_on]
    verification.require_artist_disjoint(artists, [*of_weights, *train_artists])

    def make_scorer() -> Scorer:
        arrays = [part.features for part in parts]
        train_arrays = [part.features for part in train_parts]
        if fusion == "early":
            arrays = [_concatenate_parts(parts)]
            train_arrays = [_concatenate_parts(train_parts)] if train_parts else []
        if scorer == "cosine":
            scorers = [cosine_scorer(array) for array in arrays]
        else:
            pairs = zip(arrays, train_arrays, strict=True)
            scorers = [plda_scorer(*pair, train_artists, lda_dimensions) for pair in pairs]
        return fuse_scorers(scorers) if fusion == "late" else scorers[0]

    models = [part.weights.get("model") or "unknown" for part in parts]
    names = [part.weights.get("name", path.stem) for part, path in zip(parts, paths, strict=True)]
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
    tracks = read_usable_tracks(split, mels.failed, cache)
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
    return System(
        lambda: llr_scorer(model, mels, track_ids, relevance), artists, description, inputs
    )


def _name_features(models: list[str], fusion: str | None) -> str:
    """Return the paper's name for the features of the given models, or for their fusion."""
    names = [_FEATURE_NAMES.get(model, model) for model in models]
    if not fusion:
        return names[0]
    in_paper = sorted(models) == sorted(_FEATURE_NAMES)
    return f"{fusion} fusion" if in_paper else f"{fusion} fusion of {' and '.join(names)}"


def _select_common_tracks(parts: list[LabelledTracks]) -> list[LabelledTracks]:
    """Select tracks that have all features, as extraction may have failed for individual tracks."""
    common = set.intersection(*(set(part.split["track_id"]) for part in parts))
    if not common:
        raise InputError(
            f"{parts[0].split_path}: no track has all of the features; extract them again"
        )
    return [part.select(common) for part in parts]


def _concatenate_parts(parts: list[LabelledTracks]) -> np.ndarray:
    return concatenate_features(
        [part.features for part in parts], [part.split["track_id"] for part in parts]
    )
