"""Step 5: judge features by the papers' protocols, and lay out what came of it.

Each protocol judges one feature file; the last line printed is the measure and its value,
and --json keeps it. Of a folder of such results `tables` makes the papers' tables, with
their numbers beside ours, `figures` the papers' figures, and `report` one page of all.
`explore` makes a page of songs to see and hear, `groups` says what artist groups are made
of, and `lda` makes features out of features.
"""

import argparse
import inspect
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common import cli, feature_file, provenance
from common.errors import InputError
from evaluation import labelled_tracks, protocols, results
from papers.paper_tables import PAPERS
from recognition import verification

# The column that each protocol judges by, and how many trials it is the mean of.
JUDGED = {
    "retrieval": (protocols.evaluate_retrieval, "genre", None),
    "knn": (protocols.evaluate_knn, "genre", None),
    "linear": (protocols.evaluate_linear, "genre", 10),
    "transfer": (protocols.evaluate_transfer, "genre", 1),
    "tagging": (protocols.evaluate_tagging, "tags", 1),
    "genre": (protocols.evaluate_genre, "genre", None),
    "tsne": (protocols.evaluate_tsne, "genre", None),
}
# What sets a result apart where it has another value.
USUAL = {"knn": {"k": 20}, "linear": {"trials": JUDGED["linear"][2]}}
RECOGNISED = {
    "verification": "Is a song by the artist claimed? Equal error rate of artists never heard.",
    "identification": "Whose song is it? Accuracy among artists never heard.",
}
# Songs that enrol an artist and that test, and more that a result is told by where it differs.
PROTOCOL = {"enrol": 15, "tests": 5, "relevance": 16.0}
PLDA = {"lda": None, "train_artists": None}  # these differ with the number of artists


