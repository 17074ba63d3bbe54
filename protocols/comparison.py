"""The interval of the difference between two systems, from their result files."""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import cli
from common.errors import InputError
from evaluation import bootstrap
from evaluation.results import Result, merge_names, read_result
from evaluation.track_values import TrackValues, unpack_values
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
        return repr(_get_record(self.result.made_from, "inputs").get("split"))


_Systems = tuple[list[_File], list[_File]]  # the results of the first and of the second system


class _Split(NamedTuple):
    """The scores of both systems on the tracks of a split."""

    path: Path  # of a result on this split, for messages
    tracks: int
    artists: int
    hashes: np.ndarray | None  # of the artists, see `TrackValues`
    scores: tuple[np.ndarray, np.ndarray]  # of each system, (results, 1 + resamples)


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
            _require_same(system[0], file, ("model", "variant"))
    generator = np.random.default_rng(seed)
    splits = [_score_split(of_split, resamples, generator) for of_split in _group_by_split(systems)]
    _require_disjoint_artists(splits)
    artists = [split.artists for split in splits]
    within = f" on {len(splits)} splits" if len(splits) > 1 else ""
    for number, system in enumerate(systems):
        means = [split.scores[number][:, 0].mean() for split in splits]
        results = f", mean of {len(system)} results{within}" if len(system) > 1 else ""
        name = merge_names({file.result.features for file in system})
        value = np.average(means, weights=artists)
        print(f"{name}: {system[0].result.metric} {value:.4f}{results}")
    print(
        f"{sum(split.tracks for split in splits):,} tracks by {sum(artists):,} artists{within}, "
        f"{resamples:,} resamples"
    )
    differences = [bootstrap.differences(*split.scores, generator) for split in splits]
    interval = bootstrap.percentile_interval(bootstrap.average_folds(differences, artists))
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
                f"{alone.path}: the other system has no result on the same split and tracks (those "
                f"of {others[0].path} differ); evaluate both systems on the same splits with the "
                "same options"
            )
    return list(by_split.values())


def _score_split(systems: _Systems, resamples: int, generator: np.random.Generator) -> _Split:
    """Score both systems' results on one split, on the same resamples of its artists."""
    for system in systems:
        _require_distinct_seeds(system)
    files = [file for system in systems for file in system]
    values = [unpack_values(file.result, file.path) for file in files]
    first = values[0]
    for file, other in zip(files, values, strict=True):
        if other.kind != first.kind or not np.array_equal(other.artists, first.artists):
            raise InputError(
                f"{file.path}: other tracks than in {files[0].path}; evaluate the same tracks"
            )
    count = int(first.artists.max()) + 1
    if count < bootstrap.FEWEST_ARTISTS:
        raise InputError(
            f"{files[0].path}: tracks of {count} artists, but at least {bootstrap.FEWEST_ARTISTS} "
            "are needed, since artists are resampled"
        )
    draws = bootstrap.draw_artists(count, resamples, generator)
    bar = cli.progress_bar(values, desc="results", unit="result")
    scores = np.array([_score_resamples(each, draws) for each in bar])
    for (path, result), score in zip(files, scores[:, 0], strict=True):
        if abs(score - result.value) > _ROUNDING:
            raise InputError(
                f"{path}: its values per track give {result.metric} {score:.4f}, not its "
                f"{result.value:.4f}, as in results of earlier versions that averaged over several "
                "draws; delete it and evaluate again"
            )
    ours, theirs = np.split(scores, [len(systems[0])])
    return _Split(files[0].path, len(first.artists), count, first.hashes, (ours, theirs))


def _require_disjoint_artists(splits: Sequence[_Split]) -> None:
    """Raise `InputError` unless no artist is in two splits."""
    for one, other in itertools.combinations(splits, 2):
        if one.hashes is None or other.hashes is None:
            path = one.path if one.hashes is None else other.path
            raise InputError(
                f"{path}: does not identify its artists, as results of earlier versions, but "
                "several splits need this; delete it and evaluate again"
            )
        known = one.hashes[one.hashes != 0]
        if common := np.isin(known, other.hashes).sum():
            raise InputError(
                f"{one.path} and {other.path}: {common} of the artists are in both splits, so "
                "their results are not independent; use the same split for both systems, or splits "
                "without common artists"
            )


def _require_distinct_seeds(files: Sequence[_File]) -> None:
    """Raise `InputError` unless results on a split differ in the training seed alone."""
    by_seed: dict[int | None, _File] = {}
    for file in files:
        _require_same(files[0], file, ("artists",))
        if other := by_seed.get(file.result.seed):
            raise InputError(
                f"{other.path} and {file.path}: results of one system with the same training "
                "seed, or none; name one of them"
            )
        by_seed[file.result.seed] = file


def _require_same(first: _File, other: _File, names: Sequence[str]) -> None:
    """Raise `InputError` unless two results are of the same system, by these attributes."""
    for name in names:
        values = getattr(first.result, name), getattr(other.result, name)
        if values[0] != values[1]:
            raise InputError(
                f"{first.path} and {other.path}: results of two systems, whose {name} is "
                f"{values[0]} and {values[1]}; several results of one system differ in the "
                "training seed alone"
            )


def _require_same_protocol(first: _File, other: _File) -> None:
    """Raise `InputError` unless two results are of the same protocol, label and draws."""
    described = []
    for path, result in (first, other):
        settings = _get_record(_get_record(result.made_from, "inputs"), "settings")
        if result.protocol == "clustering" and result.label != "artist":
            raise InputError(
                f"{path}: clusters by {result.label}, but intervals are over artists; evaluate "
                "clustering by artist"
            )
        record: dict[str, object] = {"protocol": result.protocol, "label": result.label}
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


def _get_record(record: dict, name: str) -> dict:
    """Return a part of a provenance record; nothing if it is missing or of another type."""
    part = record.get(name)
    return part if isinstance(part, dict) else {}


def _score_resamples(values: TrackValues, draws: np.ndarray) -> np.ndarray:
    """Compute the score of one result in each resample."""
    from recognition.verification import resampled_error_rates

    if values.kind == "value":
        return bootstrap.resampled_means(values.values, values.artists, draws)
    if values.kind == "cluster":
        return bootstrap.resampled_ari(values.values, values.artists, draws)
    rates = [resampled_error_rates(ranks, values.artists, draws) for ranks in values.values]
    return np.mean(rates, axis=0)
