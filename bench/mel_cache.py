"""Compare the speed of creating a mel cache with two workers and with one.

The same tracks are cached nine times with each number of workers, in turn. Each line printed is the
median over the nine pairs; the lines before them contain each pair's values and their range.
`cpu_seconds_two_over_one` is the ratio of the CPU seconds of all processes per track.
`two_workers_over_one_by_cpu` is the ratio of speeds that these CPU seconds allow on two free cores.
`two_workers_over_one` is the measured ratio, which other programs on the machine reduce.
"""

import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path[0] = str(Path(__file__).resolve().parent.parent)

# The workers import this script too, as they do with step 2, so pandas is imported where needed.
from bench.resources import cpu_seconds, timed

CLIPS, TRACKS, ROUNDS = 20, 800, 9


class Cost(NamedTuple):
    """Seconds that making a cache takes, and CPU seconds of this process and of its workers."""

    seconds: float
    parent: float
    workers: float


def main() -> None:
    ratios: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        table = make_tracks(Path(folder), TRACKS)
        measure(table[:CLIPS], folder, workers=1)  # reads all clips once
        for number in range(ROUNDS):
            order = (1, 2) if number % 2 else (2, 1)
            costs = {workers: measure(table, folder, workers) for workers in order}
            for name, ratio in compare(costs[1], costs[2]).items():
                ratios.setdefault(name, []).append(ratio)
            speeds = (f"{TRACKS / costs[n].seconds:.1f}" for n in (1, 2))
            print(
                "tracks/s with one and two workers: {} {}".format(*speeds),
                *(f"{name} {values[-1]:.2f}" for name, values in ratios.items()),
                sep=", ",
                flush=True,
            )
    for name, values in ratios.items():
        print(f"range of {name}: {min(values):.2f} to {max(values):.2f}")
    for name, values in ratios.items():
        print(f"{name} {statistics.median(values):.2f}")


def measure(table, folder: str, workers: int) -> Cost:
    """Make and delete a cache."""
    from data_prep import mel_cache_writer

    out = Path(folder) / "cache.h5"
    before = cpu_seconds()
    make = partial(mel_cache_writer.make_mel_cache, table, folder, out, workers=workers)
    seconds = timed(make)[1]
    out.unlink()
    return Cost(seconds, *(b - a for a, b in zip(before, cpu_seconds(), strict=True)))


def compare(one: Cost, two: Cost) -> dict[str, float]:
    """Return the ratios of a pair.

    On free cores, one worker takes at least its own CPU seconds, while this process works beside
    it; two workers and this process take at least half of their CPU seconds.
    """
    total = two.parent + two.workers
    return {
        "cpu_seconds_two_over_one": total / (one.parent + one.workers),
        "two_workers_over_one_by_cpu": 2 * one.workers / total,
        "two_workers_over_one": one.seconds / two.seconds,
    }


def make_tracks(folder: Path, count: int):
    """Write 30-second clips as WAV files and return a split of `count` tracks that repeats them."""
    import pandas as pd
    import soundfile

    from data_prep import synthetic_corpus

    catalog = synthetic_corpus.corpus_table(source_artists=CLIPS, source_tracks=1, target_artists=0)
    for number, path in enumerate(catalog["path"]):
        waveform = synthetic_corpus.render_track(path)
        soundfile.write(folder / f"{number}.wav", waveform, synthetic_corpus.RATE)
    names = [f"{number % CLIPS}.wav" for number in range(count)]
    ids = [f"{number}" for number in range(count)]
    return pd.DataFrame({"track_id": ids, "path": names, "subset": "train", "artist": ""})


if __name__ == "__main__":
    main()
