"""Step 5: judge features by the papers' protocols, and lay out what came of it.

Each protocol judges one feature file; the last line printed is the measure and its
value, and --json keeps it. `tables` puts such results beside the papers' numbers,
`summary` compares the features on each dataset, `figures` draws what depends on the
number of training artists and the accuracy of each genre, `combinations` lays out what
networks of several tasks know of genre. `tsne` draws a map of songs, `explore` makes a
page of them to see and hear, `groups` says what artist groups are made of, and `lda`
makes features out of features.
"""

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common import cli, feature_file, provenance
from common.errors import InputError
from common.files import written_whole
from evaluation import layouts, protocols, songs, tables, verification

# The column that each protocol judges by, and how many trials it is the mean of.
JUDGED = {
    "retrieval": (protocols.judge_retrieval, "genre", None),
    "knn": (protocols.judge_knn, "genre", None),
    "linear": (protocols.judge_linear, "genre", 10),
    "transfer": (protocols.judge_transfer, "genre", 1),
    "tagging": (protocols.judge_tagging, "tags", 1),
    "genre": (protocols.judge_genre, "genre", None),
}
RECOGNISED = {
    "verification": "Is a song by the artist claimed? Equal error rate of artists never heard.",
    "identification": "Whose song is it? Accuracy among artists never heard.",
}
# Songs that enrol an artist and that test, and more that a result is told by where it differs.
PROTOCOL = {"enrol": 15, "tests": 5, "relevance": 16.0, "lda": None, "train_artists": None}
LAYOUTS = {
    "tables": layouts.paper_tables,
    "summary": layouts.summary,
    "figures": layouts.by_artists,
    "combinations": layouts.by_tasks,
}


def main() -> None:
    parser = cli.parser(
        __doc__,
        "python evaluate.py retrieval features/siamese.h5 splits/gtzan.csv --label genre",
    )
    commands = parser.add_subparsers(dest="protocol", metavar="PROTOCOL", required=True)

    def command(
        name: str, run: Callable, example: str, files: str = "", text: str | None = None
    ) -> argparse.ArgumentParser:
        """One that takes these files, "FEATURES.h5 SPLIT.csv"; `text` is by default `run`'s own."""
        text = text or run.__doc__
        made = commands.add_parser(
            name,
            help=text.partition("\n")[0],
            description=inspect.cleandoc(text),
            formatter_class=parser.formatter_class,
            epilog=f"example:\n  python evaluate.py {name} {example}",
            allow_abbrev=False,
        )
        for file in files.split():
            made.add_argument(Path(file).stem.lower(), metavar=file, type=Path)
        made.set_defaults(run=run)
        return made

    for name, (judge, label, trials) in JUDGED.items():
        file, split = ("mtn_gs_0", "demo_genres") if name == "genre" else ("siamese", "demo_target")
        example = f"features/{file}.h5 splits/{split}.csv --label {label}"
        made = command(name, judge_songs, example, "FEATURES.h5 SPLIT.csv", judge.__doc__)
        made.add_argument("--label", default=label, help="column of the split")
        if trials:
            made.add_argument("--trials", type=cli.positive, default=trials, help="averaged")
        if name == "knn":
            made.add_argument("-k", type=cli.positive, default=20, help="neighbours")
        add_result(made)
    for name, text in RECOGNISED.items():
        made = command(name, judge_artists, "features/basic.h5 splits/demo_unseen.csv", text=text)
        add_recognition(made)
        add_result(made)
    example = "features/basic_train.h5 splits/demo.csv features/basic.h5 --out features/lda.h5"
    made = command("lda", project, example, "TRAIN_FEATURES.h5 TRAIN_SPLIT.csv FEATURES.h5")
    made.add_argument("--out", type=Path, required=True, help="the projected features")
    made.add_argument("--dimensions", type=cli.positive, default=100, help="that are left")
    made.add_argument("--train-artists", type=cli.positive, metavar="N", help="only its first N")
    example = "features/siamese.h5 splits/demo_target.csv --out results/tsne.png"
    made = command("tsne", draw_songs, example, "FEATURES.h5 SPLIT.csv")
    made.add_argument("--label", default="genre", help="column of the split, such as artist")
    made.add_argument("--out", type=Path, required=True, metavar="FIGURE.png", help="and .svg")
    made.add_argument(
        "--perplexity", type=cli.positive_float, default=30.0, help="about how many neighbours"
    )
    made.add_argument(
        "--most", type=cli.positive, default=15, metavar="N", help="labels that have a colour"
    )
    cli.add_seed(made)
    example = (
        "features/siamese.h5 splits/demo_target.csv --beside features/mfcc.h5 --audio corpus "
        "--label genre tags --out results/songs.html"
    )
    made = command("explore", explore, example, "FEATURES.h5 SPLIT.csv")
    made.add_argument("--beside", type=Path, metavar="FEATURES.h5", help="a second map, by these")
    made.add_argument("--audio", type=Path, help="folder of the split's paths, to hear the songs")
    made.add_argument(
        "--label", nargs="+", default=["genre"], help="columns to colour and filter by"
    )
    made.add_argument("--out", type=Path, required=True, metavar="PAGE.html")
    made.add_argument("--neighbours", type=cli.positive, default=10, help="listed with a song")
    made.add_argument(
        "--perplexity", type=cli.positive_float, default=30.0, help="about how many neighbours"
    )
    cli.add_seed(made)
    example = "groups/demo_genres.h5 splits/demo_genres.csv --out results/groups"
    text = layouts.describe_groups.__doc__
    made = command("groups", describe_groups, example, "GROUPS.h5 SPLIT.csv", text)
    made.add_argument("--out", type=Path, required=True, help="folder of the tables and figures")
    for name, function in LAYOUTS.items():
        made = command(name, lay_out, "--results results/demo", text=function.__doc__)
        made.add_argument("--results", type=Path, default=Path("results"), help="folder of --json")
        if name == "tables":
            made.add_argument("--paper", choices=tables.PAPERS, help="of this one only")
    args = parser.parse_args()
    if args.protocol in RECOGNISED:
        require_recognisable(parser, args)
    args.run(args)


