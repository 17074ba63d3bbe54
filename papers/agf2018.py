"""agf2018: genres by networks that learn artist groups, alone and together."""

import argparse
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from artist_groups import task_sets
from artist_groups.task_sets import TaskSet
from artist_groups.vocabulary import WORDS
from common import cli
from common.errors import InputError
from papers import commands
from papers.datasets import KNOWN, RENDERED, Data, Dataset, require
from papers.effort import Work
from papers.pipeline import Step, make_step


def add_arguments(made: argparse.ArgumentParser) -> None:
    """Its songs, the size of the groups, and how much is trained."""
    made.add_argument(
        "--songs",
        default="fma_medium",
        metavar="NAME",
        help="with genres and artists; the subset test is judged on",
    )
    made.add_argument(
        "--words",
        nargs="+",
        choices=WORDS,
        help="of which groups are made; by default all for which there is what they need",
    )
    made.add_argument("--subgenres", metavar="COLUMN", default="genres", help="for the word s")
    made.add_argument("--clusters", type=cli.positive, default=2048, help="of m and d")
    made.add_argument("--track-clusters", type=cli.positive, default=2048, help="of e")
    made.add_argument("--groups", type=cli.positive, default=40, help="of each word")
    made.add_argument("--epochs", type=cli.positive, default=200, help="of stn and wstn")
    made.add_argument("--mtn-epochs", type=cli.positive, default=1000, help="of one task each")
    made.add_argument("--batch", type=cli.positive, default=64, help="anchors a step")
    made.add_argument(
        "--seeds",
        type=cli.non_negative,
        nargs="+",
        default=[0],
        help="of all runs, one after another",
    )


def plan(args: argparse.Namespace, data: Data) -> tuple[list[Step], list[str]]:
    """The steps to Tables 3 to 5 and Figure 3; and what is left out, a line each.

    Log loss and macro F1 of single-task, multi-task and wide networks, for all combinations
    of the genre with artist groups out of four words. Without the songs' audio, or without
    Essentia, the word e is left out.
    """
    dealt = () if args.songs in RENDERED else ("--split", "stratified")
    songs = require(data.find(args.songs, *dealt), data.absent(args.songs))
    lacking = _lacking(args, data, songs)
    words = args.words or [word for word in WORDS if word not in lacking]
    if "e" in words and not songs.audio:
        raise InputError(f"the word e: {lacking['e']}")
    left_out = [f"the word {word}: {what}" for word, what in lacking.items() if word not in words]
    groups, split = args.out / "groups.h5", songs.split
    audio = ("--audio", songs.audio) if "e" in words else ()
    sizes = ("--clusters", args.clusters, "--track-clusters", args.track_clusters)
    sizes += ("--groups", args.groups)
    made = list(songs.steps)
    kind = "essentia" if "e" in words else "groups"
    made.append(
        make_step(
            "data_prep/2b_artist_groups.py",
            *(split, songs.cache, "--out", groups, "--words", *words, *audio),
            *("--subgenres", args.subgenres, *sizes),
            makes=groups,
            of=(split, songs.cache),
            work=Work(kind, songs.tracks),
        )
    )
    sets = task_sets.list_task_sets(task_sets.sort_tasks(["g", *words]))
    runs = task_sets.list_runs(task_sets.KINDS, sets)
    for seed in args.seeds:
        made += _trained_and_judged(args, songs, groups, runs, seed)
    described = args.out / "groups"
    made.append(
        make_step(
            "evaluate.py",
            *("groups", groups, split, "--out", described),
            makes=described / f"groups_{words[0]}.md",
            of=(groups, split),
            work=Work("lay out", len(words)),
        )
    )
    return [*made, commands.report(args.out, made)], left_out


def _lacking(args: argparse.Namespace, data: Data, songs: Dataset) -> dict[str, str]:
    """{word: what it needs} of those that cannot be made."""
    lacking = {}
    if not songs.audio or not find_spec("essentia"):
        lacking["e"] = "it needs the audio, and Essentia"
    source = songs.split if songs.split.exists() else data.folder and data.listed(songs.name)
    if source and source.exists():
        columns = pd.read_csv(source, nrows=0).columns
    else:  # of a known dataset it will have them; a folder of music tells of none
        columns = [args.subgenres] if songs.name in KNOWN else []
    if args.subgenres not in columns:
        lacking["s"] = f"it needs songs with a column {args.subgenres}; name one with --subgenres"
    return lacking


def passes(args: argparse.Namespace, run: TaskSet) -> int:
    """How often a run's training goes over the songs, counted as by a network of one task."""
    if run.kind == "mtn":
        return args.mtn_epochs
    if run.kind == "wstn":
        return args.epochs * len(run.tasks)  # for it has as many weights
    return args.epochs if len(run.tasks) == 1 else 0  # those of single tasks serve all sets


def _trained_and_judged(
    args: argparse.Namespace, songs: Dataset, groups: Path, runs: list[TaskSet], seed: int
) -> list[Step]:
    """All runs of a seed, which one command makes, and what each knows of genre."""
    folder = args.out / "runs"
    features = [folder / f"{run.name}_{seed}" / "features.h5" for run in runs]
    amount = ("--epochs", args.epochs, "--mtn-epochs", args.mtn_epochs, "--batch", args.batch)
    work = Work("agf", songs.tracks and songs.tracks * sum(map(partial(passes, args), runs)))
    trained = make_step(
        "train_agf.py",
        *(songs.split, songs.cache, groups, "--out", folder, *amount, "--seed", seed),
        makes=features[-1],
        of=(songs.split, songs.cache, groups),
        work=work,
        also=tuple(features[:-1]),
    )
    judged = []
    for run, file in zip(runs, features, strict=True):
        json = args.out / f"genre_{run.name}_{seed}.json"
        judged.append(commands.evaluate("genre", file, songs, json, of=(trained.makes,)))
    return [trained, *judged]
