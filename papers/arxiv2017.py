"""Artist recognition with embeddings and i-vectors, and transfer to genre and tags (arxiv2017).

Computes Tables 1 and 2 and Figures 2 to 5. For each number of training artists, evaluates artist
recognition (equal error rate and accuracy) by GMM-UBM, by i-vectors and CNN embeddings
(DeepArtistID) scored with cosine and PLDA, and by their fusions, as well as genre and tag
classification with the embeddings, with and without LDA. Maps the tracks by genre and artist.
Without a training dataset, evaluates only genre and tag classification with the released weights.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import cli
from common.errors import InputError
from models import released_weights
from papers import commands
from papers.datasets import SYNTHETIC, DataFolder, Dataset
from papers.pipeline import Step, make_step

LDA = 100  # maximum number of dimensions; LDA trained on n artists yields at most n - 1
LabelledDatasets = list[tuple[str, Dataset]]  # pairs of (protocol or map label, dataset)


@dataclass(frozen=True)
class Options:
    """Options for reproducing this paper; see `add_arguments`."""

    out: Path
    train: str
    unseen: str | None
    unseen_artists: int
    genres: str
    tags: str
    artists: Sequence[int]
    epochs: int
    components: int
    dimensions: int
    trials: int
    weights: Sequence[str] | None
    seeds: Sequence[int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one command-line argument per field of `Options`, except `out`."""
    commands.add_training_arguments(
        parser,
        artists=[100, 300, 500, 1000, 2000, 5000],
        weights=released_weights.released_names("basic"),
    )
    parser.add_argument(
        "--unseen",
        metavar="NAME",
        help="dataset whose artists are recognised and are not used for training (default: "
        "TRAIN_unseen, built from artists in --train that are left out of training)",
    )
    parser.add_argument(
        "--genres", default="gtzan", metavar="NAME", help="dataset with genre labels"
    )
    parser.add_argument("--tags", default="mtat", metavar="NAME", help="dataset with tag labels")
    numbers = {
        "--unseen-artists": (500, "number of artists in TRAIN_unseen"),
        "--dimensions": (256, "number of i-vector dimensions"),
        "--trials": (1, "number of random draws of enrolment tracks, averaged"),
    }
    for name, (default, text) in numbers.items():
        cli.add_count(parser, name, default, text)
    help_text = "number of components of the GMM-UBM"
    cli.add_count(parser, "--components", 256, help_text, old="--mixtures")


def plan(options: Options, data: DataFolder) -> tuple[list[Step], list[str]]:
    """Return the steps in execution order, and one line for each part that is left out."""
    genres, tags = data.find(options.genres), data.find(options.tags)
    evaluated = [dataset for dataset in (genres, tags) if dataset and options.train != "msd"]
    training_sets = data.find_training_sets(options.train, options.artists, exclude=evaluated)
    train = training_sets.get(max(options.artists))
    unseen_name = options.unseen or f"{train.name if train else options.train}_unseen"
    unseen = _find_unseen(options, data, unseen_name, train) if train else None
    roles = [
        (train, options.train, options.train),
        (unseen, unseen_name, unseen_name if options.unseen else options.train),
        (genres, options.genres, options.genres),
        (tags, options.tags, options.tags),
    ]
    left_out = [
        data.describe_missing(name, source) for dataset, name, source in roles if not dataset
    ]
    if not ((train and unseen) or genres or tags):
        raise InputError(
            "; ".join(left_out) + "; provide one of them, see data_prep/1_make_splits.py --help"
        )

    transfers = [(name, each) for name, each in (("transfer", genres), ("tagging", tags)) if each]
    maps = [(label, each) for label, each in (("artist", unseen), ("genre", genres)) if each]
    steps = [step for dataset, *_ in roles if dataset for step in dataset.steps]
    released = options.weights
    if released is None:
        released = [] if train else released_weights.released_names("basic")
    for name in released:
        steps += _transfer(options, transfers, name, name, seed=0)
    for seed, artists in itertools.product(options.seeds, sorted(options.artists)):
        if train:
            steps += _systems(options, train, unseen, artists, seed)
            name = f"basic_{artists}_{seed}"
            weights = options.out / "runs" / name / "best.h5"
            steps += _transfer(options, transfers, weights, name, seed)
            steps += _transfer_with_lda(options, train, transfers, maps, artists, seed)
    steps = commands.unique_steps(steps)
    return [*steps, commands.report(options.out, steps)], left_out


def _find_unseen(options: Options, data: DataFolder, name: str, train: Dataset) -> Dataset | None:
    if name in SYNTHETIC:
        return data.find(name)
    split = ("--split", "artists", "--max-artists", options.unseen_artists)
    return data.find(name, *split, exclude=[train], source=options.unseen or options.train)


