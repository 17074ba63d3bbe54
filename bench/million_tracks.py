"""Measure steps 1 and 2 of the pipeline with 1,000,000 tracks by 50,000 artists.

Splits a synthetic catalogue, then runs step 2 on it with a stub decoder that immediately returns
one frame, so that only the bookkeeping is measured. Kills step 2 near the end and restarts it.
Prints the following lines:

    split_seconds X       time to split the catalogue and write the split file
    split_gb X            peak memory of the splitting process
    cache_ms_per_track X  time per track in step 2 with one worker, without decoding
    restart_seconds X     time from the restart to the first newly cached track
    cache_gb X            peak memory of the restarted process
    open_seconds X        time to open the finished cache and look up all tracks
    open_gb X             peak memory of the process that opens the cache

The benchmark takes a few minutes and 1 GB of disk space.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import pandas as pd

from bench.resources import peak_memory
from data_prep import mel_cache, mel_cache_writer, split_csv, split_methods

TRACKS, ARTISTS = 1_000_000, 50_000
REMAINING = 2_000  # number of tracks not yet cached when step 2 is killed


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(stage("split", folder), check=True)
        start, cached = time.perf_counter(), Lines(folder / "c.h5.making" / "journal")
        first = subprocess.Popen(stage("cache", folder))
        cached.wait_for(TRACKS - REMAINING, first)
        seconds = time.perf_counter() - start
        first.kill()
        first.wait()
        print(f"cache_ms_per_track {1000 * seconds / cached.count():.3f}", flush=True)
        start, before = time.perf_counter(), cached.count()
        second = subprocess.Popen(stage("cache", folder))
        cached.wait_for(before + 1, second)
        print(f"restart_seconds {time.perf_counter() - start:.1f}", flush=True)
        if second.wait():
            raise SystemExit(second.returncode)
        subprocess.run(stage("open", folder), check=True)


def stage(name: str, folder: Path) -> list[str]:
    return [sys.executable, __file__, name, str(folder)]


class Lines:
    """Line counter for a growing file."""

    def __init__(self, path: Path):
        self._path, self._read, self._lines = path, 0, 0

    def count(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                while new := file.read(1 << 20):
                    self._read += len(new)
                    self._lines += new.count(b"\n")
        return self._lines

    def wait_for(self, lines: int, process: subprocess.Popen) -> None:
        while self.count() < lines:
            if process.poll() is not None:
                raise SystemExit(
                    f"stopped after {self.count()} tracks, status {process.returncode}"
                )
            time.sleep(0.05)


def split(folder: Path) -> None:
    """Run step 1 on a catalogue that scatters each artist's tracks, which form four albums."""
    number = np.random.default_rng(0).permutation(TRACKS)
    ids = [f"TR{one:016}" for one in number]
    table = pd.DataFrame(
        {
            "track_id": ids,
            "path": [f"{one[-3:]}/{one}.mp3" for one in ids],
            "artist": [f"artist {one % ARTISTS}" for one in number],
            "album": [f"album {one % (4 * ARTISTS)}" for one in number],
        }
    )
    start = time.perf_counter()
    split_csv.write_split(split_methods.split_by_artist(table)[0], folder / "s.csv", {"inputs": {}})
    print(f"split_seconds {time.perf_counter() - start:.1f}")
    print(f"split_gb {peak_memory():.2f}")


def cache(folder: Path) -> None:
    """Run step 2 as its script does, but with the stub decoder."""
    mel_cache_writer.frames_and_sums = one_frame
    mel_cache_writer.make_mel_cache(
        split_csv.read_split(folder / "s.csv"), folder, folder / "c.h5", workers=1
    )
    print(f"cache_gb {peak_memory():.2f}")


def one_frame(path: str, front_end: object) -> tuple[np.ndarray, float, float, bool]:
    """Return a result like the real decoder's, without decoding (runs in a worker)."""
    value = int(path[-5]) / 8
    return np.full((1, 128), value, np.float16), 128 * value, 128 * value**2, False


def open_cache(folder: Path) -> None:
    """Open the cache as a training script does."""
    tracks = split_csv.read_split(folder / "s.csv")["track_id"].to_numpy(object)
    start = time.perf_counter()
    cache = mel_cache.MelCache(folder / "c.h5")
    if len(cache.rows(tracks)) != TRACKS:
        raise SystemExit("tracks are missing")
    print(f"open_seconds {time.perf_counter() - start:.1f}")
    print(f"open_gb {peak_memory():.2f}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        {"split": split, "cache": cache, "open": open_cache}[sys.argv[1]](Path(sys.argv[2]))
