"""Artist recognition with embeddings and i-vectors, and transfer to genre and tags (arxiv2017).

Computes Tables 1 and 2 and Figures 2 to 5. For each number of training artists, evaluates artist
recognition (equal error rate and accuracy) by GMM-UBM, by i-vectors and CNN embeddings
(DeepArtistID) scored with cosine and PLDA, and by their fusions, as well as genre and tag
classification with the embeddings, with and without LDA. Maps the tracks by genre and artist.
Without a training dataset, evaluates only genre and tag classification with the released weights.
"""

import argparse
import itertools
from collections.abc import Iterator

from common import cli
from common.errors import InputError
from models import released_weights
from papers import artist_recognition, commands
from papers.artist_recognition import FeatureFiles, System, fuse, lda_dimensions, plda
from papers.datasets import SYNTHETIC, DataFolder, Dataset
from papers.pipeline import Step, make_step

LabelledDatasets = list[tuple[str, Dataset]]  # pairs of (protocol or map label, dataset)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this paper's command-line options."""
    weights, sizes = released_weights.released_names("basic"), [100, 300, 500, 1000, 2000, 5000]
    commands.add_training_arguments(parser, artists=sizes, weights=weights)
    text = "dataset whose artists are recognised and are not used for training (default: "
    text += "TRAIN_unseen, built from artists in --train that are left out of training)"
    parser.add_argument("--unseen", metavar="NAME", help=text)
    text = "dataset with genre labels"
    parser.add_argument("--genres", default="gtzan", metavar="NAME", help=text)
    parser.add_argument("--tags", default="mtat", metavar="NAME", help="dataset with tag labels")
    cli.add_count(parser, "--unseen-artists", 500, "number of artists in TRAIN_unseen")
    text = "number of random draws of enrolment tracks, averaged"
    cli.add_count(parser, "--trials", 1, text)
    artist_recognition.add_ivector_arguments(parser)


def plan(options: argparse.Namespace, data: DataFolder) -> tuple[list[Step], list[str]]:
    """Return the steps in execution order, and one line for each part that is left out."""
    out, genres, tags = options.out, data.find(options.genres), data.find(options.tags)
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
        steps += _transfer(options, transfers, name, 0, weights=name)
    for seed, artists in itertools.product(options.seeds, sorted(options.artists)):
        if train:
            name, sizes = f"basic_{artists}_{seed}", ("--max-artists", artists)
            settings = (*sizes, "--epochs", options.epochs, "--seed", seed)
            cnn = commands.train("train_basic.py", train, out / "runs" / name, *settings)
            steps += [cnn, commands.extract(out, name, cnn.output, train)]
            if unseen:
                steps += _recognition(options, train, unseen, cnn, artists, seed)
            steps += _transfer(options, transfers, name, seed, weights=cnn.output)
            steps += _transfer_with_lda(options, train, transfers, maps, artists, seed)
    return commands.add_report(out, steps), left_out


def _find_unseen(
    options: argparse.Namespace, data: DataFolder, name: str, train: Dataset
) -> Dataset | None:
    if name in SYNTHETIC:
        return data.find(name)
    split = ("--split", "artists", "--max-artists", options.unseen_artists)
    return data.find(name, *split, exclude=[train], source=options.unseen or options.train)


def _recognition(
    options: argparse.Namespace, train: Dataset, unseen: Dataset, cnn: Step, artists: int, seed: int
) -> Iterator[Step]:
    """Yield the i-vector training, and the evaluation steps of each system (Figures 2 and 3)."""
    out, basic, ivector = options.out, f"basic_{artists}_{seed}", f"ivector_{artists}_{seed}"
    extractor = artist_recognition.train_ivectors(options, train, ivector, artists, seed)
    extractions = [
        commands.extract(out, ivector, extractor.output, train, artists),
        commands.extract(out, ivector, extractor.output, unseen),
        commands.extract(out, basic, cnn.output, unseen),
    ]
    yield from (extractor, *extractions)
    ivectors_train, ivectors, embeddings = (step.output for step in extractions)
    of_ivector = FeatureFiles(ivectors, ivectors_train)
    of_basic = FeatureFiles(embeddings, commands.features_file(out, basic, train))
    lda = lda_dimensions(artists)
    ivector_lda = lda_dimensions(artists, options.dimensions)
    basic_plda = plda(of_basic, train, artists, lda)
    # When scores are fused, one number of dimensions applies to both models.
    basic_late = plda(of_basic, train, artists, ivector_lda)
    systems: dict[str, System] = {
        "ubm": artist_recognition.gmm_ubm(extractor.output, unseen),
        "ivector_cosine": System(ivectors),
        "ivector_plda": plda(of_ivector, train, artists, ivector_lda),
        "basic_cosine": System(embeddings),
        "basic_plda": basic_plda,
        "early": fuse("early", basic_plda, of_ivector),
        "late": fuse("late", basic_late, of_ivector),
    }
    draws: list[object] = ["--trials", options.trials, "--seed", 0]  # the same for all seeds
    if artists == max(options.artists):
        draws.append("--one-shot")
    for name, system in systems.items():
        label = f"{name}_{artists}_{seed}"
        yield artist_recognition.evaluate(out, unseen, label, system, draws)


def _transfer(
    options: argparse.Namespace, datasets: LabelledDatasets, name: str, seed: int, weights=None
) -> Iterator[Step]:
    """Yield the steps that extract (if weights are given) and evaluate features (Table 1)."""
    for protocol, dataset in datasets:
        if weights:
            yield commands.extract(options.out, name, weights, dataset)
        features = commands.features_file(options.out, name, dataset)
        json = options.out / f"{protocol}_{name}_{dataset.name}.json"
        draws = ("--trials", options.trials, "--seed", seed)
        yield commands.evaluate(protocol, features, dataset, json, *draws)


def _transfer_with_lda(
    options: argparse.Namespace,
    train: Dataset,
    transfers: LabelledDatasets,
    maps: LabelledDatasets,
    artists: int,
    seed: int,
) -> Iterator[Step]:
    """Yield the steps that evaluate embeddings on genre and tags after LDA (Table 2).

    For the model with the most training artists, also yield the t-SNE maps (Figures 4 and 5).
    """
    out, name, dimensions = options.out, f"basic_{artists}_{seed}", lda_dimensions(artists)
    train_features = commands.features_file(out, name, train)
    if artists < max(options.artists) or dimensions == 1:
        maps = []
    for dataset in dict.fromkeys(dataset for _, dataset in (*transfers, *maps)):
        features = commands.features_file(out, name, dataset)
        projected = commands.features_file(out, f"{name}_lda", dataset)
        inputs = (train_features, train.split, features)
        size = ("--max-train-artists", artists, "--dimensions", dimensions)
        arguments = ("lda", *inputs, "--out", projected, *size)
        yield make_step("evaluate.py", *arguments, output=projected, inputs=inputs)
    yield from _transfer(options, transfers, f"{name}_lda", seed)
    for label, dataset in maps:
        yield commands.tsne(out, f"{name}_lda", dataset, label)
