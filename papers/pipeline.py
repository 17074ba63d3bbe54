"""An ordered list of script calls, of which a repeated run skips those that are up to date."""

import csv
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from common.errors import InputError
from common.files import atomic_write

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent  # folder that contains the scripts
JOURNAL = "steps.csv"  # file name of the journal in the output folder

# Former option names, so that steps completed by an earlier version are not run again.
RENAMED_OPTIONS = {
    "--artists": "--max-artists",
    "--batch": "--batch-size",
    "--beside": "--compare-with",
    "--first": "--max-labels",
    "--lda": "--lda-dimensions",
    "--mixtures": "--components",
    "--rate": "--learning-rate",
    "--train-artists": "--max-train-artists",
}
REMOVED_OPTIONS = ("--allow-failures",)  # what it did is now the default


@dataclass(frozen=True)
class Step:
    """A script call, and the files that it reads and creates."""

    command: tuple[str, ...]  # the script and its arguments
    output: Path  # if the script creates several files, the one that it writes last
    inputs: tuple[Path, ...]
    other_outputs: tuple[Path, ...] = ()
    needs_all_inputs: bool = True  # if False, the step runs with at least one existing input

    def __str__(self) -> str:
        return shlex.join(("python", *self.command))

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files that the step creates and that later steps may read."""
        return (self.output, *self.other_outputs)


def make_step(
    script: str, *arguments: object, output: Path, inputs: Sequence[Path], **options
) -> Step:
    """Return a `Step` whose command is the script followed by its arguments as strings."""
    return Step((script, *map(str, arguments)), output, tuple(inputs), **options)


class Pipeline:
    """Steps in execution order, and a journal of the completed ones in the output folder.

    Each input of a step is either the output of an earlier step or a file that already exists.
    """

    def __init__(self, folder: Path, steps: list[Step]):
        self.folder, self.steps = folder, steps
        self._journal = read_journal(folder)

    def remaining_steps(self) -> list[Step]:
        """Return the steps that have not run yet or whose inputs have changed since they ran."""
        remaining: list[Step] = []
        outdated: set[Path] = set()
        for step in self.steps:
            if outdated.intersection(step.inputs) or not self._is_up_to_date(step):
                remaining.append(step)
                outdated.add(step.output)
        return remaining

    def _is_up_to_date(self, step: Step) -> bool:
        if str(step) not in self._journal or not all(map(Path.exists, step.outputs)):
            return False
        written = step.output.stat().st_mtime_ns
        return all(path.exists() and path.stat().st_mtime_ns <= written for path in step.inputs)

    def existing_inputs(self) -> list[Path]:
        """Return a sorted list of the files that steps read but no step creates."""
        created = {path for step in self.steps for path in step.outputs}
        return sorted({path for step in self.steps for path in step.inputs} - created)

    def describe(self) -> list[str]:
        """Return one line per step, with "done" or its previous duration, and a summary line."""
        remaining = self.remaining_steps()
        lines, times = [], []
        for step in self.steps:
            state, seconds = "done", self._journal.get(str(step))
            if step in remaining:
                times += [] if seconds is None else [timedelta(seconds=round(seconds))]
                state = "" if seconds is None else str(times[-1])
            lines.append(f"{state:>8}  {step}")
        summary = f"{len(self.steps) - len(remaining)} of {len(self.steps)} steps are done"
        if times:
            total = sum(times, timedelta())
            summary += f"; {len(times)} of the others took {total} the last time"
        return [*lines, summary]

    def run(self) -> None:
        """Run the remaining steps in order, logging each command before it runs.

        If a step fails, the steps that need its outputs are skipped, all others still run, and
        an `InputError` is raised at the end.
        """
        remaining, errors = self.remaining_steps(), []
        missing: set[Path] = set()
        for number, step in enumerate(remaining, len(self.steps) - len(remaining) + 1):
            position = f"[{number}/{len(self.steps)}]"
            absent = missing.intersection(step.inputs)
            if absent and (step.needs_all_inputs or len(absent) == len(step.inputs)):
                logger.info("%s skipped: missing input %s: %s", position, min(absent), step)
                missing.update(step.outputs)
                continue
            logger.info("%s %s", position, step)
            error = self._run(step)
            if error:
                errors.append(error)
                missing.update(step.outputs)
        if errors:
            raise InputError(f"{'; '.join(errors)}; see the output above, then run this again")

    def _run(self, step: Step) -> str:
        """Run a step and record it; return an error message, or an empty string on success."""
        script, started, clock = step.command[0], time.time_ns(), time.monotonic()
        status = run_script(step.command)
        if status < 0:  # killed or interrupted: stop the whole pipeline
            raise InputError(f"{script} was terminated by signal {-status}; run this again")
        if status:
            return f"{script} failed with exit status {status} for {step.output}"
        absent = [path for path in step.outputs if not path.exists()]
        if absent:
            return (
                f"{script} did not create {absent[0]}; if it reports that its output is already "
                "complete, delete that output"
            )
        if step.output.stat().st_mtime_ns >= started:
            self._journal[str(step)] = round(time.monotonic() - clock, 1)
        else:  # the script found its output complete and up to date, so it did nothing
            os.utime(step.output)
            self._journal.setdefault(str(step), None)
        with (
            atomic_write(self.folder / JOURNAL) as partial,
            open(partial, "w", encoding="utf-8", newline="") as file,
        ):
            csv.writer(file).writerows([("command", "seconds"), *self._journal.items()])
        return ""


def run_script(command: Sequence[str]) -> int:
    """Run a script with its arguments and return its exit status."""
    return subprocess.run([sys.executable, ROOT / command[0], *command[1:]]).returncode


def read_journal(folder: str | Path) -> dict[str, float | None]:
    """Return {completed command: seconds}, with None if its output was already complete."""
    path, journal = Path(folder) / JOURNAL, {}
    if not path.exists():
        return {}
    try:
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, strict=True):
                words = (
                    RENAMED_OPTIONS.get(word, word)
                    for word in shlex.split(row["command"])
                    if word not in REMOVED_OPTIONS
                )
                journal[shlex.join(words)] = float(row["seconds"]) if row["seconds"] else None
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: the journal is damaged ({error}); delete it, and run the same command again "
            "to rebuild it from the complete outputs"
        ) from error
    return journal
