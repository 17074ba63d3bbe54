"""Compare the speed of feature extraction from a mel cache with that of Keras `predict`.

Both apply the same encoder to the same segments, five times each, in alternation: `predict` reads
a normalised array in memory, whereas the extraction reads the float16 cache on disk and also
computes the track embeddings. The last line printed is the ratio of the median speeds:
`of_bare_predict X`.
"""

import statistics
import sys
import tempfile
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from bench.mel_cache import make_tracks
from bench.resources import timed
from data_prep import mel_cache, mel_cache_writer
from data_prep.mel import cut_segments
from models.embeddings import iter_embeddings
from models.encoder import build_encoder, log_mel_model

TRACKS, ROUNDS = 400, 5


def main() -> None:
    encoder = build_encoder()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cache.h5"
        mel_cache_writer.make_mel_cache(make_tracks(Path(folder), TRACKS), folder, path, workers=2)
        cache = mel_cache.MelCache(path)
        network = log_mel_model(encoder, cache.mean, cache.std)
        resident = np.concatenate([cut_segments(cache[track]) for track in cache.track_id])
        resident = (resident.astype(np.float32) - cache.mean) / cache.std

        def extract() -> None:
            mels = (cache[track] for track in cache.track_id)
            assert len(list(iter_embeddings(network, mels))) == TRACKS

        def predict() -> None:
            encoder.predict(resident, batch_size=256, verbose=0)

        sides = {"bare predict": predict, "extraction": extract}
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for side in sides.values():
            side()  # warm up, so that compilation is not timed
        for _ in range(ROUNDS):
            for name, side in sides.items():
                seconds[name].append(timed(side)[1])
                print(f"{name}: {len(resident) / seconds[name][-1]:.0f} segments/s", flush=True)
    medians = {name: statistics.median(measured) for name, measured in seconds.items()}
    print(f"of_bare_predict {medians['bare predict'] / medians['extraction']:.2f}")


if __name__ == "__main__":
    main()
