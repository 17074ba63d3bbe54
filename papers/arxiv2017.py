"""arxiv2017: artist recognition by the CNN and by speaker recognition; genre and tags."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common import cli
from common.errors import InputError
from models import released_weights
from papers import commands
from papers.datasets import OF_ARTIST, RENDERED, TO_TRAIN, Data, Dataset
from papers.effort import Work
from papers.pipeline import Step, make_step

LDA = 100  # dimensions, where there are so many artists to tell apart


def add_arguments(made: argparse.ArgumentParser) -> None:
    """Its datasets, and how much is trained on them."""
    made.add_argument("--train", default="msd", metavar="NAME", help="songs to learn artists from")
    made.add_argument(
        "--unseen",
        metavar="NAME",
        help="songs of other artists to recognise; by default some of --train that are not "
        "trained on, as TRAIN_unseen",
    )
    made.add_argument(
        "--unseen-artists", type=cli.positive, default=500, metavar="N", help="how many of these"
    )
    made.add_argument("--genres", default="gtzan", metavar="NAME", help="songs with genres")
    made.add_argument("--tags", default="mtat", metavar="NAME", help="songs with tags")
    made.add_argument(
        "--artists",
        type=cli.positive,
        nargs="+",
        default=[100, 300, 500, 1000, 2000, 5000],
        metavar="N",
        help="numbers of training artists",
    )
    made.add_argument("--epochs", type=cli.positive, default=1000, help="of the CNN, at the most")
    made.add_argument("--mixtures", type=cli.positive, default=256, help="of the UBM")
    made.add_argument("--dimensions", type=cli.positive, default=256, help="of an i-vector")
    made.add_argument("--trials", type=cli.positive, default=1, help="draws of songs, averaged")
    made.add_argument(
        "--weights",
        nargs="*",
        choices=released_weights.released_names("basic"),
        metavar="NAME",
        help="released weights whose features are judged by genre and tags; by default those of "
        "basic models where there is nothing to train on, and else none",
    )
    made.add_argument(
        "--seeds",
        type=cli.non_negative,
        nargs="+",
        default=[0],
        help="of trainings, one after another",
    )


@dataclass(frozen=True)
class Songs:
    """The datasets by what they are for; None where they are not there."""

    train: Dataset | None
    unseen: Dataset | None
    genres: Dataset | None
    tags: Dataset | None


def plan(args: argparse.Namespace, data: Data) -> tuple[list[Step], list[str]]:
    """The steps to Tables 1 and 2 and Figures 2 to 5; and what is left out, a line each.

    Equal error rate and accuracy of GMM-UBM, of i-vectors and the CNN's features
    (DeepArtistID) by cosine and PLDA, and of both fused, for each number of training
    artists. Genre and tags by the CNN's features, without LDA and with it; a map of songs by
    genre and artist. Without songs to train on: genre and tags by the released weights.
    """
    genres, tags = data.find(args.genres), data.find(args.tags)
    judged = [] if args.train == "msd" else [found for found in (genres, tags) if found]
    train = data.training(args.train, args.artists, judged).get(max(args.artists))
    name = args.unseen or (f"{train.name}_unseen" if train else f"{args.train}_unseen")
    unseen = _unseen(args, data, name, train) if train else None
    songs = Songs(train, unseen, genres, tags)
    names = {"train": args.train, "unseen": name, "genres": args.genres, "tags": args.tags}
    sources = names if args.unseen else names | {"unseen": args.train}
    left_out = [
        data.absent(name, sources[role]) for role, name in names.items() if not getattr(songs, role)
    ]
    if not ((train and unseen) or songs.genres or songs.tags):
        raise InputError("; ".join(left_out) + "; put one of them there, see 1_make_splits.py")

    known = args.weights
    if known is None:
        known = [] if train else released_weights.released_names("basic")
    sets = (train, unseen, songs.genres, songs.tags)
    made = commands.unique_steps([one for found in sets if found for one in found.steps])
    for name in known:
        made += _transfer(args, songs, name, name, seed=0)
    for seed in args.seeds if train else ():
        for artists in sorted(args.artists):
            made += _of_training(args, songs, artists, seed)
    made = commands.unique_steps(made)
    return [*made, commands.report(args.out, made)], left_out


def _unseen(args: argparse.Namespace, data: Data, name: str, train: Dataset) -> Dataset | None:
    """Songs of artists that are not trained on: of a dataset of its own, or of the same."""
    if name in RENDERED:
        return data.find(name)
    source = name if args.unseen else args.train
    dealt = ("--split", "artists", "--artists", args.unseen_artists)
    size = args.unseen_artists * OF_ARTIST
    return data.find(name, *dealt, exclude=[train], source=source, tracks=size)


def _of_training(args: argparse.Namespace, songs: Songs, artists: int, seed: int) -> Iterator[Step]:
    """All that comes of the first so many artists."""
    basic, ivector = f"basic_{artists}_{seed}", f"ivector_{artists}_{seed}"
    train, unseen, folder = songs.train, songs.unseen, commands.run_folder(args.out, basic)
    options = ("--artists", artists, "--epochs", args.epochs, "--seed", seed)
    work = Work("basic", artists * TO_TRAIN * args.epochs)
    cnn = commands.train("train_basic.py", train, folder, *options, makes="best.h5", work=work)
    yield cnn
    yield commands.extract(args.out, basic, cnn.makes, train)
    if unseen:
        folder = commands.run_folder(args.out, ivector)
        sizes = ("--mixtures", args.mixtures, "--dimensions", args.dimensions)
        given = ("--artists", artists, *sizes, "--seed", seed)
        work = Work("ivector", artists * TO_TRAIN)
        extractor = commands.train(
            "train_ivector.py", train, folder, *given, makes="ivector.h5", work=work
        )
        yield extractor
        yield commands.extract(args.out, ivector, extractor.makes, train)
        yield commands.extract(args.out, ivector, extractor.makes, unseen)
        yield commands.extract(args.out, basic, cnn.makes, unseen)
        yield from _recognition(args, songs, artists, seed, extractor.makes)
    yield from _transfer(args, songs, cnn.makes, basic, seed=seed)
    yield from _with_lda(args, songs, artists, basic, seed)


def _recognition(
    args: argparse.Namespace, songs: Songs, artists: int, seed: int, extractor: Path
) -> Iterator[Step]:
    """Figures 2 and 3: each system, asked to verify and to identify."""
    cnn, cnn_train, ivector, ivector_train = (
        commands.features_file(args.out, f"{model}_{artists}_{seed}", found)
        for model in ("basic", "ivector")
        for found in (songs.unseen, songs.train)
    )
    split = songs.train.split
    lda, lda_ivector = min(LDA, artists - 1), min(LDA, artists - 1, args.dimensions)
    plda = ("--scorer", "plda", "--train-artists", artists)
    of_cnn = ("--train", cnn_train, split)
    fusion = ("--with", ivector, ivector_train)
    systems = {
        "ubm": (extractor, "--scorer", "llr", "--cache", songs.unseen.cache),
        "ivector_cosine": (ivector,),
        "ivector_plda": (ivector, *plda, "--lda", lda_ivector, "--train", ivector_train, split),
        "basic_cosine": (cnn,),
        "basic_plda": (cnn, *plda, "--lda", lda, *of_cnn),
        "early": (cnn, *plda, "--lda", lda, *of_cnn, "--fuse", "early", *fusion),
        "late": (cnn, *plda, "--lda", lda_ivector, *of_cnn, "--fuse", "late", *fusion),
    }
    draws = ["--trials", args.trials, "--seed", seed]
    if artists == max(args.artists):
        draws.append("--one-shot")
    for system, (features, *options) in systems.items():
        for protocol in ("verification", "identification"):
            json = args.out / f"{protocol}_{system}_{artists}_{seed}.json"
            of = [given for given in options if isinstance(given, Path)]
            yield commands.evaluate(protocol, features, songs.unseen, json, *options, *draws, of=of)


def _transfer(
    args: argparse.Namespace, songs: Songs, weights: Path | str, name: str, *, seed: int
) -> Iterator[Step]:
    """Table 1: genre and tags by these features."""
    for protocol, found in (("transfer", songs.genres), ("tagging", songs.tags)):
        if found:
            yield commands.extract(args.out, name, weights, found)
            yield _judged_alone(args, protocol, found, name, seed)


def _with_lda(
    args: argparse.Namespace, songs: Songs, artists: int, name: str, seed: int
) -> Iterator[Step]:
    """Table 2: the same after LDA; and of the most artists Figures 4 and 5."""
    dimensions, projected = min(LDA, artists - 1), f"{name}_lda"
    of_train = commands.features_file(args.out, name, songs.train)
    judged = {"transfer": songs.genres, "tagging": songs.tags}
    shown = {}
    if artists == max(args.artists) and dimensions > 1:
        shown = {"artist": songs.unseen, "genre": songs.genres}
    for found in dict.fromkeys(filter(None, (*judged.values(), *shown.values()))):
        plain, out = (commands.features_file(args.out, one, found) for one in (name, projected))
        yield make_step(
            "evaluate.py",
            *("lda", of_train, songs.train.split, plain, "--out", out),
            *("--train-artists", artists, "--dimensions", dimensions),
            makes=out,
            of=(of_train, songs.train.split, plain),
            work=Work("judge", found.tracks),
        )
    for protocol, found in judged.items():
        if found:
            yield _judged_alone(args, protocol, found, projected, seed)
    for label, found in shown.items():
        if found:
            yield commands.tsne(args.out, projected, found, label)


def _judged_alone(
    args: argparse.Namespace, protocol: str, found: Dataset, name: str, seed: int
) -> Step:
    features = commands.features_file(args.out, name, found)
    json = args.out / f"{protocol}_{name}_{found.name}.json"
    draws = ("--trials", args.trials, "--seed", seed)
    return commands.evaluate(protocol, features, found, json, *draws)
