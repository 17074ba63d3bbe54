"""Genre retrieval and classification with artist embeddings (ismir2018).

Computes Tables 1 to 4 and Figures 2 to 7: trains basic and siamese models for each number of
artists, plus the tag model, and evaluates them and two baselines by MAP, k-NN and linear softmax
on each target dataset. Without a training dataset, evaluates the released weights instead. Maps
the tracks by genre and artist, and writes a web page for listening to them.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.errors import InputError
from models import released_weights
from papers import commands
from papers.datasets import DataFolder, Dataset
from papers.pipeline import Step

PROTOCOLS = ("retrieval", "knn", "linear")
BASELINES = ("mfcc", "untrained")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this paper's command-line options."""
    weights, sizes = list(released_weights.released_models()), [500, 1000, 2000, 5000, 10000]
    commands.add_training_arguments(parser, artists=sizes, weights=weights)
    text = "training dataset of the tag model"
    parser.add_argument("--tags", default="msd_tags", metavar="NAME", help=text)
    targets, text = ["gtzan", "fma_small", "naver"], "evaluation datasets with genre labels"
    parser.add_argument("--targets", nargs="+", default=targets, metavar="NAME", help=text)
    commands.add_siamese_learning_rate(parser)


def plan(options: argparse.Namespace, data: DataFolder) -> tuple[list[Step], list[str]]:
    """Return the steps in execution order, and one line for each part that is left out."""
    found = {name: data.find(name) for name in options.targets}
    targets = [dataset for dataset in found.values() if dataset]
    left_out = [data.describe_missing(name) for name, dataset in found.items() if not dataset]
    if not targets:
        raise InputError(
            "; ".join(left_out) + "; provide one of them, see data_prep/1_make_splits.py --help"
        )
    exclude = [] if options.train == "msd" else targets
    train = data.find_training_sets(options.train, options.artists, exclude)
    largest = train.get(max(options.artists))
    tags = largest if options.tags == options.train else data.find(options.tags)
    if not train:
        left_out.append(data.describe_missing(options.train) + ": evaluating released weights")
    if not tags:
        left_out.append(data.describe_missing(options.tags) + ": no tag model")
    released = [
        name
        for name in released_weights.released_models()
        if (not train if options.weights is None else name in options.weights)
    ]
    datasets = [dataset for dataset in (*targets, *train.values(), tags) if dataset]
    steps = [step for dataset in datasets for step in dataset.steps]
    names = []  # of all models; those with more training artists come later
    for training in _trainings(options, train, tags):
        names.append(training.output.parent.name)
        # The evaluations run beside the next training.
        steps += [training, *_evaluations(options.out, targets, names[-1], training.output)]
    for name in (*BASELINES, *released):
        steps += _evaluations(options.out, targets, name, name)
    for target in targets:
        steps += _maps(options.out, target, [*released, *names])
    return commands.add_report(options.out, steps), left_out


def _trainings(
    options: argparse.Namespace, train: dict[int, Dataset], tags: Dataset | None
) -> Iterator[Step]:
    runs, rate = options.out / "runs", ("--learning-rate", options.siamese_learning_rate)
    for seed in options.seeds:
        amount: tuple[object, ...] = ("--epochs", options.epochs, "--seed", seed)
        for artists, dataset in sorted(train.items()):
            # The siamese model takes longest, and the others train beside it.
            for model, more in (("siamese", rate), ("basic", ())):
                arguments = ("--max-artists", artists, *amount, *more)
                folder = runs / f"{model}_{artists}_{seed}"
                yield commands.train(f"train_{model}.py", dataset, folder, *arguments)
        if tags:
            arguments = ("--labels", "tags", *amount)
            yield commands.train("train_basic.py", tags, runs / f"tag_{seed}", *arguments)


def _evaluations(
    out: Path, targets: Sequence[Dataset], name: str, weights: Path | str
) -> Iterator[Step]:
    for target in targets:
        extraction = commands.extract(out, name, weights, target)
        yield extraction
        for protocol in PROTOCOLS:
            json = out / f"{protocol}_{name}_{target.name}.json"
            yield commands.evaluate(protocol, extraction.output, target, json)


def _maps(out: Path, target: Dataset, names: list[str]) -> Iterator[Step]:
    """Yield t-SNE maps of the largest siamese model, and a page comparing it with another model."""
    if not names:
        return
    largest = {name.partition("_")[0]: name for name in names}
    order = [largest[model] for model in ("siamese", "basic") if model in largest] or names[-1:]
    first, other = (*order, "mfcc")[:2]
    yield commands.tsne(out, first, target, "genre")
    if target.has_artists:
        yield commands.tsne(out, first, target, "artist")
    yield commands.explore(out, first, other, target)
