"""Measure how the embeddings of released weights depend on the level of the tracks.

Takes a folder of clips named GENRE.NUMBER.wav. For each of several peaks, prints the cosine to the
embedding at a peak of 0 dB, the MAP of retrieval by genre, and the accuracy of 5-NN, leave-one-out.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from data_prep.audio import load_audio
from data_prep.mel import log_mel
from evaluation.retrieval import mean_average_precision
from models.embeddings import extract_embeddings
from models.pretrained import load_encoder


def main() -> None:
    """Print `name value` lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="folder of clips")
    parser.add_argument("--weights", default="siamese_10000_final", help="released model or file")
    args = parser.parse_args()
    paths = sorted(args.clips.glob("*.wav"))
    genres = np.array([path.name.partition(".")[0] for path in paths])
    waveforms = [load_audio(path) for path in paths]
    peaks = np.array([np.abs(waveform).max() for waveform in waveforms])
    encoder = load_encoder(args.weights)

    def embed(gains: np.ndarray) -> np.ndarray:
        mels = (log_mel(w * np.float32(g)) for w, g in zip(waveforms, gains, strict=True))
        return extract_embeddings(encoder, mels)

    def print_scores(name: str, features: np.ndarray) -> None:
        neighbours = KNeighborsClassifier(5, metric="cosine")
        accuracy = cross_val_score(neighbours, features, genres, cv=LeaveOneOut()).mean()
        print(f"map_{name} {mean_average_precision(features, genres):.3f}")
        print(f"knn_{name} {accuracy:.3f}")

    print_scores("own_levels", embed(np.ones(len(paths))))
    full = embed(1 / peaks)
    unit = full / np.linalg.norm(full, axis=1, keepdims=True)
    for decibels in (0, -6, -12, -20):
        features = embed(10 ** (decibels / 20) / peaks)
        cosine = (features * unit).sum(axis=1) / np.linalg.norm(features, axis=1)
        print(f"cosine_median_{-decibels}dB {np.median(cosine):.3f}")
        print(f"cosine_least_{-decibels}dB {cosine.min():.3f}")
        print_scores(f"{-decibels}dB", features)
    levels = np.random.default_rng(0).uniform(-20, 0, len(paths))
    print_scores("random", embed(10 ** (levels / 20) / peaks))


if __name__ == "__main__":
    main()
