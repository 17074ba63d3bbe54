"""Audio files: decoding them to mono at the papers' sample rate, and listing those in a folder."""

import os
import re
import shutil
import warnings
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr

from common import provenance
from common.errors import InputError

SAMPLE_RATE = 22_050  # Hz; ismir2018 section 4

# Only files with these suffixes, which libsndfile does not support, are passed to ffmpeg, because
# ffmpeg would also open playlists and URLs contained in an untrusted file.
FFMPEG_SUFFIXES = frozenset({".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka"})
# Suffixes of audio files; formats that have no header or that rarely contain music are left out.
SUFFIXES = (
    FFMPEG_SUFFIXES
    | {".oga", ".opus", ".aif", ".aifc"}
    | {f".{name.lower()}" for name in soundfile.available_formats()}
    - {".raw", ".mat4", ".mat5", ".sd2"}
)
_RATES = (4_000, 400_000)  # Hz; other rates mean a damaged header, and resampling might never end
_MAX_SECONDS = 2 * 3600.0  # maximum track length, because whole tracks are decoded into memory
_SILENT_PEAK = 1e-4  # -80 dB relative to full scale
_MAX_PEAK = 2.0**32  # larger values are not audio at any scale and overflow the spectrum
_MIN_PRESENT = 0.99  # fraction of the declared samples; some encoders miscount the last block
_BLOCK = 1 << 20  # values read at a time, over all channels
_MISMATCH = re.compile(r"^ *(?:data|Data Size|SSND) *: (\d+) \(should be (\d+)\)", re.M)


