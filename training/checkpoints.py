"""The folder of one training: what it is made from, what it holds, and how it goes on."""

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
    """A training after some epochs: all that its next epoch depends on.

    Attributes
    ----------
    variables
        Arrays of the model's and then of the optimizer's variables.
    history
        What each epoch ended with: {name: one float an epoch}.
    finished
        No epoch is to follow.
    """

    variables: list[np.ndarray]
    history: dict[str, list[float]]
    finished: bool

    @property
    def epochs(self) -> int:
        """How many there were."""
        return len(next(iter(self.history.values()), ()))


@dataclass(frozen=True)
class TrainingRun:
    """The folder of one training.

    After every epoch it gets, each written whole: best.h5 if the validation
    loss was never lower, last.h5, log.csv, and lastly state.h5, from which the
    same command goes on after a kill. Once all is done, run.json comes and
    state.h5 goes.

    Attributes
    ----------
    inputs
        What the training is made from (see `training.inputs`).
    save
        Writes weights whole, given the path, the models, and the record to put into the
        attribute `made_from`.
    """

    folder: Path
    inputs: dict
    save: Callable[[Path, Sequence[keras.Model], dict], None]

    def is_complete(self) -> bool:
        """Whether a finished training from these inputs is there already.

        Raises
        ------
        InputError
            One from other inputs is there, finished or not.
        """
        found = provenance.read_sidecar(self.folder / "run")["inputs"]
        begun = found or self._begun()
        if begun:
            provenance.require_same(self.folder, begun, self.inputs)
        if found:
            self._tidy()
        return bool(found)

    def _begun(self) -> dict:
        """The inputs of an unfinished training, which must not be written over unasked."""
        for path in (self.folder / "state.h5", self.folder / "last.h5"):
            if path.exists():
                with self._undamaged(), hdf5.open_file(path) as file:
                    return hdf5.read_json_attribute(file, "made_from").get("inputs", {})
        return {}

    def _tidy(self) -> None:
        """Take away what a finished training does not need, and a kill at its end can leave."""
        for name in ("state.h5", "lock"):
            (self.folder / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _undamaged(self) -> Iterator[None]:
        """Name the remedy that helps where a file of the run itself is damaged."""
        try:
            yield
        except InputError as error:
            damage = str(error).partition(";")[0]
            raise InputError(f"{damage}; delete {self.folder} to begin anew") from error

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other trainings out of the folder."""
        return exclusive_folder(self.folder)

    def state(self) -> TrainingState | None:
        """What an unfinished training left, or None where it has to begin.

        Raises
        ------
        InputError
            The file is damaged.
        """
        path = self.folder / "state.h5"
        if not path.exists():
            return None
        with self._undamaged(), hdf5.open_file(path) as file:
            variables, history = (hdf5.get_group(file, name) for name in ("variables", "history"))
            return TrainingState(
                [hdf5.read_array(variables, f"{number:03}") for number in range(len(variables))],
                {name: hdf5.read_array(history, name).tolist() for name in history},
                bool(hdf5.read_attribute(file, "finished", bool)),
            )

    def keep(self, models: Sequence[keras.Model], state: TrainingState, *, best: bool) -> None:
        """Write what there is after an epoch, the state last: it vouches for the others."""
        made_from = self._record()
        if best:
            self.save(self.folder / "best.h5", models, made_from)
        self.save(self.folder / "last.h5", models, made_from)
        with atomic_write(self.folder / "log.csv") as aside:
            table = pd.DataFrame(state.history)
            table.insert(0, "epoch", np.arange(1, len(table) + 1))
            table.to_csv(aside, index=False)
        with hdf5.create_file(self.folder / "state.h5") as file:
            file.attrs["finished"] = state.finished
            file.attrs["made_from"] = provenance.to_json(made_from)
            for number, array in enumerate(state.variables):
                file[f"variables/{number:03}"] = array
            history = file.create_group("history", track_order=True)  # that of the log's columns
            for name, values in state.history.items():
                history[name] = np.array(values)

    def finish(self) -> None:
        """Declare the training complete."""
        with atomic_write(provenance.sidecar_path(self.folder / "run")) as aside:
            aside.write_text(provenance.to_json(self._record()), encoding="utf-8")
        self._tidy()

    def _record(self) -> dict:
        return {**provenance.make_record(self.inputs), "backend": keras.backend.backend()}
