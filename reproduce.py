"""A paper from splits and mel caches to its tables and figures: steps 3 to 5, one after another.

Prints each command before running it, so that any can be run by itself. What is
complete is skipped, so that the same command goes on after a stop. All comes to lie
in --out: runs, features, results, and the figures and tables.
"""

import argparse
import inspect
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from common import cli
from common.errors import InputError
from models import agf_runs

ROOT = Path(__file__).resolve().parent
LDA = 100  # dimensions, where there are so many artists to tell apart


def main() -> None:
    parser = cli.parser(
        __doc__,
        "python reproduce.py arxiv2017 --train splits/msd.csv cache/msd.h5 "
        "--unseen splits/unseen.csv cache/unseen.h5 --out results/arxiv2017",
    )
    papers = parser.add_subparsers(dest="paper", metavar="PAPER", required=True)
    for paper, add_arguments in ((arxiv2017, add_arxiv2017), (agf2018, add_agf2018)):
        made = papers.add_parser(
            paper.__name__,
            help=paper.__doc__.partition("\n")[0],
            description=inspect.cleandoc(paper.__doc__),
            formatter_class=parser.formatter_class,
            allow_abbrev=False,
        )
        made.set_defaults(commands=paper)
        add_arguments(made)
        made.add_argument("--out", type=Path, required=True, help="folder of all that is made")
        made.add_argument("--plan", action="store_true", help="print the commands, run nothing")
    args = parser.parse_args()
    for command in args.commands(args):
        print("python", shlex.join(command), flush=True)
        if not args.plan:
            run(command)


def run(command: list[str]) -> None:
    """Run one of the scripts, and stop if it did not come to a good end."""
    status = subprocess.run([sys.executable, ROOT / command[0], *command[1:]]).returncode
    if status:
        raise InputError(f"{command[0]} ended with {status}; see above, then run this again")


# ---------------------------------------------------------------- arxiv2017


def add_arxiv2017(made: argparse.ArgumentParser) -> None:
    """Its songs, and how much is trained on them."""
    both = {"nargs": 2, "type": Path, "metavar": ("SPLIT.csv", "CACHE.h5")}
    made.add_argument("--train", required=True, **both, help="artists to train on")
    made.add_argument(
        "--unseen",
        required=True,
        **both,
        help="500 others with 20 songs each (script 1: --split artists --exclude-artists-of)",
    )
    made.add_argument("--genres", **both, help="songs with genres, the paper's GTZAN")
    made.add_argument("--tags", **both, help="songs with tags, the paper's MagnaTagATune")
    made.add_argument(
        "--artists",
        type=cli.positive,
        nargs="+",
        default=[100, 300, 500, 1000, 2000],
        metavar="N",
        help="numbers of training artists",
    )
    made.add_argument("--epochs", type=cli.positive, default=1000, help="of the CNN, at the most")
    made.add_argument("--mixtures", type=cli.positive, default=256, help="of the UBM")
    made.add_argument("--dimensions", type=cli.positive, default=256, help="of an i-vector")
    made.add_argument("--trials", type=cli.positive, default=1, help="draws of songs, averaged")
    cli.add_seed(made)


def arxiv2017(args: argparse.Namespace) -> Iterator[list[str]]:
    """Artist recognition by the CNN and by speaker recognition; genre and tags where given.

    Figures 2 and 3: equal error rate and accuracy of GMM-UBM, of i-vectors and the
    CNN's features (DeepArtistID) by cosine and PLDA, and of both fused, for each number
    of training artists. Tables 1 and 2: genre and tags by the CNN's features, without
    LDA and with it.
    """
    for artists in sorted(args.artists):
        yield from _training(args, artists)
        yield from _features(args, artists)
        yield from _recognition(args, artists)
        yield from _transfer(args, artists)
    yield ["evaluate.py", "figures", "--results", str(args.out)]
    yield ["evaluate.py", "tables", "--results", str(args.out), "--paper", "arxiv2017"]


def _training(args: argparse.Namespace, artists: int) -> Iterator[list[str]]:
    common = ["--artists", str(artists), "--seed", str(args.seed)]
    songs = [str(path) for path in args.train]
    out = str(_run(args, "basic", artists))
    yield ["train_basic.py", *songs, "--out", out, "--epochs", str(args.epochs), *common]
    sizes = ["--mixtures", str(args.mixtures), "--dimensions", str(args.dimensions)]
    out = str(_run(args, "ivector", artists))
    yield ["train_ivector.py", *songs, "--out", out, *sizes, *common]


def _features(args: argparse.Namespace, artists: int) -> Iterator[list[str]]:
    parts = {"train": args.train, "unseen": args.unseen, "genres": args.genres, "tags": args.tags}
    for part, given in parts.items():
        for model, file in (("basic", "best.h5"), ("ivector", "ivector.h5")):
            if given and (model == "basic" or part in ("train", "unseen")):
                weights = str(_run(args, model, artists) / file)
                out = str(_of(args, model, artists, part))
                yield ["extract_features.py", weights, str(given[1]), "--out", out]


