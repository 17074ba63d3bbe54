"""Audio files: loading them as mono at the papers' sample rate, and listing a folder's."""

import logging
import os
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile

from common import provenance
from common.errors import InputError
from data_prep.decoding import SILENT_PEAK, AudioError, Decoded, decode
from data_prep.resampling import RESAMPLERS, resample

logger = logging.getLogger(__name__)

SAMPLE_RATE = 22_050  # Hz; ismir2018 section 4
NORMALISATIONS = ("none", "peak")
FFMPEG_SUFFIXES = frozenset(
    ".3gp .aac .ape .m4a .m4b .m4r .mka .mp4 .oga .spx .tta .weba .webm .wma .wv".split()  # noqa: SIM905
)
# Suffixes of audio files; formats that have no header or that rarely contain music are left out.
SUFFIXES = (
    FFMPEG_SUFFIXES
    | {".opus", ".aif", ".aifc", ".mp2", ".mpga", ".bwf", ".snd", ".wave", ".sid"}
    | {f".{name.lower()}" for name in soundfile.available_formats()}
    - {".raw", ".mat4", ".mat5", ".sd2"}
)
# Formats that ffmpeg reads, but that are not listed as audio here. Tracker modules need a build
# with libopenmpt.
_CONVERTIBLE = frozenset(
    ".ac3 .amr .asf .avi .dff .dsf .dts .eac3 .flv .it .m4v .mkv .mlp .mod .mov .mpc "  # noqa: SIM905
    ".mpeg .mpg .ogv .oma .ra .rm .s3m .shn .tak .thd .ts .vob .wmv .xm".split()
)

# Decoders of lossy formats exceed full scale by a few dB. Floats of a larger size are integers that
# were not divided by their full scale, 32,768 for 16 bits.
_MAX_PEAK = 16.0
QUIET_PEAK = 10 ** (-10 / 20)

# glibc returns large arrays to the system when they are freed, except up to the size of the largest
# one freed so far. Getting their memory back would take a fifth of the time of reading a track.
np.empty(30 << 20, np.uint8)


def load_audio(
    path: str | Path,
    max_seconds: float | None = None,
    *,
    resampler: str = RESAMPLERS[0],
    normalise: str = NORMALISATIONS[0],
) -> np.ndarray:
    """Read an audio file as mono at 22,050 Hz.

    libsndfile reads WAV, AU, AIFF, FLAC, Ogg and MP3. If ffmpeg is installed, it reads most other
    formats, recognised by their content. If sidplayfp is installed, it renders the first
    `max_seconds` of tunes of the Commodore 64, which have no end. Channels are averaged.

    Parameters
    ----------
    path
        Path of the audio file.
    max_seconds
        Number of seconds to read from the beginning; None reads the whole file, up to two hours.
    resampler
        See `data_prep.resampling.resample`.
    normalise
        "peak" scales the waveform to a peak of 1; "none" keeps its level, as the authors did.

    Returns
    -------
    (n,) float32, nominally in [-1, 1].

    Raises
    ------
    AudioError
        If the file is missing, empty, not audio, damaged, truncated or silent, if its samples are
        not finite or far above full scale, or if it is longer than two hours and `max_seconds` is
        None.

    Examples
    --------
    >>> load_audio("corpus/track.wav", max_seconds=3.0).shape
    (66150,)
    """
    track = decode(Path(path), max_seconds)
    return prepare_waveform(path, track, max_seconds, resampler, normalise)


def prepare_waveform(
    name: str | Path, track: Decoded, max_seconds: float | None, resampler: str, normalise: str
) -> np.ndarray:
    """Check and resample a decoded track; the parameters and errors are those of `load_audio`."""
    samples = track.samples
    if not len(samples):
        raise AudioError(name, "contains no samples; replace it or leave it out")
    peak = max(samples.max(), -samples.min())
    if not np.isfinite(peak):
        bad = int(np.count_nonzero(~np.isfinite(samples)))
        raise AudioError(name, f"{bad} samples are not finite; export it again")
    if peak > _MAX_PEAK:
        raise AudioError(
            name,
            f"has a peak of {peak:.4g}, but full scale is 1: the samples look like integers stored "
            "as floats; divide them by full scale, or export it again",
        )
    if peak < SILENT_PEAK:
        raise AudioError(name, _describe_silence(track.channels_cancel, max_seconds, track.is_cut))
    if normalise == "peak":
        samples = samples / peak
    return resample(samples, track.rate, SAMPLE_RATE, resampler)