def main() -> None:
    parser = cli.make_parser(
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
            made.add_argument("-k", type=cli.positive, default=USUAL["knn"]["k"], help="neighbours")
        if name == "tsne":
            made.add_argument(
                "--first", type=cli.positive, metavar="N", help="songs of so many labels only"
            )
            add_perplexity(made)
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
    add_perplexity(made)
    cli.add_seed(made)
    example = "groups/demo_genres.h5 splits/demo_genres.csv --out results/groups"
    made = command("groups", describe_groups, example, "GROUPS.h5 SPLIT.csv")
    made.add_argument("--out", type=Path, required=True, help="folder of the tables and figures")
    layouts = {"tables": lay_out_tables, "figures": draw_figures, "report": write_report}
    for name, run in layouts.items():
        made = command(name, run, "--results results/demo")
        made.add_argument("--results", type=Path, default=Path("results"), help="folder of --json")
        if name == "tables":
            made.add_argument("--paper", choices=PAPERS, help="print those of this one only")
    args = parser.parse_args()
    if args.protocol in RECOGNISED:
        require_recognisable(parser, args)
    args.run(args)


def add_perplexity(made: argparse.ArgumentParser) -> None:
    """What t-SNE takes."""
    made.add_argument(
        "--perplexity", type=cli.positive_float, default=30.0, help="about how many neighbours"
    )


def add_result(made: argparse.ArgumentParser) -> None:
    """What every protocol takes."""
    made.add_argument("--json", type=Path, help="keep the result in this file")
    cli.add_seed(made)


def complete(args: argparse.Namespace, inputs: dict) -> bool:
    """Whether --json holds this very result already; if so, prints its measure."""
    if not args.json or not args.json.exists():
        return False
    result = results.read_result(args.json)
    if result["made_from"].get("inputs") != made_from(args, inputs):
        return False
    print(f"{args.json}: complete already")
    print(f"{result['metric']} {result['value']:.4f}")
    return True


def keep_result(
    args: argparse.Namespace, judged: results.Evaluation, about: dict, inputs: dict
) -> None:
    """Print a result, its measure last, and write it where --json says."""
    for line in judged.format_details():
        print(line)
    several = len(judged.values) > 1
    result = {
        "protocol": args.protocol,
        "metric": judged.metric,
        "value": float(np.mean(judged.values)),
        "spread": float(np.std(judged.values)) if several else None,
        "trials": len(judged.values) if several else None,
        "n_songs": judged.n_tracks,
        "dataset": args.split.stem,
        "label": args.label,
        **about,
        "command": shlex.join(["python", "evaluate.py", *sys.argv[1:]]),
        "details": judged.details,
        "made_from": provenance.make_record(made_from(args, inputs)),
    }
    if args.json:
        results.write_result(args.json, result)
    print(f"{judged.metric} {result['value']:.4f}")


def made_from(args: argparse.Namespace, inputs: dict) -> dict:
    """What a result is made from: files, and how they were judged."""
    return {**inputs, "settings": cli.settings(args)}


# ---------------------------------------------------------------- genres, tags


def judge_songs(args: argparse.Namespace) -> None:
    """Judge the songs of a split by one of its columns."""
    judge, *_ = JUDGED[args.protocol]
    # A song without genre cannot be judged; one without tags can.
    found = labelled_tracks.read_labelled_tracks(
        args.features, args.split, None if args.protocol == "tagging" else args.label
    )
    inputs = {**found.feature_file.inputs, "split": found.digest}
    if complete(args, inputs):
        return
    taken = inspect.signature(judge).parameters  # the options of this protocol
    options = {name: value for name, value in vars(args).items() if name in taken}
    options.pop("label")
    judged = judge(found, args.label, **options)
    variant = set_apart(args, USUAL.get(args.protocol, {}))
    about = {
        "features": " ".join([found.weights.get("name", args.features.stem), *variant]),
        "variant": " ".join(variant),
        "model": found.weights.get("model") or "unknown",
        "artists": found.weights.get("artists"),
        "seed": found.weights.get("seed"),
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
    made.set_defaults(**PROTOCOL, **PLDA)


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
    from recognition import systems  # which --help does not wait for

    if args.scorer == "llr":
        system = systems.load_gmm_ubm_system(
            args.features, args.split, args.label, args.cache, args.relevance
        )
    else:
        system = systems.load_feature_system(
            args.features,
            args.split,
            args.label,
            scorer=args.scorer,
            train=args.train,
            max_train_artists=args.train_artists,
            lda_dimensions=args.lda,
            fusion=args.fuse,
            other_features=args.other,
        )
    if complete(args, system.inputs):
        return
    judged = systems.evaluate_recognition(
        args.protocol,
        system.make_scorer(),
        [
            verification.draw_enrolment(
                system.artists, args.enrol, args.tests, seed=args.seed + trial
            )
            for trial in range(args.trials)
        ],
        one_shot=args.one_shot,
    )
    variant = set_apart(args, PROTOCOL)
    name = " ".join([system.description["features"], *variant, *set_apart(args, PLDA)])
    about = {**system.description, "features": name, "variant": " ".join(variant)}
    keep_result(args, judged, about, system.inputs)


def set_apart(args: argparse.Namespace, usual: dict) -> list[str]:
    """The options with other values than the usual ones."""
    given = {name: getattr(args, name) for name in usual}
    return [f"{name}={value}" for name, value in given.items() if value != usual[name]]


def project(args: argparse.Namespace) -> None:
    """Linear discriminant analysis: features in the dimensions that tell artists apart best.

    It is fitted to the songs that the weights were trained on, with their artists. The
    projected features say so, and are taken like any others.
    """
    from evaluation import projection  # which --help does not wait for

    train = labelled_tracks.read_training_tracks(
        args.train_features, args.train_split, args.train_artists
    )
    found = feature_file.read_features(args.features)
    labelled_tracks.require_same_weights(
        train.feature_file, found, (args.train_features, args.features)
    )
    inputs = projection.projection_inputs(train, found, args.dimensions)
    if args.out.exists():
        provenance.require_same(args.out, feature_file.read_features(args.out).inputs, inputs)
        print(f"{args.out}: complete already")
        return
    made = projection.project_features(train, found, args.dimensions, inputs)
    feature_file.write_features(args.out, made)
    print(f"{args.out}: {len(made.track_id)} tracks in {args.dimensions} dimensions")


# ---------------------------------------------------------------- layouts


def lay_out_tables(args: argparse.Namespace) -> None:
    """The papers' tables with ours beside them, or what an empty cell needs.

    As CSV, Markdown and LaTeX. So are tables of features side by side, of systems by the
    number of training artists, and of networks by their tasks. Prints the papers' tables that
    have a number of ours.
    """
    from report import result_tables

    result_tables.write_tables(args.results, args.paper)


def draw_figures(args: argparse.Namespace) -> None:
    """The papers' figures of these results, as PNG and SVG; and what the others need.

    Scores against the number of training artists, accuracy of each genre, DET curves, maps of
    songs by t-SNE, scores by the number of tasks. figures.csv lists them.
    """
    from report import figures  # Matplotlib, which tables do not wait for

    figures.write_figures(args.results)


def write_report(args: argparse.Namespace) -> None:
    """One page, of one file, of all results: tables, figures, training curves, and provenance."""
    from report import html_report

    print(html_report.write_report(args.results))


def describe_groups(args: argparse.Namespace) -> None:
    """What artist groups are: top genres and artists of each, and a map of groups and genres.

    A table and a figure for each word that they were made by (agf2018), of the split
    that they were made of, by data_prep/2b_artist_groups.py.
    """
    from report import group_tables

    group_tables.write_groups(args.groups, args.split, args.out)


def explore(args: argparse.Namespace) -> None:
    """A page to see, search and hear songs: a map of them, and which are near to which.

    One file that a browser opens without a server or a network. With --beside there are two
    maps of the same songs, such as of the basic and the siamese model.
    """
    from evaluation import projection  # which --help does not wait for
    from report import explorer

    read = [
        labelled_tracks.read_labelled_tracks(path, args.split)
        for path in (args.features, args.beside)
        if path
    ]
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
        plane, _ = projection.fit_tsne(one.features, args.perplexity, args.seed)
        maps[name] = (one.features, plane)
    title = f"{args.split.stem}: {' and '.join(maps)}"
    explorer.write_explorer(
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
    cli.run_script(main)
