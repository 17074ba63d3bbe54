"""Audio files for tests: valid files, and one invalid file of each kind."""

import itertools
import json
import os
import struct
from pathlib import Path

import h5py
import numpy as np
import soundfile

from common import provenance
from common.parallel import Outcome
from data_prep import synthetic_corpus
from data_prep.mel import FrontEnd
from data_prep.mel_cache import FORMAT, MelCache

RATE = 22_050
TRACK = synthetic_corpus.corpus_table(source_artists=1, source_tracks=1, target_artists=0)["path"][
    0
]


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0, level: float = 0.5) -> np.ndarray:
    """Return a sine wave as (n,) float32."""
    t = np.arange(int(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def clip(seconds: float, first: float = 0.0) -> np.ndarray:
    """Return an excerpt of a synthetic corpus track; both arguments are in seconds."""
    return synthetic_corpus.render_track(TRACK)[int(first * RATE) : int((first + seconds) * RATE)]


def wav(samples: np.ndarray, rate: int = RATE, declared: int | None = None) -> bytes:
    """Return a 16-bit mono WAV file; `declared` overrides the data size in its header."""
    data = (samples * 32767).astype("<i2").tobytes()
    size = len(data) if declared is None else declared
    riff = min(size + 36, 0xFFFFFFFF)
    head = b"RIFF" + struct.pack("<I", riff) + b"WAVE"
    head += b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    return head + b"data" + struct.pack("<I", size) + data


def au(samples: np.ndarray, declared: int | None = None) -> bytes:
    """Return a 16-bit mono AU file; `declared` overrides the data size in its header."""
    data = (samples * 32767).astype(">i2").tobytes()
    size = len(data) if declared is None else declared
    return struct.pack(">4sIIIII", b".snd", 24, size, 3, RATE, 1) + data


def in_this_process(function, items, *, workers=1):
    """Replace `common.parallel.ordered_map`, without worker processes."""
    for item in items:
        try:
            yield Outcome(item, function(item))
        except Exception as error:
            yield Outcome(item, error=error)


def stopped_after(number: int, decoded: list[str]):
    """Return an ordered map that is interrupted after `number` items, and lists them."""

    def ordered_map(function, items, *, workers):
        for outcome in in_this_process(function, itertools.islice(items, number)):
            decoded.append(Path(outcome.item).name)
            yield outcome
        raise KeyboardInterrupt

    return ordered_map


def write_mel_cache(
    path: Path,
    frames: np.ndarray,
    start: np.ndarray,
    length: np.ndarray,
    *,
    mean: float = 0.5,
    std: float = 0.3,
    front_end: FrontEnd | None = None,
) -> MelCache:
    """Write and open a mel cache of tracks t0, t1, … that occupy the given frames."""
    with h5py.File(path, "w") as file:
        file["frames"], file["start"], file["length"] = frames, start, length
        file["track_id"] = [f"t{number}" for number in range(len(length))]
        for name in ("failed_track_id", "failed_reason"):
            file.create_dataset(name, (0,), h5py.string_dtype())
        file.attrs["format"], file.attrs["mean"], file.attrs["std"] = FORMAT, mean, std
        file.attrs["front_end"] = json.dumps((front_end or FrontEnd()).to_dict())
        file.attrs["made_from"] = provenance.to_json(provenance.make_record({"made": "up"}))
    return MelCache(path)


def write_bad(folder: Path) -> dict[str, str]:
    """Write one invalid file of each kind; return {name: expected part of the error message}."""
    folder.mkdir(parents=True, exist_ok=True)
    music = clip(6.0)

    def put(name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)

    def encoded(name: str, samples=music, **settings) -> bytes:
        soundfile.write(folder / name, samples, RATE, **settings)
        return (folder / name).read_bytes()

    put("text.wav", b"text in a file that is named like audio. " * 50)
    put("text.mp3", b"text in a file that is named like MP3. " * 50)
    put("text.flac", b"\0" * 5000)
    put("playlist.raw", b"raw samples")
    put("empty.wav", b"")
    put("empty.mp3", b"")
    put("cut.wav", wav(music)[: len(music)])
    put("cut.au", au(music)[: len(music)])
    for name in ("cut.flac", "cut.mp3"):
        whole = encoded(name)
        put(name, whole[: len(whole) // 2])
    put("header.wav", wav(music)[:30])
    put("zero samples.wav", wav(music[:0]))
    put("silent.wav", wav(0 * music))
    broken = music.copy()
    broken[1000:1003] = [np.nan, np.inf, -np.inf]
    encoded("nan.wav", broken, subtype="FLOAT")
    loud = music.copy()
    loud[5000] = 3e38
    encoded("absurd.wav", loud, subtype="FLOAT")
    put("short.wav", wav(music[: 128 * 512 - 1]))
    put("slow.wav", wav(music, rate=20))
    put("huge.wav", wav(music, declared=2**31 - 2**21))
    put("one sample.wav", wav(music[10_000:10_001]))
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    (folder / "loop.wav").symlink_to("loop.wav")
    return {
        "text.wav": "is not in an audio format that this package reads",
        "text.mp3": "is not in an audio format that this package reads",
        "text.flac": "is not in an audio format that this package reads",
        "playlist.raw": "has no header",
        "empty.wav": "is empty (0 bytes)",
        "empty.mp3": "is empty (0 bytes)",
        "cut.wav": "is truncated: contains 50% of what it declares",
        "cut.au": "is truncated: contains 50% of what it declares",
        "cut.flac": "truncated",
        "cut.mp3": "is truncated",
        "header.wav": "is damaged or truncated",
        "zero samples.wav": "contains no samples",
        "silent.wav": "is silent",
        "nan.wav": "3 samples are not finite",
        "absurd.wav": "has a peak of 3e+38",
        "short.wav": "is 2.97 s long, less than one segment",
        "slow.wav": "declares 20 samples per second",
        "huge.wav": "is truncated: contains 0%",
        "one sample.wav": "less than one segment",
        "folder.wav": "is not a file",
        "pipe.wav": "is not a file",
        "loop.wav": "no such file",
        "absent.wav": "no such file",
        "nul\0byte.wav": "no such file",
        "x" * 300 + ".wav": "cannot be opened (File name too long)",
    }