def _describe_silence(channels_cancel: bool, seconds: float | None, is_cut: bool) -> str:
    if channels_cancel:
        return "has channels that cancel each other; invert one of them, or keep only one"
    if is_cut:
        return (
            f"is silent for its first {seconds:.0f} s, the part that is used; cut off the silence"
        )
    return "is silent; replace it or leave it out"


def describe_quiet(quiet: int, tracks: int) -> str:
    """Return a note about tracks whose peak is below `QUIET_PEAK`."""
    return (
        f"{quiet} of {tracks} tracks have a peak below -10 dB; features depend on the level, "
        "unless the weights were trained with --equal-level; --normalise peak makes it equal"
    )


def list_audio_files(folder: str | Path) -> list[str]:
    """Return the sorted relative paths, with `/` separators, of all audio files below a folder.

    Audio files are recognised by their suffix. Hidden files and folders are skipped, and links to
    folders are not followed. All that is skipped is counted in a message of the log.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; check the path")
    paths, links, hidden, others = [], 0, 0, Counter[str]()
    for parent, folders, names in os.walk(folder, onerror=_raise):
        hidden += sum(name.startswith(".") for name in (*folders, *names))
        folders[:] = [name for name in folders if not name.startswith(".")]
        links += sum(os.path.islink(os.path.join(parent, name)) for name in folders)
        relative = Path(parent).relative_to(folder)
        for name in names:
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if suffix in SUFFIXES:
                paths.append((relative / name).as_posix())
            else:
                others[suffix] += 1
    message = _describe_passed_over(links, hidden, others)
    if not paths:
        raise InputError(
            f"{folder}: contains no audio files ({', '.join(sorted(SUFFIXES))}); {message}"
        )
    for path in paths:
        if path.encode(errors="ignore").decode() != path:
            raise InputError(f"{folder}: the name {path!r} is not UTF-8; rename it")
    if links or hidden or others:
        logger.info("%s: %s", folder, message)
    return sorted(paths)


def _describe_passed_over(links: int, hidden: int, others: Counter[str]) -> str:
    parts = []
    if others:
        counts = ", ".join(
            # A suffix is shown with escapes: it may contain anything, such as line breaks.
            f"{count} {repr(name)[1:-1] or 'without suffix'}"
            for name, count in sorted(others.items(), key=lambda item: (-item[1], item[0]))[:6]
        )
        counts += ", …" if len(others) > 6 else ""
        parts.append(f"{others.total()} files are not read ({counts})")
        if convertible := sorted(others.keys() & _CONVERTIBLE):
            parts[-1] += f"; ffmpeg can convert {', '.join(convertible)} to WAV"
    if links:
        parts.append(f"{links} links to folders are not followed")
    if hidden:
        parts.append(f"{hidden} hidden files and folders are skipped")
    return " and ".join(parts) or "it is empty"


def _raise(error: OSError) -> None:
    raise error


def stamp_files(folder: str | Path, paths: list[str]) -> dict[str, str]:
    """Return {path: size and modification time}, by which changed files are recognised."""

    def describe(path: str) -> str:
        try:
            status = (Path(folder) / path).stat()
            return f"{status.st_size} {status.st_mtime_ns}"
        except (OSError, ValueError):  # a name with a null byte is a ValueError
            return "gone"

    return {path: describe(path) for path in paths}


def digest_files(folder: str | Path, paths: list[str]) -> str:
    """Return a digest of file names, sizes and modification times."""
    stamps = stamp_files(folder, paths)
    return provenance.digest_rows((path, stamps[path]) for path in paths)
