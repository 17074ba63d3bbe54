"""An ordered list of script calls, of which a repeated run skips those that are up to date."""

import contextlib
import csv
import itertools
import logging
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO

from common.errors import InputError
from common.files import atomic_write
from common.parallel import available_cores
from data_prep.mel_cache import cache_files

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent  # folder that contains the scripts
JOURNAL = "steps.csv"  # file name of the journal in the output folder
SIDE_BY_SIDE = min(available_cores(), 4)  # maximum number of steps that run at once
# GPUs of NVIDIA and AMD, those of Windows in WSL, and TPUs; on macOS, there always is a GPU.
_DEVICES = ("nvidiactl", "kfd", "dxg", "accel0", "vfio")
HAS_ACCELERATOR = sys.platform == "darwin" or any(Path("/dev", d).exists() for d in _DEVICES)

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
    # If False, the step runs after all steps before it, with at least one existing input.
    needs_all_inputs: bool = True

    def __str__(self) -> str:
        return shlex.join(("python", *self.command))

    @property
    def is_evaluation(self) -> bool:
        """Whether the step is short, and needs neither a GPU nor all cores."""
        return self.command[0] == "evaluate.py"

    @property
    def shares(self) -> bool:
        """Whether the step may run beside any other; of those that may not, one runs at a time."""
        # On a CPU, two models train faster side by side. Data is prepared on all cores.
        on_cpu = not HAS_ACCELERATOR and not self.command[0].startswith("data_prep/")
        return self.is_evaluation or on_cpu

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
        files = [cache_files(path) for path in step.inputs]  # an input may be a cache in shards
        return all(files) and all(
            file.stat().st_mtime_ns <= written for file in itertools.chain(*files)
        )

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
        """Run the remaining steps, logging each command.

        A step starts once its inputs exist, in the order of the plan, and may run beside others.
        One step at a time prints directly, and its command is logged before it runs; what another
        step prints is logged after its command, when no step prints directly.

        If a step fails, the steps that need its outputs are skipped, all others still run, and
        an `InputError` is raised at the end.
        """
        waiting, errors = self.remaining_steps(), []
        first = len(self.steps) - len(waiting) + 1
        titles = {s: f"[{n}/{len(self.steps)}]" for n, s in enumerate(waiting, first)}
        missing: set[Path] = set()
        running = _RunningSteps()
        with contextlib.closing(running):
            while waiting or running.steps:
                while (step := running.choose_next(waiting)) is not None:
                    waiting.remove(step)
                    absent = missing.intersection(step.inputs)
                    if absent and (step.needs_all_inputs or len(absent) == len(step.inputs)):
                        text = f"{titles[step]} skipped: missing input {min(absent)}: {step}"
                        running.log(text)
                        missing.update(step.outputs)
                    else:
                        in_front = not step.is_evaluation or all(o.is_evaluation for o in waiting)
                        running.start(step, f"{titles[step]} {step}", in_front)
                for ended in running.wait():
                    error = self._record(ended)
                    if error:
                        errors.append(error)
                        missing.update(ended.step.outputs)
        if errors:
            raise InputError(f"{'; '.join(errors)}; see the output above, then run this again")

    def _record(self, ended: "_RunningStep") -> str:
        """Record a step that ended; return an error message, or an empty string on success."""
        step, status = ended.step, ended.process.returncode
        script = step.command[0]
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
        if step.output.stat().st_mtime_ns >= ended.started:
            self._journal[str(step)] = round(time.monotonic() - ended.clock, 1)
        else:  # the script found its output complete and up to date, so it did nothing
            os.utime(step.output)
            self._journal.setdefault(str(step), None)
        with (
            atomic_write(self.folder / JOURNAL) as partial,
            open(partial, "w", encoding="utf-8", newline="") as file,
        ):
            csv.writer(file).writerows([("command", "seconds"), *self._journal.items()])
        return ""


@dataclass(frozen=True)
class _RunningStep:
    step: Step
    started: int  # time in nanoseconds
    clock: float
    process: subprocess.Popen
    text: str  # what is logged before the step's output
    output: IO[bytes] | None  # file that receives what the step prints; None if it prints directly


class _RunningSteps:
    """The steps that are running, and the messages held back while one of them prints directly."""

    def __init__(self) -> None:
        self.steps: list[_RunningStep] = []
        self._held: list[str] = []

    @property
    def _front(self) -> bool:
        """Whether a step prints directly."""
        return any(each.output is None for each in self.steps)

    def choose_next(self, waiting: Sequence[Step]) -> Step | None:
        """Return the first step that can start now, or None."""
        if len(self.steps) >= SIDE_BY_SIDE:
            return None
        pending = {path for each in self.steps for path in each.step.outputs}
        alone = any(not each.step.shares for each in self.steps)
        for step in waiting:
            ready = pending.isdisjoint(step.inputs) if step.needs_all_inputs else not pending
            if ready and (step.shares or not alone):
                return step
            pending.update(step.outputs)
        return None

    def start(self, step: Step, text: str, in_front: bool) -> None:
        """Start a step; with `in_front`, it prints directly unless another step does."""
        output = None
        if in_front and not self._front:
            self.log(text)
        else:
            output = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the step ends)
        now = time.time_ns(), time.monotonic()
        process = start_script(step.command, output)
        self.steps.append(_RunningStep(step, *now, process, text, output))

    def wait(self) -> list[_RunningStep]:
        """Wait until a step ends; log what it has printed, and return it with others that ended."""
        ended: list[_RunningStep] = []
        while self.steps and not ended:
            time.sleep(0.05)
            ended = [each for each in self.steps if each.process.poll() is not None]
        self.steps = [each for each in self.steps if each not in ended]
        for each in ended:
            if each.output is not None:
                each.output.seek(0)
                printed = each.output.read().decode(errors="backslashreplace")
                each.output.close()
                self._held.append(f"{each.text}\n{printed}".rstrip())
        self.log()
        return ended

    def log(self, *messages: str) -> None:
        """Log messages, now or when no step prints directly."""
        self._held += messages
        if not self._front:
            for message in self._held:
                logger.info("%s", message)
            self._held.clear()

    def close(self) -> None:
        """End all steps and log what was held back.

        On Ctrl-C, the steps have been interrupted too, and have a second to end.
        """
        for each in self.steps:
            for end in (each.process.terminate, each.process.kill):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    each.process.wait(timeout=1)
                end()
            each.process.wait()
        self.steps.clear()
        self.log()


def start_script(command: Sequence[str], output: IO[bytes] | None) -> subprocess.Popen:
    """Start a script with its arguments; what it prints goes to the file `output`, if given."""
    arguments = [sys.executable, str(ROOT / command[0]), *command[1:]]
    error = None if output is None else subprocess.STDOUT
    return subprocess.Popen(arguments, stdout=output, stderr=error)


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
