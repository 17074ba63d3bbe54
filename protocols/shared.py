"""Subcommand, option and result-saving helpers shared by the protocols."""

import argparse
import inspect
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from common import cli, provenance
from evaluation import results
from evaluation.results import Evaluation, Result


def add_command(
    commands: argparse._SubParsersAction,
    name: str,
    run: Callable[..., None],
    example: str,
    text: str | None = None,
) -> argparse.ArgumentParser:
    """Add an `evaluate.py` subcommand that calls `run` with the parsed options as arguments.

    `example` contains the arguments of the example shown in the help; `text` is the help text, by
    default the docstring of `run`.
    """
    text = inspect.cleandoc(text or run.__doc__ or "")
    parser = commands.add_parser(
        name,
        help=text.partition("\n")[0],
        description=text,
        formatter_class=cli.HelpFormatter,
        epilog=f"example:\n  python evaluate.py {name} {example}",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, command_parser=parser)
    return parser


def add_features_and_split(
    parser: argparse.ArgumentParser,
    *,
    label: str | None,
    features_help: str = "feature file of the tracks",
    split_help: str = "split of the tracks",
) -> None:
    """Add the feature file and split arguments, and a --label option if `label` has a default."""
    parser.add_argument("features", metavar="FEATURES.h5", type=Path, help=features_help)
    parser.add_argument("split", metavar="SPLIT.csv", type=Path, help=split_help)
    if label:
        parser.add_argument("--label", default=label, help="label column in the split")


def add_result_options(parser: argparse.ArgumentParser) -> None:
    """Add the --json and --seed options."""
    parser.add_argument(
        "--json",
        dest="result_path",
        type=Path,
        metavar="RESULT.json",
        help="result file to write; an existing result with the same inputs is not recomputed",
    )
    cli.add_seed(parser)


def add_perplexity_option(parser: argparse.ArgumentParser) -> None:
    """Add the --perplexity option."""
    parser.add_argument(
        "--perplexity",
        type=cli.positive_float,
        default=30.0,
        help="t-SNE perplexity, roughly the number of neighbours considered per track",
    )


def is_complete(result_path: Path | None, inputs: dict) -> bool:
    """Return whether the result file was computed from `inputs`; if so, print its metric."""
    if not result_path or not result_path.exists():
        return False
    result = results.read_result(result_path)
    if result.made_from.get("inputs") != inputs:
        return False
    print(f"{result_path}: already complete")
    print(f"{result.metric} {result.value:.4f}")
    return True


def save_evaluation(
    evaluation: Evaluation, description: dict, inputs: dict, result_path: Path | None
) -> None:
    """Print an evaluation, with the metric on the last line, and save it if a path is specified.

    `description` contains the attributes dataset, features, variant, model, artists and seed of
    `evaluation.results.Result`; `inputs` includes the settings, among them protocol and label.
    """
    settings = inputs["settings"]
    for line in evaluation.format_details():
        print(line)
    several = len(evaluation.values) > 1
    result = Result(
        protocol=settings["protocol"],
        metric=evaluation.metric,
        value=float(np.mean(evaluation.values)),
        spread=float(np.std(evaluation.values)) if several else None,
        trials=len(evaluation.values) if several else None,
        n_songs=evaluation.n_tracks,
        label=settings["label"],
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
    return " ".join(
        f"{name}={settings[name]}"
        for name, default in defaults.items()
        if settings[name] != default
    )
