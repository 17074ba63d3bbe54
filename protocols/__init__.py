"""Commands of `evaluate.py`, from input files to printed and saved results.

The function `add_arguments` of each module adds the arguments of a command to its parser. Metrics,
systems and layouts are imported where they are used, so that a command loads only what it needs.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from common import cli, provenance
from evaluation import results
from evaluation.results import Evaluation, Result

FEATURES = ("FEATURES.h5", "feature file of the tracks")
SPLIT = ("SPLIT.csv", "split of the tracks")

# What `add_arguments` returns: the function that runs the command, and an example's arguments.
Command = tuple[Callable[..., None], str]


def add_files(parser: argparse.ArgumentParser, **files: tuple[str, str]) -> None:
    """Add positional file arguments, each with the name in the help output and a help text."""
    for name, (metavar, text) in files.items():
        parser.add_argument(name, metavar=metavar, type=Path, help=text)


def add_result_options(parser: argparse.ArgumentParser, label: str) -> None:
    """Add the options --label, with the default `label`, --json and --seed."""
    parser.add_argument("--label", default=label, help="label column in the split")
    text = "result file to write; an existing result with the same inputs is not recomputed"
    add_result_file(parser, "--json", "result_path", text)
    cli.add_seed(parser)


def add_result_file(
    parser: argparse.ArgumentParser, option: str, destination: str, text: str
) -> None:
    """Add an option that names a result file to write."""
    kind = cli.output_file(".json")
    parser.add_argument(option, dest=destination, type=kind, metavar="RESULT.json", help=text)


def add_perplexity_option(parser: argparse.ArgumentParser) -> None:
    """Add the --perplexity option."""
    text = "t-SNE perplexity, roughly the number of neighbours considered per track"
    parser.add_argument("--perplexity", type=cli.positive_float, default=30.0, help=text)


def evaluate_and_save(
    compute: Callable[[], Evaluation], description: dict, inputs: dict, result_path: Path | None
) -> None:
    """Print an evaluation, with the metric on the last line, and save it if a path is specified.

    If the result file already contains an evaluation of the same inputs, it is not recomputed.
    `description` contains the attributes dataset, features, variant, model, artists and seed of
    `Result`; `inputs` includes the settings, among them protocol and label.
    """
    if result_path and result_path.exists():
        result = results.read_result(result_path)
        if result.made_from.get("inputs") == inputs:
            print(f"{result_path}: already complete")
            print(f"{result.metric} {result.value:.4f}")
            return
    evaluation = compute()
    for line in evaluation.format_details():
        print(line)
    several = len(evaluation.values) > 1
    result = Result(
        protocol=inputs["settings"]["protocol"],
        metric=evaluation.metric,
        value=float(np.mean(evaluation.values)),
        spread=float(np.std(evaluation.values)) if several else None,
        trials=len(evaluation.values) if several else None,
        n_songs=evaluation.n_tracks,
        label=inputs["settings"]["label"],
        **description,
        made_from=provenance.make_record(inputs),
        command=shlex.join(["python", "evaluate.py", *sys.argv[1:]]),
        details=evaluation.details,
    )
    if result_path:
        results.write_result(result_path, result)
    print(f"{result.metric} {result.value:.4f}")


def format_changes(settings: Mapping, defaults: Mapping) -> str:
    """Format the settings that differ from their defaults as "name=value name=value"."""
    changed = [name for name, default in defaults.items() if settings[name] != default]
    return " ".join(f"{name}={settings[name]}" for name in changed)
