"""Measure i-vector training at the paper's scale: 2,000 artists with 15 tracks each.

    python bench/ivector.py [--artists 2000]

Trains a model in a separate process with the defaults of train_ivector.py (256 mixtures, 20 UBM
iterations, 256 dimensions, 10 i-vector iterations) on 30-second tracks, of which 400 are distinct.
Prints the training log and the following lines:

    ivector_minutes X    time from the mel cache to the finished file, for 39 million frames
    ivector_gb X         peak memory of the process, including pages of memory-mapped files
    ivector_mfcc_gb X    temporary disk space for the MFCC frames
"""

import argparse
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from bench.clips import run_on_clips
from bench.resources import peak_memory
from data_prep import mel_cache
from data_prep.mfcc import MfccSettings
from recognition import ivector_training

DISTINCT, TRACKS, FRAMES = 400, 15, 1291


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--artists", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        train(args.folder, args.artists)
        return
    run_on_clips(__file__, DISTINCT, ["--artists", args.artists])


def train(folder: Path, artists: int) -> None:
    cache = mel_cache.MelCache(folder / "cache.h5")
    ids = cache.track_id[np.arange(artists * TRACKS) % DISTINCT]
    names = np.repeat([f"artist {number}" for number in range(artists)], TRACKS).astype(object)
    schedule = ivector_training.IVectorSchedule(256, "kmeans", 20, 256, 10, seed=0)
    run = ivector_training.IVectorRun(folder / "run", {})
    start = time.perf_counter()
    ivector_training.train_ivector_model(run, cache, ids, names, MfccSettings(), schedule)
    print((folder / "run/ivector.csv").read_text())
    print(f"ivector_minutes {(time.perf_counter() - start) / 60:.1f}")
    print(f"ivector_gb {peak_memory():.2f}")
    print(f"ivector_mfcc_gb {len(ids) * FRAMES * 20 * 4 / 1e9:.2f}")


if __name__ == "__main__":
    main()
