"""The essential parts of the published training method for the siamese model, for comparison.

Each track is stored in its own .npy file, which is read in full for every crop. Each example
requires a set difference, a list and a shuffle over all tracks. The six towers share their layers,
but each runs in a separate pass. This code reimplements the method from the papers' description.
"""

import random
from pathlib import Path

import numpy as np

from data_prep.mel import SEGMENT
from data_prep.mel_cache import MelCache
from models.architecture import BANDS
from models.encoder import build_encoder
from models.keras_backend import keras
from models.siamese import HingeLoss
from training.config import SiameseConfig

layers, ops = keras.layers, keras.ops


def write_tracks(cache: MelCache, folder: Path) -> list[Path]:
    """Write each cached track to a float32 .npy file, and return the paths."""
    paths = [folder / f"{number}.npy" for number in range(len(cache))]
    for path, track in zip(paths, cache.track_id, strict=True):
        np.save(path, cache[track].astype(np.float32))
    return paths


def build_towers(mean: float, std: float, negatives: int = 4) -> keras.Model:
    """Return a model that applies the encoder to six inputs in separate passes."""
    encoder, normalise = build_encoder(), layers.Rescaling(1.0 / std, offset=-mean / std)
    inputs = [keras.Input((SEGMENT, BANDS)) for _ in range(2 + negatives)]
    unit = layers.UnitNormalization(axis=-1)
    anchor, *others = [unit(encoder(normalise(segment))) for segment in inputs]
    cosines = [ops.sum(anchor * other, axis=-1, keepdims=True) for other in others]
    model = keras.Model(inputs, ops.concatenate(cosines, axis=-1))
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True), loss=HingeLoss(SiameseConfig.margin)
    )
    return model


class PublishedBatches(keras.utils.PyDataset):
    """Batches of examples, each with an anchor, a positive and four negatives.

    Parameters
    ----------
    files
        Track files; track n is read from `files[n % len(files)]`.
    artists, tracks
        Number of artists, and number of tracks per artist.
    """

    def __init__(
        self, files: list[Path], artists: int, tracks: int, *, batch: int, steps: int, workers: int
    ):
        super().__init__(workers=workers, use_multiprocessing=workers > 1)
        self._files, self._batch, self._steps = files, batch, steps
        self._artist_tracks = [
            list(range(artist * tracks, (artist + 1) * tracks)) for artist in range(artists)
        ]
        self._all = list(range(artists * tracks))
        self._tracks = tracks

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, number: int):
        rows = [self._example(random.choice(self._all)) for _ in range(self._batch)]
        x = tuple(np.stack(role) for role in zip(*rows, strict=True))
        return x, np.zeros(self._batch, np.float32)

    def _example(self, anchor: int) -> list[np.ndarray]:
        own = self._artist_tracks[anchor // self._tracks]
        positive = random.choice([track for track in own if track != anchor])
        others = list(set(self._all) - set(own))
        random.shuffle(others)
        return [self._crop(track) for track in (anchor, positive, *others[:4])]

    def _crop(self, track: int) -> np.ndarray:
        mel = np.load(self._files[track % len(self._files)])
        first = random.randrange(len(mel) - SEGMENT + 1)
        return mel[first : first + SEGMENT]
