"""Learn from artists' names which tracks sound alike.

Introduction
============

Genre labels are expensive, and people disagree about them. The artist's name comes free with every
track, and tracks by one artist tend to sound alike. *Representation Learning of Music Using Artist
Labels* (Park et al., ISMIR 2018) therefore trains a siamese network with nothing but artists'
names: embeddings of two tracks by the same artist should be more similar than those of tracks by
different artists. To achieve this, the network has to pay attention to instruments, rhythm and
timbre, so its embeddings also describe tracks by artists that were not in the training set.

This example trains the paper's network on synthetic music, and then retrieves tracks of the same
genre among tracks by other artists, although the network has seen no genre label.

Run `python examples/artist_embeddings.py` in the root folder of the repository. On two CPU cores,
it takes about two minutes, and the last lines are about:

    MAP trained   0.386
    MAP untrained 0.206
    MAP random    0.156
    Most similar to target/tidal_ghosts/frozen_engines/00_engines_orchard.flac (house):
      cosine genre                                              track_id
    0.971861 house   target/young_kites/kind_kites/03_towers_pilots.flac
    0.968645 house target/young_kites/kind_kites/05_windows_windows.flac
    0.962053 house  target/young_kites/kind_kites/01_canyon_harbour.flac
"""

import tempfile
from pathlib import Path

import numpy as np

from common.feature_file import Features
from common.parallel import available_cores
from data_prep.batches import Crops, SiameseBatches, TrackSampler
from data_prep.mel_cache import MelCache
from data_prep.mel_cache_writer import make_mel_cache
from data_prep.synthetic_corpus import corpus_table, write_corpus

TRAINING = {"source_artists": 64, "source_tracks": 6}  # number of artists, and of tracks by each
EVALUATION = {"target_artists": 24, "target_tracks": 6}
EPOCHS = 20
NEGATIVES = 4  # tracks by other artists per training example
MARGIN = 0.4  # of the hinge loss
SEED = 0


def main() -> None:
    """Train the network, and compare its embeddings with those of an untrained network."""
    # Data
    # ====
    # The synthetic corpus has eight genres. The artists of its source part, on which the network is
    # trained, and those of its target part are different. The tracks are rendered as audio files,
    # and their log-mel-spectrograms are stored in one file, the mel cache. For your own music, read
    # the table from a CSV file with at least the columns track_id, path, artist and subset.
    table = corpus_table(SEED, **TRAINING, **EVALUATION)
    table["subset"] = table["part"].map({"source": "train", "target": "test"})
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder), table, SEED, workers=available_cores())
        make_mel_cache(table, folder, Path(folder, "mels.h5"), workers=available_cores())
        cache = MelCache(Path(folder, "mels.h5"))  # stays readable when the folder is deleted

    # A training example consists of an anchor, a positive (another track by the same artist) and
    # several negatives (tracks by other artists). Of each track, 3 s at a random position are used.
    train = np.flatnonzero(table["subset"].eq("train"))
    sampler = TrackSampler.from_artists(table["artist"].to_numpy(object), train, NEGATIVES)
    crops = Crops(cache, table["track_id"].to_numpy(object))
    batches = SiameseBatches(
        crops, train, batch_size=8, seed=SEED, sampler=sampler, negatives=NEGATIVES
    )
    print(f"{len(train)} training tracks, batches of shape {batches[0, 0][0].shape}")

    # Model
    # =====
    # The encoder maps 3 s of log-mel-spectrogram to 256 numbers by five convolutions over time. The
    # siamese model applies it to all tracks of a training example, and returns the cosines of the
    # anchor's embedding with the others. Keras is imported only here, because the processes that
    # render the tracks import this file without using it.
    from evaluation.neighbours import similar
    from evaluation.retrieval import mean_average_precision
    from models.embeddings import extract_embeddings
    from models.encoder import build_encoder, log_mel_model
    from models.keras_backend import keras
    from models.siamese import HingeLoss, build_siamese, within_margin

    keras.utils.set_random_seed(SEED)
    encoder = build_encoder()
    model = build_siamese(encoder, NEGATIVES, mean=cache.mean, std=cache.std)

    # The embedding of a track is the mean over its 3 s segments.
    target = table[table["subset"].eq("test")]
    mels = [cache[track] for track in target["track_id"]]
    with_normalisation = log_mel_model(encoder, cache.mean, cache.std)
    untrained = extract_embeddings(with_normalisation, mels)

    # Loss
    # ====
    # The hinge loss demands that the cosine with the positive exceeds that with each negative by
    # the margin. The metric is the fraction of negatives for which it does not. The paper uses SGD
    # and batches of 15 anchors; Adam and smaller batches get further in so few epochs.
    loss, metric = HingeLoss(MARGIN), within_margin(MARGIN)
    rate = keras.optimizers.schedules.CosineDecay(0.002, EPOCHS * len(batches))
    model.compile(keras.optimizers.Adam(rate), loss, metrics=[metric])

    # Training
    # ========
    # In each epoch, every training track is an anchor once.
    stream = (batches[epoch, number] for epoch in range(EPOCHS) for number in range(len(batches)))
    model.fit(stream, steps_per_epoch=len(batches), epochs=EPOCHS, shuffle=False, verbose=2)
    trained = extract_embeddings(with_normalisation, mels)

    # Retrieval
    # =========
    # Each track of the target part is a query, and the others are ranked by their cosine with it.
    # The mean average precision (MAP) is 1 if the tracks of the query's genre always come first.
    random = np.random.default_rng(SEED).standard_normal(trained.shape)
    for name, features in (("trained", trained), ("untrained", untrained), ("random", random)):
        print(f"MAP {name:9} {mean_average_precision(features, target['genre']):.3f}")

    # Result
    # ======
    # Among the tracks most similar to a track, many are by other artists of the same genre.
    query, tracks = target.iloc[0], Features(trained, target["track_id"].to_numpy(object))
    nearest = similar(tracks, query["track_id"], k=3)
    print(f"Most similar to {query['track_id']} ({query['genre']}):")
    print(nearest.merge(target)[["cosine", "genre", "track_id"]].to_string(index=False))


if __name__ == "__main__":
    main()
