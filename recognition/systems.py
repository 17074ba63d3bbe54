"""The artist-recognition systems of arxiv2017, out of the files that they are made of.

A system scores all trials of an enrolment: see `recognition.scoring`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import provenance
from common.errors import InputError
from data_prep import failures, split_csv
from data_prep.mel_cache import MelCache
from evaluation import labelled_tracks
from evaluation.labelled_tracks import LabelledTracks
from recognition import ivector_model, scoring, verification
from recognition.scoring import Scorer

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

    scorer: Callable[[], Scorer]
    artists: np.ndarray
    about: dict
    inputs: dict


def feature_system(
    features: Path,
    split: Path,
    label: str,
    *,
    scorer: str,
    train: tuple[Path, Path] | None = None,
    train_artists: int | None = None,
    lda: int | None = None,
    fuse: str | None = None,
    other: list[Path] | None = None,
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
    files = [features, *(other or [])[:1]]
    parts = [labelled_tracks.read_labelled(file, split, label) for file in files]
    parts = _same_songs(parts)
    artists = parts[0].labels(label)
    learnt = []
    if scorer == "plda":
        paths = [train[0], *(other or [])[1:]]
        learnt = [
            labelled_tracks.read_training_tracks(path, train[1], train_artists) for path in paths
        ]
        learnt = _same_songs(learnt)
        for part, one, *names in zip(parts, learnt, files, paths, strict=True):
            labelled_tracks.require_same_weights(part.made, one.made, names)
    heard = [name for part in parts for name in part.made.trained_on]
    heard += [name for one in learnt[:1] for name in one.labels("artist")]
    verification.require_unseen(artists, heard)

    def make() -> Scorer:
        arrays, train_arrays = ([one.features for one in each] for each in (parts, learnt))
        if fuse == "early":
            arrays, train_arrays = ([_beside(each)] if each else [] for each in (parts, learnt))
        if scorer == "cosine":
            scorers = [scoring.cosine_scorer(one) for one in arrays]
        else:
            of_songs = learnt[0].labels("artist")
            pairs = zip(arrays, train_arrays, strict=True)
            scorers = [scoring.plda_scorer(*pair, of_songs, lda) for pair in pairs]
        return scoring.fuse_scorers(scorers) if fuse == "late" else scorers[0]

    models = [part.weights.get("model") or "unknown" for part in parts]
    names = [part.weights.get("name", file.stem) for part, file in zip(parts, files, strict=True)]
    about = {
        "features": " ".join([" and ".join(names), *([fuse] if fuse else []), scorer]),
        "model": f"{_kind(models, fuse)} + {SCORERS[scorer]}",
        "artists": parts[0].weights.get("artists"),
        "seed": parts[0].weights.get("seed"),
    }
    inputs = {
        "features": [part.made.inputs for part in parts],
        "split": parts[0].digest,
        "train": [one.made.inputs for one in learnt],
        "train_split": learnt[0].digest if learnt else None,
    }
    return System(make, artists, about, inputs)


def gmm_ubm_system(path: Path, split: Path, label: str, cache: Path, relevance: float) -> System:
    """GMM-UBM: the background model of an i-vector extractor on the frames of a mel cache."""
    made, mels = ivector_model.load_ivector_model(path), MelCache(cache)
    mels.require_front_end(made.front_end)
    table = labelled_tracks.keep_labelled(
        failures.drop_failed(split_csv.read_split(split), mels.failed, cache), label, split
    )
    artists = split_csv.label_column(table, label, split)
    tracks = table["track_id"].to_numpy(object)
    mels.rows(tracks)  # all are there
    verification.require_unseen(artists, made.trained_on)
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
        lambda: scoring.llr_scorer(made, mels, tracks, relevance),
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
        raise InputError(f"{parts[0].source}: no song has all of the features; extract them again")
    return [part.of_tracks(common) for part in parts]


def _beside(parts: list[LabelledTracks]) -> np.ndarray:
    return verification.side_by_side(
        [part.features for part in parts], [part.split["track_id"] for part in parts]
    )
