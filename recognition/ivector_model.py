"""The i-vector model: one HDF5 file with everything needed to map a track's log-mel to an i-vector.

| dataset | shape, dtype | content |
|---|---|---|
| ubm/weights, ubm/means, ubm/variances | (C,), (C, D), (C, D) float64 | the background model |
| total_variability | (C, D, R) float64 | T |
| whitening/mean, whitening/matrix | (R,), (R, R) float64 | whitening fitted to training i-vectors |
| trained_on | (artists,) str | names of the training artists |

The root attribute `format` identifies the file format. The JSON attributes `mfcc` and `front_end`
hold the frame settings, and `made_from` (JSON) holds the provenance.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from common import hdf5, provenance
from common.errors import InputError
from common.files import file_sha256
from common.parallel import map_in_threads
from data_prep.mel import FrontEnd
from data_prep.mfcc import MfccSettings, mfcc_frames
from recognition.gmm_ubm import DiagonalGMM
from recognition.ivector import TotalVariability, Whitening, length_normalise

FORMAT = "artist labels i-vector 1"
_TRACKS = 1024  # number of tracks whose statistics are held in memory at a time
_UBM = ("weights", "means", "variances")


@dataclass(frozen=True, eq=False)
class IVectorModel:
    """A trained i-vector model.

    Examples
    --------
    >>> model = load_ivector_model("runs/ivector/ivector.h5")
    >>> cache = MelCache("cache/demo.h5")
    >>> ivectors = list(model.extract_ivectors(cache[track] for track in cache.track_id))
    """

    mfcc: MfccSettings
    front_end: FrontEnd
    ubm: DiagonalGMM
    total_variability: TotalVariability
    whitening: Whitening
    trained_on: np.ndarray  # (artists,) str, names of the training artists
    inputs: dict  # provenance, as JSON-serialisable values

    def extract_frames(self, mel: np.ndarray) -> np.ndarray:
        """Return the MFCC frames (kept frames, D) float32 for a log-mel (frames, n_mels)."""
        return mfcc_frames(mel, self.front_end, self.mfcc)

    def extract_ivectors(self, mels: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
        """Yield the i-vector of each log-mel, whitened and scaled to unit length: (R,) float32.

        For a track without a sufficiently loud frame (`MfccSettings.level_range`), yield None.
        """

        def statistics(mel: np.ndarray) -> tuple | None:
            frames = self.extract_frames(mel)
            return self.ubm.statistics(frames) if len(frames) else None

        all_statistics = map_in_threads(statistics, mels)
        # Work in batches, because the setup in `transform` costs as much as 30 tracks.
        while batch := list(itertools.islice(all_statistics, _TRACKS)):
            loud = [one for one in batch if one is not None]
            vectors = iter(())
            if loud:
                x = self.total_variability.transform(*map(np.stack, zip(*loud, strict=True)))
                vectors = iter(length_normalise(self.whitening.transform(x)).astype(np.float32))
            yield from (None if one is None else next(vectors) for one in batch)


def save_ivector_model(path: str | Path, model: IVectorModel) -> None:
    """Write a model to an HDF5 file."""
    with hdf5.create_file(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["mfcc"] = provenance.to_json(model.mfcc.to_dict())
        file.attrs["front_end"] = provenance.to_json(model.front_end.to_dict())
        file.attrs["made_from"] = provenance.to_json(provenance.make_record(model.inputs))
        write_ubm(file, model.ubm)
        file["total_variability"] = model.total_variability.matrix
        file["whitening/mean"] = model.whitening.mean
        file["whitening/matrix"] = model.whitening.matrix
        hdf5.write_strings(file, "trained_on", model.trained_on)


def load_ivector_model(path: str | Path) -> IVectorModel:
    """Read a model from an HDF5 file; raise `InputError` if it is not an i-vector model."""
    other = "not an i-vector model; make one with train_ivector.py"
    with hdf5.open_format(path, FORMAT, other) as file:
        try:
            ubm = read_ubm(file)
            total_variability = read_total_variability(file, ubm)
            mean, matrix = (hdf5.read_array(file, f"whitening/{x}") for x in ("mean", "matrix"))
            mfcc = MfccSettings(**hdf5.read_json_attribute(file, "mfcc"))
            inputs = hdf5.read_json_attribute(file, "made_from")["inputs"]
            rank, d = total_variability.matrix.shape[-1], ubm.means.shape[1]
            if (mean.shape, matrix.shape, mfcc.dimensions) != ((rank,), (rank, rank), d):
                raise ValueError("its components have different dimensions")
            if not (np.isfinite(mean).all() and np.isfinite(matrix).all()):
                raise ValueError("its whitening contains NaN or infinite values")
            front_end = FrontEnd.from_dict(hdf5.read_json_attribute(file, "front_end"))
            valid = isinstance(mfcc.level_range, float | int | None)
            if not rank or not valid or not isinstance(front_end.gain, float | int):
                raise ValueError("invalid frame settings or no dimensions")
            if not provenance.is_model_record(inputs):
                raise ValueError("invalid provenance")
            return IVectorModel(
                mfcc,
                front_end,
                ubm,
                total_variability,
                Whitening(mean, matrix),
                hdf5.read_strings(file, "trained_on"),
                inputs,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: damaged i-vector model ({error}); train it again") from error


def describe_ivector_model(path: str | Path, model: IVectorModel) -> dict:
    """Return the description of a model that is recorded in files made with it."""
    return {**provenance.describe_model(model.inputs), "sha256": file_sha256(path)}


def write_ubm(file: h5py.File, ubm: DiagonalGMM) -> None:
    """Write a mixture to the `ubm` group of a file."""
    for name in _UBM:
        file[f"ubm/{name}"] = getattr(ubm, name)


def read_ubm(file: h5py.File) -> DiagonalGMM:
    """Read the mixture from the `ubm` group of a file; raise `ValueError` if it is invalid."""
    return DiagonalGMM(*(hdf5.read_array(file, f"ubm/{name}") for name in _UBM))


def read_total_variability(file: h5py.File, ubm: DiagonalGMM) -> TotalVariability:
    """Read the total-variability model from a file; raise `ValueError` if it is invalid."""
    matrix = hdf5.read_array(file, "total_variability")
    if matrix.ndim != 3 or matrix.shape[:2] != ubm.means.shape:
        raise ValueError("total_variability has another shape than the background model")
    if not np.isfinite(matrix).all():
        raise ValueError("total_variability contains NaN or infinite values")
    return TotalVariability(matrix, ubm)
