"""Options shared by several papers, and the steps that train, extract, evaluate and report."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from common import cli
from papers.datasets import Dataset
from papers.pipeline import Step, make_step
from training.config import SiameseConfig, TrainingConfig

MAP_ARTISTS = 22  # number of artists shown on a t-SNE map, as in the papers


def add_training_arguments(
    parser: argparse.ArgumentParser, *, artists: Sequence[int], weights: Sequence[str]
) -> None:
    """Add the options shared by the papers that train on artist labels or use released weights."""
    parser.add_argument("--train", default="msd", metavar="NAME", help="dataset with artist labels")
    add_training_size(parser, artists)
    text = "names of the released weights to evaluate (default: all of them if there is no "
    text += "training dataset, otherwise none)"
    parser.add_argument("--weights", nargs="*", choices=weights, metavar="NAME", help=text)
    cli.add_seeds(parser, [0])


def add_training_size(
    parser: argparse.ArgumentParser, artists: Sequence[int], epochs: int = TrainingConfig.epochs
) -> None:
    """Add the options `--artists` and `--epochs`, with these defaults."""
    text = "training set sizes, as numbers of artists"
    parser.add_argument(
        "--artists", type=cli.two_or_more, nargs="+", default=artists, metavar="N", help=text
    )
    cli.add_count(parser, "--epochs", epochs, "maximum number of epochs")


def add_siamese_learning_rate(parser: argparse.ArgumentParser) -> None:
    """Add the `--siamese-learning-rate` option."""
    rate, text = SiameseConfig.learning_rate, "learning rate of the siamese model"
    number = {"type": cli.positive_float, "default": rate, "help": text}
    cli.add_renamed(parser, "--siamese-learning-rate", "--siamese-rate", **number)


def features_file(out: Path, name: str, dataset: Dataset) -> Path:
    """Return the path of the feature file for a dataset and a model name."""
    return out / "features" / f"{name}_{dataset.name}.h5"


def train(
    script: str, dataset: Dataset, folder: Path, *options: object, output: str = "best.h5"
) -> Step:
    """Return the step that trains a model; `output` names the run file that later steps use."""
    data = (dataset.split, dataset.cache)
    return make_step(script, *data, "--out", folder, *options, output=folder / output, inputs=data)


def extract(
    out: Path, name: str, weights: Path | str, dataset: Dataset, max_artists: int | None = None
) -> Step:
    """Return the step that extracts features with a weights file or named released weights.

    If `max_artists` is given, only the training tracks by that many artists are extracted.
    """
    file = features_file(out, name, dataset)
    inputs = (dataset.cache, weights) if isinstance(weights, Path) else (dataset.cache,)
    arguments: tuple[object, ...] = (weights, dataset.cache, "--out", file)
    if max_artists:
        inputs = (*inputs, dataset.split)
        arguments = (*arguments, "--split", dataset.split, "--max-artists", max_artists)
    return make_step("extract_features.py", *arguments, output=file, inputs=inputs)


def evaluate(
    protocol: str,
    features: Path,
    dataset: Dataset,
    json: Path,
    *options: object,
    more_inputs=(),
    other_outputs=(),
) -> Step:
    """Return the step that evaluates features with a protocol and writes the result as JSON."""
    arguments = (protocol, features, dataset.split, *options, "--json", json)
    inputs = (features, dataset.split, *more_inputs)
    return make_step(
        "evaluate.py", *arguments, output=json, inputs=inputs, other_outputs=other_outputs
    )


def tsne(out: Path, name: str, dataset: Dataset, label: str) -> Step:
    """Return the step that computes a t-SNE map of a dataset, labelled by genre or artist."""
    json = out / f"tsne_{label}_{name}_{dataset.name}.json"
    subset = ("--max-labels", MAP_ARTISTS) if label == "artist" else ()
    features = features_file(out, name, dataset)
    return evaluate("tsne", features, dataset, json, "--label", label, *subset)


def explore(out: Path, name: str, other_name: str, dataset: Dataset) -> Step:
    """Return the step that writes an HTML page comparing two feature sets on a dataset."""
    first, second = (features_file(out, each, dataset) for each in (name, other_name))
    page = out / f"songs_{dataset.name}.html"
    audio = ("--audio", dataset.audio) if dataset.audio else ()
    arguments = (first, dataset.split, "--compare-with", second, *audio, "--out", page)
    inputs = (first, second, dataset.split)
    return make_step("evaluate.py", "explore", *arguments, output=page, inputs=inputs)


def group_artists(dataset: Dataset, out: Path, words: Sequence[str], *options: object) -> Step:
    """Return the step that computes the artist groups of each vocabulary."""
    data = (dataset.split, dataset.cache)
    audio = ("--audio", dataset.audio) if "e" in words else ()
    arguments = (*data, "--out", out, "--words", *words, *audio, *options)
    return make_step("data_prep/2b_artist_groups.py", *arguments, output=out, inputs=data)


def add_report(out: Path, steps: Iterable[Step]) -> list[Step]:
    """Return the steps without duplicates, and a last step that reports their results.

    Duplicates arise when one dataset serves several roles.
    """
    steps = list(dict.fromkeys(steps))
    outputs = (path for step in steps for path in step.outputs)
    results = [path for path in outputs if path.parent == out and path.suffix == ".json"]
    arguments, page = ("report", "--results", out), out / "report.html"
    report = make_step(
        "evaluate.py", *arguments, output=page, inputs=results, needs_all_inputs=False
    )
    return [*steps, report]
