"""Genre retrieval and classification with artist embeddings (ismir2018).

Computes Tables 1 to 4 and Figures 2 to 7: trains basic and siamese models for each number of
artists, plus the tag model, and evaluates them and two baselines by MAP, k-NN and linear softmax
on each target dataset. Without a training dataset, evaluates the released weights instead. Maps
the tracks by genre and artist, and writes a web page for listening to them.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import cli
from common.errors import InputError
from models import released_weights
from papers import commands
from papers.datasets import DataFolder, Dataset
from papers.pipeline import Step
from training.config import SiameseConfig

PROTOCOLS = ("retrieval", "knn", "linear")
BASELINES = ("mfcc", "untrained")


@dataclass(frozen=True)
class Options:
    """Options for reproducing this paper; see `add_arguments`."""

    out: Path
    train: str
    tags: str
    targets: Sequence[str]
    artists: Sequence[int]
    epochs: int
    siamese_learning_rate: float
    weights: Sequence[str] | None
    seeds: Sequence[int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one command-line argument per field of `Options`, except `out`."""
    commands.add_training_arguments(
        parser,
        artists=[500, 1000, 2000, 5000, 10000],
        weights=list(released_weights.released_models()),
    )
    parser.add_argument(
        "--tags", default="msd_tags", metavar="NAME", help="training dataset of the tag model"
    )
    parser.add_argument(
        "--targets",
        nargs="+",
        default=["gtzan", "fma_small", "naver"],
        metavar="NAME",
        help="evaluation datasets with genre labels",
    )
    cli.add_renamed(
        parser,
        "--siamese-learning-rate",
        "--siamese-rate",
        type=cli.positive_float,
        default=SiameseConfig.learning_rate,
        help="learning rate of the siamese model",
    )


def plan(options: Options, data: DataFolder) -> tuple[list[Step], list[str]]:
    """Return the steps in execution order, and one line for each part that is left out."""
    found = {name: data.find(name) for name in options.targets}
    targets = [dataset for dataset in found.values() if dataset]
    left_out = [data.describe_missing(name) for name, dataset in found.items() if not dataset]
    if not targets:
        raise InputError(
            "; ".join(left_out) + "; provide one of them, see data_prep/1_make_splits.py --help"
        )
    train = data.find_training_sets(
        options.train, options.artists, exclude=[] if options.train == "msd" else targets
    )
    if options.tags == options.train:
        tags = train.get(max(options.artists))
    else:
        tags = data.find(options.tags)
    if not train:
        left_out.append(data.describe_missing(options.train) + ": evaluating released weights")
    if not tags:
        left_out.append(data.describe_missing(options.tags) + ": no tag model")
    names = options.weights
    if names is None:
        names = [] if train else list(released_weights.released_models())
    released = [name for name in released_weights.released_models() if name in names]

    datasets = [dataset for dataset in (*targets, *train.values(), tags) if dataset]
    steps = [step for dataset in datasets for step in dataset.steps]
    trainings = list(_trainings(options, train, tags))
    steps += trainings
    # Weights by feature name; models with more training artists come later.
    weights: dict[str, Path | str] = {name: name for name in (*BASELINES, *released)}
    weights |= {step.output.parent.name: step.output for step in trainings}
    for target in targets:
        steps += _evaluations(options.out, target, weights)
        steps += _maps(options.out, target, [name for name in weights if name not in BASELINES])
    steps = commands.unique_steps(steps)
    return [*steps, commands.report(options.out, steps)], left_out


def _trainings(options: Options, train: dict[int, Dataset], tags: Dataset | None) -> Iterator[Step]:
    for seed in options.seeds:
        amount: tuple[object, ...] = ("--epochs", options.epochs, "--seed", seed)
        rate = ("--learning-rate", options.siamese_learning_rate)
        for artists, dataset in sorted(train.items()):
            for model, more in (("basic", ()), ("siamese", rate)):
                script, name = f"train_{model}.py", f"{model}_{artists}_{seed}"
                arguments = (name, "--max-artists", artists, *amount, *more)
                yield commands.train(script, dataset, options.out, *arguments)
        if tags:
            arguments = (f"tag_{seed}", "--labels", "tags", *amount)
            yield commands.train("train_basic.py", tags, options.out, *arguments)


def _evaluations(out: Path, target: Dataset, weights: dict[str, Path | str]) -> Iterator[Step]:
    for name, source in weights.items():
        extraction = commands.extract(out, name, source, target)
        yield extraction
        for protocol in PROTOCOLS:
            json = out / f"{protocol}_{name}_{target.name}.json"
            yield commands.evaluate(protocol, extraction.output, target, json)


def _maps(out: Path, target: Dataset, names: Sequence[str]) -> Iterator[Step]:
    """Yield t-SNE maps of the largest siamese model, and a page comparing it with another model."""
    if not names:
        return
    largest = [
        next((name for name in reversed(names) if name.startswith(f"{model}_")), None)
        for model in ("siamese", "basic")
    ]
    first, *others = [name for name in largest if name] or names[-1:]
    yield commands.tsne(out, first, target, "genre")
    if target.has_artists:
        yield commands.tsne(out, first, target, "artist")
    yield commands.explore(out, first, [*others, "mfcc"][0], target)
