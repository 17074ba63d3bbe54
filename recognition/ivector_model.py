"""The i-vector extractor: all that takes a song's log-mel to its i-vector, in one HDF5 file.

| in the file | shape, dtype | what |
|---|---|---|
| ubm/weights, ubm/means, ubm/variances | (k,), (k, d), (k, d) float64 | the background model |
| total_variability | (k, d, R) float64 | T |
| whitening/mean, whitening/matrix | (R,), (R, R) float64 | of the training songs' i-vectors |
| trained_on | (artists,) str | whose songs it was trained on |

Root attributes: `format`; `mfcc` and `front_end`, the settings of its frames, and
`made_from`, as JSON.
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
from data_prep.mfcc import MfccSettings
from recognition.gmm_ubm import DiagonalGMM
from recognition.ivector import TotalVariability, Whitening, length_normalise

FORMAT = "artist labels i-vector 1"
_SONGS = 256  # whose statistics are held at a time


@dataclass(frozen=True, eq=False)
class IVectorModel:
    """A trained i-vector extractor.

    Attributes
    ----------
    mfcc, front_end
        What its frames are made with.
    ubm, total_variability, whitening
        The three models, in the order in which a song passes them.
    trained_on
        (artists,) str, the names of the artists whose songs trained it.
    inputs
        What it was made from, JSON values.
    """

    mfcc: MfccSettings
    front_end: FrontEnd
    ubm: DiagonalGMM
    total_variability: TotalVariability
    whitening: Whitening
    trained_on: np.ndarray
    inputs: dict

    def frames(self, mel: np.ndarray) -> np.ndarray:
        """The MFCC frames of a (frames, n_mels) log-mel, as the UBM takes them, float32."""
        return self.mfcc.frames(mel, self.front_end)

    def extract_ivectors(self, mels: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
        """The i-vector of each log-mel in order, whitened and at length 1: (R,) float32.

        None for a song without a frame that is loud enough, where only such are taken.
        """

        def statistics(mel: np.ndarray) -> tuple | None:
            frames = self.frames(mel)
            return self.ubm.statistics(frames) if len(frames) else None

        found = map_in_threads(statistics, mels)
        # Some songs at a time: what the extraction prepares costs as much as several of them.
        while some := list(itertools.islice(found, _SONGS)):
            loud = [both for both in some if both is not None]
            vectors = iter(self._vectors(*map(np.stack, zip(*loud, strict=True))) if loud else ())
            yield from (None if both is None else next(vectors) for both in some)

    def _vectors(self, zeroth: np.ndarray, first: np.ndarray) -> np.ndarray:
        """(songs, R) float32 from statistics (songs, k) and (songs, k, d)."""
        vectors = self.total_variability.transform(zeroth, first)
        return length_normalise(self.whitening.transform(vectors)).astype(np.float32)


def save_ivector_model(path: str | Path, extractor: IVectorModel) -> None:
    """Write an extractor whole."""
    with hdf5.create_file(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["mfcc"] = provenance.to_json(extractor.mfcc.to_dict())
        file.attrs["front_end"] = provenance.to_json(extractor.front_end.to_dict())
        file.attrs["made_from"] = provenance.to_json(provenance.make_record(extractor.inputs))
        write_ubm(file, extractor.ubm)
        file["total_variability"] = extractor.total_variability.matrix
        file["whitening/mean"] = extractor.whitening.mean
        file["whitening/matrix"] = extractor.whitening.matrix
        hdf5.write_strings(file, "trained_on", extractor.trained_on)


def load_ivector_model(path: str | Path) -> IVectorModel:
    """Read an extractor.

    Raises
    ------
    InputError
        No such file, a file of something else, or a damaged one.
    """
    other = "not an i-vector extractor; make one with train_ivector.py"
    with hdf5.open_format(path, FORMAT, other) as file:
        try:
            ubm = read_ubm(file)
            matrix = read_total_variability(file, ubm)
            whitening = Whitening(
                hdf5.read_array(file, "whitening/mean"), hdf5.read_array(file, "whitening/matrix")
            )
            mfcc = MfccSettings(**hdf5.read_json_attribute(file, "mfcc"))
            front_end = FrontEnd(**hdf5.read_json_attribute(file, "front_end"))
            trained_on = hdf5.read_strings(file, "trained_on")
            inputs = hdf5.read_json_attribute(file, "made_from").get("inputs")
            rank = matrix.shape[-1]
            fits = (
                whitening.mean.shape == (rank,)
                and whitening.matrix.shape == (rank, rank)
                and np.isfinite(whitening.mean).all()
                and np.isfinite(whitening.matrix).all()
                and ubm.means.shape[1] == mfcc.dimensions
                and isinstance(mfcc.level_range, float | int | None)
                and isinstance(front_end.gain, float | int)
                and provenance.is_model_record(inputs)
            )
        except (TypeError, ValueError) as error:
            raise _damaged(path) from error
    if not fits:
        raise _damaged(path)
    model = TotalVariability(matrix, ubm.means, ubm.variances)
    return IVectorModel(mfcc, front_end, ubm, model, whitening, trained_on, inputs)


def read_total_variability(file: h5py.File, ubm: DiagonalGMM) -> np.ndarray:
    """(k, d, R) float64, T over a mixture; `ValueError` if it is none."""
    matrix = hdf5.read_array(file, "total_variability")
    if matrix.dtype != np.float64 or matrix.ndim != 3 or matrix.shape[:2] != ubm.means.shape:
        raise ValueError("total_variability: not (k, d, R) float64")
    if not np.isfinite(matrix).all():
        raise ValueError("total_variability: holds NaN or infinity")
    return matrix


def describe_ivector_model(path: str | Path, extractor: IVectorModel) -> dict:
    """What a feature file says of the extractor that made it."""
    return {**provenance.describe_model(extractor.inputs), "sha256": file_sha256(path)}


def write_ubm(file: h5py.File, ubm: DiagonalGMM) -> None:
    """Put a mixture into the group `ubm` of a file."""
    for name in ("weights", "means", "variances"):
        file[f"ubm/{name}"] = getattr(ubm, name)


def read_ubm(file: h5py.File) -> DiagonalGMM:
    """The mixture in the group `ubm` of a file; `ValueError` if it is none."""
    return DiagonalGMM(
        *(hdf5.read_array(file, f"ubm/{n}") for n in ("weights", "means", "variances"))
    )


def _damaged(path: str | Path) -> InputError:
    return InputError(f"{path}: a damaged i-vector extractor; train it again")
