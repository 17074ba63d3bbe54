"""Time the default resampler, and compare it with resampy under the same parameters.

Prints the largest difference of the log-mels at each sample rate, and the speed relative to soxr
for a track at 44.1 kHz.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np
import resampy
import scipy.signal

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from data_prep import synthetic_corpus
from data_prep.audio import SAMPLE_RATE
from data_prep.mel import log_mel
from data_prep.resampling import resample

ROUNDS = 15
TRACK = synthetic_corpus.corpus_table(source_artists=1, source_tracks=1, target_artists=0)


def main() -> None:
    """Print `name value` lines."""
    music = synthetic_corpus.render_track(TRACK["path"][0])
    noise = np.random.default_rng(0).normal(0, 0.02, len(music))
    music = resample((music + noise).astype(np.float32), SAMPLE_RATE, 44_100)
    kaiser = lambda n: scipy.signal.windows.kaiser(n, 14.769656459379492)  # noqa: E731
    for rate in (44_100, 48_000, 32_000, 16_000, 96_000):
        window = {"num_zeros": 64, "precision": 9, "rolloff": 0.9475937167399596, "window": kaiser}
        expected = log_mel(
            resampy.resample(music, rate, SAMPLE_RATE, filter="sinc_window", **window)
        )
        frames = len(expected) - 1  # librosa appended a zero to a fractional length
        difference = np.abs(
            log_mel(resample(music, rate, SAMPLE_RATE))[:frames] - expected[:frames]
        )
        print(f"log_mel_difference_{rate} {difference.max():.1e}")
    times: dict[str, list[float]] = {"kaiser_best_2017": [], "soxr_hq": []}
    for _ in range(ROUNDS):
        for name, seconds in times.items():
            start = time.perf_counter()
            resample(music, 44_100, SAMPLE_RATE, name)
            seconds.append(time.perf_counter() - start)
    own, soxr = (statistics.median(seconds) for seconds in times.values())
    print(f"ms_per_track {1000 * own:.1f}")
    print(f"vs_soxr {soxr / own:.2f}")


if __name__ == "__main__":
    main()
