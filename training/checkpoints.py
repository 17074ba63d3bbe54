"""The folder of a training: the weights, the log, and the state that it resumes from."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common import hdf5, provenance
from common.errors import InputError
from common.files import atomic_write, exclusive_folder
from models.keras_backend import keras


@dataclass(frozen=True)
class TrainingState:
    """A training after some epochs: everything that its next epoch depends on.

    Attributes
    ----------
    variables
        Values of the variables of the models and the optimizers.
    history
        {name: one value per epoch}, the columns of the log.
    finished
        Whether there is no epoch left.
    """

    variables: list[np.ndarray]
    history: dict[str, list[float]]
    finished: bool

    @property
    def epochs(self) -> int:
        """Number of epochs so far."""
        return len(next(iter(self.history.values()), ()))


@dataclass(frozen=True)
class TrainingRun:
    """The folder of one training.

    After every epoch it contains best.h5 (the weights with the lowest validation loss),
    last.h5, log.csv and state.h5, from which the same command resumes after a kill. At the end
    run.json is written and state.h5 is deleted.

    Attributes
    ----------
    inputs
        What the training is made from, see `training.inputs`.
    save
        Function of a path, the models, and the provenance record, that writes a weights file.
    """

    folder: Path
    inputs: dict
    save: Callable[[Path, Sequence[keras.Model], dict], None]

    def is_complete(self) -> bool:
        """Return whether the folder contains a finished training from these inputs.

        Raises
        ------
        InputError
            The folder contains a training from other inputs, finished or not.
        """
        finished = provenance.read_sidecar(self.folder / "run")["inputs"]
        existing = finished or self._unfinished_inputs()
        if existing:
            provenance.require_same(self.folder, existing, self.inputs)
        if finished:
            self._delete_leftovers()
        return bool(finished)

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which no other process can train in the folder."""
        return exclusive_folder(self.folder)

    def read_state(self) -> TrainingState | None:
        """Return the state of an unfinished training, or None if there is none.

        Raises
        ------
        InputError
            The file is damaged.
        """
        if not self._state_path.exists():
            return None
        with self._open(self._state_path) as file:
            variables, history = (hdf5.get_group(file, name) for name in ("variables", "history"))
            return TrainingState(
                [hdf5.read_array(variables, f"{number:03}") for number in range(len(variables))],
                {name: hdf5.read_array(history, name).tolist() for name in history},
                bool(hdf5.read_attribute(file, "finished", bool)),
            )

    def write_epoch(
        self, models: Sequence[keras.Model], state: TrainingState, *, best: bool
    ) -> None:
        """Write the files of an epoch, the state last because it refers to the others."""
        record = self._make_record()
        if best:
            self.save(self.folder / "best.h5", models, record)
        self.save(self.folder / "last.h5", models, record)
        with atomic_write(self.folder / "log.csv") as partial:
            table = pd.DataFrame(state.history)
            table.insert(0, "epoch", np.arange(1, len(table) + 1))
            table.to_csv(partial, index=False)
        with hdf5.create_file(self._state_path) as file:
            file.attrs["finished"] = state.finished
            file.attrs["made_from"] = provenance.to_json(record)
            for number, array in enumerate(state.variables):
                file[f"variables/{number:03}"] = array
            history = file.create_group("history", track_order=True)  # the order of the columns
            for name, values in state.history.items():
                history[name] = np.array(values)

    def finish(self) -> None:
        """Declare the training complete."""
        with atomic_write(provenance.sidecar_path(self.folder / "run")) as partial:
            partial.write_text(provenance.to_json(self._make_record()), encoding="utf-8")
        self._delete_leftovers()

    @property
    def _state_path(self) -> Path:
        return self.folder / "state.h5"

    def _make_record(self) -> dict:
        return {**provenance.make_record(self.inputs), "backend": keras.backend.backend()}

    def _unfinished_inputs(self) -> dict:
        """Return the inputs of an unfinished training, which a kill may have left without state."""
        for path in (self._state_path, self.folder / "last.h5"):
            if path.exists():
                with self._open(path) as file:
                    return hdf5.read_json_attribute(file, "made_from").get("inputs", {})
        return {}

    def _delete_leftovers(self) -> None:
        """Delete what a finished training does not need, and a kill at its end can leave."""
        for name in ("state.h5", "lock"):
            (self.folder / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _open(self, path: Path) -> Iterator:
        """Open a file of the run; if it is damaged, the remedy is to delete the folder."""
        try:
            with hdf5.open_file(path) as file:
                yield file
        except InputError as error:
            problem = str(error).partition(";")[0]
            raise InputError(f"{problem}; delete {self.folder} to train from scratch") from error
