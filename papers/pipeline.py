"""Steps of a paper, one command each: planned, run in order, and not run again when done."""

import csv
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import InputError
from common.files import atomic_write
from papers import effort
from papers.effort import Work

ROOT = Path(__file__).resolve().parent.parent  # where the scripts are
JOURNAL = "steps.csv"  # in the folder of all that is made
COLUMNS = ("command", "kind", "amount", "seconds")


@dataclass(frozen=True)
class Step:
    """One of the scripts with its arguments.

    Attributes
    ----------
    command
        The script and what it is given, as on the command line.
    makes
        The file that it leaves, or of several the one to go on with.
    of
        The files that it is made from.
    work
        How much there is to do.
    also
        Other files that it leaves and later steps are made from.
    of_any
        Whether it can be made from some of its files, the others not being there.
    """

    command: tuple[str, ...]
    makes: Path
    of: tuple[Path, ...]
    work: Work
    also: tuple[Path, ...] = ()
    of_any: bool = False

    def __str__(self) -> str:
        return shlex.join(("python", *self.command))

    @property
    def leaves(self) -> tuple[Path, ...]:
        """All files that it leaves."""
        return (self.makes, *self.also)


def make_step(
    script: str, *arguments: object, makes: Path, of: Sequence[Path], work: Work, **more
) -> Step:
    """A step whose arguments are whatever has a text."""
    return Step((script, *map(str, arguments)), Path(makes), tuple(map(Path, of)), work, **more)


# ---------------------------------------------------------------- a plan


@dataclass
class Pipeline:
    """Steps in the order in which they are run, and what is known of earlier runs.

    Attributes
    ----------
    folder
        Of all that is made; `steps.csv` in it remembers the commands that were done, and
        the seconds that each took (None of what was complete already).
    """

    folder: Path
    steps: list[Step]
    _done: dict[str, dict] = field(init=False)

    def __post_init__(self) -> None:
        self._done = read_journal(self.folder)

    def to_do(self) -> list[Step]:
        """The steps that have not been done, or that were, with other files than there are now."""
        left, made = [], set()
        for one in self.steps:
            if made.intersection(one.of) or not self._is_done(one):
                left.append(one)
                made.add(one.makes)
        return left

    def _is_done(self, one: Step) -> bool:
        if str(one) not in self._done or not all(map(Path.exists, one.leaves)):
            return False
        made = one.makes.stat().st_mtime_ns
        return all(path.exists() and path.stat().st_mtime_ns <= made for path in one.of)

    def seconds(self, steps: Sequence[Step]) -> float:
        """What steps take, by what those of their kind took before; unknown ones left aside."""
        return sum((one.work.seconds or 0) * self._pace(one.work.kind) for one in steps)

    def _pace(self, kind: str) -> float:
        """How many times as long as `effort` says the steps of a kind have taken here."""
        took, said = 0.0, 0.0
        for done in self._done.values():
            if done["kind"] == kind and None not in (done["amount"], done["seconds"]):
                took += done["seconds"]
                said += Work(kind, done["amount"]).seconds
        return took / said if said else 1.0

    def lines(self) -> list[str]:
        """The plan in words: a line a step, and how long all of it takes."""
        left = self.to_do()
        lines = [f"{self._state(one, left):>8}  {one}" for one in self.steps]
        unknown = sum(one.work.amount is None for one in left)
        said = effort.told(self.seconds(left)) + (f" and {unknown} of unknown time" * bool(unknown))
        so_far = f"{len(self.steps) - len(left)} of {len(self.steps)} steps are done"
        return [*lines, f"{so_far}; the others take about {said}" if left else so_far]

    def _state(self, one: Step, left: Sequence[Step]) -> str:
        if one not in left:
            return "done"
        return "?" if one.work.amount is None else effort.told(self.seconds([one]))

    def run(self, say: Callable[[str], None]) -> None:
        """Do what is to do, each command said before it is run.

        Where one fails, what is made from its files is left out, and all else is done.

        Raises
        ------
        InputError
            A step did not come to a good end.
        """
        left, failed, lacking = self.to_do(), [], set()
        for number, one in enumerate(left, len(self.steps) - len(left) + 1):
            missing = lacking.intersection(one.of)
            if len(missing) == len(one.of) > 0 or (missing and not one.of_any):
                say(f"[{number}/{len(self.steps)}] left out, for want of {min(missing)}: {one}")
                lacking.update(one.leaves)
                continue
            say(f"[{number}/{len(self.steps)}] {one}")
            wrong = self._run(one)
            if wrong:
                failed.append(wrong)
                lacking.update(one.leaves)
        if failed:
            raise InputError(f"{'; '.join(failed)}; see above, then run this again")

    def _run(self, one: Step) -> str:
        """Run a step; what went wrong, or ""."""
        began, clock = time.time_ns(), time.monotonic()
        status = run_script(one.command)
        if status < 0:  # stopped from outside, and so is this
            raise InputError(f"{one.command[0]} was ended by signal {-status}; run this again")
        if status:
            return f"{one.command[0]} ended with {status} for {one.makes}"
        absent = [path for path in one.leaves if not path.exists()]
        if absent:
            return (
                f"{absent[0]} is not there though {one.command[0]} was to make it; if it says that "
                "all is complete already, delete what it calls so"
            )
        new = one.makes.stat().st_mtime_ns >= began
        self._remember(one, time.monotonic() - clock if new else None)
        return ""

    def given(self) -> list[Path]:
        """The files that steps are made from and none makes, once each."""
        made = {path for one in self.steps for path in one.leaves}
        return sorted({path for one in self.steps for path in one.of} - made)

    def _remember(self, one: Step, seconds: float | None) -> None:
        """Write down that a step is done; `seconds` is None if it was complete already."""
        if seconds is None:
            seconds = self._done.get(str(one), {}).get("seconds")
            os.utime(one.makes)  # its script has found it to be of what it is made from now
        taken = None if seconds is None else round(seconds, 1)
        self._done[str(one)] = {**one.work._asdict(), "seconds": taken}
        rows = [{"command": command, **done} for command, done in self._done.items()]
        with (
            atomic_write(self.folder / JOURNAL) as aside,
            open(aside, "w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


def run_script(command: Sequence[str]) -> int:
    """Run a script with its arguments to its exit status."""
    return subprocess.run([sys.executable, ROOT / command[0], *command[1:]]).returncode


def read_journal(folder: str | Path) -> dict[str, dict]:
    """{command: its kind, amount and seconds} of the steps that were done, in their order.

    Raises
    ------
    InputError
        It is damaged.
    """
    path = Path(folder) / JOURNAL
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            return {row["command"]: _done(row) for row in reader}
    except FileNotFoundError:
        return {}
    except (csv.Error, KeyError, OSError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: damaged ({' '.join(str(error).split())}); delete it, and what is complete is "
            "found so again"
        ) from error


def _done(row: dict[str, str]) -> dict:
    numbers = {name: float(row[name]) if row[name] else None for name in ("amount", "seconds")}
    return {"kind": row["kind"], **numbers}
