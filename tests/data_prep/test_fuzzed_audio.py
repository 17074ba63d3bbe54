"""Tests that each of 200 damaged audio files is either cached or listed with a reason."""

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from data_prep import failures
from data_prep.mel import log_mel_of_file
from data_prep.mel_cache import MelCache
from tests.conftest import start_python, without_progress
from tests.data_prep.files import RATE, au, clip, wav

pytestmark = pytest.mark.slow
FILES = 200
MEGABYTE = 2**20
ENCODED = {"flac": {}, "ogg": {}, "mp3": {}, "aiff": {}, "float.wav": {"subtype": "FLOAT"}}
# Header fields that declare the format and size: (marker, offset from marker, size in bytes).
FIELDS = {
    "wav": [*((b"fmt ", at, 2) for at in (8, 10, 20, 22)), (b"fmt ", 12, 4), (b"data", 4, 4)],
    "au": [(b".snd", at, 4) for at in (4, 8, 12, 16, 20)],
    "aiff": [*((b"COMM", at, 2) for at in (8, 14, 16)), (b"COMM", 10, 4), (b"SSND", 4, 4)],
    "flac": [(b"fLaC", 8, 2), (b"fLaC", 10, 3), (b"fLaC", 18, 3), (b"fLaC", 21, 5)],
}
VALUES = (b"\x00", b"\x01", b"\x7f", b"\xff")  # repeated for every byte of a field


def originals(folder: Path) -> dict[str, bytes]:
    """Return {suffix: content}, with one track of just over 3 s in every format."""
    music = clip(3.2)
    contents = {"wav": wav(music), "au": au(music)}
    for suffix, settings in ENCODED.items():
        path = folder / f"original.{suffix}"
        soundfile.write(path, music, RATE, **settings)
        contents[suffix] = path.read_bytes()
        path.unlink()
    return contents


def declared(content: bytes, field: tuple[bytes, int, int], value: bytes) -> bytes:
    marker, distance, size = field
    place = content.index(marker) + distance
    return content[:place] + value * size + content[place + size :]


