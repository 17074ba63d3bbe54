"""Any audio file as a mono waveform at the papers' sample rate."""

import re
import shutil
import warnings
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr

from common.errors import InputError

SAMPLE_RATE = 22_050  # Hz; ismir2018 section 4

# What libsndfile does not know is given to ffmpeg only under these names: ffmpeg opens playlists
# and network addresses too, and a file that came from elsewhere must not send it there.
FFMPEG_SUFFIXES = frozenset({".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka"})
_RATES = (4_000, 400_000)  # Hz; outside, the header is wrong and resampling it would not end
_LONGEST = 2 * 3600.0  # seconds of one track held in memory
_SILENCE = 1e-4  # peak; -80 dB below full scale
_LOUDEST = 2.0**32  # peak; more is no audio of any scale, and overflows the spectrum
_TRUNCATED = 0.99  # of the declared samples; some encoders miscount the last block
_BLOCK = 1 << 20  # values read at a time, all channels together
_MISMATCH = re.compile(r"^ *(?:data|Data Size|SSND) *: (\d+) \(should be (\d+)\)", re.M)


class AudioError(InputError):
    """One track cannot be used; `reason` says why, without naming the file."""

    def __init__(self, path: str | Path, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = str(path), reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def load_audio(path: str | Path, max_seconds: float | None = None) -> np.ndarray:
    """Read an audio file as mono at 22,050 Hz.

    WAV, AU, FLAC, OGG, MP3 and whatever else libsndfile reads; m4a, mp4, aac,
    wma and webm where ffmpeg is installed. Channels are averaged and the rate
    is converted by soxr (HQ).

    Parameters
    ----------
    path
        The file.
    max_seconds
        Read no more than this from its beginning; None reads up to two hours.

    Returns
    -------
    (n,) float32, nominally in [-1, 1].

    Raises
    ------
    AudioError
        Missing, empty, not audio, damaged, truncated, longer than two hours
        (where all of it is asked for), silent, or with samples that are not finite.
    """
    path = Path(path)
    _require_content(path)
    samples, rate = _decode(path, max_seconds)
    if not len(samples):
        raise AudioError(path, "holds no samples; replace it or take it out of the list")
    peak = max(samples.max(), -samples.min())
    if not peak <= _LOUDEST:  # NaN is not
        bad = int(np.count_nonzero(~(np.abs(samples) <= _LOUDEST)))
        raise AudioError(path, f"{bad} samples are not finite or absurdly large; export it again")
    if peak < _SILENCE:
        raise AudioError(path, "is silent; replace it or take it out of the list")
    if rate == SAMPLE_RATE:
        return samples
    return soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")


def _require_content(path: Path) -> None:
    try:
        # Only regular files: a pipe or a device would be waited on for ever.
        if not path.is_file():
            reason = "is not a file" if path.exists() else "no such file"
            raise AudioError(path, f"{reason}; check the path and the audio folder")
        if path.stat().st_size == 0:
            raise AudioError(path, "is empty (0 bytes); download or copy it again")
    except OSError as error:
        raise AudioError(path, f"cannot be opened ({error.strerror}); check the disk") from error


def _decode(path: Path, max_seconds: float | None) -> tuple[np.ndarray, int]:
    try:
        with open(path, "rb"):  # libsndfile's own message for this says nothing
            pass
        with soundfile.SoundFile(path) as file:
            return _read_mono(path, file, max_seconds), file.samplerate
    except soundfile.LibsndfileError as error:
        # It also denies that there is such a file, which we know better, if the content is no MP3.
        signs = ("not recognised", "unknown format", "does not exist")
        unknown = any(sign in str(error) for sign in signs)
        if unknown and path.suffix.lower() in FFMPEG_SUFFIXES:
            return _decode_with_ffmpeg(path, max_seconds)
        if unknown:
            raise AudioError(
                path, "is not audio that libsndfile knows; convert it to WAV, FLAC or MP3"
            ) from error
        raise AudioError(
            path, f"is damaged or truncated ({error.error_string}); download or copy it again"
        ) from error
    except TypeError as error:  # soundfile takes .raw for samples without a header
        raise AudioError(
            path, "has no header that says what it holds; convert it to WAV or FLAC"
        ) from error
    except OSError as error:
        raise AudioError(path, f"cannot be read ({error.strerror}); check the disk") from error


def _read_mono(path: Path, file: soundfile.SoundFile, max_seconds: float | None) -> np.ndarray:
    """Average the channels block by block: what a header declares is never allocated at once."""
    if not _RATES[0] <= file.samplerate <= _RATES[1]:
        raise AudioError(path, f"declares {file.samplerate} samples a second; export it again")
    wanted = int((max_seconds or _LONGEST) * file.samplerate)
    _require_whole(path, file, wanted)
    blocks, count = [], 0
    while count < wanted:
        size = min(max(_BLOCK // file.channels, 1), wanted - count)
        block = file.read(size, dtype="float32", always_2d=True)
        if not len(block):
            break
        blocks.append(sum(block.T) / file.channels)  # a tenth of the time of block.mean(axis=1)
        count += len(block)
    if count < _TRUNCATED * min(wanted, file.frames):
        raise _truncated(path, count / file.frames)
    if max_seconds is None and count == wanted and file.frames > wanted:
        raise AudioError(path, "is longer than two hours; cut it into tracks")
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _require_whole(path: Path, file: soundfile.SoundFile, wanted: int) -> None:
    """Refuse a WAV, AU or AIFF file that ends before the data that its header declares.

    libsndfile notes the mismatch in its log as `data : DECLARED (should be
    PRESENT)` and reads on quietly. A stream's writer that cannot know the size
    declares the largest number there is, or nearly so: that is no truncation.
    """
    if file.frames >= wanted:
        return
    for declared, present in _MISMATCH.findall(file.extra_info):
        declared, present = int(declared), int(present)
        if declared < 2**31 - 2**20 and present < _TRUNCATED * declared:
            raise _truncated(path, present / declared)


def _truncated(path: Path, share: float) -> AudioError:
    return AudioError(
        path, f"is truncated: holds {share:.0%} of what it declares; download or copy it again"
    )


def _decode_with_ffmpeg(path: Path, max_seconds: float | None) -> tuple[np.ndarray, int]:
    if shutil.which("ffmpeg") is None:
        raise AudioError(path, "needs ffmpeg; install it, or convert to WAV, FLAC or MP3")
    try:
        with warnings.catch_warnings():
            # librosa announces the end of this fallback; we pin the version that has it.
            warnings.simplefilter("ignore")
            samples, rate = librosa.load(
                path.resolve(), sr=None, mono=True, duration=max_seconds or _LONGEST
            )
    except Exception as error:  # audioread's errors share no base class
        raise AudioError(
            path, "is not audio that ffmpeg knows; convert it to WAV, FLAC or MP3"
        ) from error
    return samples, int(rate)
