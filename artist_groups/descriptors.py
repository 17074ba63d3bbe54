"""Song-level descriptors by Essentia: what the word `e` of agf2018 is made of.

A *descriptor* is one number that Essentia's MusicExtractor finds in a whole song: a
statistic over frames, an entry of a covariance, a share of a histogram. Essentia is asked
for only here; `pip install -r requirements-essentia.txt`.
"""

import contextlib
import errno
import importlib.metadata
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import librosa
import numpy as np
import pandas as pd
import soundfile
from numpy.typing import ArrayLike
from sklearn.preprocessing import QuantileTransformer

from common import cli, hdf5, provenance
from common.errors import InputError
from common.files import exclusive_folder
from common.parallel import Outcome, ordered_map
from data_prep import audio, failures
from data_prep.audio import AudioError
from data_prep.audio_folder import digest_files

_FORMAT = "descriptors-1"
_CHUNK = 200  # tracks that a kill may cost: some minutes
_PATIENCE = 1800.0  # seconds; a track of two hours takes nearly ten minutes
_BLOCK = 1 << 20  # values copied at a time, all channels together
_PER_BEAT = "rhythm.beats_position"  # the only vector whose length is the song's own

# ---------------------------------------------------------------- one track


def describe(path: str | Path) -> dict[str, float]:
    """Describe a song by the numbers of Essentia's MusicExtractor, in its default profile.

    Left out are words (keys and scales), all of `metadata.`, which tells of the file, and
    `rhythm.beats_position`, which has as many numbers as the song has beats. What remains
    are 4,364 numbers in Essentia 2.1-beta6-dev; with the ten numbers of `metadata.` they
    would be as many as the paper's 4,374.

    Parameters
    ----------
    path
        Any file that `audio.load` takes. Essentia is given its own rate, not the papers', and
        both channels: the loudness of EBU R 128 is heard in them, all else in their mean.

    Returns
    -------
    {name: value}, sorted by name. An entry of a vector or matrix has its indices after its
    name, in three digits: `lowlevel.mfcc.cov.000.012`.

    Raises
    ------
    AudioError
        `audio.load` refuses it, or Essentia does: it takes what is mostly silent for silence.
    InputError
        Essentia is not installed.
    OSError
        There is no room for a copy where temporary files go.
    """
    essentia = _essentia()
    audio.load_audio(path)  # for its refusals, which are then those of a mel cache
    with tempfile.TemporaryDirectory() as folder:
        copy = _copied(path, folder)
        try:
            pool, _ = essentia.MusicExtractor()(str(copy))
        except RuntimeError as error:
            why = str(error).rpartition(": ")[2].rstrip(". ")
            raise AudioError(path, f"is refused by Essentia ({why}); take it out") from error
    return dict(sorted(_numbers(pool)))


def _essentia() -> ModuleType:
    """Essentia's algorithms, which keep their log to themselves."""
    try:
        import essentia

        for level in ("infoActive", "warningActive", "errorActive"):
            setattr(essentia.log, level, False)
        import essentia.standard
    except ImportError as error:
        raise InputError(
            "the word e needs Essentia; pip install -r requirements-essentia.txt "
            "(the words m, d and s need none)"
        ) from error
    return essentia.standard


