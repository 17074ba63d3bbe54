"""How long steps take, roughly: on two cores of 2026 without a GPU, as measured on the demo."""

from collections.abc import Iterable
from typing import NamedTuple

# Seconds to start, and for each of the units in which the work is counted.
SECONDS = {
    "split": (2.0, 0.0001),  # tracks
    "render": (2.0, 0.03),  # songs of the built-in corpus
    "decode": (3.0, 0.02),  # tracks of 30 s
    "basic": (18.0, 0.0009),  # crops: songs times epochs
    "tag": (18.0, 0.0009),
    "siamese": (16.0, 0.0029),
    "ivector": (5.0, 0.04),  # songs of 30 s
    "groups": (10.0, 0.01),  # tracks, of the words m, d and s
    "essentia": (20.0, 1.0),  # tracks, of these and the word e
    "agf": (60.0, 0.0025),  # crops of a network of one task
    "extract": (5.0, 0.004),  # tracks
    "judge": (2.0, 0.001),  # songs
    "train and judge": (2.0, 0.004),  # songs, of what trains a classifier
    "t-SNE": (2.0, 0.006),  # songs
    "lay out": (5.0, 0.1),  # results
}


class Work(NamedTuple):
    """An amount of a kind in `SECONDS`; None where it is not known."""

    kind: str
    amount: float | None

    @property
    def seconds(self) -> float | None:
        """What it takes, or None where the amount is not known."""
        start, each = SECONDS[self.kind]
        return None if self.amount is None else start + each * self.amount


def total(works: Iterable[Work]) -> float:
    """Seconds of several, those of unknown amount left aside."""
    return sum(work.seconds or 0 for work in works)


def told(seconds: float) -> str:
    """A time as people say it: "20 s", "3 min", "1.5 h", "12 days"."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    hours = seconds / 3600
    if hours < 48:
        return f"{hours:.1f} h".replace(".0 h", " h")
    return f"{round(hours / 24)} days"