def _systems(
    options: Options, train: Dataset, unseen: Dataset | None, artists: int, seed: int
) -> Iterator[Step]:
    """Yield the steps that train the CNN and i-vector models and evaluate artist recognition."""
    out, basic, ivector = options.out, f"basic_{artists}_{seed}", f"ivector_{artists}_{seed}"
    arguments = (basic, "--max-artists", artists, "--epochs", options.epochs, "--seed", seed)
    cnn = commands.train("train_basic.py", train, out, *arguments)
    yield cnn
    yield commands.extract(out, basic, cnn.output, train)
    if unseen:
        extractor = commands.train(
            "train_ivector.py",
            *(train, out, ivector, "--max-artists", artists, "--components", options.components),
            *("--dimensions", options.dimensions, "--seed", seed),
            output="ivector.h5",
        )
        yield extractor
        yield commands.extract(out, ivector, extractor.output, train)
        yield commands.extract(out, ivector, extractor.output, unseen)
        yield commands.extract(out, basic, cnn.output, unseen)
        yield from _recognition(options, train, unseen, artists, seed, extractor.output)


def _recognition(
    options: Options, train: Dataset, unseen: Dataset, artists: int, seed: int, extractor: Path
) -> Iterator[Step]:
    """Yield the verification and identification steps for each system (Figures 2 and 3)."""
    cnn, cnn_train, ivector, ivector_train = (
        commands.features_file(options.out, f"{model}_{artists}_{seed}", dataset)
        for model in ("basic", "ivector")
        for dataset in (unseen, train)
    )
    lda = min(LDA, artists - 1)
    ivector_lda = min(lda, options.dimensions)
    plda = ("--scorer", "plda", "--max-train-artists", artists, "--lda-dimensions")
    cnn_data = ("--train", cnn_train, train.split)
    fusion = ("--with", ivector, ivector_train)
    systems: dict[str, tuple] = {
        "ubm": (extractor, "--scorer", "llr", "--cache", unseen.cache),
        "ivector_cosine": (ivector,),
        "ivector_plda": (ivector, *plda, ivector_lda, "--train", ivector_train, train.split),
        "basic_cosine": (cnn,),
        "basic_plda": (cnn, *plda, lda, *cnn_data),
        "early": (cnn, *plda, lda, *cnn_data, "--fuse", "early", *fusion),
        "late": (cnn, *plda, ivector_lda, *cnn_data, "--fuse", "late", *fusion),
    }
    draws = ["--trials", options.trials, "--seed", seed]
    if artists == max(options.artists):
        draws.append("--one-shot")
    for system, (features, *arguments) in systems.items():
        inputs = [argument for argument in arguments if isinstance(argument, Path)]
        for protocol in ("verification", "identification"):
            json = options.out / f"{protocol}_{system}_{artists}_{seed}.json"
            yield commands.evaluate(
                protocol, features, unseen, json, *arguments, *draws, more_inputs=inputs
            )


def _transfer(
    options: Options, datasets: LabelledDatasets, weights: Path | str, name: str, seed: int
) -> Iterator[Step]:
    """Yield the steps that evaluate a model's embeddings on genre and tags (Table 1)."""
    for protocol, dataset in datasets:
        yield commands.extract(options.out, name, weights, dataset)
        yield _evaluate_transfer(options, protocol, dataset, name, seed)


def _transfer_with_lda(
    options: Options,
    train: Dataset,
    transfers: LabelledDatasets,
    maps: LabelledDatasets,
    artists: int,
    seed: int,
) -> Iterator[Step]:
    """Yield the steps that evaluate embeddings on genre and tags after LDA (Table 2).

    For the model with the most training artists, also yield the t-SNE maps (Figures 4 and 5).
    """
    out, name, dimensions = options.out, f"basic_{artists}_{seed}", min(LDA, artists - 1)
    train_features = commands.features_file(out, name, train)
    if artists < max(options.artists) or dimensions == 1:
        maps = []
    for dataset in dict.fromkeys(dataset for _, dataset in (*transfers, *maps)):
        features, projected = (
            commands.features_file(out, each, dataset) for each in (name, f"{name}_lda")
        )
        yield make_step(
            "evaluate.py",
            *("lda", train_features, train.split, features, "--out", projected),
            *("--max-train-artists", artists, "--dimensions", dimensions),
            output=projected,
            inputs=(train_features, train.split, features),
        )
    for protocol, dataset in transfers:
        yield _evaluate_transfer(options, protocol, dataset, f"{name}_lda", seed)
    for label, dataset in maps:
        yield commands.tsne(out, f"{name}_lda", dataset, label)


def _evaluate_transfer(
    options: Options, protocol: str, dataset: Dataset, name: str, seed: int
) -> Step:
    features = commands.features_file(options.out, name, dataset)
    json = options.out / f"{protocol}_{name}_{dataset.name}.json"
    draws = ("--trials", options.trials, "--seed", seed)
    return commands.evaluate(protocol, features, dataset, json, *draws)
