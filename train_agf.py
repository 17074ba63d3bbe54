"""Step 3: train the networks of agf2018, and the genre classifier on the features of each set.

A task is the genre (g), or the artist groups by sub-genres (s), Essentia's descriptors
(e), differences of MFCCs (d) or MFCCs (m). A network for each task (stn), networks with
their first block in common (mtn), or one wide network for genre alone (wstn): the bare
command makes all runs of the paper, passing over those that are complete.
"""

from pathlib import Path

from artist_groups import task_sets, topics
from common import cli, provenance
from common.errors import InputError
from data_prep import failures, split_csv
from data_prep.mel_cache import MelCache


def main() -> None:
    parser = cli.make_parser(
        __doc__,
        "python train_agf.py splits/demo_genres.csv cache/demo_genres.h5 groups/demo_genres.h5 "
        "--out runs/agf --kinds mtn --tasks gs gsd",
    )
    cli.add_split_and_cache(parser, out="folder of all runs, runs/NAME")
    parser.add_argument(
        "groups", metavar="GROUPS.h5", type=Path, help="of data_prep/2b_artist_groups.py"
    )
    parser.add_argument("--kinds", nargs="+", choices=task_sets.KINDS, default=task_sets.KINDS)
    parser.add_argument(
        "--tasks",
        nargs="+",
        metavar="LETTERS",
        help="sets of tasks, such as g gs gsedm; by default all that the groups allow. "
        "A wstn has as many weights as its set",
    )
    parser.add_argument("--epochs", type=cli.positive, default=200, help="of stn and wstn")
    parser.add_argument("--mtn-epochs", type=cli.positive, default=1000, help="of one task each")
    parser.add_argument("--mlp-epochs", type=cli.positive, default=50, help="of the classifier")
    cli.add_step_options(parser, learning_rate=1e-3, batch_size=64)
    cli.add_seed(parser)
    args = parser.parse_args()

    cache, prepared = MelCache(args.cache), topics.load_groups(args.groups)
    split = failures.drop_failed(split_csv.read_split(args.split), cache.failed, args.cache)
    train = split[split_csv.subset_mask(split, "train", args.split)].reset_index(drop=True)
    made_of = {
        "split": provenance.digest_rows(split.itertuples(index=False)),
        "cache": cache.made_from["inputs"],
    }
    provenance.require_same(
        args.groups, {name: prepared.inputs.get(name) for name in made_of}, made_of
    )

    allowed = task_sets.sort_tasks(["g", *prepared.groups])
    for tasks in args.tasks or ():
        if not tasks or tasks != task_sets.sort_tasks(set(tasks) & set(allowed)):
            raise InputError(
                f"--tasks {tasks}: not a set of {allowed}, in this order; {args.groups} has "
                f"the words {' '.join(prepared.groups)}"
            )

    runs = task_sets.list_runs(args.kinds, args.tasks or task_sets.list_task_sets(allowed))
    if not runs:
        raise InputError("--tasks: an mtn or wstn has two or more; add one")
    genres, targets = task_sets.group_targets(train, prepared.groups, args.split)

    # Keras comes after the arguments, so that --help does not wait for it.
    from artist_groups import training
    from training.devices import open_devices

    settings = training.GroupTrainingConfig(
        args.epochs,
        args.mtn_epochs,
        args.mlp_epochs,
        args.batch_size,
        args.learning_rate,
        args.seed,
    )
    with open_devices(False) as found:
        experiment = training.Experiment(
            args.out,
            train,
            genres,
            targets,
            cache,
            prepared,
            settings,
            found,
            args.data,
            args.steps_per_call,
        )
        experiment.make(runs)


if __name__ == "__main__":
    cli.run_script(main)
