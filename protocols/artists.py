"""Protocols of artist recognition, and LDA features (arxiv2017).

Systems and metrics are imported inside the functions, so that --help does not wait for them.
"""

import argparse
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from common import cli, feature_file, provenance
from common.feature_file import Features
from evaluation.labelled_tracks import LabelledTracks, read_training_tracks, require_same_weights
from protocols.shared import (
    add_command,
    add_features_and_split,
    add_result_options,
    format_changes,
    is_complete,
    save_evaluation,
)

RECOGNITION = {
    "verification": "Compute the equal error rate of verification: is a track by this artist?",
    "identification": "Compute the accuracy of identification: which artist is a track by?",
}

# The paper's settings, under the names that results record.
PAPER_SETTINGS = {"enrol": 15, "tests": 5, "relevance": 16.0}


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the protocols of this module to `evaluate.py`."""
    example = "features/basic.h5 splits/demo_unseen.csv"
    for name, text in RECOGNITION.items():
        run = partial(evaluate_recognition, name)
        _add_recognition_arguments(add_command(commands, name, run, example, text))
    example = "features/basic_train.h5 splits/demo.csv features/basic.h5 --out features/lda.h5"
    _add_lda_arguments(add_command(commands, "lda", project_by_lda, example))


def _add_recognition_arguments(parser: argparse.ArgumentParser) -> None:
    add_features_and_split(
        parser,
        label="artist",
        features_help="feature file of the tracks; with --scorer llr, the i-vector extractor "
        "ivector.h5",
        split_help="split of artists that were not trained on",
    )
    cli.add_count(
        parser,
        "--enrol-tracks",
        PAPER_SETTINGS["enrol"],
        "enrolment tracks per artist",
        old="--enrol",
    )
    cli.add_count(
        parser, "--test-tracks", PAPER_SETTINGS["tests"], "test tracks per artist", old="--tests"
    )
    cli.add_count(
        parser, "--trials", 1, "number of random draws of enrolment and test tracks to average"
    )
    parser.add_argument(
        "--one-shot",
        action="store_true",
        help="additional evaluation with 1, 2, 5 and 10 enrolment tracks per artist",
    )
    parser.add_argument(
        "--scorer",
        choices=("cosine", "plda", "llr"),
        default="cosine",
        help="scoring function: cosine or PLDA of features, or log-likelihood ratio of a GMM-UBM",
    )
    parser.add_argument(
        "--train",
        nargs=2,
        type=Path,
        metavar=("FEATURES.h5", "SPLIT.csv"),
        help="features and split that PLDA is trained on: the training tracks of the weights",
    )
    _add_max_train_artists(parser)
    cli.add_count(
        parser,
        "--lda-dimensions",
        None,
        "dimensions of the LDA before PLDA (default: no LDA)",
        old="--lda",
    )
    parser.add_argument(
        "--fuse",
        dest="fusion",
        choices=("early", "late"),
        help="fusion of two features: early concatenates them, late averages their scores",
    )
    parser.add_argument(
        "--with",
        dest="other_features",
        nargs="+",
        type=Path,
        metavar="FEATURES.h5",
        help="feature file to fuse with; for PLDA, followed by that of the training tracks",
    )
    parser.add_argument(
        "--cache", type=Path, metavar="CACHE.h5", help="mel cache of the tracks, for --scorer llr"
    )
    parser.add_argument(
        "--relevance",
        type=cli.positive_float,
        default=PAPER_SETTINGS["relevance"],
        help="relevance factor of the MAP adaptation, for --scorer llr",
    )
    add_result_options(parser)


def _add_max_train_artists(parser: argparse.ArgumentParser) -> None:
    cli.add_count(
        parser,
        "--max-train-artists",
        None,
        "number of training artists, in the order of the training split (default: all)",
        old="--train-artists",
    )


@dataclass(frozen=True, kw_only=True)
class SystemOptions:
    """How tracks are scored: the options of a recognition system.

    Raises
    ------
    argparse.ArgumentError
        Options that cannot be combined.
    """

    scorer: str
    train: tuple[Path, Path] | None
    max_train_artists: int | None
    lda_dimensions: int | None
    fusion: str | None
    other_features: list[Path] | None
    cache: Path | None
    relevance: float

    def __post_init__(self):
        plda, llr = self.scorer == "plda", self.scorer == "llr"
        other = self.other_features
        plda_only = any((self.train, self.max_train_artists, self.lda_dimensions))
        files = 2 if plda else 1
        errors = {
            "--scorer plda needs --train, features and a split to train on": (
                plda and not self.train
            ),
            "--train, --max-train-artists and --lda-dimensions need --scorer plda": (
                plda_only and not plda
            ),
            "--scorer llr needs --cache": llr and not self.cache,
            "--cache needs --scorer llr": self.cache and not llr,
            "--fuse and --with need each other": bool(self.fusion) != bool(other),
            "--fuse cannot be combined with --scorer llr": self.fusion and llr,
            f"--with needs {files} feature file{'s' * plda} with --scorer {self.scorer}": (
                other and len(other) != files
            ),
        }
        for message, is_wrong in errors.items():
            if is_wrong:
                raise argparse.ArgumentError(None, message)

    def record(self) -> dict:
        """Return the settings that determine a result, under the names that results record."""
        # A file that is not given is recorded as null; those that are given are in the inputs.
        files = {"train": self.train, "other": self.other_features, "cache": self.cache}
        return {
            "scorer": self.scorer,
            "train_artists": self.max_train_artists,
            "lda": self.lda_dimensions,
            "fuse": self.fusion,
            "relevance": self.relevance,
            **{name: None for name, file in files.items() if file is None},
        }


def evaluate_recognition(
    protocol: str,
    features: Path,
    split: Path,
    *,
    label: str,
    enrol_tracks: int,
    test_tracks: int,
    trials: int,
    one_shot: bool,
    seed: int,
    result_path: Path | None,
    **system_options,
) -> None:
    """Enrol artists by some of their tracks, and recognise them in others.

    `protocol` is "verification" (equal error rate) or "identification" (accuracy); for
    `system_options` see `SystemOptions`.

    Raises
    ------
    InputError
        Files that are wrong or do not belong together, an artist of the split that was trained
        on, or one with too few tracks.
    """
    options = SystemOptions(**system_options)
    from recognition import systems, verification

    if options.cache is not None:  # --scorer llr
        system = systems.load_gmm_ubm_system(
            features, split, label, options.cache, options.relevance
        )
    else:
        system = systems.load_feature_system(
            features,
            split,
            label,
            scorer=options.scorer,
            train=options.train,
            max_train_artists=options.max_train_artists,
            lda_dimensions=options.lda_dimensions,
            fusion=options.fusion,
            other_features=options.other_features,
        )
    settings = {
        "protocol": protocol,
        "label": label,
        "enrol": enrol_tracks,
        "tests": test_tracks,
        "trials": trials,
        "one_shot": one_shot,
        "seed": seed,
        **options.record(),
    }
    inputs = {**system.inputs, "settings": settings}
    if is_complete(result_path, inputs):
        return
    draws = [
        verification.draw_enrolment(system.artists, enrol_tracks, test_tracks, seed=seed + trial)
        for trial in range(trials)
    ]
    evaluation = systems.evaluate_recognition(
        protocol, system.make_scorer(), draws, one_shot=one_shot
    )
    variant = format_changes(settings, PAPER_SETTINGS)
    plda = format_changes(settings, {"lda": None, "train_artists": None})
    names = (system.description["features"], variant, plda)
    description = {
        **system.description,
        "dataset": split.stem,
        "features": " ".join(filter(None, names)),
        "variant": variant,
    }
    save_evaluation(evaluation, description, inputs, result_path)


# ---------------------------------------------------------------- LDA


def _add_lda_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "train_features",
        metavar="TRAIN_FEATURES.h5",
        type=Path,
        help="feature file of the training tracks of the weights",
    )
    parser.add_argument(
        "train_split", metavar="TRAIN_SPLIT.csv", type=Path, help="split of the training tracks"
    )
    parser.add_argument(
        "features", metavar="FEATURES.h5", type=Path, help="feature file to project"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="feature file to write, of the projected features"
    )
    cli.add_count(parser, "--dimensions", 100, "dimensions after the projection")
    _add_max_train_artists(parser)


def project_by_lda(
    train_features: Path,
    train_split: Path,
    features: Path,
    *,
    out: Path,
    dimensions: int,
    max_train_artists: int | None,
) -> None:
    """Project a feature file by LDA, fitted to the artists of the training tracks."""
    from evaluation.projection import fit_lda

    train = read_training_tracks(train_features, train_split, max_train_artists)
    original = feature_file.read_features(features)
    require_same_weights(train.feature_file, original, (train_features, features))
    inputs = _lda_inputs(train, original, dimensions)
    if out.exists():
        provenance.require_same(out, feature_file.read_features(out).inputs, inputs)
        print(f"{out}: complete already")
        return
    artists = train.labels("artist")
    lda = fit_lda(train.features, artists, dimensions)
    projected = replace(
        original,
        features=lda.apply(original.features),
        inputs=inputs,
        trained_on=sorted({*original.trained_on, *artists}),
    )
    feature_file.write_features(out, projected)
    print(f"{out}: {len(projected.track_id)} tracks in {dimensions} dimensions")


def _lda_inputs(train: LabelledTracks, original: Features, dimensions: int) -> dict:
    """Return the inputs of projected features: the original ones, and the training tracks."""
    weights = original.inputs.get("weights", {})
    rows = train.split[["track_id", "artist"]].itertuples(index=False)
    return {
        **original.inputs,
        "weights": {
            **weights,
            "name": f"{weights.get('name', 'unknown')}_lda",
            "model": f"{weights.get('model') or 'unknown'} with LDA",
        },
        "lda": {
            "dimensions": dimensions,
            "songs": provenance.digest_rows(rows),
            "input": train.feature_file.inputs.get("input"),
        },
    }
