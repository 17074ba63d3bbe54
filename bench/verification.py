"""How long does arxiv2017's verification take, and how much memory?

Made-up features of 500 unseen artists with 20 songs each, 256 dimensions: 2,500
target trials and 1,247,500 impostor trials. Each protocol enrols, scores by
cosine, and measures EER, minimum detection cost, DET curve and identification;
then two systems are fused, LDA is fitted to 5,000 artists with 15 songs each, PLDA
learns from 2,000 of them and scores, and the GMM-UBM scores songs of 1,291 frames by
256 mixtures. Each runs in a process of its own. Prints

    verification_seconds X   enrolment by 15 songs: all trials and all measures
    verification_gb X        the largest size of that process
    one_shot_seconds X       enrolment by 1, 2, 5, 10 and 15 songs: the EER of each
    one_shot_gb X
    fusion_seconds X         late and early fusion of two systems: the EER of each
    fusion_gb X
    lda_seconds X            LDA of 75,000 training songs, 256 to 100 dimensions
    lda_gb X
    plda_seconds X           LDA, whitening and PLDA of 30,000 songs; all trials, their EER
    plda_gb X
    llr_seconds X            MFCCs and statistics of 10,000 songs; all trials, their EER
    llr_gb X

The size of a process counts the interpreter and its libraries.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from data_prep.mel import FrontEnd
from data_prep.mfcc import MfccSettings
from evaluation.projection import fit_lda
from recognition import gmm_ubm, systems
from recognition import verification as v
from recognition.ivector_model import IVectorModel

ARTISTS, SONGS, DIMENSIONS = 500, 20, 256
TRAINED_ARTISTS, TRAINING_SONGS = 5000, 15


def corpus(artists: int, songs: int, spread: float, seed: int = 0):
    """Features (n, d) float32 of ReLUs, a cloud an artist, and the artists' names."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((artists, 1, DIMENSIONS), np.float32)
    clouds = centres + spread * random.standard_normal((artists, songs, DIMENSIONS), np.float32)
    names = np.repeat([f"artist {number}" for number in range(artists)], songs)
    return np.maximum(clouds.reshape(-1, DIMENSIONS), 0), names


def verify(features: np.ndarray, who: v.Enrolment) -> np.ndarray:
    """Scores of all trials."""
    return systems.cosine_scores(systems.enrol_artists(features, who), features[who.test])


def verification() -> None:
    features, names = corpus(ARTISTS, SONGS, spread=3)
    began = time.perf_counter()
    v.require_artist_disjoint(names, [f"other {number}" for number in range(TRAINED_ARTISTS)])
    who = v.draw_enrolment(names, seed=0)
    scores = verify(features, who)
    target, impostor = v.split_trials(scores, who.truth)
    print(f"{len(target)} target and {len(impostor)} impostor trials")
    print(
        f"EER {v.equal_error_rate(target, impostor):.4f}, minDCF {v.min_dcf(target, impostor):.4f}"
    )
    print(f"DET curve of {len(v.det_curve(target, impostor)[0])} points")
    print(f"identification {v.identification_accuracy(scores, who.truth)}")
    report("verification", began)


def one_shot() -> None:
    features, names = corpus(ARTISTS, SONGS, spread=3)
    began = time.perf_counter()
    who = v.draw_enrolment(names, seed=0)
    for songs in v.ENROLMENT_SIZES:
        scores = verify(features, who.truncate(songs))
        print(
            f"EER {v.equal_error_rate(*v.split_trials(scores, who.truth)):.4f} enrolled by {songs}"
        )
    report("one_shot", began)


def fusion() -> None:
    (one, names), (other, _) = corpus(ARTISTS, SONGS, 3), corpus(ARTISTS, SONGS, 3, seed=1)
    began = time.perf_counter()
    who = v.draw_enrolment(names, seed=0)
    late = systems.fuse_scores([verify(one, who), 100 * verify(other, who)])
    print(f"EER {v.equal_error_rate(*v.split_trials(late, who.truth)):.4f} late fusion")
    songs = np.arange(len(names))
    early = verify(systems.concatenate_features([one, other], [songs, songs]), who)
    print(f"EER {v.equal_error_rate(*v.split_trials(early, who.truth)):.4f} early fusion")
    report("fusion", began)


def lda() -> None:
    features, names = corpus(TRAINED_ARTISTS, TRAINING_SONGS, spread=3)
    began = time.perf_counter()
    fit_lda(features, names).apply(features)
    report("lda", began)


def plda() -> None:
    train, artists = corpus(2000, TRAINING_SONGS, spread=3, seed=1)
    features, names = corpus(ARTISTS, SONGS, spread=3)
    began = time.perf_counter()
    who = v.draw_enrolment(names, seed=0)
    scores = systems.plda_scorer(features, train, artists, 100)(who)
    print(f"EER {v.equal_error_rate(*v.split_trials(scores, who.truth)):.4f} PLDA")
    report("plda", began)


class Noise:
    """Log-mels (1291, 128) of made-up songs: an artist's spectrum, and noise of 16 kinds."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.noise = random.random((16, 1291, 128), np.float32).astype(np.float16)
        self.spectra = 0.3 + random.random((ARTISTS, 128), np.float32).astype(np.float16)

    def __getitem__(self, song: int) -> np.ndarray:
        return self.noise[song % 16] * self.spectra[song // SONGS]


def llr() -> None:
    mels, mfcc = Noise(), MfccSettings()
    frames = np.concatenate([mfcc.frames(mels[song], FrontEnd()) for song in range(0, 10_000, 50)])
    ubm, _ = gmm_ubm.fit_gmm(frames, 256, iterations=5, seed=0)
    made = IVectorModel(mfcc, FrontEnd(), ubm, None, None, None, {})
    began = time.perf_counter()
    who = v.draw_enrolment(np.repeat(np.arange(ARTISTS), SONGS), seed=0)
    scores = systems.llr_scorer(made, mels, range(ARTISTS * SONGS), 16.0)(who)
    print(f"EER {v.equal_error_rate(*v.split_trials(scores, who.truth)):.4f} GMM-UBM")
    report("llr", began)


def report(name: str, began: float) -> None:
    gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"{name}_seconds {time.perf_counter() - began:.2f}\n{name}_gb {gb:.2f}", flush=True)


if __name__ == "__main__":
    stages = {stage.__name__: stage for stage in (verification, one_shot, fusion, lda, plda, llr)}
    if len(sys.argv) == 1:
        for stage in stages:
            subprocess.run([sys.executable, __file__, stage], check=True)
    else:
        stages[sys.argv[1]]()
