"""Track descriptors by Essentia, the vectors of the word `e` of agf2018.

A *descriptor* is one number that Essentia's MusicExtractor computes from a whole track: a
statistic over frames, an element of a covariance matrix, a bin of a histogram. This is the
only module that needs Essentia (`pip install -r requirements-essentia.txt`).
"""

import contextlib
import errno
import importlib.metadata
import tempfile
import warnings
from collections.abc import Iterator, Sequence
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
_CHUNK = 200  # tracks per file, so that an interruption costs a few minutes
_PATIENCE = 1800.0  # seconds; a track of two hours takes almost ten minutes
_BLOCK = 1 << 20  # samples of all channels that are copied at a time
_PER_BEAT = "rhythm.beats_position"  # the only vector whose length depends on the track

# ---------------------------------------------------------------- one track


def describe(path: str | Path) -> dict[str, float]:
    """Compute the descriptors of one track by Essentia's MusicExtractor, in its default profile.

    Strings (keys and scales), `metadata.*`, which describes the file, and
    `rhythm.beats_position`, whose length varies, are left out. Essentia 2.1-beta6-dev has
    4,364 other numbers; with the ten numbers of `metadata.*` these are the paper's 4,374.

    Parameters
    ----------
    path
        Any file that `audio.load_audio` accepts. Essentia gets it at its own sample rate and in
        stereo, because the EBU R 128 loudness uses both channels; the rest uses their mean.

    Returns
    -------
    {name: value}, sorted by name. Elements of vectors and matrices have their indices appended
    in three digits: `lowlevel.mfcc.cov.000.012`.

    Raises
    ------
    AudioError
        `audio.load_audio` or Essentia rejects the file; Essentia rejects mostly silent tracks.
    InputError
        Essentia is not installed.
    OSError
        The disk of temporary files is full.
    """
    essentia = _import_essentia()
    audio.load_audio(path)  # rejects the same files, with the same reasons, as the mel cache
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy.wav")
        _write_wav(copy, path)
        try:
            pool, _ = essentia.MusicExtractor()(str(copy))
        except RuntimeError as error:
            reason = str(error).rpartition(": ")[2].rstrip(". ")
            raise AudioError(path, f"is rejected by Essentia ({reason}); remove it") from error
    return dict(sorted(_numbers(pool)))


def _import_essentia() -> ModuleType:
    """Import Essentia's algorithms, without their log."""
    try:
        import essentia

        for level in ("infoActive", "warningActive", "errorActive"):
            setattr(essentia.log, level, False)
        import essentia.standard
    except ImportError as error:
        raise InputError(
            "the word e needs Essentia; pip install -r requirements-essentia.txt "
            "(the words m, d and s do not need it)"
        ) from error
    return essentia.standard


