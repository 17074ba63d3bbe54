"""Artist recognition protocols and the LDA projection of features (arxiv2017)."""

import argparse
import functools
from dataclasses import replace
from pathlib import Path

from common import cli, feature_file, provenance
from evaluation.labelled_tracks import read_training_tracks, require_same_weights
from evaluation.results import Evaluation
from protocols import (
    Command,
    add_files,
    add_result_file,
    add_result_options,
    evaluate_and_save,
    format_changes,
)
from recognition import ENROL_TRACKS, RELEVANCE, TEST_TRACKS

# The paper's settings, keyed by the names used in result files.
PAPER_SETTINGS = {"enrol": ENROL_TRACKS, "tests": TEST_TRACKS, "relevance": RELEVANCE}


def add_arguments(parser: argparse.ArgumentParser, name: str) -> Command:
    """Add the arguments of the command `name` to its parser."""
    text = "maximum number of artists to fit LDA and PLDA to, in split order (default: all)"
    cli.add_count(parser, "--max-train-artists", None, text, old="--train-artists")
    if name == "lda":
        return _add_lda_arguments(parser)
    files = "feature file of the tracks; with --scorer llr, the i-vector model ivector.h5"
    text = "split whose artists are disjoint from the training artists"
    add_files(parser, features=("FEATURES.h5", files), split=("SPLIT.csv", text))
    add_result_options(parser, "artist")
    if name == "verification":
        text = "file for the identification result, computed from the same scores"
        add_result_file(parser, "--identification", "identification_path", text)
    trials = "number of random draws of enrolment and test tracks to average over"
    lda = "number of dimensions after the LDA that precedes PLDA (default: no LDA)"
    for option, default, text, old in (
        ("--enrol-tracks", ENROL_TRACKS, "number of enrolment tracks per artist", "--enrol"),
        ("--trials", 1, trials, ""),
        ("--lda-dimensions", None, lda, "--lda"),
    ):
        cli.add_count(parser, option, default, text, old=old)
    text = "number of test tracks per artist, or `all` for those that are not enrolled"
    number = {"type": _count_or_all, "default": TEST_TRACKS, "metavar": "N", "help": text}
    cli.add_renamed(parser, "--test-tracks", "--tests", **number)
    text = "additional results with 1, 2, 5 and 10 enrolment tracks, if --enrol-tracks is higher"
    parser.add_argument("--one-shot", action="store_true", help=text)
    text = "cosine similarity or PLDA on features, or the log-likelihood ratio of a GMM-UBM"
    parser.add_argument(
        "--scorer",
        choices=("cosine", "plda", "llr"),
        default="cosine",
        help=f"scoring function: {text}",
    )
    text = "feature file and split to train PLDA on, normally the training tracks of the network"
    parser.add_argument(
        "--train", nargs=2, type=Path, metavar=("FEATURES.h5", "SPLIT.csv"), help=text
    )
    text = "fusion of two feature files: concatenated features (early) or averaged scores (late)"
    parser.add_argument("--fuse", dest="fusion", choices=("early", "late"), help=text)
    parser.add_argument(
        "--with",
        dest="other_features",
        nargs="+",
        type=Path,
        metavar="FEATURES.h5",
        help="feature file to fuse with; with --scorer plda, followed by the corresponding feature "
        "file of the training tracks",
    )
    text = "mel cache of the tracks, required by --scorer llr"
    parser.add_argument("--cache", type=Path, metavar="CACHE.h5", help=text)
    text = "relevance factor for MAP adaptation, used by --scorer llr"
    parser.add_argument("--relevance", type=cli.positive_float, default=RELEVANCE, help=text)
    return functools.partial(evaluate_recognition, name), "features/basic.h5 splits/demo_unseen.csv"


