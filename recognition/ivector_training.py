"""Training of i-vector models: background model, statistics, total variability, whitening.

The training state is saved after each iteration. An interrupted run resumes from there and
produces a bit-identical model.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common import hdf5, provenance
from common.errors import InputError
from common.files import atomic_write, exclusive_folder
from data_prep.mel_cache import MelCache
from data_prep.mfcc import MfccSettings, TrackFrames
from recognition import gmm_ubm, ivector, ivector_model
from recognition.gmm_ubm import DiagonalGMM
from recognition.ivector import TotalVariability, Whitening
from recognition.ivector_model import IVectorModel

logger = logging.getLogger(__name__)


# A model and the log-likelihoods of all iterations so far.
_TrainedGMM = tuple[DiagonalGMM, np.ndarray]
_TrainedTotalVariability = tuple[TotalVariability, np.ndarray]


@dataclass(frozen=True)
class IVectorSchedule:
    """Arguments of `fit_gmm` and `fit_total_variability`, named as in provenance records."""

    mixtures: int
    start: str
    ubm_iterations: int
    dimensions: int
    iterations: int
    seed: int


class IVectorRun:
    """A training run's folder: ivector.h5, ivector.csv and, until completion, ivector_state.h5.

    `inputs` holds everything that determines the model, as JSON-serialisable values.
    """

    def __init__(self, folder: Path, inputs: dict):
        self.folder, self.inputs = folder, inputs
        self.model_path, self._state_path = folder / "ivector.h5", folder / "ivector_state.h5"

    def is_complete(self) -> bool:
        """Return whether the model is trained; raise `InputError` if its inputs differ."""
        if not self.model_path.exists():
            return False
        inputs = ivector_model.load_ivector_model(self.model_path).inputs
        provenance.require_same(self.folder, inputs, self.inputs)
        self._state_path.unlink(missing_ok=True)  # left over if the run was killed at the very end
        return True

    def save_state(
        self, ubm: _TrainedGMM, total_variability: _TrainedTotalVariability | None = None
    ) -> None:
        """Write the current models to the state file after an iteration."""
        with hdf5.create_file(self._state_path) as file:
            file.attrs["made_from"] = provenance.to_json(provenance.make_record(self.inputs))
            ivector_model.write_ubm(file, ubm[0])
            file["ubm/history"] = ubm[1]
            if total_variability:
                file["total_variability"] = total_variability[0].matrix
                file["gains"] = total_variability[1]

    def load_state(self) -> tuple[_TrainedGMM | None, _TrainedTotalVariability | None]:
        """Read the models of the last iteration; raise `InputError` if their inputs differ."""
        if not self._state_path.exists():
            return None, None
        try:
            with hdf5.open_file(self._state_path) as file:
                inputs = dict(hdf5.read_json_attribute(file, "made_from")["inputs"])
                gmm, total_variability = ivector_model.read_ubm(file), None
                ubm = gmm, hdf5.read_array(file, "ubm/history")
                if "total_variability" in file:
                    model = ivector_model.read_total_variability(file, gmm)
                    total_variability = model, hdf5.read_array(file, "gains")
            logs = [ubm[1], *([total_variability[1]] if total_variability else [])]
            if not all(log.ndim == 1 and np.isfinite(log).all() for log in logs):
                raise ValueError("its log-likelihoods")
        except (InputError, KeyError, TypeError, ValueError) as error:
            reason = str(error).partition(";")[0]
            raise InputError(
                f"{self._state_path}: damaged ({reason}); delete it to start from scratch"
            ) from error
        provenance.require_same(self.folder, inputs, self.inputs)
        return ubm, total_variability

    def finish(self, model: IVectorModel, likelihoods: np.ndarray, gains: np.ndarray) -> None:
        """Write the log and the model, and delete the state file."""
        logs = {"ubm": likelihoods, "total variability": gains}
        log = pd.concat(
            pd.DataFrame({"model": name, "iteration": np.arange(len(v)) + 1, "log_likelihood": v})
            for name, v in logs.items()
        )
        with atomic_write(self.folder / "ivector.csv") as partial:
            log.to_csv(partial, index=False)
        ivector_model.save_ivector_model(self.model_path, model)
        self._state_path.unlink(missing_ok=True)


def train_ivector_model(
    run: IVectorRun,
    cache: MelCache,
    track_ids: np.ndarray,
    artists: np.ndarray,
    mfcc: MfccSettings,
    schedule: IVectorSchedule,
) -> None:
    """Train an i-vector model; resume an unfinished run and skip a complete one.

    `track_ids` (n,) are the training tracks in the cache, and `artists` (n,) their artists.
    """
    _require_feasible(schedule, mfcc, len(track_ids), cache.front_end.n_mels)
    with exclusive_folder(run.folder):
        if run.is_complete():
            logger.info("%s: already complete", run.model_path)
            return
        ubm_so_far, total_variability_so_far = run.load_state()
        tracks = TrackFrames.from_cache(cache, track_ids, mfcc, run.folder)
        if tracks.failed:
            count = len(tracks.failed)
            logger.info("%s: skipped %d tracks without a loud frame", cache.path, count)
        ubm, likelihoods = gmm_ubm.fit_gmm(
            tracks.frames,
            schedule.mixtures,
            iterations=schedule.ubm_iterations,
            seed=schedule.seed,
            start=schedule.start,
            resume_from=ubm_so_far,
            on_iteration=lambda *so_far: run.save_state(so_far),
        )
        zeroth, first = gmm_ubm.collect_statistics(ubm, tracks, len(tracks.track_id))
        total_variability, gains = ivector.fit_total_variability(
            zeroth,
            first,
            ubm,
            dimensions=schedule.dimensions,
            iterations=schedule.iterations,
            seed=schedule.seed,
            resume_from=total_variability_so_far,
            on_iteration=lambda *so_far: run.save_state((ubm, likelihoods), so_far),
        )
        whitening = Whitening.fit(total_variability.transform(zeroth, first))
        names = np.array(sorted(set(artists[np.isin(track_ids, tracks.track_id)])), object)
        model = IVectorModel(
            mfcc, cache.front_end, ubm, total_variability, whitening, names, run.inputs
        )
        run.finish(model, likelihoods, gains)
        logger.info(
            f"{run.model_path}: complete, {len(tracks.track_id)} tracks of {len(names)} artists, "
            f"{len(tracks.frames)} frames, log-likelihood of a frame {likelihoods[-1]:.3f}"
        )


def _require_feasible(
    schedule: IVectorSchedule, mfcc: MfccSettings, tracks: int, n_mels: int
) -> None:
    d, mixtures, means = schedule.dimensions, schedule.mixtures, schedule.mixtures * mfcc.dimensions
    if d >= tracks:
        raise InputError(
            f"--dimensions {d}: too many to whiten the i-vectors of {tracks} tracks; use fewer "
            "than that, or more tracks"
        )
    if d > means:
        raise InputError(
            f"--dimensions {d}: more than the {means} means of {mixtures} components; use fewer, "
            "or more --components"
        )
    if mfcc.coefficients > n_mels:
        raise InputError(f"--coefficients {mfcc.coefficients}: use at most the {n_mels} mel bands")
