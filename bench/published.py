"""The published way of training the siamese model, in its essentials, to measure against.

One .npy file a song, of which all is read for each crop; a set difference, a
list and a shuffle over all songs for each example; and six towers that share
their layers, each run for itself. Written anew from the papers' description.
"""

import random
from pathlib import Path

import numpy as np

from data_prep.mel import SEGMENT
from data_prep.mel_cache import MelCache
from models.encoder import BANDS, build_encoder, normalisation
from models.keras_backend import keras
from models.siamese import HingeLoss

layers, ops = keras.layers, keras.ops


def write_songs(cache: MelCache, folder: Path) -> list[Path]:
    """Each track of the cache as a .npy file of float32."""
    paths = [folder / f"{number}.npy" for number in range(len(cache))]
    for path, track in zip(paths, cache.track_id, strict=True):
        np.save(path, cache[track].astype(np.float32))
    return paths


def build_towers(mean: float, std: float, negatives: int = 4) -> keras.Model:
    """Six inputs, each through the encoder in its own pass."""
    encoder, normalise = build_encoder(), normalisation(mean, std)
    inputs = [keras.Input((SEGMENT, BANDS)) for _ in range(2 + negatives)]
    unit = layers.UnitNormalization(axis=-1)
    anchor, *others = [unit(encoder(normalise(segment))) for segment in inputs]
    cosines = [ops.sum(anchor * other, axis=-1, keepdims=True) for other in others]
    model = keras.Model(inputs, ops.concatenate(cosines, axis=-1))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True), loss=HingeLoss())
    return model


class Songs(keras.utils.PyDataset):
    """Batches of anchor, positive and four negatives.

    Parameters
    ----------
    files
        A song of number n is read from files[n % len(files)].
    artists, songs
        How many artists, and songs of each.
    """

    def __init__(
        self, files: list[Path], artists: int, songs: int, *, batch: int, steps: int, workers: int
    ):
        super().__init__(workers=workers, use_multiprocessing=workers > 1)
        self._files, self._batch, self._steps = files, batch, steps
        self._artist_songs = [
            list(range(artist * songs, (artist + 1) * songs)) for artist in range(artists)
        ]
        self._all = list(range(artists * songs))
        self._songs = songs

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, number: int):
        rows = [self._example(random.choice(self._all)) for _ in range(self._batch)]
        x = tuple(np.stack(role) for role in zip(*rows, strict=True))
        return x, np.zeros(self._batch, np.float32)

    def _example(self, anchor: int) -> list[np.ndarray]:
        own = self._artist_songs[anchor // self._songs]
        positive = random.choice([song for song in own if song != anchor])
        others = list(set(self._all) - set(own))
        random.shuffle(others)
        return [self._crop(song) for song in (anchor, positive, *others[:4])]

    def _crop(self, song: int) -> np.ndarray:
        mel = np.load(self._files[song % len(self._files)])
        first = random.randrange(len(mel) - SEGMENT + 1)
        return mel[first : first + SEGMENT]