def evaluate_recognition(
    protocol: str,
    features: Path,
    split: Path,
    *,
    label: str,
    enrol_tracks: int,
    test_tracks: int | str,
    trials: int,
    one_shot: bool,
    seed: int,
    result_path: Path | None,
    cache: Path | None,
    relevance: float,
    identification_path: Path | None = None,
    **scoring,
) -> None:
    """Enrol artists with a number of tracks each, and recognise them in their other tracks.

    `scoring` are the options of `recognition.systems.load_feature_system`.
    """
    _check_options(cache, scoring)
    if identification_path and identification_path == result_path:
        raise argparse.ArgumentError(None, "--json and --identification need different files")
    from recognition import systems, verification

    if cache:  # --scorer llr
        system = systems.load_gmm_ubm_system(features, split, label, cache, relevance)
    else:
        system = systems.load_feature_system(features, split, label, **scoring)
    files = {"train": scoring["train"], "other": scoring["other_features"], "cache": cache}
    settings = {
        "label": label,
        "enrol": enrol_tracks,
        "tests": test_tracks,
        "trials": trials,
        "one_shot": one_shot,
        "seed": seed,
        "scorer": scoring["scorer"],
        "train_artists": scoring["max_train_artists"],
        "lda": scoring["lda_dimensions"],
        "fuse": scoring["fusion"],
        "relevance": relevance,
        # A file that was not specified is recorded as null; other files are among the inputs.
        **{name: None for name, file in files.items() if file is None},
    }
    variant = format_changes(settings, PAPER_SETTINGS)
    plda = format_changes(settings, {"lda": None, "train_artists": None})
    names = (system.description["features"], variant, plda)
    description = {
        **system.description,
        "dataset": split.stem,
        "features": " ".join(filter(None, names)),
        "variant": variant,
    }

    paths = {protocol: result_path}
    if identification_path:
        paths = {"identification": identification_path, **paths}  # the metric is printed last

    tests = None if isinstance(test_tracks, str) else test_tracks

    @functools.cache
    def compute() -> dict[str, Evaluation]:
        draws = [
            verification.draw_enrolment(system.artists, enrol_tracks, tests, seed=seed + i)
            for i in range(trials)
        ]
        scorer = system.make_scorer()
        return systems.evaluate_recognition(list(paths), scorer, draws, one_shot=one_shot)

    def evaluation_of(name: str) -> Evaluation:
        return compute()[name]

    for name, path in paths.items():
        inputs = {**system.inputs, "settings": {"protocol": name, **settings}}
        evaluate_and_save(functools.partial(evaluation_of, name), description, inputs, path)


def _count_or_all(text: str) -> int | str:
    if text == "all":
        return text
    try:
        return cli.positive(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is neither a number nor all") from error


def _check_options(cache: Path | None, scoring: dict) -> None:
    """Raise `ArgumentError` if options are missing or cannot be combined."""
    scorer, fusion, other = (scoring[name] for name in ("scorer", "fusion", "other_features"))
    plda, llr, files = scorer == "plda", scorer == "llr", 2 if scorer == "plda" else 1
    train = scoring["train"]
    plda_options = (train, scoring["max_train_artists"], scoring["lda_dimensions"])
    for problem, is_present in {
        "--scorer plda needs --train, features and a split to train on": plda and not train,
        "--train, --max-train-artists and --lda-dimensions need --scorer plda": (
            any(plda_options) and not plda
        ),
        "--scorer llr needs --cache": llr and not cache,
        "--cache needs --scorer llr": cache and not llr,
        "--fuse and --with need each other": bool(fusion) != bool(other),
        "--fuse cannot be combined with --scorer llr": fusion and llr,
        f"--with needs {files} feature file{'s' * plda} with --scorer {scorer}": (
            other and len(other) != files
        ),
    }.items():
        if is_present:
            raise argparse.ArgumentError(None, problem)


def _add_lda_arguments(parser: argparse.ArgumentParser) -> Command:
    features = "feature file of the tracks that the network was trained on"
    add_files(
        parser,
        train_features=("TRAIN_FEATURES.h5", features),
        train_split=("TRAIN_SPLIT.csv", "split that lists the training tracks"),
        features=("FEATURES.h5", "feature file to project"),
    )
    text = "feature file to write the projected features to"
    parser.add_argument("--out", type=cli.output_file(".h5"), required=True, help=text)
    cli.add_count(parser, "--dimensions", 100, "number of dimensions after the projection")
    example = "features/basic_train.h5 splits/demo.csv features/basic.h5 --out features/lda.h5"
    return project_by_lda, example


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
    weights = original.inputs.get("weights", {})
    rows = train.split[["track_id", "artist"]].itertuples(index=False)
    inputs = {
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
