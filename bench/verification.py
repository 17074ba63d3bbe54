"""Measure the time and memory of artist verification (arxiv2017).

The features are synthetic: 500 unseen artists with 20 tracks each, in 256 dimensions, which give
2,500 target trials and 1,247,500 impostor trials. Each stage runs in a separate process: enrolment,
cosine scoring and all metrics; enrolment with fewer tracks; fusion of two systems; LDA trained on
5,000 artists with 15 tracks each; PLDA trained on 2,000 such artists; and a GMM-UBM with 256
mixtures on tracks of 1,291 frames. Prints the following lines:

    verification_seconds X   all trials and all metrics with 15 enrolment tracks
    verification_gb X        peak memory of the verification process
    one_shot_seconds X       EER with each of 1, 2, 5, 10 and 15 enrolment tracks
    one_shot_gb X            peak memory of the one-shot process
    fusion_seconds X         EER of both late and early fusion of two systems
    fusion_gb X              peak memory of the fusion process
    lda_seconds X            LDA of 75,000 training tracks from 256 to 100 dimensions
    lda_gb X                 peak memory of the LDA process
    plda_seconds X           LDA, whitening and PLDA training on 30,000 tracks; EER of all trials
    plda_gb X                peak memory of the PLDA process
    llr_seconds X            MFCCs and statistics of 10,000 tracks; EER of all trials
    llr_gb X                 peak memory of the GMM-UBM process

The memory figures include the interpreter and its libraries.
"""

import subprocess
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from bench.resources import peak_memory
from data_prep.mel import FrontEnd
from data_prep.mfcc import MfccSettings, mfcc_frames
from evaluation.projection import fit_lda
from recognition import gmm_ubm, systems
from recognition import verification as v
from recognition.ivector_model import IVectorModel

ARTISTS, TRACKS, DIMENSIONS = 500, 20, 256
TRAINING_ARTISTS, TRAINING_TRACKS = 5000, 15


def make_features(artists: int, tracks: int, spread: float, seed: int = 0):
    """Return non-negative float32 features (n, d), clustered by artist, and the artist names."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((artists, 1, DIMENSIONS), np.float32)
    clusters = centres + spread * random.standard_normal((artists, tracks, DIMENSIONS), np.float32)
    names = np.repeat([f"artist {number}" for number in range(artists)], tracks)
    return np.maximum(clusters.reshape(-1, DIMENSIONS), 0), names


def verify(features: np.ndarray, enrolment: v.Enrolment) -> np.ndarray:
    """Return the cosine scores of all trials."""
    return systems.cosine_scorer(features)(enrolment)


def equal_error_rate(scores: np.ndarray, enrolment: v.Enrolment) -> float:
    return v.equal_error_rate(*v.split_trials(scores, enrolment.truth))


def verification() -> None:
    features, names = make_features(ARTISTS, TRACKS, spread=3)
    start = time.perf_counter()
    v.require_artist_disjoint(names, [f"other {number}" for number in range(TRAINING_ARTISTS)])
    enrolment = v.draw_enrolment(names, seed=0)
    scores = verify(features, enrolment)
    target, impostor = v.split_trials(scores, enrolment.truth)
    print(f"{len(target)} target and {len(impostor)} impostor trials")
    print(
        f"EER {v.equal_error_rate(target, impostor):.4f}, minDCF {v.min_dcf(target, impostor):.4f}"
    )
    print(f"DET curve of {len(v.det_curve(target, impostor)[0])} points")
    accuracy = {k: v.identification_accuracy(scores, enrolment.truth, k) for k in (1, 5)}
    print(f"identification {accuracy}")
    report("verification", start)


def one_shot() -> None:
    features, names = make_features(ARTISTS, TRACKS, spread=3)
    start = time.perf_counter()
    enrolment = v.draw_enrolment(names, seed=0)
    for tracks in v.ENROLMENT_SIZES:
        scores = verify(features, enrolment.truncate(tracks))
        print(f"EER {equal_error_rate(scores, enrolment):.4f} with {tracks} enrolment tracks")
    report("one_shot", start)


def fusion() -> None:
    (first, names), (second, _) = (
        make_features(ARTISTS, TRACKS, 3),
        make_features(ARTISTS, TRACKS, 3, seed=1),
    )
    start = time.perf_counter()
    enrolment = v.draw_enrolment(names, seed=0)
    late = systems.fuse_scores([verify(first, enrolment), 100 * verify(second, enrolment)])
    print(f"EER {equal_error_rate(late, enrolment):.4f} late fusion")
    early = verify(systems.concatenate_features([first, second]), enrolment)
    print(f"EER {equal_error_rate(early, enrolment):.4f} early fusion")
    report("fusion", start)


def lda() -> None:
    features, names = make_features(TRAINING_ARTISTS, TRAINING_TRACKS, spread=3)
    start = time.perf_counter()
    fit_lda(features, names).apply(features)
    report("lda", start)


def plda() -> None:
    train, artists = make_features(2000, TRAINING_TRACKS, spread=3, seed=1)
    features, names = make_features(ARTISTS, TRACKS, spread=3)
    start = time.perf_counter()
    enrolment = v.draw_enrolment(names, seed=0)
    scores = systems.plda_scorer(features, train, artists, 100)(enrolment)
    print(f"EER {equal_error_rate(scores, enrolment):.4f} PLDA")
    report("plda", start)


class Noise:
    """Synthetic log-mels (1291, 128): an artist's spectrum times one of 16 noise patterns."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.noise = random.random((16, 1291, 128), np.float32).astype(np.float16)
        self.spectra = 0.3 + random.random((ARTISTS, 128), np.float32).astype(np.float16)

    def __getitem__(self, track: int) -> np.ndarray:
        return self.noise[track % 16] * self.spectra[track // TRACKS]


def llr() -> None:
    mels, mfcc = Noise(), MfccSettings()
    frames = np.concatenate(
        [mfcc_frames(mels[track], settings=mfcc) for track in range(0, 10_000, 50)]
    )
    ubm, _ = gmm_ubm.fit_gmm(frames, 256, iterations=5, seed=0)
    model = IVectorModel(mfcc, FrontEnd(), ubm, None, None, None, {})
    start = time.perf_counter()
    enrolment = v.draw_enrolment(np.repeat(np.arange(ARTISTS), TRACKS), seed=0)
    scores = systems.llr_scorer(model, mels, range(ARTISTS * TRACKS), 16.0)(enrolment)
    print(f"EER {equal_error_rate(scores, enrolment):.4f} GMM-UBM")
    report("llr", start)


def report(name: str, start: float) -> None:
    print(
        f"{name}_seconds {time.perf_counter() - start:.2f}\n{name}_gb {peak_memory():.2f}",
        flush=True,
    )


if __name__ == "__main__":
    stages = {stage.__name__: stage for stage in (verification, one_shot, fusion, lda, plda, llr)}
    if len(sys.argv) == 1:
        for stage in stages:
            subprocess.run([sys.executable, __file__, stage], check=True)
    else:
        stages[sys.argv[1]]()
