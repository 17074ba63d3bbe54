"""Genre classification with networks that learn artist groups (agf2018).

Computes Tables 3 to 5 and Figure 3: the log loss and macro F1 of single-task, multi-task and
wide networks, for all combinations of the genre task and four artist-group tasks, one per
vocabulary. The descriptor vocabulary (e) requires the audio and Essentia.
"""

import argparse
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from artist_groups import task_sets, topics
from artist_groups.vocabulary import CLUSTERS, WORDS
from common import cli
from common.errors import InputError
from papers import commands
from papers.datasets import KNOWN_DATASETS, SYNTHETIC, DataFolder, Dataset
from papers.pipeline import Step, make_step


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this paper's command-line options."""
    text = "dataset with artist and genre labels, whose test subset is used for evaluation"
    cli.add_renamed(parser, "--dataset", "--songs", default="fma_medium", metavar="NAME", help=text)
    text = "vocabularies to learn artist groups from (default: all that the data supports)"
    parser.add_argument("--words", nargs="+", choices=WORDS, help=text)
    text = "name of the sub-genre column, used by the sub-genre vocabulary (s)"
    parser.add_argument("--subgenres", metavar="COLUMN", default="genres", help=text)
    text = "number of clusters in the MFCC and delta MFCC vocabularies (m, d)"
    cli.add_count(parser, "--clusters", CLUSTERS, text)
    text = "number of clusters in the descriptor vocabulary (e)"
    cli.add_count(parser, "--track-clusters", CLUSTERS, text)
    cli.add_count(parser, "--groups", topics.GROUPS, "number of groups per vocabulary")
    config = task_sets.GroupTrainingConfig()
    text = "number of epochs of single-task and wide networks"
    cli.add_count(parser, "--epochs", config.epochs, text)
    text = "number of epochs of multi-task networks, one task per epoch"
    cli.add_count(parser, "--mtn-epochs", config.mtn_epochs, text)
    text = "number of tracks per training step"
    cli.add_count(parser, "--batch-size", config.batch_size, text, old="--batch")
    cli.add_seeds(parser, [0])


def plan(options: argparse.Namespace, data: DataFolder) -> tuple[list[Step], list[str]]:
    """Return the steps in execution order, and one line for each part that is left out."""
    out, name = options.out, options.dataset
    dataset = data.find(name, *(() if name in SYNTHETIC else ("--split", "stratified")))
    if dataset is None:
        raise InputError(f"{data.describe_missing(name)}; see data_prep/1_make_splits.py --help")
    unavailable = _unavailable_words(options.subgenres, data, dataset)
    words = options.words or [word for word in WORDS if word not in unavailable]
    if "e" in words and not dataset.audio:
        raise InputError(f"vocabulary e: {unavailable['e']}")
    left_out = [
        f"vocabulary {word}: {reason}" for word, reason in unavailable.items() if word not in words
    ]
    groups = out / "groups.h5"
    sizes = ("--track-clusters", options.track_clusters, "--groups", options.groups)
    settings = ("--subgenres", options.subgenres, "--clusters", options.clusters, *sizes)
    steps = [*dataset.steps, commands.group_artists(dataset, groups, words, *settings)]
    sets = task_sets.list_task_sets(task_sets.sort_tasks(["g", *words]))
    runs = [run.name for run in task_sets.list_runs(task_sets.KINDS, sets)]
    for seed in options.seeds:
        steps += _networks(options, dataset, groups, runs, seed)
    inputs, folder = (groups, dataset.split), out / "groups"
    page = folder / f"groups_{words[0]}.md"
    arguments = ("groups", *inputs, "--out", folder)
    steps.append(make_step("evaluate.py", *arguments, output=page, inputs=inputs))
    return commands.add_report(out, steps), left_out


def _unavailable_words(subgenres: str, data: DataFolder, dataset: Dataset) -> dict[str, str]:
    """Return the vocabularies that cannot be built, mapped to what each one requires."""
    unavailable = {}
    if not dataset.audio or not find_spec("essentia"):
        unavailable["e"] = "needs the audio and Essentia"
    tables = [dataset.split, *([data.folder / f"{dataset.name}.csv"] if data.folder else [])]
    tables = [path for path in tables if path.exists()]
    if tables:
        columns = list(pd.read_csv(tables[0], nrows=0))
    else:  # the split of a known dataset will contain the column; that of a music folder will not
        columns = [subgenres] if dataset.name in KNOWN_DATASETS else []
    if subgenres not in columns:
        unavailable["s"] = f"needs a column {subgenres}; choose another with --subgenres"
    return unavailable


def _networks(
    options: argparse.Namespace, dataset: Dataset, groups: Path, runs: Sequence[str], seed: int
) -> Iterator[Step]:
    """Yield one step that trains all networks with a seed, and one evaluation step per network."""
    folder, data = options.out / "runs", (dataset.split, dataset.cache, groups)
    features = [folder / f"{run}_{seed}" / "features.h5" for run in runs]
    epochs = ("--epochs", options.epochs, "--mtn-epochs", options.mtn_epochs)
    settings = (*epochs, "--batch-size", options.batch_size, "--seed", seed)
    *others, last = features
    arguments = (*data, "--out", folder, *settings)
    yield make_step(
        "train_agf.py", *arguments, output=last, inputs=data, other_outputs=tuple(others)
    )
    for run, file in zip(runs, features, strict=True):
        json = options.out / f"genre_{run}_{seed}.json"
        yield commands.evaluate("genre", file, dataset, json, more_inputs=[last])