def add_result(made: argparse.ArgumentParser) -> None:
    """What every protocol takes."""
    made.add_argument("--json", type=Path, help="keep the result in this file")
    cli.add_seed(made)


def complete(args: argparse.Namespace, inputs: dict) -> bool:
    """Whether --json holds this very result already; if so, prints its measure."""
    if not args.json or not args.json.exists():
        return False
    result = tables.read_result(args.json)
    if result["made_from"].get("inputs") != made_from(args, inputs):
        return False
    print(f"{args.json}: complete already")
    print(f"{result['metric']} {result['value']:.4f}")
    return True


def keep_result(
    args: argparse.Namespace, judged: protocols.Judged, about: dict, inputs: dict
) -> None:
    """Print a result, its measure last, and write it where --json says."""
    for line in judged.lines():
        print(line)
    several = len(judged.values) > 1
    result = {
        "protocol": args.protocol,
        "metric": judged.metric,
        "value": float(np.mean(judged.values)),
        "spread": float(np.std(judged.values)) if several else None,
        "trials": len(judged.values) if several else None,
        "n_songs": judged.n_songs,
        "dataset": args.split.stem,
        "label": args.label,
        **about,
        "details": judged.details,
        "made_from": provenance.record(made_from(args, inputs)),
    }
    if args.json:
        with written_whole(args.json) as aside:
            aside.write_text(provenance.to_json(result), encoding="utf-8")
    print(f"{judged.metric} {result['value']:.4f}")


def made_from(args: argparse.Namespace, inputs: dict) -> dict:
    """What a result is made from: files, and how they were judged."""
    return {**inputs, "settings": cli.settings(args)}


# ---------------------------------------------------------------- genres, tags


