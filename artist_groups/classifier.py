"""The classifier of agf2018 on the features of several networks, and what it makes of tracks."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from artist_groups import group_networks
from common import cli
from models.keras_backend import keras

_TRACKS = 256  # whose segments are judged at a time


class Segments(NamedTuple):
    """What a network says of tracks, segment by segment; see `arrays.end_to_end`."""

    rows: np.ndarray
    start: np.ndarray


def train_mlp(
    parts: Sequence[Segments],
    tracks: np.ndarray,
    shares: np.ndarray,
    *,
    epochs: int,
    batch: int,
    rate: float,
    seed: int,
    name: str,
) -> tuple[keras.Model, float]:
    """The trained classifier, and its last epoch's loss.

    Parameters
    ----------
    parts
        The segments of each network, of the same tracks.
    tracks, shares
        (n,) int64, those to learn from; (n, classes) float32, their targets.
    name
        Stands before the progress bar.
    """
    keras.utils.set_random_seed(seed)
    mlp = group_networks.build_mlp(len(parts) * group_networks.FEATURE, shares.shape[1])
    mlp.compile(keras.optimizers.Adam(rate), loss=group_networks.LOSS)
    steps = -(-len(tracks) // batch)
    batches = draw_segments(parts, tracks, shares, epochs=epochs, batch=batch, seed=seed)
    with cli.progress_bar(batches, total=epochs * steps, desc=name, unit="step") as shown:
        history = mlp.fit(
            iter(shown), steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0
        )
    return mlp, history.history["loss"][-1]


def draw_segments(
    parts: Sequence[Segments],
    tracks: np.ndarray,
    shares: np.ndarray,
    *,
    epochs: int,
    batch: int,
    seed: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches for the MLP: one of its segments of each track, once an epoch.

    The paper crops a second anywhere; here it is one of the consecutive ones, whose
    features are computed once for all epochs and runs.

    Yields
    ------
    (batch, 256 networks) float32, and the rows of `shares` that belong to them.
    """
    rng = np.random.default_rng([seed, len(parts)])
    start = parts[0].start
    for _ in range(epochs):
        order = rng.permutation(len(tracks))
        picked = start[tracks] + rng.integers(start[tracks + 1] - start[tracks])
        for first in range(0, len(tracks), batch):
            some = order[first : first + batch]
            yield np.concatenate([part.rows[picked[some]] for part in parts], axis=1), shares[some]


def predict_tracks(parts: Sequence[Segments], mlp: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Means over each track's segments: features (n, 256 networks), probabilities (n, classes)."""
    start, features, probabilities = parts[0].start, [], []
    for first in range(0, len(start) - 1, _TRACKS):
        bounds = start[first : first + _TRACKS + 1]
        rows = np.concatenate([part.rows[bounds[0] : bounds[-1]] for part in parts], axis=1)
        of_segments = keras.ops.convert_to_numpy(mlp.predict_on_batch(rows))
        counts = np.diff(bounds)[:, None].astype(np.float32)
        for segments, means in ((rows, features), (of_segments, probabilities)):
            means.append(np.add.reduceat(segments, bounds[:-1] - bounds[0], axis=0) / counts)
    return np.concatenate(features), np.concatenate(probabilities)