def flip(content, rng):
    damaged = bytearray(content)
    for bit in rng.integers(8 * len(content), size=rng.integers(1, 200)):
        damaged[bit // 8] ^= 1 << int(bit % 8)
    return bytes(damaged)


def cut(content, rng):
    return content[: rng.integers(1, len(content))]


def leave_out(content, rng):
    first, last = sorted(rng.integers(len(content), size=2))
    return content[:first] + content[last:]


def overwrite(content, rng):
    """Overwrite a few header bytes with an extreme value."""
    place, size = rng.integers(96), rng.choice([2, 4, 8])
    return content[:place] + VALUES[rng.integers(4)] * size + content[place + size :]


def scramble(content, rng):
    first = rng.integers(16, 512)
    return content[:first] + rng.bytes(len(content) - first)


MUTATIONS = [flip, cut, leave_out, overwrite, scramble]


def without_audio(rng) -> dict[str, bytes]:
    """Return {name: content} for files that contain no audio."""
    playlist = b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n"
    contents = {f"empty.{suffix}": b"" for suffix in ("wav", "mp3", "m4a")}
    contents |= {f"text.{suffix}": b"no music. " * 99 for suffix in ("wav", "mp3", "ogg", "m4a")}
    contents |= {f"noise.{suffix}": rng.bytes(9999) for suffix in ("au", "mp3", "flac", "m4a")}
    contents |= {f"zeros.{suffix}": bytes(9999) for suffix in ("wav", "mp3", "aiff", "m4a")}
    return contents | {"playlist.m4a": playlist, "playlist.wav": playlist}


def write_fuzzed(folder: Path, seed: int, files: int) -> None:
    """Fill `folder` with intact (good-*), audio-free (bad-*) and damaged (damaged-*) files."""
    rng = np.random.default_rng(seed)
    whole = originals(folder)
    bad, damaged = without_audio(rng), {}
    for suffix, fields in FIELDS.items():
        for field in fields:
            for value in VALUES:
                name = f"{field[0].decode().strip()}-{field[1]}-{value.hex()}.{suffix}"
                damaged[name] = declared(whole[suffix], field, value)
    suffixes = list(whole)
    for suffix in suffixes:  # one format's header on another's data, and a wrong suffix
        other = whole[suffixes[rng.integers(len(suffixes))]]
        size = rng.integers(4, 64)
        damaged[f"foreign.{suffix}"] = other[:size] + whole[suffix][size:]
        damaged[f"renamed.{suffix}"] = other
    (folder / "bad-folder.wav").mkdir()
    for number in range(files - len(damaged) - len(bad) - 1):
        # Every mutation is applied to every format, since the two counts have no common factor.
        mutation, suffix = MUTATIONS[number % len(MUTATIONS)], suffixes[number % len(suffixes)]
        damaged[f"{number}-{mutation.__name__}.{suffix}"] = mutation(whole[suffix], rng)
    untouched = {f"original.{suffix}": content for suffix, content in whole.items()}
    for kind, contents in (("good", untouched), ("bad", bad), ("damaged", damaged)):
        for name, content in contents.items():
            (folder / f"{kind}-{name}").write_bytes(content)


# Prints the peak memory of a worker in bytes: first after the good tracks and one track that
# needs ffmpeg, which loads more libraries; then after all tracks.
PROGRAM = """
import json, resource, sys
import pandas as pd
from pathlib import Path
from data_prep import mel_cache_writer

folder, out = map(Path, sys.argv[1:])
names = sorted(path.name for path in folder.iterdir())
unit, peaks = 1 if sys.platform == "darwin" else 1024, []
for number, wanted in enumerate([("good", "bad-text.m4a"), ""]):
    tracks = [name for name in names if name.startswith(wanted)]
    table = pd.DataFrame({"track_id": tracks, "path": tracks, "subset": "train", "artist": "a"})
    mel_cache_writer.make_mel_cache(table, folder, out / f"{number}.h5", workers=2)
    peaks.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit)
print(json.dumps(peaks))
"""


def output_of(*words) -> str:
    """Return a process's output; check that it succeeds in time and leaves no child processes."""
    process = start_python(*words)
    try:
        out, err = process.communicate(timeout=240)  # shorter than ordered_map's timeout per track
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    assert process.returncode == 0 and without_progress(err) == "", err
    return out


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """Return (audio folder, cache, failure table, [peak memory without and with bad files])."""
    folder, out = tmp_path_factory.mktemp("fuzzed"), tmp_path_factory.mktemp("out")
    write_fuzzed(folder, seed=0, files=FILES)
    peaks = json.loads(output_of("-c", PROGRAM, folder, out))
    return folder, MelCache(out / "1.h5"), pd.read_csv(failures.failures_path(out / "1.h5")), peaks


def test_every_track_is_cached_or_listed_with_a_reason(fuzzed):
    folder, cache, failed, (without, with_bad) = fuzzed
    names = sorted(path.name for path in folder.iterdir())
    assert len([name for name in names if not name.startswith("good")]) == FILES
    assert sorted([*cache.track_id, *failed["track_id"]]) == names
    assert cache.failed == dict(zip(failed["track_id"], failed["reason"], strict=True))
    # For the test to be meaningful, some damaged files must be usable and some must not.
    damaged = [name for name in names if name.startswith("damaged")]
    assert 30 < sum(name in cache for name in damaged) < len(damaged) - 60
    for name, reason in failed.itertuples(index=False):
        assert reason == " ".join(reason.split()) and len(reason) < 150, name
        assert "unforeseen" not in reason and "Traceback" not in reason, f"{name}: {reason}"
        assert not reason.startswith("its decoder"), f"{name}: {reason}"  # it crashed or hung
    assert np.isfinite(cache.frames).all()
    # A track at the highest accepted rate needs 48 MB, which concatenation doubles.
    assert with_bad - without < 150 * MEGABYTE, f"{without} bytes grew to {with_bad}"


def test_intact_files_are_cached_and_files_without_audio_are_not(fuzzed):
    folder, cache, failed, _ = fuzzed
    good = sorted(path.name for path in folder.glob("good-*"))
    assert len(good) == 7
    for name in good:
        assert np.array_equal(cache[name], log_mel_of_file(folder / name).astype(np.float16))
    without_audio = {path.name for path in folder.glob("bad-*")}
    assert len(without_audio) > 15 and without_audio <= set(failed["track_id"])
