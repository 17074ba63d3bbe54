"""Compare the speed of creating a mel cache with two workers and with one.

The same tracks are cached three times with each number of workers, in alternation. The last line
printed is the ratio of the median speeds: `two_workers_over_one X`.
"""

import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import pandas as pd
import soundfile

from bench.resources import timed
from data_prep import mel_cache_writer, synthetic_corpus

CLIPS, TRACKS, ROUNDS = 20, 2000, 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = make_tracks(Path(folder))
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(ROUNDS):
            for workers, measured in seconds.items():
                out = Path(folder) / "cache.h5"
                make = partial(mel_cache_writer.make_mel_cache, table, folder, out, workers=workers)
                measured.append(timed(make)[1])
                out.unlink()
                print(f"{workers} workers: {TRACKS / measured[-1]:.1f} tracks/s", flush=True)
    one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
    print(f"two_workers_over_one {one / two:.2f}")


def make_tracks(folder: Path) -> pd.DataFrame:
    """Write 30-second clips as WAV files and return a split that lists each of them many times."""
    catalog = synthetic_corpus.corpus_table(source_artists=CLIPS, source_tracks=1, target_artists=0)
    for number, path in enumerate(catalog["path"]):
        waveform = synthetic_corpus.render_track(path)
        soundfile.write(folder / f"{number}.wav", waveform, synthetic_corpus.RATE)
    names = [f"{number % CLIPS}.wav" for number in range(TRACKS)]
    ids = [f"{number}" for number in range(TRACKS)]
    return pd.DataFrame({"track_id": ids, "path": names, "subset": "train", "artist": ""})


if __name__ == "__main__":
    main()
