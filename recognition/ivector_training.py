"""How an i-vector extractor is trained: background model, statistics, total variability, whitening.

Every pass over the songs ends in a state file, so that a killed training goes on
from there, to the same end.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from common import hdf5, provenance
from common.errors import InputError
from common.files import atomic_write, exclusive_folder
from data_prep.mel_cache import MelCache
from data_prep.mfcc import MfccSettings, TrackFrames
from recognition import gmm_ubm, ivector, ivector_model
from recognition.ivector import TotalVariability, Whitening
from recognition.ivector_model import IVectorModel


@dataclass(frozen=True)
class IVectorSchedule:
    """Sizes of the models, and how long they are trained.

    Attributes
    ----------
    mixtures, start, ubm_iterations
        Of the background model (see `gmm_ubm.train`), iterations at the most.
    dimensions, iterations
        Of the i-vectors, and of the total variability (see `ivector.fit`).
    seed
        Of both.
    """

    mixtures: int
    start: str
    ubm_iterations: int
    dimensions: int
    iterations: int
    seed: int


@dataclass(frozen=True)
class IVectorRun:
    """One training: ivector.h5 and ivector.csv of its folder, until its end ivector_state.h5."""

    folder: Path
    inputs: dict

    @property
    def out(self) -> Path:
        """The extractor."""
        return self.folder / "ivector.h5"

    @property
    def _state(self) -> Path:
        return self.folder / "ivector_state.h5"

    def is_complete(self) -> bool:
        """Whether an extractor from these inputs is there already.

        Raises
        ------
        InputError
            One from other inputs is there, finished or not.
        """
        if self._state.exists():
            with self._undamaged(), hdf5.open_file(self._state) as file:
                found = hdf5.read_json_attribute(file, "made_from").get("inputs")
                if not isinstance(found, dict):
                    raise ValueError("it does not say what it was made from")
            provenance.require_same(self.folder, found, self.inputs)
        if self.out.exists():
            provenance.require_same(
                self.folder, ivector_model.load_ivector_model(self.out).inputs, self.inputs
            )
            self._state.unlink(missing_ok=True)  # a kill at the end can leave it
        return self.out.exists()

    def keep(self, ubm: tuple, model: tuple | None) -> None:
        """Write what there is after an iteration: (mixture, history) and (T, gains) or None."""
        with hdf5.create_file(self._state) as file:
            file.attrs["made_from"] = provenance.to_json(provenance.make_record(self.inputs))
            ivector_model.write_ubm(file, ubm[0])
            file["ubm/history"] = ubm[1]
            if model:
                file["total_variability"], file["gains"] = model[0].matrix, model[1]

    def state(self) -> tuple[tuple | None, tuple | None]:
        """What `keep` wrote last, or (None, None)."""
        if not self._state.exists():
            return None, None
        with self._undamaged(), hdf5.open_file(self._state) as file:
            ubm, model = ivector_model.read_ubm(file), None
            if file.id.links.exists(b"total_variability"):
                matrix = ivector_model.read_total_variability(file, ubm)
                model = (
                    TotalVariability(matrix, ubm.means, ubm.variances),
                    self._series(file, "gains"),
                )
            return (ubm, self._series(file, "ubm/history")), model

    @staticmethod
    def _series(file: h5py.File, name: str) -> np.ndarray:
        found = hdf5.read_array(file, name)
        if found.ndim != 1 or not np.isfinite(found).all():
            raise ValueError(f"{name}: not a row of numbers")
        return found

    @contextlib.contextmanager
    def _undamaged(self) -> Iterator[None]:
        """Name the remedy that helps where the state is damaged."""
        try:
            yield
        except (InputError, ValueError) as error:
            raise InputError(
                f"{self._state}: damaged ({str(error).partition(';')[0]}); delete it to begin anew"
            ) from error

    def finish(self, made: IVectorModel, likelihoods: np.ndarray, gains: np.ndarray) -> None:
        """Write the log and the extractor, which ends the training."""
        log = pd.concat(
            [
                pd.DataFrame({"model": "ubm", "log_likelihood": likelihoods}),
                pd.DataFrame({"model": "total variability", "log_likelihood": gains}),
            ]
        )
        log.insert(1, "iteration", log.groupby("model").cumcount() + 1)
        with atomic_write(self.folder / "ivector.csv") as aside:
            log.to_csv(aside, index=False)
        ivector_model.save_ivector_model(self.out, made)
        self._state.unlink(missing_ok=True)


def train_ivector_model(
    run: IVectorRun,
    cache: MelCache,
    track_ids: np.ndarray,
    artists: np.ndarray,
    mfcc: MfccSettings,
    schedule: IVectorSchedule,
) -> None:
    """Train an extractor on tracks (n,) of a cache by `artists` (n,), or say that it is there.

    Raises
    ------
    InputError
        The run's folder holds a training from other inputs, or another process is at
        it; a track that the cache lacks or that holds NaN; fewer frames than mixtures;
        or no more songs than dimensions.
    """
    if schedule.dimensions >= len(track_ids):
        raise InputError(
            f"--dimensions {schedule.dimensions}: i-vectors of {len(track_ids)} songs cannot be "
            f"whitened in so many; take fewer than {len(track_ids)}, or more songs"
        )
    if mfcc.coefficients > cache.front_end.n_mels:
        raise InputError(
            f"--coefficients {mfcc.coefficients}: of {cache.front_end.n_mels} mel bands; take at "
            "most so many"
        )
    supervector = schedule.mixtures * mfcc.dimensions
    if schedule.dimensions > supervector:
        raise InputError(
            f"--dimensions {schedule.dimensions}: {schedule.mixtures} mixtures of "
            f"{mfcc.dimensions} coefficients have {supervector}; take fewer, or more --mixtures"
        )
    with exclusive_folder(run.folder):
        if run.is_complete():
            print(f"{run.out}: complete already")
            return
        songs = TrackFrames.from_cache(cache, track_ids, mfcc, run.folder)
        if songs.failed:
            print(f"{cache.path}: {len(songs.failed)} tracks without a loud frame left out")
        ubm_so_far, model_so_far = run.state()
        ubm, likelihoods = gmm_ubm.fit_gmm(
            lambda: [songs.frames],
            schedule.mixtures,
            iterations=schedule.ubm_iterations,
            seed=schedule.seed,
            start=schedule.start,
            begun=ubm_so_far,
            after=lambda gmm, history: run.keep((gmm, history), None),
        )
        zeroth, first = gmm_ubm.collect_statistics(ubm, songs, len(songs.track_id))
        model, gains = ivector.fit_total_variability(
            zeroth,
            first,
            ubm.means,
            ubm.variances,
            dimensions=schedule.dimensions,
            iterations=schedule.iterations,
            seed=schedule.seed,
            begun=model_so_far,
            after=lambda model, gains: run.keep((ubm, likelihoods), (model, gains)),
        )
        whitening = Whitening.fit(model.transform(zeroth, first))
        names = np.array(sorted(set(artists[np.isin(track_ids, songs.track_id)])), object)
        made = IVectorModel(mfcc, cache.front_end, ubm, model, whitening, names, run.inputs)
        run.finish(made, likelihoods, gains)
        print(
            f"{run.out}: complete, {len(songs.track_id)} songs of {len(names)} artists, "
            f"{len(songs.frames)} frames, log-likelihood of a frame {likelihoods[-1]:.3f}"
        )
