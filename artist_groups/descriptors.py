"""Essentia track descriptors, the vectors behind agf2018's descriptor vocabulary (`e`).

A *descriptor* is one number that Essentia's MusicExtractor computes for a whole track, such as a
statistic over frames, an element of a covariance matrix or a histogram bin. This is the only
module that needs Essentia (`pip install -r requirements-essentia.txt`).
"""

import contextlib
import errno
import importlib.metadata
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import ArrayLike
from sklearn.preprocessing import QuantileTransformer

from common import cli, hdf5, provenance
from common.errors import InputError
from common.files import exclusive_folder
from common.parallel import Outcome, ordered_map
from data_prep import audio, decoding, failures
from data_prep.audio import AudioError, digest_files

_FORMAT = "descriptors-1"
_CHUNK = 200  # tracks per file, so that an interruption loses only a few minutes of work
_PATIENCE = 1800.0  # timeout per track in seconds; a two-hour track takes almost ten minutes
_TEXTS = ("names", "track_id", "failed_track_id", "failed_reason")  # datasets in a chunk file
_PER_BEAT = "rhythm.beats_position"  # the only vector whose length depends on the track


def describe(path: str | Path) -> dict[str, float]:
    """Compute one track's {name: descriptor} with Essentia's MusicExtractor and default profile.

    Strings (keys and scales), `metadata.*` (which describes the file) and `rhythm.beats_position`
    (whose length varies) are omitted. Essentia 2.1-beta6-dev computes 4,364 other numbers; together
    with the ten numbers in `metadata.*`, they make up the paper's 4,374. Names are sorted; elements
    of vectors and matrices have three-digit indices, as in `lowlevel.mfcc.cov.000.012`.

    Essentia receives the original sample rate and channels: EBU R 128 loudness uses both channels,
    all other descriptors their mean. A file that `audio.load_audio` or Essentia rejects, such as a
    mostly silent track, raises `AudioError`.
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
    numbers = {
        ".".join([name, *(f"{i:03d}" for i in index)]): float(number)
        for name in pool.descriptorNames()
        if not (name.startswith("metadata.") or name == _PER_BEAT or isinstance(pool[name], str))
        for index, number in np.ndenumerate(pool[name])
    }
    return dict(sorted(numbers.items()))


def _import_essentia() -> ModuleType:
    """Import Essentia's algorithms with logging disabled."""
    try:
        import essentia

        for level in ("infoActive", "warningActive", "errorActive"):
            setattr(essentia.log, level, False)
        import essentia.standard
    except ImportError as error:
        raise InputError(
            "vocabulary e needs Essentia; pip install -r requirements-essentia.txt "
            "(vocabularies m, d and s do not need it)"
        ) from error
    return essentia.standard


def _write_wav(copy: Path, path: str | Path) -> None:
    """Copy a track to a WAV file; average more than two channels to mono.

    Essentia cannot read AU files or files with certain tags, and its ffmpeg interprets some file
    names as references to different files.
    """
    track = decoding.decode(Path(path), None, mono=False)
    samples = track.samples if track.samples.shape[1] <= 2 else track.samples.mean(axis=1)
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    try:
        with soundfile.SoundFile(copy, "w", track.rate, channels, "FLOAT") as file:
            file.write(samples)
    except soundfile.LibsndfileError as error:  # a write error: `load_audio` could read the file
        raise OSError(errno.ENOSPC, "no room for a copy", str(copy)) from error


