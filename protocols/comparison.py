"""The interval of the difference between two systems, from their result files."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from common import cli
from common.errors import InputError
from evaluation import bootstrap
from evaluation.results import Result, merge_names, read_result
from evaluation.track_values import unpack_values
from protocols import Command

# Settings that determine the test tracks of artist recognition, with the split and the label.
DRAW_SETTINGS = ("enrol", "tests", "trials", "seed")
RECOGNITION = ("verification", "identification")

_ROUNDING = 1e-3  # largest error of a score from values stored in 16 or 32 bits


def add_arguments(parser: argparse.ArgumentParser, name: str) -> Command:
    """Add the arguments of the command `compare` to its parser."""
    text = "result files of the first system, from training runs that differ in the seed"
    parser.add_argument("first", metavar="A.json", type=Path, nargs="+", help=text)
    text = "result files of the second system, which is subtracted from the first"
    parser.add_argument(
        "--with", dest="second", metavar="B.json", type=Path, nargs="+", required=True, help=text
    )
    cli.add_count(parser, "--resamples", bootstrap.RESAMPLES, "number of bootstrap resamples")
    cli.add_seed(parser)
    return (
        compare_systems,
        "results/siamese_0.json results/siamese_1.json --with results/basic.json",
    )


def compare_systems(
    first: Sequence[Path], second: Sequence[Path], *, resamples: int, seed: int
) -> None:
    """Print the scores of two systems, their difference and its 95 % interval."""
    paths = [*first, *second]
    results = [read_result(path) for path in paths]
    for path, result in zip(paths, results, strict=True):
        _require_same_tracks((paths[0], results[0]), (path, result))
    systems = results[: len(first)], results[len(first) :]
    for group, system in zip((first, second), systems, strict=True):
        _require_one_system(group, system)
    values = [unpack_values(result, path) for path, result in zip(paths, results, strict=True)]
    artists = values[0]["artist"]
    for path, arrays in zip(paths, values, strict=True):
        if arrays.keys() != values[0].keys() or not np.array_equal(arrays["artist"], artists):
            raise InputError(f"{path}: other tracks than in {paths[0]}; evaluate the same tracks")
    count = int(artists.max()) + 1
    if count < 2:
        raise InputError(f"{paths[0]}: tracks of one artist only, but artists are resampled")
    generator = np.random.default_rng(seed)
    draws = bootstrap.draw_artists(count, resamples, generator)
    bar = cli.progress_bar(values, desc="results", unit="result")
    scores = np.array([_score_resamples(arrays, draws) for arrays in bar])
    for path, result, score in zip(paths, results, scores[:, 0], strict=True):
        if abs(score - result.value) > _ROUNDING:
            raise InputError(
                f"{path}: its values per track give {result.metric} {score:.4f}, not its "
                f"{result.value:.4f}, as in results of earlier versions that averaged over several "
                "draws; delete it and evaluate again"
            )
    ours, theirs = np.split(scores, [len(first)])
    for system, part in zip(systems, (ours, theirs), strict=True):
        seeds = f", mean of {len(system)} results" if len(system) > 1 else ""
        name = merge_names(result.features for result in system)
        print(f"{name}: {system[0].metric} {part[:, 0].mean():.4f}{seeds}")
    print(f"{len(artists):,} tracks by {count:,} artists, {resamples:,} resamples")
    interval = bootstrap.difference_interval(ours, theirs, generator)
    print(
        f"difference {interval.difference:.4f}, "
        f"95 % interval {interval.lower:.4f} to {interval.upper:.4f}"
    )


def _require_one_system(paths: Sequence[Path], results: Sequence[Result]) -> None:
    """Raise `InputError` unless several results differ in the training seed alone."""
    for name in ("model", "artists", "variant"):
        values = [getattr(result, name) for result in results]
        for path, value in zip(paths, values, strict=True):
            if value != values[0]:
                raise InputError(
                    f"{paths[0]} and {path}: results of two systems, whose {name} is {values[0]} "
                    f"and {value}; several results of one system differ in the training seed alone"
                )
    seeds = [result.seed for result in results]
    if len(set(seeds)) < len(seeds):
        raise InputError(
            f"{paths[0]}: several results of this system have the same training seed, or none; "
            "name one of them"
        )


def _require_same_tracks(first: tuple[Path, Result], second: tuple[Path, Result]) -> None:
    """Raise `InputError` unless two results are of the same protocol and tracks."""
    described = []
    for path, result in (first, second):
        inputs = result.made_from.get("inputs", {})
        settings = inputs.get("settings", {})
        if result.protocol == "clustering" and result.label != "artist":
            raise InputError(
                f"{path}: clusters by {result.label}, but intervals are over artists; evaluate "
                "clustering by artist"
            )
        record = {"protocol": result.protocol, "label": result.label, "split": inputs.get("split")}
        if result.protocol in RECOGNITION:
            record |= {name: settings.get(name) for name in DRAW_SETTINGS}
        described.append(record)
    old, new = described
    different = [name for name in old if old[name] != new.get(name)]
    if different:
        name = different[0]
        values = "" if name == "split" else f" ({old[name]} and {new.get(name)})"
        tracks = (
            "contain different tracks or labels" if name == "split" else f"differ in the {name}"
        )
        raise InputError(
            f"{first[0]} and {second[0]} {tracks}{values}; evaluate both systems on the same split "
            "with the same options"
        )


def _score_resamples(arrays: dict[str, np.ndarray], draws: np.ndarray) -> np.ndarray:
    """Compute the score of one result in each resample."""
    from recognition.verification import resampled_error_rates

    functions: dict[str, Callable] = {
        "value": lambda array: bootstrap.resampled_means(array, arrays["artist"], draws),
        "cluster": lambda array: bootstrap.resampled_ari(array, arrays["artist"], draws),
        "ranks": lambda array: np.mean(
            [resampled_error_rates(ranks, arrays["artist"], draws) for ranks in array], axis=0
        ),
    }
    (name,) = arrays.keys() - {"artist"}
    return functions[name](arrays[name])
