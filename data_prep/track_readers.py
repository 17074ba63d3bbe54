"""Log-mel sources for feature extraction: a mel cache or audio files."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from common import provenance
from common.errors import InputError
from common.parallel import ordered_map
from data_prep import audio, failures
from data_prep.mel import SEGMENT, FrontEnd, log_mel_and_peak


class CachedTracks:
    """The tracks of a mel cache.

    Attributes
    ----------
    path
        Path of the input.
    track_id
        Track ids, a list of str.
    failed
        {track_id: reason} for the tracks that `mels` has skipped so far.
    quiet
        Number of tracks whose peak is below -10 dB, so far.
    failed_before
        {track_id: reason} for the tracks that failed when the cache was made.
    mean_and_std
        Mean and standard deviation over the training tracks; None if unknown.
    stamps
        {track_id: size and modification time of the audio file}, or '' for the tracks of a cache.
    inputs
        Inputs from which the log-mels are made, for the provenance record.
    """

    def __init__(self, path: Path):
        # Imported only for caches, because pandas takes longer to import than a track to extract.
        from data_prep.mel_cache import MelCache

        self.path, self._cache = path, MelCache(path)
        self._cache.require_front_end(FrontEnd())
        if (self._cache.length < SEGMENT).any():
            short = self._cache.track_id[int(np.argmin(self._cache.length))]
            raise InputError(f"{path}: {str(short)!r} is shorter than {SEGMENT} frames; remove it")
        self.track_id = list(self._cache.track_id)
        self.stamps = dict.fromkeys(self.track_id, "")
        self.failed: dict[str, str] = {}
        self.quiet = self._cache.quiet
        self.failed_before = self._cache.failed
        self.mean_and_std = self._cache.mean, self._cache.std
        self.inputs = {"cache": self._cache.made_from["inputs"]}

    def select(self, tracks: Sequence[str]) -> None:
        """Keep only these tracks; `InputError` if one is not in the cache."""
        self._cache.rows(tracks)
        self.track_id, self.stamps, self.quiet = list(tracks), dict.fromkeys(tracks, ""), 0

    def mels(self, tracks: Sequence[str]) -> Iterator[np.ndarray]:
        """Yield the (frames, n_mels) float16 log-mel of each of the given tracks."""
        return (self._cache[track] for track in tracks)


class AudioTracks:
    """Audio files, or all in a folder, decoded on demand; attributes as in `CachedTracks`.

    The ids of the tracks are paths relative to the folder, or to the deepest folder that contains
    all files.
    """

    mean_and_std = None

    def __init__(self, paths: Sequence[Path], front_end: FrontEnd, workers: int):
        self.path = path = paths[0]
        for one in paths:
            if not one.exists():
                raise InputError(f"{one}: no such file or folder; check the path")
            if len(paths) > 1 and (one.is_dir() or one.suffix == ".h5"):
                raise InputError(f"{one}: is not an audio file; give it as the only input")
        if path.is_dir():
            self._root, self.track_id = path, audio.list_audio_files(path)
        else:
            files = [Path(os.path.abspath(one)) for one in paths]
            self._root = Path(os.path.commonpath([file.parent for file in files]))
            # A file that is given twice is one track.
            ids = dict.fromkeys(file.relative_to(self._root).as_posix() for file in files)
            self.track_id = list(ids)
        self.failed: dict[str, str] = {}
        self.quiet = 0
        self.failed_before: dict[str, str] = {}
        self._front_end, self._workers = front_end, workers
        self.stamps = audio.stamp_files(self._root, self.track_id)
        digest = provenance.digest_rows(self.stamps.items())
        self.inputs = {"files": digest, "front_end": front_end.to_dict()}

    def mels(self, tracks: Sequence[str]) -> Iterator[np.ndarray]:
        """Yield the (frames, n_mels) float32 log-mel of each usable one of the given tracks."""
        decode = partial(log_mel_and_peak, front_end=self._front_end)
        paths = [str(self._root / track) for track in tracks]
        workers = min(self._workers, max(len(paths), 1))
        with contextlib.closing(ordered_map(decode, paths, workers=workers)) as outcomes:
            for track, outcome in zip(tracks, outcomes, strict=True):
                if outcome.error is None:
                    mel, peak = outcome.result
                    self.quiet += peak < audio.QUIET_PEAK
                    yield mel
                else:
                    self.failed[track] = failures.failure_reason(outcome.error)
