"""Decoding audio files at their own sample rate: whole, or not at all.

libsndfile reads WAV, AU, AIFF, FLAC, Ogg and MP3. What it cannot read, or would read in part, goes
to ffmpeg if that is installed. Every length that a file declares is compared with what was decoded.
Tunes of the Commodore 64 are rendered by sidplayfp. Waveforms in memory are converted to the same
form.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from common.errors import InputError
from common.stderr import drop_lines
from data_prep import ffmpeg, joined_files, mpeg_stream, ogg, psid, sidplayfp
from data_prep.rendering import RenderingError

MAX_SECONDS = 2 * 3600.0  # maximum track length, because whole tracks are decoded into memory
SILENT_PEAK = 1e-4  # -80 dB relative to full scale
SID_MODELS = tuple(sidplayfp.MODELS)

_RATES = (4_000, 400_000)  # Hz; other rates mean a damaged header, and resampling might never end
_MAX_CHANNELS = 64  # of a waveform in memory; its other axis is that of the samples
# What the integers of a waveform in memory are divided by; uint8 is unsigned, as in WAV files.
_FULL_SCALES = {"int8": 2**7, "uint8": 2**7, "int16": 2**15, "int32": 2**31}
_MAX_FRAMES = 1 << 40  # libsndfile declares more than this if it does not know the length
_MIN_PRESENT = 0.99  # fraction of the declared samples; some encoders miscount the last block
_LAST_BLOCK = 0.1  # seconds that decoders of WMA and of ALAC in CAF may leave out at the end
_MAX_EMPTY_SIZE = 1 << 16  # bytes of the header and tags of a file without samples
_BLOCK = 1 << 18  # values read at a time, over all channels, so that they fit in the CPU cache
_MISMATCH = re.compile(
    r"^ *(?:data|Data Size|SSND|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.M
)  # W64 and RF64 files are only checked by their whole size
# libsndfile reports "does not exist" for a file named .mp3 that does not contain MP3, and
# "Malformed 'fmt ' chunk" for codecs in WAV files that it does not know.
_UNKNOWN = re.compile(
    "not recognised|unknown|unsupported|unimplemented|does not exist|Malformed 'fmt ' chunk"
)
_OPEN_SIZE = 0x7F000000  # about what SoX declares if it writes AIFF to a stream
# Formats, by the demuxer of ffmpeg, that libsndfile reads; it takes some others for MP3.
_OWN = ("mp3", "flac", "caf", "wav", "aiff", "au")
_CONVERT = "convert it to WAV, FLAC or MP3"


class AudioError(InputError):
    """Raised if a track cannot be used; `reason` is the message without the file name."""

    def __init__(self, path: str | Path, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = str(path), reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Decoded:
    """A decoded track.

    Attributes
    ----------
    samples : (n,) float32, mean of the channels; or (n, channels) if all were asked for
    rate : sample rate in Hz
    channels_cancel : whether a channel is audible, but not their mean
    is_cut : whether the file goes on after the seconds that were asked for
    """

    samples: np.ndarray
    rate: int
    channels_cancel: bool
    is_cut: bool


class _Job(NamedTuple):
    """What to decode: a file, the number of seconds, and whether to average the channels."""

    path: Path
    seconds: float
    mono: bool
    sid_model: str = SID_MODELS[0]


def decode(
    path: Path,
    max_seconds: float | None,
    *,
    mono: bool = True,
    sid_model: str = SID_MODELS[0],
) -> Decoded:
    """Decode the first `max_seconds` of a file, or all of it, up to two hours, if that is None.

    `sid_model` is the sound chip that tunes of the Commodore 64 are rendered with.

    Raises
    ------
    AudioError
        If the file is missing, empty, not audio, damaged or truncated, or if it is longer than two
        hours and `max_seconds` is None.
    """
    _require_content(path)
    job = _Job(path, MAX_SECONDS if max_seconds is None else max_seconds, mono, sid_model)
    try:
        # libmpg123 reports an error in the last frame of many sound MP3 files.
        with drop_lines(b"[src/libmpg123/"):
            decoded = _decode(job)
    except mpeg_stream.MpegError as error:
        raise AudioError(path, f"{error}; export it again") from error
    except soundfile.LibsndfileError as error:
        # libsndfile cannot seek to the end of FLAC data that ends early.
        cause = error.error_string.replace(
            "Internal psf_fseek() failed.", "it contains fewer samples than it declares"
        )
        raise AudioError(
            path, f"is damaged or truncated ({cause}); download, copy or export it again"
        ) from error
    except OSError as error:
        raise AudioError(path, f"cannot be read ({error.strerror}); check the disk") from error
    _require_all(path, decoded, max_seconds)
    return decoded


def _require_all(path: str | Path, decoded: Decoded, max_seconds: float | None) -> None:
    if max_seconds is None and decoded.is_cut:
        raise AudioError(path, "is longer than two hours; cut it into tracks")


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


def _decode(job: _Job) -> Decoded:
    demuxer = ffmpeg.find_demuxer(job.path)
    if demuxer == "ogg":
        return _decode_ogg(job)
    if demuxer is None and psid.is_tune(job.path):
        return _render_tune(job)
    if demuxer == "mp3" or (demuxer is None and not _is_known_to_libsndfile(job.path)):
        decoded = _decode_mpeg(job)
        if decoded:
            return decoded
    try:
        if demuxer in (*_OWN, None):
            decoded = _decode_declared(job, demuxer)
        else:
            decoded = _decode_with_ffmpeg(job, demuxer, "needs ffmpeg for its format")
    except (AudioError, soundfile.LibsndfileError):
        _require_one_file(job.path, demuxer)
        raise
    if not decoded.is_cut:
        _require_one_file(job.path, demuxer)
    return decoded


def _require_one_file(path: Path, demuxer: str | None, end: int | None = None) -> None:
    if joined_files.contains_second(path, demuxer, end):
        raise AudioError(
            path, "contains another file behind the first; export both again as one file"
        )


def _is_known_to_libsndfile(path: Path) -> bool:
    """Return whether libsndfile knows a format other than MP3.

    Samples of quiet music look like MPEG frames, so such files must not be searched for them.
    """
    try:
        with soundfile.SoundFile(path) as file:
            return file.format not in ("MP3", "MPEG")
    except (soundfile.LibsndfileError, TypeError):
        return False


def _decode_ogg(job: _Job) -> Decoded:
    pages = ogg.read_pages(job.path)
    if pages.is_mixed:
        raise AudioError(
            job.path, f"contains Ogg streams of different codecs, one after another; {_CONVERT}"
        )
    if pages.links > 1:
        problem = f"contains {pages.links} Ogg streams, one after another"
        decoded = _decode_with_ffmpeg(job, "ogg", problem)
    elif not pages.is_readable:
        decoded = _decode_with_ffmpeg(job, "ogg", "needs ffmpeg for its codec")
    else:
        decoded = _decode_declared(job, "ogg")
    if not decoded.is_cut:
        if not pages.is_whole:
            raise AudioError(
                job.path,
                "is truncated: the last page of a stream is incomplete or missing; download or "
                "copy it again",
            )
        _require_one_file(job.path, "ogg", pages.end)
    return decoded


def _decode_declared(job: _Job, demuxer: str | None) -> Decoded:
    """Decode a file with libsndfile, which trusts the length that the file declares."""
    try:
        with soundfile.SoundFile(job.path) as file:
            if file.frames >= _MAX_FRAMES and demuxer:
                return _decode_with_ffmpeg(job, demuxer, "does not declare its length")
            _require_declared_samples(job.path, file)
            return _decode_with_libsndfile(job, file, file.frames)
    except soundfile.LibsndfileError as error:
        if not _UNKNOWN.search(str(error)) and not _is_streamed_caf(job.path):
            raise
        if demuxer:
            return _decode_with_ffmpeg(job, demuxer, "needs ffmpeg for its format")
        raise AudioError(
            job.path, f"is not in an audio format that this package reads; {_CONVERT}"
        ) from error
    except TypeError as error:  # soundfile assumes that .raw files have no header
        raise AudioError(
            job.path,
            "is named .raw, as if it has no header; give it the suffix of its format, or convert "
            "it to WAV or FLAC",
        ) from error


def _is_streamed_caf(path: Path) -> bool:
    """Return whether a CAF file does not declare its size, which libsndfile takes for damage."""
    with open(path, "rb") as file:
        head = file.read(1 << 16)
    return head.startswith(b"caff") and b"data" + b"\xff" * 8 in head


def _decode_mpeg(job: _Job) -> Decoded | None:
    """Decode MPEG audio, or return None if the file contains none."""
    try:
        stream = mpeg_stream.find_frames(job.path, job.seconds + 1)
    except mpeg_stream.MixedPartsError as error:
        return _decode_with_ffmpeg(job, "mp3", str(error))
    if stream is None:
        return None
    if stream.is_declared:
        decoded = _decode_declared(job, "mp3")
    else:
        with (
            mpeg_stream.open_pipe(job.path, stream) as pipe,
            soundfile.SoundFile(pipe, closefd=False) as file,
        ):
            decoded = _decode_with_libsndfile(job, file, stream.samples - stream.skip, stream.skip)
    if not decoded.is_cut:
        if stream.is_cut:
            raise AudioError(job.path, "is truncated within a frame; download or copy it again")
        _require_one_file(job.path, "mp3", stream.end)
    return decoded


def _decode_with_libsndfile(
    job: _Job, file: soundfile.SoundFile, declared: int, skip: int = 0
) -> Decoded:
    _require_rate(job.path, file.samplerate)
    wanted = int(job.seconds * file.samplerate)
    if file.seekable():
        _require_declared_size(job.path, file, wanted)
    for _ in _blocks(file, skip):
        pass
    return _collect(job, _blocks(file, wanted + 1), file.samplerate, declared)


def _blocks(file: soundfile.SoundFile, count: int) -> Iterator[np.ndarray]:
    """Yield up to `count` samples as (n, channels) float32 blocks."""
    size = max(_BLOCK // file.channels, 1)
    while count and len(block := file.read(min(size, count), dtype="float32", always_2d=True)):
        count -= len(block)
        yield block


def _decode_with_ffmpeg(job: _Job, demuxer: str, problem: str) -> Decoded:
    """Decode with ffmpeg what libsndfile cannot read because of a `problem`."""
    if not ffmpeg.is_installed():
        raise AudioError(job.path, f"{problem}; install ffmpeg, or {_CONVERT}")
    try:
        stream = ffmpeg.probe(job.path, demuxer)
        _require_rate(job.path, stream.rate)
        declared = round((stream.seconds or 0) * stream.rate)
        blocks = ffmpeg.decode(job.path, stream, job.seconds + 1)
        return _collect(job, blocks, stream.rate, declared)
    except ffmpeg.FfmpegError as error:
        raise AudioError(job.path, str(error)) from error


def _render_tune(job: _Job) -> Decoded:
    if not sidplayfp.is_installed():
        raise AudioError(
            job.path, f"needs sidplayfp for its format; install sidplayfp, or {_CONVERT}"
        )
    if job.seconds >= MAX_SECONDS:
        raise AudioError(job.path, "is a tune without an end; leave out --whole-tracks")
    try:
        psid.read_tune(job.path)
        samples = sidplayfp.render(job.path, job.seconds, job.sid_model)
    except (psid.PsidError, RenderingError) as error:
        raise AudioError(job.path, str(error)) from error
    blocks = iter([_to_floats(samples[:, None])])
    return _collect(job, blocks, sidplayfp.RATE, int(job.seconds * sidplayfp.RATE))


def _collect(job: _Job, blocks: Iterator[np.ndarray], rate: int, declared: int) -> Decoded:
    """Join (n, channels) blocks, or the means of their channels, up to the wanted length.

    The size that a header declares is never allocated. Raises `AudioError` if there are fewer
    samples than `declared`.
    """
    wanted = int(job.seconds * rate)
    parts, count, is_silent, is_loud = [], 0, True, False
    for block in blocks:
        # This takes a tenth of the time of block.mean(axis=1).
        mean = functools.reduce(np.add, block.T) / block.shape[1]
        parts.append(mean if job.mono else block)
        count += len(mean)
        if is_silent:
            is_silent = max(mean.max(), -mean.min()) < SILENT_PEAK
            is_loud |= max(block.max(), -block.min()) >= SILENT_PEAK
        if count > wanted:
            break
    if not count and declared:  # as ffmpeg before 6.0 does with 32-bit FLAC
        raise AudioError(
            job.path,
            "declares samples, but none can be decoded; download it again, or convert it to WAV",
        )
    due = min(wanted, declared)
    if count < min(_MIN_PRESENT * due, due - _LAST_BLOCK * rate):
        raise _truncated(job.path, count / declared)
    samples = np.concatenate(parts)[:wanted] if parts else np.zeros(0, np.float32)
    return Decoded(samples, rate, is_silent and is_loud, count > wanted)


def _require_rate(path: Path, rate: int) -> None:
    if not _RATES[0] <= rate <= _RATES[1]:
        raise AudioError(path, f"declares {rate} samples per second; export it again")


def _require_declared_samples(path: Path, file: soundfile.SoundFile) -> None:
    """Reject a file whose header was not completed, as if a recorder was interrupted."""
    size = path.stat().st_size
    if file.frames == 0 and size > _MAX_EMPTY_SIZE:
        raise AudioError(
            path,
            f"declares no samples, but contains {size:,} bytes; if its recording was interrupted, "
            "import it as raw data into an audio editor, and export it again",
        )


def _require_declared_size(path: Path, file: soundfile.SoundFile, wanted: int) -> None:
    """Reject a WAV, AU or AIFF file that contains less data than its header declares.

    libsndfile only reports the mismatch in its log, as `data : DECLARED (should be PRESENT)`.
    Programs that write to a stream declare a size close to the maximum, so such a size does not
    mean that the file is truncated.
    """
    if file.frames >= wanted:
        return
    for declared, present in _MISMATCH.findall(file.extra_info):
        declared, present = int(declared), int(present)
        is_open = declared >= 2**31 - 2**20 or abs(declared - _OPEN_SIZE) < 2**16
        if not is_open and present < _MIN_PRESENT * declared:
            raise _truncated(path, present / declared)


def _truncated(path: Path, fraction: float) -> AudioError:
    return AudioError(
        path,
        f"is truncated: contains {fraction:.0%} of what it declares; download or copy it again",
    )


# ---------------------------------------------------------------- waveforms in memory


def decode_array(audio: np.ndarray, sample_rate: float, max_seconds: float | None) -> Decoded:
    """Do for a waveform in memory what `decode` does for a file; see `models.embeddings.embed`.

    Raises
    ------
    InputError
        If the waveform or the sample rate is of another kind or shape, or if the waveform is longer
        than two hours and `max_seconds` is None.
    """
    channels = _channels_last(audio)
    rate = _whole_rate(sample_rate)
    job = _Job(Path("audio"), MAX_SECONDS if max_seconds is None else max_seconds, mono=True)
    stop = min(len(channels), int(job.seconds * rate) + 1)
    step = max(_BLOCK // max(channels.shape[1], 1), 1)
    blocks = (_to_floats(channels[i : min(i + step, stop)]) for i in range(0, stop, step))
    with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are found later
        decoded = _collect(job, blocks, rate, declared=0)
    _require_all("audio", decoded, max_seconds)
    if channels.dtype == np.int32 and 0 < np.abs(decoded.samples).max(initial=0) <= 2**-16:
        raise AudioError("audio", "contains 16-bit values as int32; use astype(np.int16)")
    return decoded


def _whole_rate(rate: float) -> int:
    is_number = isinstance(rate, int | float | np.integer | np.floating)
    if not is_number or isinstance(rate, bool):
        raise InputError(
            f"sample_rate: has the type {type(rate).__name__}; give a whole number of Hz"
        )
    if not _RATES[0] <= rate <= _RATES[1] or rate % 1:
        raise InputError(f"sample_rate: {rate} is not a whole number from 4,000 to 400,000 Hz")
    return int(rate)


def _channels_last(audio: np.ndarray) -> np.ndarray:
    """Return a waveform as (n, channels); the axis with at most 64 values is the channels."""
    if not isinstance(audio, np.ndarray):
        raise AudioError("audio", f"has the type {type(audio).__name__}; give a NumPy array")
    audio = np.asarray(audio)  # masked arrays and matrices behave in other ways
    if audio.dtype.kind != "f" and audio.dtype.name not in _FULL_SCALES:
        raise AudioError(
            "audio",
            f"has values of the type {audio.dtype}; give floats in [-1, 1], int16 or int32",
        )
    if audio.ndim == 1 or not audio.size:
        return audio.reshape(-1, 1)
    if audio.ndim != 2 or (min(audio.shape) > _MAX_CHANNELS) or max(audio.shape) <= _MAX_CHANNELS:
        raise AudioError(
            "audio",
            f"has the shape {audio.shape}; give (n,), (n, channels) or (channels, n) with more "
            f"than {_MAX_CHANNELS} samples and at most {_MAX_CHANNELS} channels",
        )
    return audio if audio.shape[0] > audio.shape[1] else audio.T


def _to_floats(block: np.ndarray) -> np.ndarray:
    """Convert samples to float32 with a full scale of 1, as libsndfile does."""
    scale = np.float32(_FULL_SCALES.get(block.dtype.name, 1))
    floats = block.astype(np.float32, copy=False)
    return (floats - scale if block.dtype == np.uint8 else floats) / scale