class AudioError(InputError):
    """Raised if a track cannot be used; `reason` is the message without the file name."""

    def __init__(self, path: str | Path, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = str(path), reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def load_audio(path: str | Path, max_seconds: float | None = None) -> np.ndarray:
    """Read an audio file as mono at 22,050 Hz.

    All formats supported by libsndfile can be read, such as WAV, AU, FLAC, OGG and MP3,
    as well as m4a, mp4, aac, wma and webm if ffmpeg is installed. Channels are averaged,
    and the audio is resampled with soxr (HQ).

    Parameters
    ----------
    path
        Path of the audio file.
    max_seconds
        Number of seconds to read from the beginning; None reads the whole file, up to two hours.

    Returns
    -------
    (n,) float32, nominally in [-1, 1].

    Raises
    ------
    AudioError
        If the file is missing, damaged, silent, too long, or not audio.

    Examples
    --------
    >>> load_audio("corpus/track.wav", max_seconds=3.0).shape
    (66150,)
    """
    path = Path(path)
    _require_content(path)
    samples, rate = _decode(path, max_seconds)
    if not len(samples):
        raise AudioError(path, "contains no samples; replace it or remove it from the list")
    peak = max(samples.max(), -samples.min())
    if not peak <= _MAX_PEAK:  # also true for NaN
        bad = int(np.count_nonzero(~(np.abs(samples) <= _MAX_PEAK)))
        raise AudioError(path, f"{bad} samples are not finite or far too large; export it again")
    if peak < _SILENT_PEAK:
        raise AudioError(path, "is silent; replace it or remove it from the list")
    if rate == SAMPLE_RATE:
        return samples
    return soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")


def _require_content(path: Path) -> None:
    try:
        # Only regular files are allowed, since reading from a pipe or a device could block.
        if not path.is_file():
            reason = "is not a file" if path.exists() else "no such file"
            raise AudioError(path, f"{reason}; check the path and the audio folder")
        if path.stat().st_size == 0:
            raise AudioError(path, "is empty (0 bytes); download or copy it again")
    except OSError as error:
        raise AudioError(path, f"cannot be opened ({error.strerror}); check the disk") from error


def _decode(path: Path, max_seconds: float | None) -> tuple[np.ndarray, int]:
    try:
        with open(path, "rb"):  # gives a clearer error than libsndfile if the file is unreadable
            pass
        with soundfile.SoundFile(path) as file:
            return _read_mono(path, file, max_seconds), file.samplerate
    except soundfile.LibsndfileError as error:
        # libsndfile reports "does not exist" for a file named .mp3 that does not contain MP3.
        messages = ("not recognised", "unknown format", "does not exist")
        unknown = any(message in str(error) for message in messages)
        if unknown and path.suffix.lower() in FFMPEG_SUFFIXES:
            return _decode_with_ffmpeg(path, max_seconds)
        if unknown:
            raise AudioError(
                path, "is not a format that libsndfile knows; convert it to WAV, FLAC or MP3"
            ) from error
        raise AudioError(
            path, f"is damaged or truncated ({error.error_string}); download or copy it again"
        ) from error
    except TypeError as error:  # soundfile assumes that .raw files have no header
        raise AudioError(
            path, "has no header that describes its content; convert it to WAV or FLAC"
        ) from error
    except OSError as error:
        raise AudioError(path, f"cannot be read ({error.strerror}); check the disk") from error


def _read_mono(path: Path, file: soundfile.SoundFile, max_seconds: float | None) -> np.ndarray:
    """Read and average the channels block by block, so the declared size is never allocated."""
    if not _RATES[0] <= file.samplerate <= _RATES[1]:
        raise AudioError(path, f"declares {file.samplerate} samples per second; export it again")
    wanted = int((max_seconds or _MAX_SECONDS) * file.samplerate)
    _require_declared_size(path, file, wanted)
    blocks, count = [], 0
    while count < wanted:
        size = min(max(_BLOCK // file.channels, 1), wanted - count)
        block = file.read(size, dtype="float32", always_2d=True)
        if not len(block):
            break
        blocks.append(sum(block.T) / file.channels)  # ten times faster than block.mean(axis=1)
        count += len(block)
    if count < _MIN_PRESENT * min(wanted, file.frames):
        raise _truncated(path, count / file.frames)
    if max_seconds is None and count == wanted and file.frames > wanted:
        raise AudioError(path, "is longer than two hours; cut it into tracks")
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _require_declared_size(path: Path, file: soundfile.SoundFile, wanted: int) -> None:
    """Reject a WAV, AU or AIFF file that contains less data than its header declares.

    libsndfile only reports the mismatch in its log, as `data : DECLARED (should be PRESENT)`.
    Programs that write to a stream declare a size close to the maximum, which is accepted.
    """
    if file.frames >= wanted:
        return
    for declared, present in _MISMATCH.findall(file.extra_info):
        declared, present = int(declared), int(present)
        if declared < 2**31 - 2**20 and present < _MIN_PRESENT * declared:
            raise _truncated(path, present / declared)


def _truncated(path: Path, fraction: float) -> AudioError:
    return AudioError(
        path,
        f"is truncated: contains {fraction:.0%} of what it declares; download or copy it again",
    )


def _decode_with_ffmpeg(path: Path, max_seconds: float | None) -> tuple[np.ndarray, int]:
    if shutil.which("ffmpeg") is None:
        raise AudioError(path, "needs ffmpeg; install it, or convert to WAV, FLAC or MP3")
    try:
        with warnings.catch_warnings():
            # librosa warns that this ffmpeg fallback will be removed, but its version is pinned.
            warnings.simplefilter("ignore")
            samples, rate = librosa.load(
                path.resolve(), sr=None, mono=True, duration=max_seconds or _MAX_SECONDS
            )
    except Exception as error:  # audioread's exceptions have no common base class
        raise AudioError(
            path, "is not a format that ffmpeg knows; convert it to WAV, FLAC or MP3"
        ) from error
    return samples, int(rate)


def list_audio_files(folder: str | Path) -> list[str]:
    """Return the sorted relative paths, with `/` separators, of all audio files below a folder.

    Audio files are recognised by their suffix. Hidden files and folders are skipped, and
    links to folders are not followed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; check the path")
    paths = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(parent).relative_to(folder)
        paths += [
            (relative / name).as_posix()
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    if not paths:
        raise InputError(f"{folder}: contains no audio files ({', '.join(sorted(SUFFIXES))})")
    for path in paths:
        if path.encode(errors="ignore").decode() != path:
            raise InputError(f"{folder}: the name {path!r} is not UTF-8; rename it")
    return sorted(paths)


def _raise(error: OSError) -> None:
    raise error


def digest_files(folder: str | Path, paths: list[str]) -> str:
    """Return a digest of file names, sizes and modification times."""

    def describe(path: str) -> str:
        try:
            status = (Path(folder) / path).stat()
            return f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            return "gone"

    return provenance.digest_rows((path, describe(path)) for path in paths)
