"""The run folder: the weights, the log, and the state from which training resumes."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common import hdf5, provenance
from common.errors import InputError
from common.files import atomic_write
from models.keras_backend import keras


@dataclass(frozen=True)
class TrainingState:
    """Everything that the next epoch of a training run depends on."""

    variables: list[np.ndarray]  # of the models and optimizers
    history: dict[str, list[float]]  # {log column: values, one per epoch}
    stopped: bool  # whether a rule, such as --patience, has ended training

    @property
    def epochs(self) -> int:
        """Number of completed epochs."""
        return len(next(iter(self.history.values()), ()))


@dataclass(frozen=True)
class TrainingRun:
    """The folder of one training run.

    After each epoch it contains best.h5 (the weights with the lowest validation loss or, with the
    cosine schedule, the last ones), last.h5, log.csv, and state.h5, from which the same command
    resumes if the process is killed, or the command with more epochs continues. When training ends,
    run.json is written.
    """

    folder: Path
    inputs: dict  # inputs that determine the result; see `training.config.training_inputs`
    # Writes the models, with a provenance record, to a weights file.
    save: Callable[[Path, Sequence[keras.Model], dict], None]

    def is_complete(self) -> bool:
        """Return whether the folder contains a completed run with these inputs.

        A run with fewer epochs is not complete. If the folder contains a run with other inputs,
        whether completed or not, or with more epochs, raise `InputError`.
        """
        finished = provenance.read_sidecar(self.folder / "run")["inputs"]
        existing = finished or self._unfinished_inputs()
        if not existing:
            return False
        provenance.require_same(self.folder, *map(without_epochs, (existing, self.inputs)))
        if finished and not provenance.list_differences(finished, self.inputs):
            # Left by a process that was killed after it had completed the run.
            (self.folder / "lock").unlink(missing_ok=True)
            return True
        state, epochs = self.read_state(), _epochs_of(self.inputs)
        if finished and state is None:
            raise InputError(
                f"{self.folder}: was completed with {_epochs_of(finished)} epochs, and its "
                "state.h5, from which to continue, is missing; choose another --out"
            )
        if state and epochs is not None and state.epochs > epochs:
            raise InputError(
                f"{self.folder}: contains {state.epochs} epochs of training, more than the "
                f"{epochs} requested; request {state.epochs} or more, or choose another --out"
            )
        return bool(finished and state and state.stopped)

    def read_state(self) -> TrainingState | None:
        """Return the state after the last epoch, or None if there is no state file."""
        if not (self.folder / "state.h5").exists():
            return None
        with self._open("state.h5") as file:
            variables, history = (hdf5.get_group(file, name) for name in ("variables", "history"))
            columns = {name: hdf5.read_array(history, name) for name in history}
            lengths = {column.shape for column in columns.values()}
            losses = [columns[name] for name in ("loss", "val_loss") if name in columns]
            if [len(shape) for shape in lengths] != [1] or not np.isfinite(losses).all():
                raise InputError(f"{file.filename}: history is damaged")
            return TrainingState(
                [hdf5.read_array(variables, f"{number:03}") for number in range(len(variables))],
                {name: column.tolist() for name, column in columns.items()},
                # Version 0.1.0 called it so; it was also true after the last epoch.
                hdf5.read_attribute(file, "finished", bool),
            )

    def write_epoch(
        self, models: Sequence[keras.Model], state: TrainingState, *, best: bool
    ) -> None:
        """Write the files for an epoch; the state comes last because it depends on the others."""
        record = self._make_record()
        provenance.sidecar_path(self.folder / "run").unlink(missing_ok=True)
        if best:
            self.save(self.folder / "best.h5", models, record)
        self.save(self.folder / "last.h5", models, record)
        with atomic_write(self.folder / "log.csv") as partial:
            table = pd.DataFrame(state.history)
            table.insert(0, "epoch", np.arange(1, len(table) + 1))
            table.to_csv(partial, index=False)
        with hdf5.create_file(self.folder / "state.h5") as file:
            file.attrs["finished"] = state.stopped
            file.attrs["made_from"] = provenance.to_json(record)
            for number, array in enumerate(state.variables):
                file[f"variables/{number:03}"] = array
            history = file.create_group("history", track_order=True)  # keeps the column order
            for name, values in state.history.items():
                history[name] = np.array(values)

    def finish(self) -> None:
        """Mark the run as complete."""
        with atomic_write(provenance.sidecar_path(self.folder / "run")) as partial:
            partial.write_text(provenance.to_json(self._make_record()), encoding="utf-8")

    def _make_record(self) -> dict:
        return {**provenance.make_record(self.inputs), "backend": keras.backend.backend()}

    def _unfinished_inputs(self) -> dict:
        """Return the inputs of an unfinished run, even if it was killed before writing a state."""
        for name in ("state.h5", "last.h5"):
            if (self.folder / name).exists():
                with self._open(name) as file:
                    inputs = hdf5.read_json_attribute(file, "made_from").get("inputs", {})
                    if not isinstance(inputs, dict):
                        raise InputError(f"{file.filename}: made_from is damaged")
                    return inputs
        return {}

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator:
        """Open a file in the run folder; errors suggest deleting the folder."""
        try:
            with hdf5.open_file(self.folder / name) as file:
                yield file
        except InputError as error:
            problem = str(error).partition(";")[0]
            raise InputError(f"{problem}; delete {self.folder} to train from scratch") from error


def without_epochs(inputs: dict) -> dict:
    """Return the inputs of a run, or of an output made from runs, without numbers of epochs."""

    def strip(value: Any) -> Any:
        if isinstance(value, list):
            return [strip(one) for one in value]
        if isinstance(value, dict):
            return {key: strip(one) for key, one in value.items() if key != "epochs"}
        return value

    return strip(inputs)


def _epochs_of(inputs: dict) -> int | None:
    settings = inputs.get("settings")
    return settings.get("epochs") if isinstance(settings, dict) else None
