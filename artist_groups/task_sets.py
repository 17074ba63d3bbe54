"""Which runs agf2018 is made of: kinds of networks, and the sets of tasks that they learn."""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

TASKS = "gsedm"  # the genre, and artist groups out of four words; a set has them in this order
KINDS = ("stn", "mtn", "wstn")


class TaskSet(NamedTuple):
    """What is trained together: a kind of networks, and the letters of their tasks.

    Of a wSTN the tasks say only what number of weights it has.
    """

    kind: str
    tasks: str

    @property
    def model(self) -> str:
        """As the paper's tables name it."""
        return f"wstn N={len(self.tasks)}" if self.kind == "wstn" else f"{self.kind} {self.tasks}"

    @property
    def name(self) -> str:
        """As its folder is named, but for the seed."""
        return self.model.replace(" N=", "_").replace(" ", "_")

    @property
    def of_networks(self) -> list["TaskSet"]:
        """The runs whose networks it takes: itself, or of an STN those of the single tasks."""
        return [TaskSet("stn", task) for task in self.tasks] if self.kind == "stn" else [self]


def list_runs(kinds: Sequence[str], sets: Sequence[str]) -> list[TaskSet]:
    """Runs in the order in which they are made; an MTN has two tasks or more, and so a wSTN.

    Of wSTNs there is one for each number of tasks.
    """
    several = [tasks for tasks in sets if len(tasks) > 1]
    first_of_size = {len(tasks): tasks for tasks in reversed(several)}
    of_kind = {"stn": sets, "mtn": several, "wstn": sorted(first_of_size.values(), key=len)}
    return [TaskSet(kind, tasks) for kind in KINDS if kind in kinds for tasks in of_kind[kind]]


def sort_tasks(tasks: Iterable[str]) -> str:
    """The letters of tasks as a set of them is written."""
    return "".join(task for task in TASKS if task in tasks)


def list_task_sets(tasks: str) -> list[str]:
    """Of tasks, those of one first."""
    return [
        "".join(some)
        for size in range(1, len(tasks) + 1)
        for some in itertools.combinations(tasks, size)
    ]