def _recognition(args: argparse.Namespace, artists: int) -> Iterator[list[str]]:
    unseen, cache = (str(path) for path in args.unseen)
    cnn, ivector = (str(_of(args, model, artists, "unseen")) for model in ("basic", "ivector"))
    cnn_train, ivector_train = (
        str(_of(args, model, artists, "train")) for model in ("basic", "ivector")
    )
    plda, plda_ivector = (
        ["--scorer", "plda", "--train-artists", str(artists), "--lda", str(lda), "--train"]
        for lda in (min(LDA, artists - 1), min(LDA, artists - 1, args.dimensions))
    )
    train = str(args.train[0])
    fusion = ["--with", ivector, ivector_train]
    ubm = str(_run(args, "ivector", artists) / "ivector.h5")
    systems = {
        "ubm": [ubm, unseen, "--scorer", "llr", "--cache", cache],
        "ivector_cosine": [ivector, unseen],
        "ivector_plda": [ivector, unseen, *plda_ivector, ivector_train, train],
        "basic_cosine": [cnn, unseen],
        "basic_plda": [cnn, unseen, *plda, cnn_train, train],
        "early": [cnn, unseen, *plda, cnn_train, train, "--fuse", "early", *fusion],
        "late": [cnn, unseen, *plda_ivector, cnn_train, train, "--fuse", "late", *fusion],
    }
    draws = ["--trials", str(args.trials), "--seed", str(args.seed)]
    if artists == max(args.artists):
        draws.append("--one-shot")
    for system, given in systems.items():
        for protocol in ("verification", "identification"):
            json = str(args.out / f"{protocol}_{system}_{artists}.json")
            yield ["evaluate.py", protocol, *given, *draws, "--json", json]


def _transfer(args: argparse.Namespace, artists: int) -> Iterator[list[str]]:
    of_train, split = str(_of(args, "basic", artists, "train")), str(args.train[0])
    lda = ["--train-artists", str(artists), "--dimensions", str(min(LDA, artists - 1))]
    draws = ["--trials", str(args.trials), "--seed", str(args.seed)]
    for part, given, protocol in (
        ("genres", args.genres, "transfer"),
        ("tags", args.tags, "tagging"),
    ):
        if not given:
            continue
        plain, projected = (_of(args, name, artists, part) for name in ("basic", "basic_lda"))
        yield ["evaluate.py", "lda", of_train, split, str(plain), "--out", str(projected), *lda]
        for features in (plain, projected):
            json = str(args.out / f"{protocol}_{features.stem}.json")
            judged = [protocol, str(features), str(given[0]), *draws]
            yield ["evaluate.py", *judged, "--json", json]


def _run(args: argparse.Namespace, model: str, artists: int) -> Path:
    return args.out / "runs" / f"{model}_{artists}"


def _of(args: argparse.Namespace, model: str, artists: int, part: str) -> Path:
    return args.out / "features" / f"{model}_{artists}_{part}.h5"


# ---------------------------------------------------------------- agf2018


def add_agf2018(made: argparse.ArgumentParser) -> None:
    """Its songs, the size of the groups, and how much is trained."""
    made.add_argument(
        "--songs",
        required=True,
        nargs=2,
        type=Path,
        metavar=("SPLIT.csv", "CACHE.h5"),
        help="with genres and artists; the subset test is judged on",
    )
    made.add_argument("--audio", type=Path, help="folder of the split's paths, for the word e")
    made.add_argument("--subgenres", metavar="COLUMN", default="genres", help="for the word s")
    made.add_argument("--clusters", type=cli.positive, default=2048, help="of m and d")
    made.add_argument("--track-clusters", type=cli.positive, default=2048, help="of e")
    made.add_argument("--groups", type=cli.positive, default=40, help="of each word")
    made.add_argument("--epochs", type=cli.positive, default=200, help="of stn and wstn")
    made.add_argument("--mtn-epochs", type=cli.positive, default=1000, help="of one task each")
    made.add_argument("--batch", type=cli.positive, default=64, help="anchors a step")
    made.add_argument(
        "--seeds", type=cli.natural, nargs="+", default=[0], help="of all runs, one after another"
    )


def agf2018(args: argparse.Namespace) -> Iterator[list[str]]:
    """Genres by networks that learn artist groups, alone and together.

    Tables 3 to 5: log loss and macro F1 of single-task, multi-task and wide networks, for
    all combinations of the genre with groups out of four words. Without --audio, or without
    Essentia, the word e is left out.
    """
    split, cache = (str(path) for path in args.songs)
    groups = args.out / "groups.h5"
    sizes = ["--clusters", str(args.clusters), "--track-clusters", str(args.track_clusters)]
    sizes += ["--groups", str(args.groups)]
    words = ["--audio", str(args.audio)] if args.audio else ["--words", "m", "d", "s"]
    words += ["--subgenres", args.subgenres]
    yield ["data_prep/2b_artist_groups.py", split, cache, "--out", str(groups), *words, *sizes]
    amount = ["--epochs", str(args.epochs), "--mtn-epochs", str(args.mtn_epochs)]
    amount += ["--batch", str(args.batch)]
    runs = args.out / "runs"
    for seed in args.seeds:
        trained = [split, cache, str(groups), "--out", str(runs)]
        yield ["train_agf.py", *trained, *amount, "--seed", str(seed)]
        for name in _agf_runs(groups, words):
            features, json = runs / f"{name}_{seed}" / "features.h5", args.out / f"{name}_{seed}"
            yield ["evaluate.py", "genre", str(features), split, "--json", f"{json}.json"]
    yield ["evaluate.py", "groups", str(groups), split, "--out", str(args.out / "groups")]
    yield ["evaluate.py", "tables", "--results", str(args.out), "--paper", "agf2018"]
    yield ["evaluate.py", "combinations", "--results", str(args.out)]


def _agf_runs(groups: Path, words: list[str]) -> list[str]:
    """The names of all runs that these groups allow; before they are made, that they may."""
    from data_prep import groups_file  # which --help does not wait for

    found = "sdm" if "--words" in words else "sedm"
    if groups.exists():
        found = groups_file.load(groups).groups
    sets = agf_runs.all_sets(agf_runs.in_order(["g", *found]))
    return [run.name for run in agf_runs.all_runs(agf_runs.KINDS, sets)]


if __name__ == "__main__":
    cli.run(main)
