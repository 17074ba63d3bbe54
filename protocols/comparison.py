"""The interval of the difference between two systems, from their result files."""

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

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


class _File(NamedTuple):
    """A result and the path of its file."""

    path: Path
    result: Result

    @property
    def split(self) -> str:
        """Identify the split and its tracks, for comparisons only."""
        return repr(self.result.made_from.get("inputs", {}).get("split"))


_Systems = tuple[list[_File], list[_File]]  # the results of the first and of the second system


class _Scores(NamedTuple):
    """The scores of both systems on the tracks of a split."""

    tracks: int
    artists: int
    first: np.ndarray  # (results, 1 + resamples)
    second: np.ndarray


def add_arguments(parser: argparse.ArgumentParser, name: str) -> Command:
    """Add the arguments of the command `compare` to its parser."""
    text = "result files of the first system, from training runs with different seeds or on "
    text += "different splits"
    parser.add_argument("first", metavar="A.json", type=Path, nargs="+", help=text)
    text = "result files of the second system on the same splits; the difference is the first "
    text += "system's score minus the second's"
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
    systems = _read_files(first), _read_files(second)
    for system in systems:
        for file in system:
            _require_same_protocol(systems[0][0], file)
    generator = np.random.default_rng(seed)
    splits = [_score_split(of_split, resamples, generator) for of_split in _group_by_split(systems)]
    artists = [split.artists for split in splits]
    for number, system in enumerate(systems):
        means = [(split.first, split.second)[number][:, 0].mean() for split in splits]
        value = np.average(means, weights=artists)
        results = f", mean of {len(system)} results" if len(system) > 1 else ""
        name = merge_names(file.result.features for file in system)
        print(f"{name}: {system[0].result.metric} {value:.4f}{results}")
    tracks = f"{sum(split.tracks for split in splits):,} tracks by {sum(artists):,} artists"
    within = f" in {len(splits)} splits" if len(splits) > 1 else ""
    print(f"{tracks}{within}, {resamples:,} resamples")
    differences = [bootstrap.differences(split.first, split.second, generator) for split in splits]
    interval = bootstrap.percentile_interval(np.average(differences, axis=0, weights=artists))
    print(
        f"difference {interval.difference:.4f}, "
        f"95 % interval {interval.lower:.4f} to {interval.upper:.4f}"
    )


def _read_files(paths: Sequence[Path]) -> list[_File]:
    return [_File(path, read_result(path)) for path in paths]


def _group_by_split(systems: _Systems) -> list[_Systems]:
    """Return both systems' results on each split; raise `InputError` if one has none."""
    by_split: dict[str, _Systems] = {}
    for number, system in enumerate(systems):
        for file in system:
            by_split.setdefault(file.split, ([], []))[number].append(file)
    for first, second in by_split.values():
        if not (first and second):
            (alone, *_), others = first or second, systems[1 if first else 0]
            raise InputError(
                f"{alone.path} and {others[0].path} contain different tracks or labels; evaluate "
                "both systems on the same split with the same options"
            )
    return list(by_split.values())


def _score_split(systems: _Systems, resamples: int, generator: np.random.Generator) -> _Scores:
    """Score both systems' results on one split, on the same resamples of its artists."""
    for system in systems:
        _require_one_system(system)
    files = [file for system in systems for file in system]
    values = [unpack_values(file.result, file.path) for file in files]
    artists = values[0]["artist"]
    for file, arrays in zip(files, values, strict=True):
        if arrays.keys() != values[0].keys() or not np.array_equal(arrays["artist"], artists):
            raise InputError(
                f"{file.path}: other tracks than in {files[0].path}; evaluate the same tracks"
            )
    count = int(artists.max()) + 1
    if count < 2:
        raise InputError(f"{files[0].path}: tracks of one artist only, but artists are resampled")
    draws = bootstrap.draw_artists(count, resamples, generator)
    bar = cli.progress_bar(values, desc="results", unit="result")
    scores = np.array([_score_resamples(arrays, draws) for arrays in bar])
    for (path, result), score in zip(files, scores[:, 0], strict=True):
        if abs(score - result.value) > _ROUNDING:
            raise InputError(
                f"{path}: its values per track give {result.metric} {score:.4f}, not its "
                f"{result.value:.4f}, as in results of earlier versions that averaged over several "
                "draws; delete it and evaluate again"
            )
    return _Scores(len(artists), count, *np.split(scores, [len(systems[0])]))


def _require_one_system(files: Sequence[_File]) -> None:
    """Raise `InputError` unless several results differ in the training seed alone."""
    first = files[0]
    for file, name in itertools.product(files, ("model", "artists", "variant")):
        value, other = (getattr(item.result, name) for item in (first, file))
        if value != other:
            raise InputError(
                f"{first.path} and {file.path}: results of two systems, whose {name} is {value} "
                f"and {other}; several results of one system differ in the training seed alone"
            )
    seeds = [file.result.seed for file in files]
    if len(set(seeds)) < len(seeds):
        raise InputError(
            f"{first.path}: several results of this system have the same training seed, or none; "
            "name one of them"
        )


def _require_same_protocol(first: _File, other: _File) -> None:
    """Raise `InputError` unless two results are of the same protocol, label and draws."""
    described = []
    for path, result in (first, other):
        settings = result.made_from.get("inputs", {}).get("settings", {})
        if result.protocol == "clustering" and result.label != "artist":
            raise InputError(
                f"{path}: clusters by {result.label}, but intervals are over artists; evaluate "
                "clustering by artist"
            )
        record = {"protocol": result.protocol, "label": result.label}
        if result.protocol in RECOGNITION:
            record |= {name: settings.get(name) for name in DRAW_SETTINGS}
        described.append(record)
    old, new = described
    for name in old:
        if old[name] != new.get(name):
            raise InputError(
                f"{first.path} and {other.path} differ in the {name} ({old[name]} and "
                f"{new.get(name)}); evaluate both systems on the same split with the same options"
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