def describe_tracks(
    track_ids: Sequence[str], paths: Sequence[str | Path], folder: str | Path, *, workers: int
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Compute the descriptors of many tracks in parallel, resuming an interrupted run.

    Finished tracks are stored in `folder`, 200 per chunk file. Each chunk records its track IDs and
    audio files (by path, size and modification time), and is rejected if they have changed. A track
    that fails, crashes its process or takes half an hour is reported as failed; it is not retried
    until its chunk is deleted.

    Returns a table (tracks, d) float32 of the tracks that did not fail, with sorted descriptor
    names as columns and NaN for a descriptor that a track lacks, and {track_id: reason} of the
    others.
    """
    _import_essentia()  # fail at once rather than once per track
    rows, folder = list(zip(track_ids, map(str, paths), strict=True)), Path(folder)
    chunks = {
        folder / f"{first:07d}.h5": rows[first : first + _CHUNK]
        for first in range(0, len(rows), _CHUNK)
    }
    with exclusive_folder(folder):
        parts = {path: _read_chunk(path, some) for path, some in chunks.items() if path.exists()}
        missing = [path for path in chunks if path not in parts]
        files = [file for path in missing for _, file in chunks[path]]
        outcomes = ordered_map(describe, files, workers=workers, patience=_PATIENCE)
        total, done = len(rows), len(rows) - len(files)
        bar = cli.progress_bar(
            outcomes, total=total, initial=done, desc="descriptors", unit="track"
        )
        with contextlib.closing(outcomes), bar:
            outcome = iter(bar)
            for path in missing:
                parts[path] = _make_chunk(path, chunks[path], outcome)
    tables = [parts[path][0] for path in chunks]
    columns = sorted(set().union(*(table.columns for table in tables)))
    table = pd.concat([table.reindex(columns=columns) for table in tables]).astype(np.float32)
    return table, {track: why for path in chunks for track, why in parts[path][1].items()}


def _make_chunk(
    path: Path, rows: list[tuple[str, str]], outcomes: Iterator[Outcome]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Write the descriptors of a chunk's tracks, and the reasons why the others failed."""
    found, failed = {}, {}
    for (track, _), outcome in zip(rows, outcomes, strict=False):
        if isinstance(outcome.error, OSError):
            raise outcome.error  # a full disk is not the track's fault
        if outcome.error is None:
            found[track] = outcome.result
        else:
            failed[track] = failures.failure_reason(outcome.error)
    table = pd.DataFrame(list(found.values()), index=list(found), dtype=np.float32)
    table = table.sort_index(axis=1)
    with hdf5.create_file(path) as file:
        file["values"] = table.to_numpy(np.float32)
        texts = (table.columns, table.index, failed, failed.values())
        for name, values in zip(_TEXTS, texts, strict=True):
            hdf5.write_strings(file, name, values)
        file.attrs["made_from"] = provenance.to_json(provenance.make_record(_chunk_inputs(rows)))
    return table, failed


def _read_chunk(path: Path, rows: list[tuple[str, str]]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a chunk of finished tracks; raise `InputError` if it was made from different inputs.

    Such a chunk is not overwritten, because computing it may have taken hours.
    """
    with hdf5.open_file(path) as file:
        inputs = hdf5.read_json_attribute(file, "made_from").get("inputs") or {}
        provenance.require_same(path, inputs, _chunk_inputs(rows))
        values = hdf5.read_array(file, "values")
        names, tracks, failed, reasons = (hdf5.read_strings(file, name) for name in _TEXTS)
    if values.shape != (len(tracks), len(names)) or len(tracks) + len(failed) != len(rows):
        raise InputError(f"{path}: damaged; delete it and run the same command again")
    table = pd.DataFrame(values, index=tracks, columns=names)
    return table, dict(zip(failed, reasons, strict=True))


def _chunk_inputs(rows: list[tuple[str, str]]) -> dict:
    return {
        "format": _FORMAT,
        "essentia": importlib.metadata.version("essentia"),
        "tracks": provenance.digest_rows((track,) for track, _ in rows),
        "files": digest_files("", [file for _, file in rows]),
    }


def normalise_descriptors(values: ArrayLike, seed: int = 0) -> np.ndarray:
    """Map the quantiles of each descriptor to those of a normal distribution, as in agf2018.

    The result is (tracks, remaining descriptors) float32, between -5.2 and 5.2. Descriptors that
    are constant, or that are missing or not finite for any track, are dropped. scikit-learn's
    QuantileTransformer estimates 1,000 quantiles (or one per track if there are fewer tracks) from
    at most 10,000 randomly chosen tracks.
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
