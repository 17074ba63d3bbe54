"""Essentia track descriptors, the vectors behind agf2018's descriptor vocabulary (`e`).

A *descriptor* is one number that Essentia's MusicExtractor computes for a whole track, such as a
statistic over frames, an element of a covariance matrix or a histogram bin. This is the only
module that needs Essentia (`pip install -r requirements-essentia.txt`).
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
_CHUNK = 200  # tracks per file, so that an interruption loses only a few minutes of work
_PATIENCE = 1800.0  # timeout per track in seconds; a two-hour track takes almost ten minutes
_BLOCK = 1 << 20  # samples copied at a time, counted over all channels
_PER_BEAT = "rhythm.beats_position"  # the only vector whose length depends on the track

# ---------------------------------------------------------------- one track


def describe(path: str | Path) -> dict[str, float]:
    """Compute the descriptors of one track with Essentia's MusicExtractor and its default profile.

    Strings (keys and scales), `metadata.*` (which describes the file) and `rhythm.beats_position`
    (whose length varies) are omitted. Essentia 2.1-beta6-dev computes 4,364 other numbers; together
    with the ten numbers in `metadata.*`, they make up the paper's 4,374.

    Parameters
    ----------
    path
        Any file that `audio.load_audio` accepts. Essentia receives the file at its original sample
        rate and in stereo, because EBU R 128 loudness uses both channels. All other descriptors use
        the mean of the channels.

    Returns
    -------
    {name: value}, sorted by name. Three-digit indices are appended to the names of vector and
    matrix elements, as in `lowlevel.mfcc.cov.000.012`.

    Raises
    ------
    AudioError
        If `audio.load_audio` or Essentia rejects the file. Essentia rejects mostly silent tracks.
    InputError
        If Essentia is not installed.
    OSError
        If the disk for temporary files is full.
    """
    essentia = _import_essentia()
    audio.load_audio(path)  # rejects the files that the mel cache rejects, with the same messages
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
    """Import Essentia's algorithms with logging disabled."""
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
    """Copy a track to a WAV file; average more than two channels to mono.

    Essentia cannot read AU files or files with certain tags, and its ffmpeg interprets some file
    names as references to different files.
    """
    try:
        info = soundfile.info(path)
        rate, channels = info.samplerate, info.channels
        blocks = soundfile.blocks(path, max(_BLOCK // channels, 1), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:  # a format that `audio.load_audio` decodes with ffmpeg
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
    except soundfile.LibsndfileError as error:  # a write error: `load_audio` could read the file
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
    """Compute the descriptors of many tracks in parallel, resuming an interrupted run.

    Finished tracks are stored in `folder`, 200 per chunk file. Each chunk records its track IDs and
    audio files (by path, size and modification time). A track that fails, crashes its process or
    takes half an hour is reported as failed; it is not retried until its chunk is deleted.

    Returns
    -------
    descriptors
        (tracks, d) float32 for the tracks that did not fail, indexed by track ID, with sorted
        descriptor names as columns. A descriptor that a track lacks is NaN.
    failed
        {track_id: reason} for the tracks that failed.

    Raises
    ------
    InputError
        If Essentia is not installed; if a chunk in `folder` is damaged, or was made from different
        tracks or by a different version of Essentia; or if another process is using `folder`.
    OSError
        If a disk is full.
    """
    _import_essentia()  # fail at once rather than once per track
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
    """Collect the descriptors of successful tracks, and the reasons why the others failed."""
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
    """Concatenate the rows of all tables over the sorted union of their columns."""
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
    """Read a chunk of finished tracks; raise `InputError` if it was made from different inputs.

    Such a chunk is not overwritten, because computing it may have taken hours.
    """
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

    Descriptors that are constant, or that are missing or not finite for any track, are dropped.
    scikit-learn's QuantileTransformer estimates 1,000 quantiles (or one per track if there are
    fewer tracks) from at most 10,000 randomly chosen tracks.

    Parameters
    ----------
    values
        (tracks, d) float.

    Returns
    -------
    (tracks, remaining descriptors) float32, between -5.2 and 5.2.

    Raises
    ------
    InputError
        If there are fewer than two tracks, or no descriptor remains.
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
        copy=False,  # the indexing below already makes a copy
    )
    return transformer.fit_transform(values[:, remaining])
