"""How near does extraction from a mel cache come to the encoder's bare predict?

Both sides put the same segments through the same encoder, in turn, five times
each: the bare side from an array in memory that is normalised already, ours
from the float16 cache on disk to the songs' features. The last line is the
ratio of the median speeds: `of_bare_predict X`.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from bench.mel_cache import tracks
from data_prep import mel_cache
from data_prep.mel import cut_segments
from models.embeddings import iter_embeddings
from models.encoder import build_encoder, log_mel_model

SONGS, ROUNDS = 400, 5


def main() -> None:
    encoder = build_encoder()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cache.h5"
        mel_cache.make_mel_cache(tracks(Path(folder))[:SONGS], folder, path, workers=2)
        cache = mel_cache.MelCache(path)
        network = log_mel_model(encoder, cache.mean, cache.std)
        resident = np.concatenate([cut_segments(cache[track]) for track in cache.track_id])
        resident = (resident.astype(np.float32) - cache.mean) / cache.std

        def ours() -> None:
            mels = (cache[track] for track in cache.track_id)
            assert len(list(iter_embeddings(network, mels))) == SONGS

        def bare() -> None:
            encoder.predict(resident, batch_size=256, verbose=0)

        sides = {"bare predict": bare, "extraction": ours}
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for once in (bare, ours):
            once()  # compile
        for _ in range(ROUNDS):
            for name, side in sides.items():
                began = time.perf_counter()
                side()
                seconds[name].append(time.perf_counter() - began)
                print(f"{name}: {len(resident) / seconds[name][-1]:.0f} segments/s", flush=True)
    medians = {name: statistics.median(measured) for name, measured in seconds.items()}
    print(f"of_bare_predict {medians['bare predict'] / medians['extraction']:.2f}")


if __name__ == "__main__":
    main()
