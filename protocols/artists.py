"""Artist recognition protocols and the LDA projection of features (arxiv2017).

Recognition systems and metrics are imported inside the functions, so that --help stays fast.
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
from recognition import ENROL_TRACKS, RELEVANCE, TEST_TRACKS

RECOGNITION = {
    "verification": "Compute the equal error rate of verification: is a track by this artist?",
    "identification": "Compute the accuracy of identification: which artist is a track by?",
}

# The paper's settings, keyed by the names used in result files.
PAPER_SETTINGS = {"enrol": ENROL_TRACKS, "tests": TEST_TRACKS, "relevance": RELEVANCE}


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
        features_help="feature file of the tracks; with --scorer llr, the i-vector extractor file "
        "ivector.h5",
        split_help="split whose artists are disjoint from the training artists",
    )
    cli.add_count(
        parser,
        "--enrol-tracks",
        ENROL_TRACKS,
        "number of enrolment tracks per artist",
        old="--enrol",
    )
    cli.add_count(
        parser,
        "--test-tracks",
        TEST_TRACKS,
        "number of test tracks per artist",
        old="--tests",
    )
    cli.add_count(
        parser,
        "--trials",
        1,
        "number of random draws of enrolment and test tracks to average over",
    )
    parser.add_argument(
        "--one-shot",
        action="store_true",
        help="also evaluate with 1, 2, 5 and 10 enrolment tracks per artist",
    )
    parser.add_argument(
        "--scorer",
        choices=("cosine", "plda", "llr"),
        default="cosine",
        help="scoring function: cosine similarity or PLDA on features, or the log-likelihood ratio "
        "of a GMM-UBM",
    )
    parser.add_argument(
        "--train",
        nargs=2,
        type=Path,
        metavar=("FEATURES.h5", "SPLIT.csv"),
        help="feature file and split to train PLDA on, normally the tracks that the network was "
        "trained on",
    )
    _add_max_train_artists(parser)
    cli.add_count(
        parser,
        "--lda-dimensions",
        None,
        "number of dimensions after the LDA that precedes PLDA (default: no LDA)",
        old="--lda",
    )
    parser.add_argument(
        "--fuse",
        dest="fusion",
        choices=("early", "late"),
        help="how to fuse two feature files: early concatenates the features, late averages the "
        "scores",
    )
    parser.add_argument(
        "--with",
        dest="other_features",
        nargs="+",
        type=Path,
        metavar="FEATURES.h5",
        help="feature file to fuse with; with --scorer plda, followed by the corresponding feature "
        "file of the training tracks",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="CACHE.h5",
        help="mel cache of the tracks, required by --scorer llr",
    )
    parser.add_argument(
        "--relevance",
        type=cli.positive_float,
        default=RELEVANCE,
        help="relevance factor for MAP adaptation, used by --scorer llr",
    )
    add_result_options(parser)


def _add_max_train_artists(parser: argparse.ArgumentParser) -> None:
    cli.add_count(
        parser,
        "--max-train-artists",
        None,
        "maximum number of training artists, taken in training split order (default: all)",
        old="--train-artists",
    )


@dataclass(frozen=True, kw_only=True)
class SystemOptions:
    """Options of a recognition system, which determine how tracks are scored.

    Raises
    ------
    argparse.ArgumentError
        If options are missing or cannot be combined.
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
        """Return the settings that determine a result, keyed by the names used in result files."""
        # A file that was not specified is recorded as null; other files are among the inputs.
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
    """Enrol artists with a number of tracks each, and recognise them in their other tracks.

    `protocol` is "verification" (equal error rate) or "identification" (accuracy);
    `system_options` are the attributes of `SystemOptions`.

    Raises
    ------
    InputError
        If a file is invalid, if the files do not belong together, or if an artist in the split was
        used for training or has too few tracks.
    """
    options = SystemOptions(**system_options)
    from recognition import systems, verification

    if options.cache is not None:  # --scorer llr
        system = systems.load_gmm_ubm_system(
            features, split, label, options.cache, options.relevance
        )
    else:
        gmm_ubm_only = ("cache", "relevance")
        scoring = {
            name: system_options[name] for name in system_options if name not in gmm_ubm_only
        }
        system = systems.load_feature_system(features, split, label, **scoring)
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
        help="feature file of the tracks that the network was trained on",
    )
    parser.add_argument(
        "train_split",
        metavar="TRAIN_SPLIT.csv",
        type=Path,
        help="split that lists the training tracks",
    )
    parser.add_argument(
        "features", metavar="FEATURES.h5", type=Path, help="feature file to project"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="feature file to write the projected features to",
    )
    cli.add_count(parser, "--dimensions", 100, "number of dimensions after the projection")
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
    """Project a feature file with an LDA fitted to the artists of the training tracks."""
    from evaluation.projection import fit_lda

    train = read_training_tracks(train_features, train_split, max_train_artists)
    original = feature_file.read_features(features)
    require_same_weights(train.feature_file, original, (train_features, features))
    inputs = _lda_inputs(train, original, dimensions)
    if out.exists():
        provenance.require_same(out, feature_file.read_features(out).inputs, inputs)
        print(f"{out}: already complete")
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
    """Return the provenance of projected features: original inputs and training tracks."""
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
