"""Step 3: train the networks of agf2018, and a genre classifier on their features.

A task is to predict the genre (g) or artist groups, which are formed from sub-genres (s), Essentia
descriptors (e), delta MFCCs (d) or MFCCs (m). A run trains one network per task (stn), networks
that share their first block (mtn), or one wide network for the genre alone (wstn). By default, the
script trains all runs in the paper and skips those that are already complete.
"""

import argparse
from pathlib import Path

# This checks that the dependencies are installed, before any is imported.
from common import cli, provenance

# isort: split
from artist_groups import task_sets, topics
from artist_groups.task_sets import KINDS, GroupTrainingConfig
from common.errors import InputError
from data_prep import split_csv
from data_prep.mel_cache import MelCache

EXAMPLE = (
    "python train_agf.py splits/demo_genres.csv cache/demo_genres.h5 groups/demo_genres.h5 "
    "--out runs/agf --kinds mtn --tasks gs gsd"
)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; the defaults are the paper's values."""
    config = GroupTrainingConfig()
    parser = cli.make_parser(__doc__, EXAMPLE)
    cli.add_split_and_cache(parser, out="folder for all runs, runs/NAME")
    text = "artist groups written by 2b_artist_groups.py"
    parser.add_argument("groups", metavar="GROUPS.h5", type=Path, help=text)
    text = "kinds of runs to train"
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help=text)
    text = (
        "sets of one-letter task codes, such as g gs gsedm; a wstn has as many weights as the "
        "networks of its set together (default: all sets that the groups allow)"
    )
    parser.add_argument("--tasks", nargs="+", metavar="LETTERS", help=text)
    cli.add_count(parser, "--epochs", config.epochs, "number of epochs of each stn and wstn")
    text = "number of epochs of each mtn; an epoch trains one of its tasks"
    cli.add_count(parser, "--mtn-epochs", config.mtn_epochs, text)
    text = "number of epochs of each genre classifier"
    cli.add_count(parser, "--mlp-epochs", config.mlp_epochs, text)
    cli.add_step_options(parser, config)
    cli.add_seed(parser)
    return parser.parse_args()


def main() -> None:
    """Train the agf2018 runs selected by the arguments."""
    args = parse_arguments()
    config = cli.fill_dataclass(GroupTrainingConfig, args)

    # Data
    cache, groups = MelCache(args.cache), topics.load_groups(args.groups)
    split = split_csv.read_usable_tracks(args.split, cache.failed, args.cache)
    tracks = split[split_csv.subset_mask(split, "train", args.split)].reset_index(drop=True)
    inputs = {
        "split": provenance.digest_rows(split.itertuples(index=False)),
        "cache": cache.made_from["inputs"],
    }
    recorded = {name: groups.inputs.get(name) for name in inputs}
    provenance.require_same(args.groups, recorded, inputs)
    genres, targets = task_sets.group_targets(tracks, groups.groups, args.split)

    # Runs
    possible = task_sets.sort_tasks(targets)
    for tasks in args.tasks or ():
        if not tasks or tasks != task_sets.sort_tasks(set(tasks) & set(possible)):
            raise InputError(
                f"--tasks {tasks}: not a set of {possible}, in this order; {args.groups} has "
                f"the vocabularies {' '.join(groups.groups)}"
            )
    runs = task_sets.list_runs(args.kinds, args.tasks or task_sets.list_task_sets(possible))
    if not runs:
        raise InputError("--tasks: an mtn or wstn has two or more tasks; add one")

    # Keras is imported after the arguments are parsed, so that --help does not wait for it.
    from artist_groups.training import Experiment
    from training.devices import open_devices

    with open_devices(False) as devices:
        Experiment(args.out, tracks, genres, targets, cache, groups, config, devices).train(runs)


if __name__ == "__main__":
    cli.run_script(main)
