"""ismir2018: basic, siamese and tag features on the genres of songs by other artists."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from common import cli
from common.errors import InputError
from models import released_weights
from papers import commands
from papers.datasets import TO_TRAIN, Data, Dataset
from papers.effort import Work
from papers.pipeline import Step

PROTOCOLS = ("retrieval", "knn", "linear")
BASELINES = ("mfcc", "untrained")


class Features(NamedTuple):
    """What is judged: its name, and the file or the name that `extract_features.py` takes."""

    name: str
    weights: Path | str


def add_arguments(made: argparse.ArgumentParser) -> None:
    """Its datasets, and how much is trained."""
    made.add_argument("--train", default="msd", metavar="NAME", help="songs to learn artists from")
    made.add_argument("--tags", default="msd_tags", metavar="NAME", help="songs to learn tags from")
    made.add_argument(
        "--targets",
        nargs="+",
        default=["gtzan", "fma_small", "naver"],
        metavar="NAME",
        help="songs with genres to judge on",
    )
    made.add_argument(
        "--artists",
        type=cli.positive,
        nargs="+",
        default=[500, 1000, 2000, 5000, 10000],
        metavar="N",
        help="numbers of training artists",
    )
    made.add_argument("--epochs", type=cli.positive, default=1000, help="at the most")
    made.add_argument(
        "--siamese-rate", type=cli.positive_float, default=0.1, help="of the siamese model"
    )
    made.add_argument(
        "--weights",
        nargs="*",
        choices=list(released_weights.released_models()),
        metavar="NAME",
        help="released weights to judge as well; by default all where there is nothing to train "
        "on, and else none",
    )
    made.add_argument(
        "--seeds",
        type=cli.non_negative,
        nargs="+",
        default=[0],
        help="of trainings, one after another",
    )


def plan(args: argparse.Namespace, data: Data) -> tuple[list[Step], list[str]]:
    """The steps to Tables 1 to 4 and Figures 2 to 7; and what is left out, a line each.

    Basic and siamese models of each number of artists, the tag model, and two baselines, by
    MAP, k-NN and linear softmax on each target; without songs to train on, the released
    weights in their place. A map of songs by genre and by artist, and a page of them to hear.
    """
    targets, left_out = [], []
    for name in args.targets:
        found = data.find(name)
        targets += [found] if found else []
        left_out += [] if found else [data.absent(name)]
    if not targets:
        raise InputError("; ".join(left_out) + "; put one of them there, see 1_make_splits.py")
    train = data.training(args.train, args.artists, [] if args.train == "msd" else targets)
    tags = train.get(max(args.artists)) if args.tags == args.train else data.find(args.tags)
    if not train:
        left_out.append(data.absent(args.train) + ": the released weights are judged")
    if not tags:
        left_out.append(data.absent(args.tags) + ": no tag model")
    known = args.weights
    if known is None:
        known = [] if train else list(released_weights.released_models())
    known = [
        name for name in released_weights.released_models() if name in known
    ]  # fewer artists first

    sets = (*targets, *train.values(), tags)
    made = commands.unique_steps([one for found in sets if found for one in found.steps])
    trainings = list(_trainings(args, train, tags))
    made += [one for _, one in trainings]
    features = [Features(name, name) for name in (*BASELINES, *known)]
    features += [Features(name, one.makes) for name, one in trainings]  # fewer artists first
    for target in targets:
        made += _judgements(args.out, target, features)
        made += _shown(args.out, target, [one.name for one in features[len(BASELINES) :]])
    made = commands.unique_steps(made)
    return [*made, commands.report(args.out, made)], left_out


def _trainings(
    args: argparse.Namespace, train: dict[int, Dataset], tags: Dataset | None
) -> Iterator[tuple[str, Step]]:
    """The name of each run and its step."""
    for seed in args.seeds:
        for artists, found in sorted(train.items()):
            for model in ("basic", "siamese"):
                options = ["--artists", artists, "--epochs", args.epochs, "--seed", seed]
                options += ["--rate", args.siamese_rate] if model == "siamese" else []
                work = Work(model, artists * TO_TRAIN * args.epochs)
                yield _training(model, found, args.out, f"{model}_{artists}_{seed}", options, work)
        if tags:
            options = ["--labels", "tags", "--epochs", args.epochs, "--seed", seed]
            work = Work("tag", tags.tracks and 0.75 * tags.tracks * args.epochs)
            yield _training("basic", tags, args.out, f"tag_{seed}", options, work)


def _training(
    model: str, found: Dataset, out: Path, name: str, options: Sequence[object], work: Work
) -> tuple[str, Step]:
    folder, script = commands.run_folder(out, name), f"train_{model}.py"
    return name, commands.train(script, found, folder, *options, makes="best.h5", work=work)


def _judgements(out: Path, target: Dataset, features: Sequence[Features]) -> Iterator[Step]:
    """Features of a target's songs, and what each protocol says of them."""
    for name, weights in features:
        extracted = commands.extract(out, name, weights, target)
        yield extracted
        for protocol in PROTOCOLS:
            json = out / f"{protocol}_{name}_{target.name}.json"
            yield commands.evaluate(protocol, extracted.makes, target, json)


def _shown(out: Path, target: Dataset, names: Sequence[str]) -> Iterator[Step]:
    """t-SNE of siamese features, if there are any, and the page of songs."""
    if not names:
        return
    of_model = [_last(names, model) for model in ("siamese", "basic")]
    first, *others = [name for name in of_model if name] or names[-1:]
    yield commands.tsne(out, first, target, "genre")
    if target.artists:
        yield commands.tsne(out, first, target, "artist")
    yield commands.explore(out, first, [*others, "mfcc"][0], target)


def _last(names: Sequence[str], model: str) -> str | None:
    """The one of a model that is made of the most artists: they come in that order."""
    return next((name for name in reversed(names) if name.startswith(f"{model}_")), None)