def _write_wav(copy: Path, path: str | Path) -> None:
    """Copy a track as WAV, in stereo or else averaged to mono.

    Essentia rejects AU files and some tags, and its ffmpeg opens other files than a name says.
    """
    try:
        info = soundfile.info(path)
        rate, channels = info.samplerate, info.channels
        blocks = soundfile.blocks(path, max(_BLOCK // channels, 1), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:  # a format that `audio.load_audio` decodes by ffmpeg
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            samples, rate = librosa.load(Path(path).resolve(), sr=None, mono=False)
        samples = np.atleast_2d(samples).T
        blocks, channels = [samples], samples.shape[1]
    keep = channels <= 2
    try:
        with soundfile.SoundFile(copy, "w", int(rate), channels if keep else 1, "FLOAT") as file:
            for block in blocks:
                file.write(block if keep else block.mean(axis=1))
    except soundfile.LibsndfileError as error:  # reading worked in `audio.load_audio`
        raise OSError(errno.ENOSPC, "no room for a copy", str(copy)) from error


def _numbers(pool) -> Iterator[tuple[str, float]]:
    for name in pool.descriptorNames():
        value = pool[name]
        if isinstance(value, str) or name.startswith("metadata.") or name == _PER_BEAT:
            continue
        for index, number in np.ndenumerate(value):
            yield ".".join([name, *(f"{i:03d}" for i in index)]), float(number)


# ---------------------------------------------------------------- many tracks


def describe_tracks(
    track_ids: Sequence[str], paths: Sequence[str | Path], folder: str | Path, *, workers: int
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Compute the descriptors of many tracks in processes; resume an interrupted call.

    `folder` keeps the finished tracks in files of 200, which record their tracks and audio files
    (by path, size and time). A track that fails, crashes its process or takes half an hour is
    reported as failed, and stays so until its file is deleted.

    Returns
    -------
    descriptors
        (tracks, d) float32 of the tracks that did not fail, by track id and sorted names. NaN
        where a track has no such descriptor.
    failed
        {track_id: reason} of the others.

    Raises
    ------
    InputError
        Essentia is not installed; a file in `folder` is damaged, or was made from other tracks
        or by another version of Essentia; or another process works in `folder`.
    OSError
        A disk is full.
    """
    _import_essentia()  # fails now instead of once per track
    rows, folder = list(zip(track_ids, map(str, paths), strict=True)), Path(folder)
    with exclusive_folder(folder):
        chunks = {
            folder / f"{first:07d}.h5": rows[first : first + _CHUNK]
            for first in range(0, len(rows), _CHUNK)
        }
        parts = {path: _read_chunk(path, some) for path, some in chunks.items() if path.exists()}
        missing = [path for path in chunks if path not in parts]
        files = [file for path in missing for _, file in chunks[path]]
        outcomes = ordered_map(describe, files, workers=workers, patience=_PATIENCE)
        done = len(rows) - len(files)
        bar = cli.progress_bar(
            outcomes, total=len(rows), initial=done, desc="descriptors", unit="track"
        )
        with contextlib.closing(outcomes), bar:
            outcome = iter(bar)
            for path in missing:
                parts[path] = _collect([(track, next(outcome)) for track, _ in chunks[path]])
                _write_chunk(path, chunks[path], *parts[path])
    tables, failures_of = zip(*(parts[path] for path in chunks), strict=True)
    failed = {track: reason for part in failures_of for track, reason in part.items()}
    return _concatenate(tables), failed


def _collect(outcomes: list[tuple[str, Outcome]]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Separate the descriptors of some tracks from the reasons why the others failed."""
    found, failed = {}, {}
    for track, outcome in outcomes:
        if isinstance(outcome.error, OSError):
            raise outcome.error  # a full disk is not the track's fault
        if outcome.error is None:
            found[track] = outcome.result
        else:
            failed[track] = failures.failure_reason(outcome.error)
    table = pd.DataFrame(list(found.values()), index=list(found), dtype=np.float32)
    return table.sort_index(axis=1), failed


def _concatenate(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows over the sorted union of the columns."""
    columns = sorted(set().union(*(table.columns for table in tables)))
    return pd.concat([table.reindex(columns=columns) for table in tables]).astype(np.float32)


def _chunk_inputs(rows: list[tuple[str, str]]) -> dict:
    return {
        "format": _FORMAT,
        "essentia": importlib.metadata.version("essentia"),
        "tracks": provenance.digest_rows((track,) for track, _ in rows),
        "files": digest_files("", [file for _, file in rows]),
    }


def _write_chunk(
    path: Path, rows: list[tuple[str, str]], table: pd.DataFrame, failed: dict[str, str]
) -> None:
    with hdf5.create_file(path) as file:
        file["values"] = table.to_numpy(np.float32)
        hdf5.write_strings(file, "names", table.columns)
        hdf5.write_strings(file, "track_id", table.index)
        hdf5.write_strings(file, "failed_track_id", failed)
        hdf5.write_strings(file, "failed_reason", failed.values())
        file.attrs["made_from"] = provenance.to_json(provenance.make_record(_chunk_inputs(rows)))


def _read_chunk(path: Path, rows: list[tuple[str, str]]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a file of finished tracks. One of other tracks is refused: it may have cost hours."""
    with hdf5.open_file(path) as file:
        inputs = hdf5.read_json_attribute(file, "made_from").get("inputs") or {}
        provenance.require_same(path, inputs, _chunk_inputs(rows))
        values = hdf5.read_array(file, "values")
        names, track_id, failed_track_id, failed_reason = (
            hdf5.read_strings(file, name)
            for name in ("names", "track_id", "failed_track_id", "failed_reason")
        )
    right = values.shape == (len(track_id), len(names)) and values.dtype == np.float32
    if not right or len(track_id) + len(failed_track_id) != len(rows):
        raise InputError(f"{path}: damaged; delete it and run the same command again")
    failed = dict(zip(failed_track_id, failed_reason, strict=True))
    return pd.DataFrame(values, index=track_id, columns=names), failed


# ---------------------------------------------------------------- vectors


def normalise_descriptors(values: ArrayLike, seed: int = 0) -> np.ndarray:
    """Map the quantiles of each descriptor to those of a normal distribution, as in agf2018.

    Descriptors that are constant, or missing or not finite in some track, are dropped.
    scikit-learn's QuantileTransformer learns 1,000 quantiles (one per track if there are fewer
    tracks), from 10,000 random tracks if there are more.

    Parameters
    ----------
    values
        (tracks, d) float.

    Returns
    -------
    (tracks, remaining descriptors) float32, from -5.2 to 5.2.

    Raises
    ------
    InputError
        There are fewer than two tracks, or no descriptor remains.
    """
    values = np.ascontiguousarray(values, np.float32)
    if len(values) < 2:
        raise InputError(f"descriptors: {len(values)} tracks; use a split with two or more")
    complete = np.isfinite(values).all(axis=0)
    remaining = complete & (values != values[0]).any(axis=0)
    if not remaining.any():
        raise InputError(
            f"descriptors: none of {len(remaining)} remains; {(~complete).sum()} are missing in "
            f"some track, {complete.sum()} are constant; use other tracks"
        )
    transformer = QuantileTransformer(
        n_quantiles=min(1000, len(values)),
        output_distribution="normal",
        random_state=seed,
        copy=False,  # indexing below makes the copy
    )
    return transformer.fit_transform(values[:, remaining])
