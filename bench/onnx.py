"""Compare feature extraction by an ONNX file with that by the same weights and Keras.

First, each extracts the features of one track of 30 s, in a process of its own, five times in
alternation. Then both networks are applied to the same segments in memory, also five times. The
lines `onnx_seconds` and `keras_seconds` are the median times of the process, and `first_vs_keras`
and `segments_vs_keras` the ratios of the median speeds.
"""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import numpy as np
import soundfile

from bench.resources import timed
from data_prep import synthetic_corpus
from models import pretrained
from models.encoder import build_encoder
from models.onnx_encoder import load_onnx_encoder
from models.onnx_export import build_onnx_model
from models.siamese import build_siamese

SEGMENTS, ROUNDS = 2560, 5


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keras_file, onnx_file, track = (folder / end for end in ("a.h5", "a.onnx", "track.wav"))
        path = synthetic_corpus.corpus_table(source_artists=20)["path"][0]
        soundfile.write(track, synthetic_corpus.render_track(path), synthetic_corpus.RATE)
        siamese = build_siamese(build_encoder(), 4, mean=0.2, std=0.25)
        pretrained.save_weights(keras_file, siamese, mean=0.2, std=0.25, made_from={"inputs": {}})
        weights = pretrained.load_weights(str(keras_file))
        onnx_file.write_bytes(build_onnx_model(weights).SerializeToString())

        def extract(file: Path) -> None:
            command = [
                sys.executable,
                "extract_features.py",
                file,
                track,
                "--out",
                folder / "out.h5",
            ]
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            (folder / "out.h5").unlink()

        onnx, keras = alternate(lambda: extract(onnx_file), lambda: extract(keras_file))
        print(f"onnx_seconds {onnx:.2f}\nkeras_seconds {keras:.2f}")
        print(f"first_vs_keras {keras / onnx:.1f}", flush=True)

        network = pretrained.with_normalisation(weights)
        encoder = load_onnx_encoder(onnx_file)
        segments = np.random.default_rng(0).random((SEGMENTS, 129, 128), np.float32)
        mel = segments.reshape(-1, 128)
        onnx, keras = alternate(
            lambda: next(encoder.iter_embeddings([mel])),
            lambda: network.predict(segments, batch_size=256, verbose=0),
        )
        print(f"onnx_segments_per_second {SEGMENTS / onnx:.0f}")
        print(f"keras_segments_per_second {SEGMENTS / keras:.0f}")
        print(f"segments_vs_keras {keras / onnx:.2f}")


def alternate(first: Callable, second: Callable) -> tuple[float, float]:
    """Return the median times of two functions, called in alternation after a warm-up."""
    first(), second()
    times = [(timed(first)[1], timed(second)[1]) for _ in range(ROUNDS)]
    return statistics.median(t for t, _ in times), statistics.median(t for _, t in times)


if __name__ == "__main__":
    main()