def _copied(path: str | Path, folder: str) -> Path:
    """The file as WAV in `folder`, so that Essentia sees none that came from elsewhere.

    It refuses AU and some tags, and its ffmpeg opens more than a name promises.
    """
    copy = Path(folder, "copy.wav")
    try:
        source = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:  # an m4a or the like, which `audio.load` gave to ffmpeg
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            samples, rate = librosa.load(Path(path).resolve(), sr=None, mono=False)
        samples = np.atleast_2d(samples).T
        _write(copy, [samples], int(rate), samples.shape[1])
        return copy
    with source:
        size = max(_BLOCK // source.channels, 1)
        blocks = source.blocks(size, dtype="float32", always_2d=True)
        _write(copy, blocks, source.samplerate, source.channels)
    return copy


def _write(path: Path, blocks: Iterable[np.ndarray], rate: int, channels: int) -> None:
    """Write blocks (n, channels) as they are, or averaged: Essentia takes two channels at most."""
    stereo = channels <= 2
    try:
        with soundfile.SoundFile(path, "w", rate, channels if stereo else 1, "FLOAT") as file:
            for block in blocks:
                file.write(block if stereo else block.mean(axis=1))
    except soundfile.LibsndfileError as error:  # not in reading, which `audio.load` has just done
        raise OSError(errno.ENOSPC, "no room for a copy", str(path)) from error


def _numbers(pool) -> Iterator[tuple[str, float]]:
    for name in pool.descriptorNames():
        value = pool[name]
        if isinstance(value, str) or name.startswith("metadata.") or name == _PER_BEAT:
            continue
        for index, number in np.ndenumerate(value):
            yield ".".join([name, *(f"{i:03d}" for i in index)]), float(number)


# ---------------------------------------------------------------- many tracks


@dataclass(frozen=True, eq=False)
class Described:
    """Descriptors of n tracks.

    names : (d,) str, sorted: all that some track has
    values : (n, d) float32, NaN where a track lacks one
    track_id : (n,) str, the tracks that could be described, in the order asked for
    failed : {track_id: reason} of the others
    """

    names: np.ndarray
    values: np.ndarray
    track_id: np.ndarray
    failed: dict[str, str]


def describe_tracks(
    track_ids: Sequence[str], paths: Sequence[str | Path], folder: str | Path, *, workers: int
) -> Described:
    """Describe the audio file of each track, in processes; go on where an earlier run was killed.

    `folder` keeps 200 tracks at a time, each such chunk an HDF5 file written whole that says
    for which tracks and files (by path, size and time) it is. A track that fails, kills its
    process or takes half an hour is counted as failed, and stays so until its chunk is deleted.

    Raises
    ------
    InputError
        Essentia is not installed; a chunk is of other tracks or files, or of another version
        of Essentia, or damaged; another run is at work in `folder`.
    OSError
        A disk is full: that of `folder`, or of temporary files.
    """
    _essentia()  # now, and not once for each track
    rows, folder = list(zip(track_ids, map(str, paths), strict=True)), Path(folder)
    with exclusive_folder(folder):
        chunks = [
            _Chunk(folder / f"{first:07d}.h5", rows[first : first + _CHUNK])
            for first in range(0, len(rows), _CHUNK)
        ]
        missing = [chunk for chunk in chunks if chunk.described is None]
        files = [path for chunk in missing for _, path in chunk.rows]
        outcomes = ordered_map(describe, files, workers=workers, patience=_PATIENCE)
        done = len(rows) - len(files)
        bar = cli.progress_bar(
            outcomes, total=len(rows), initial=done, desc="descriptors", unit="track"
        )
        with contextlib.closing(outcomes), bar:
            counted = iter(bar)
            for chunk in missing:
                chunk.fill(counted)
    return _joined([chunk.described for chunk in chunks])


class _Chunk:
    """Some tracks (track_id, path) and the file of their descriptors; `described` once it is there.

    A file of other tracks is refused, not replaced: it may have cost hours, and stands in the
    wrong folder as likely as it is out of date.
    """

    def __init__(self, path: Path, rows: list[tuple[str, str]]):
        self.path, self.rows, self.described = path, rows, None
        self._inputs = {
            "format": _FORMAT,
            "essentia": importlib.metadata.version("essentia"),
            "tracks": provenance.digest_rows((track,) for track, _ in rows),
            "files": digest_files("", [file for _, file in rows]),
        }
        if path.exists():
            self.described = self._read()

    def fill(self, outcomes: Iterator[Outcome]) -> None:
        """Take the outcome of each track in turn and write the file."""
        # In this order: zip must not draw an outcome that has no row here.
        pairs = zip(self.rows, outcomes, strict=False)
        self.described = _joined([_of_one(track, outcome) for (track, _), outcome in pairs])
        with hdf5.create_file(self.path) as file:
            file["values"] = self.described.values
            hdf5.write_strings(file, "names", self.described.names)
            hdf5.write_strings(file, "track_id", self.described.track_id)
            hdf5.write_strings(file, "failed_track_id", self.described.failed)
            hdf5.write_strings(file, "failed_reason", self.described.failed.values())
            file.attrs["made_from"] = provenance.to_json(provenance.make_record(self._inputs))

    def _read(self) -> Described:
        with hdf5.open_file(self.path) as file:
            inputs = hdf5.read_json_attribute(file, "made_from").get("inputs")
            provenance.require_same(
                self.path, inputs if isinstance(inputs, dict) else {}, self._inputs
            )
            values = hdf5.read_array(file, "values")
            names, track_id = hdf5.read_strings(file, "names"), hdf5.read_strings(file, "track_id")
            failed = (
                hdf5.read_strings(file, "failed_track_id"),
                hdf5.read_strings(file, "failed_reason"),
            )
        found = Described(names, values, track_id, dict(zip(*failed, strict=False)))
        whole = values.shape == (len(track_id), len(names)) and values.dtype == np.float32
        if not whole or len(track_id) + len(found.failed) != len(self.rows):
            raise InputError(f"{self.path}: damaged; delete it and run the same command again")
        return found


def _of_one(track_id: str, outcome: Outcome) -> Described:
    if isinstance(outcome.error, OSError):
        raise outcome.error  # the disk's failure, not the track's: it would be every track's
    if outcome.error is not None:
        none = np.zeros(0, object)
        reason = failures.failure_reason(outcome.error)
        return Described(none, np.zeros((0, 0), np.float32), none, {track_id: reason})
    values = np.array([list(outcome.result.values())], np.float32)
    names = np.array(list(outcome.result), object)
    return Described(names, values, np.array([track_id], object), {})


def _joined(parts: list[Described]) -> Described:
    """The tracks of all parts in turn, over the union of their names."""
    names = pd.Index(sorted(set().union(*(part.names for part in parts))), dtype=object)
    track_id = np.array([track for part in parts for track in part.track_id], object)
    values = np.full((len(track_id), len(names)), np.nan, np.float32)
    first = 0
    for part in parts:
        last = first + len(part.values)
        values[first:last, names.get_indexer(part.names)] = part.values
        first = last
    failed = {track: reason for part in parts for track, reason in part.failed.items()}
    return Described(names.to_numpy(), values, track_id, failed)


# ---------------------------------------------------------------- as vectors


@dataclass(frozen=True, eq=False)
class Normalised:
    """Descriptors, each of them normally distributed over the tracks.

    values : (n, kept) float32
    columns : (d,) bool, which descriptors were kept
    missing : how many were dropped since some track lacks them, or has NaN or infinity
    constant : how many were dropped since they are the same in all tracks
    """

    values: np.ndarray
    columns: np.ndarray
    missing: int
    constant: int


def normalise_descriptors(values: ArrayLike, seed: int = 0) -> Normalised:
    """Map each descriptor (n, d) to a normal distribution by its quantiles; agf2018's.

    By scikit-learn's QuantileTransformer, which learns 1,000 quantiles (n where there are
    fewer tracks), of 10,000 tracks drawn by `seed` where there are more. The least and the
    greatest value become -5.2 and 5.2.

    Raises
    ------
    InputError
        Fewer than two tracks, or no descriptor that all of them have and that differs.
    """
    values = np.asarray(values, np.float32)
    if len(values) < 2:
        raise InputError(f"descriptors: {len(values)} tracks; take a split with two or more")
    whole = np.isfinite(values).all(axis=0)
    columns = whole & (values != values[0]).any(axis=0)
    missing, constant = int((~whole).sum()), int((whole & ~columns).sum())
    if not columns.any():
        raise InputError(
            f"descriptors: none is left of {len(columns)}: {missing} are missing in some track, "
            f"{constant} the same in all; take other tracks"
        )
    by_quantiles = QuantileTransformer(
        n_quantiles=min(1000, len(values)),
        output_distribution="normal",
        random_state=seed,
        copy=False,  # indexing has made one
    )
    return Normalised(by_quantiles.fit_transform(values[:, columns]), columns, missing, constant)
