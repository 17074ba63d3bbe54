"""Measure artist recognition for Figures 2 and 3 of arxiv2017, at the paper's size.

    python bench/recognition.py [--artists 100 300 500 1000 2000]

For each number of training artists with 15 tracks each, trains the UBM and the i-vector model with
the defaults of train_ivector.py, extracts the i-vectors of these tracks and of 500 unseen artists
with 20 tracks each, and computes the equal error rate and the accuracy of the seven systems of the
figures over all 1,250,000 trials. The tracks are 30-second clips, of which 300 are distinct. The
networks are left out: random vectors stand in for their embeddings. Prints the seconds (elapsed,
and of CPU time) of each part and the following lines:

    figures_minutes X       all of this, including the start of the processes that reproduce.py runs
    figures_cpu_minutes X   CPU time of the same
    training_minutes X      the part of UBM and i-vector training in the first line
    one_shot_minutes X      in addition: GMM-UBM with 1, 2, 5 and 10 tracks, for the most artists
    one_shot_cpu_minutes X  CPU time of the same
    figures_gb X            peak memory, including pages of memory-mapped files
"""

import argparse
import collections
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from bench.clips import run_on_clips
from bench.resources import cpu_seconds, peak_memory
from data_prep import mel_cache
from data_prep.mfcc import MfccSettings
from recognition import ivector_model, ivector_training, systems, verification

DISTINCT, TRACKS = 300, 15  # distinct tracks, and training tracks per artist
UNSEEN, UNSEEN_TRACKS, DIMENSIONS = 500, 20, 256
STEPS = 10  # processes per number of artists: training, two extractions, seven evaluations
PROTOCOLS = ("verification", "identification")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = [100, 300, 500, 1000, 2000]
    parser.add_argument("--artists", type=int, nargs="+", default=sizes)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        measure(args.folder, args.artists)
        return
    run_on_clips(__file__, DISTINCT, ["--artists", *args.artists])


def measure(folder: Path, sizes: list[int]) -> None:
    cache, times = mel_cache.MelCache(folder / "cache.h5"), Times()
    with times.part("process start"):
        subprocess.run([sys.executable, "-c", "import recognition.systems"], check=True)
    times.repeat("process start", STEPS * len(sizes))
    unseen = cache.track_id[np.arange(UNSEEN * UNSEEN_TRACKS) % DISTINCT]
    draws = [verification.draw_enrolment(np.repeat(np.arange(UNSEEN), UNSEEN_TRACKS), seed=0)]
    for size in sizes:
        ids, names = training_tracks(cache, size)
        schedule = ivector_training.IVectorSchedule(256, "kmeans", 20, DIMENSIONS, 10, seed=0)
        run = ivector_training.IVectorRun(folder / f"run_{size}", {})
        with times.part("training"):
            ivector_training.train_ivector_model(run, cache, ids, names, MfccSettings(), schedule)
        model = ivector_model.load_ivector_model(run.model_path)
        with times.part("i-vectors"):
            train, test = (
                np.array(list(model.extract_ivectors(map(cache.__getitem__, tracks))))
                for tracks in (ids, unseen)
            )
        with times.part("GMM-UBM"):
            scorer = systems.llr_scorer(model, cache, unseen, 16.0)
            systems.evaluate_recognition(PROTOCOLS, scorer, draws, one_shot=False)
        with times.part("other systems"):
            for other in other_scorers(train, test, names, min(100, size - 1)):
                systems.evaluate_recognition(PROTOCOLS, other, draws, one_shot=False)
        print(f"up to {size} artists: {times}", flush=True)
        if size == max(sizes):
            with times.part("one-shot"):
                for tracks in verification.ENROLMENT_SIZES[:-1]:
                    scorer(draws[0].truncate(tracks))
    extra, cpu = (which.pop("one-shot") / 60 for which in (times.elapsed, times.cpu))
    print(f"one_shot_minutes {extra:.1f}\none_shot_cpu_minutes {cpu:.1f}")
    print(f"training_minutes {times.elapsed['training'] / 60:.1f}")
    print(f"figures_gb {peak_memory():.2f}")
    print(f"figures_cpu_minutes {sum(times.cpu.values()) / 60:.1f}")
    print(f"figures_minutes {sum(times.elapsed.values()) / 60:.1f}")


def training_tracks(cache: mel_cache.MelCache, artists: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of the training tracks, and their artists."""
    names = np.repeat([f"artist {number}" for number in range(artists)], TRACKS).astype(object)
    return cache.track_id[np.arange(len(names)) % DISTINCT], names


def other_scorers(
    train: np.ndarray, test: np.ndarray, names: np.ndarray, lda: int
) -> Iterator[systems.Scorer]:
    """Yield the scorers of all systems but the GMM-UBM, for i-vectors (n, d)."""
    random = np.random.default_rng(0)
    # The clips repeat, so noise keeps the i-vectors within artists from being singular.
    ivectors = [x + 0.1 * random.standard_normal(x.shape, np.float32) for x in (train, test)]
    embeddings = [random.standard_normal(x.shape, np.float32) for x in (train, test)]
    both = [systems.concatenate_features(pair) for pair in zip(ivectors, embeddings, strict=True)]
    for x_train, x in (ivectors, embeddings):
        yield systems.cosine_scorer(x)
        yield systems.plda_scorer(x, x_train, names, lda)
    yield systems.plda_scorer(both[1], both[0], names, lda)
    late = [systems.plda_scorer(x, x_train, names, lda) for x_train, x in (ivectors, embeddings)]
    yield lambda enrolment: systems.fuse_scores([score(enrolment) for score in late])


class Times:
    """Elapsed seconds and seconds of CPU time, by part."""

    def __init__(self):
        self.elapsed: dict[str, float] = collections.Counter()
        self.cpu: dict[str, float] = collections.Counter()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        start, cpu = time.perf_counter(), sum(cpu_seconds())
        yield
        self.elapsed[name] += time.perf_counter() - start
        self.cpu[name] += sum(cpu_seconds()) - cpu

    def repeat(self, name: str, count: int) -> None:
        self.elapsed[name] *= count
        self.cpu[name] *= count

    def __str__(self) -> str:
        parts = (f"{name} {self.elapsed[name]:.0f} ({self.cpu[name]:.0f})" for name in self.cpu)
        return ", ".join(parts)


if __name__ == "__main__":
    main()