def judge_songs(args: argparse.Namespace) -> None:
    """Judge the songs of a split by one of its columns."""
    judge, *_ = JUDGED[args.protocol]
    # A song without genre cannot be judged; one without tags can.
    found = songs.read(
        args.features, args.split, None if args.protocol == "tagging" else args.label
    )
    inputs = {**found.made.inputs, "split": found.digest}
    if complete(args, inputs):
        return
    options = {name: getattr(args, name) for name in ("k", "trials") if hasattr(args, name)}
    if "trials" in options:
        options["seed"] = args.seed
    judged = judge(found, args.label, **options)
    about = {
        "features": found.weights.get("name", args.features.stem),
        "model": found.weights.get("model") or "unknown",
        "artists": found.weights.get("artists"),
    }
    keep_result(args, judged, about, inputs)


# ---------------------------------------------------------------- artists


def add_recognition(made: argparse.ArgumentParser) -> None:
    """What verification and identification take; so many songs are the paper's."""
    made.add_argument(
        "features", metavar="FEATURES.h5", type=Path, help="or ivector.h5, with --scorer llr"
    )
    made.add_argument("split", metavar="SPLIT.csv", type=Path, help="of artists never trained on")
    made.add_argument("--label", default="artist", help="column of the split")
    made.add_argument("--enrol", type=cli.positive, help="songs that enrol an artist")
    made.add_argument("--tests", type=cli.positive, help="other songs of each that test")
    made.add_argument("--trials", type=cli.positive, default=1, help="draws of both, averaged")
    made.add_argument(
        "--one-shot", action="store_true", help="tell too what 1, 2, 5 and 10 enrolment songs give"
    )
    made.add_argument(
        "--scorer",
        choices=("cosine", "plda", "llr"),
        default="cosine",
        help="of the features; or llr, the GMM-UBM's log-likelihood ratio",
    )
    made.add_argument(
        "--train",
        nargs=2,
        type=Path,
        metavar=("FEATURES.h5", "SPLIT.csv"),
        help="songs that PLDA learns from: those that the weights were trained on",
    )
    made.add_argument("--train-artists", type=cli.positive, metavar="N", help="only its first N")
    made.add_argument("--lda", type=cli.positive, metavar="N", help="LDA to N dimensions first")
    made.add_argument(
        "--fuse", choices=("early", "late"), help="features side by side, or mean of both scores"
    )
    made.add_argument(
        "--with",
        dest="other",
        nargs="+",
        type=Path,
        metavar="FEATURES.h5",
        help="features to fuse with, and for PLDA those of the training songs",
    )
    made.add_argument("--cache", type=Path, metavar="CACHE.h5", help="of the songs, for llr")
    made.add_argument("--relevance", type=cli.positive_float, help="of the adaptation, for llr")
    made.set_defaults(**PROTOCOL)


