"""The agf2018 tasks, their targets, and the paper's training runs."""

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from artist_groups.topics import ArtistGroups
from common.errors import InputError
from data_prep import split_csv

logger = logging.getLogger(__name__)

# One-letter task codes in canonical order: the genre (g), and the artist groups learned from each
# vocabulary (s: sub-genres, e: Essentia descriptors, d: delta MFCCs, m: MFCCs).
TASKS = "gsedm"
KINDS = ("stn", "mtn", "wstn")


class TaskSet(NamedTuple):
    """One agf2018 run: a network type and the one-letter codes of its tasks.

    A wSTN learns only the genre; its task set determines its number of weights.
    """

    kind: str
    tasks: str

    @property
    def model(self) -> str:
        """Name of the model in the paper's tables, such as "mtn gs" or "wstn N=2"."""
        return f"wstn N={len(self.tasks)}" if self.kind == "wstn" else f"{self.kind} {self.tasks}"

    @property
    def name(self) -> str:
        """Name of the run folder without the seed, such as "mtn_gs" or "wstn_2"."""
        return self.model.replace(" N=", "_").replace(" ", "_")

    @property
    def parts(self) -> list["TaskSet"]:
        """The runs that train the networks: single-task runs for an STN, otherwise this run."""
        return [TaskSet("stn", task) for task in self.tasks] if self.kind == "stn" else [self]


def list_runs(kinds: Sequence[str], sets: Sequence[str]) -> list[TaskSet]:
    """List the runs in training order.

    MTNs and wSTNs need at least two tasks. There is one wSTN per number of tasks.
    """
    several = [tasks for tasks in sets if len(tasks) > 1]
    first_of_size = {len(tasks): tasks for tasks in reversed(several)}
    of_kind = {"stn": sets, "mtn": several, "wstn": sorted(first_of_size.values(), key=len)}
    return [TaskSet(kind, tasks) for kind in KINDS if kind in kinds for tasks in of_kind[kind]]


def sort_tasks(tasks: Iterable[str]) -> str:
    """Return a task set sorted in the order of `TASKS`."""
    return "".join(task for task in TASKS if task in tasks)


def list_task_sets(tasks: str) -> list[str]:
    """List all non-empty subsets of `tasks`, smallest first."""
    sizes = range(1, len(tasks) + 1)
    return ["".join(some) for size in sizes for some in itertools.combinations(tasks, size)]


@dataclass(frozen=True, kw_only=True)
class GroupTrainingConfig:
    """Settings shared by all runs; the defaults are the paper's values."""

    epochs: int = 200  # of an STN or wSTN
    mtn_epochs: int = 1000  # each trains the network of one task
    mlp_epochs: int = 50
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    data: str | float = "auto"  # `data` and `steps_per_call`: see `data_placement.Placement.choose`
    steps_per_call: int | None = None

    def record(self, kind: str) -> dict:
        """Return the settings that determine networks of a given type, keyed by recorded name."""
        return {
            "epochs": self.mtn_epochs if kind == "mtn" else self.epochs,
            "batch": self.batch_size,
            "rate": self.learning_rate,
            "seed": self.seed,
        }


class Targets(NamedTuple):
    """The training tracks for a task, and their targets.

    tracks : (n,) int64, row numbers in the table of training tracks
    distributions : (n, outputs) float32; every row sums to 1
    """

    tracks: np.ndarray
    distributions: np.ndarray


def group_targets(
    train: pd.DataFrame, groups: Mapping[str, ArtistGroups], source: str | Path
) -> tuple[list[str], dict[str, Targets]]:
    """Return the sorted genres, and each task's targets: one-hot genres, and artist groups.

    `train` are training tracks with the columns `artist` and `genre`, `groups` the artist groups
    per vocabulary, and `source` is the name of the split, for messages. Tracks without a target are
    left out, and their number is logged. The genre task comes first.
    """
    genre = split_csv.label_column(train, "genre", source)
    known = genre != ""
    codes, genres = pd.factorize(genre[known], sort=True)
    if len(genres) < 2:
        raise InputError(
            f"{source}: its training tracks have {len(genres)} genres; use a split with two or more"
        )
    one_hot = np.eye(len(genres), dtype=np.float32)[codes]
    targets = {"g": Targets(np.flatnonzero(known), one_hot)}
    artists = train["artist"].to_numpy(object)
    for word, of_word in groups.items():
        rows = of_word.rows_of(artists)
        proportions = of_word.proportions[rows[rows >= 0]].astype(np.float32)
        targets[word] = Targets(np.flatnonzero(rows >= 0), proportions)
    for task, (tracks, _) in targets.items():
        if missing := len(train) - len(tracks):
            without = f"without {'genre' if task == 'g' else 'artist groups'}"
            logger.info(f"{source}: {missing} training tracks {without}: not in the task {task}")
    return list(genres), targets