def require_recognisable(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with wrong use where options do not go together."""
    plda, llr = args.scorer == "plda", args.scorer == "llr"
    learns = any((args.train, args.train_artists, args.lda))
    files = 1 + plda
    wrongs = {
        "--scorer plda needs --train, the features and the split that it learns from": (
            plda and not args.train
        ),
        "--train, --train-artists and --lda go with --scorer plda": learns and not plda,
        "--scorer llr needs --cache": llr and not args.cache,
        "--cache goes with --scorer llr": args.cache and not llr,
        "--fuse and --with go together": bool(args.fuse) != bool(args.other),
        "--fuse does not go with --scorer llr": args.fuse and llr,
        f"--with takes {files} feature file{'s' * plda} here": len(args.other or [0] * files)
        != files,
    }
    for message, wrong in wrongs.items():
        if wrong:
            parser.error(message)


def judge_artists(args: argparse.Namespace) -> None:
    """Enrol artists by some of their songs, and recognise them by others."""
    from evaluation import recognition, systems  # which --help does not wait for

    if args.scorer == "llr":
        system = systems.of_frames(
            args.features, args.split, args.label, args.cache, args.relevance
        )
    else:
        system = systems.of_features(
            args.features,
            args.split,
            args.label,
            scorer=args.scorer,
            train=args.train,
            train_artists=args.train_artists,
            lda=args.lda,
            fuse=args.fuse,
            other=args.other,
        )
    if complete(args, system.inputs):
        return
    judged = recognition.judged(
        args.protocol,
        system.scorer(),
        [
            verification.enrol(system.artists, args.enrol, args.tests, seed=args.seed + trial)
            for trial in range(args.trials)
        ],
        one_shot=args.one_shot,
    )
    about = {**system.about, "features": " ".join([system.about["features"], *variant(args)])}
    keep_result(args, judged, about, system.inputs)


def variant(args: argparse.Namespace) -> list[str]:
    """What sets a result apart from that of the paper's protocol: options with other values."""
    given = {name: getattr(args, name) for name in PROTOCOL}
    return [f"{name}={value}" for name, value in given.items() if value != PROTOCOL[name]]


def project(args: argparse.Namespace) -> None:
    """Linear discriminant analysis: features in the dimensions that tell artists apart best.

    It is fitted to the songs that the weights were trained on, with their artists. The
    projected features say so, and are taken like any others.
    """
    from evaluation import projection  # which --help does not wait for

    train = songs.read_training(args.train_features, args.train_split, args.train_artists)
    found = feature_file.read(args.features)
    songs.require_same_weights(train.made, found, (args.train_features, args.features))
    inputs = projection.inputs_of(train, found, args.dimensions)
    if args.out.exists():
        provenance.require_same(args.out, feature_file.read(args.out).inputs, inputs)
        print(f"{args.out}: complete already")
        return
    made = projection.projected(train, found, args.dimensions, inputs)
    feature_file.write(args.out, made)
    print(f"{args.out}: {len(made.track_id)} tracks in {args.dimensions} dimensions")


# ---------------------------------------------------------------- layouts


def lay_out(args: argparse.Namespace) -> None:
    """Tables and figures of a folder of results."""
    chosen = {"paper": args.paper} if args.protocol == "tables" else {}
    LAYOUTS[args.protocol](args.results, **chosen)


def describe_groups(args: argparse.Namespace) -> None:
    """What artist groups are."""
    layouts.describe_groups(args.groups, args.split, args.out)


def draw_songs(args: argparse.Namespace) -> None:
    """A map of songs: t-SNE of their features to the plane, coloured by genre or artist.

    arxiv2017 draws songs of 22 artists, 15 of them in colour, and GTZAN's genres, by the
    features of 5,000 artists after LDA. Labels have colours in the order of the split.
    """
    from evaluation import figures, projection  # which --help does not wait for

    if args.out.suffix != ".png":
        raise InputError(f"{args.out}: name a .png; an .svg of the same name comes beside it")
    found = songs.read(args.features, args.split, args.label)
    labels = found.labels(args.label)
    plane = projection.tsne(found.features, args.perplexity, args.seed)
    name = found.weights.get("name", args.features.stem)
    title = f"{name}: {len(labels)} songs by {args.label}"
    figures.songs_in_the_plane(plane, labels, args.most, title, args.out)
    coloured = min(args.most, len(set(labels)))
    print(f"{args.out}: {len(labels)} songs, {coloured} of {len(set(labels))} labels in colour")


def explore(args: argparse.Namespace) -> None:
    """A page to see, search and hear songs: a map of them, and which are near to which.

    One file that a browser opens without a server or a network. With --beside there are two
    maps of the same songs, such as of the basic and the siamese model.
    """
    from evaluation import explorer, projection  # which --help does not wait for

    read = [songs.read(path, args.split) for path in (args.features, args.beside) if path]
    first = read[0].split["track_id"]
    if any(not one.split["track_id"].equals(first) for one in read):
        raise InputError(
            f"{args.features} and {args.beside} are not of the same songs; extract both from one "
            "cache"
        )
    maps = {}
    for one, path in zip(read, (args.features, args.beside), strict=False):
        name = one.weights.get("name") or path.stem
        name = name if name not in maps else f"{name} ({path.stem})"
        plane = projection.tsne(one.features, args.perplexity, args.seed)
        maps[name] = (one.features, plane)
    title = f"{args.split.stem}: {' and '.join(maps)}"
    explorer.write(
        args.out,
        read[0].split,
        maps,
        args.audio,
        title,
        labels=args.label,
        neighbours=args.neighbours,
    )
    print(f"{args.out}: {len(first)} songs, {len(maps)} maps")


if __name__ == "__main__":
    cli.run(main)
