"""Training of agf2018's genre classifier, an MLP on the features of several networks."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from artist_groups.group_networks import FEATURE, LOSS, build_mlp
from common import cli
from models.keras_backend import keras

_TRACKS = 256  # number of tracks per prediction batch


class Segments(NamedTuple):
    """One network's features for the consecutive one-second segments of all tracks.

    rows : (segments, 256) float32
    start : (tracks + 1,) int64; the rows of track i are rows[start[i] : start[i + 1]]
    """

    rows: np.ndarray
    start: np.ndarray


def train_mlp(
    parts: Sequence[Segments],
    tracks: np.ndarray,
    targets: np.ndarray,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    name: str,
) -> tuple[keras.Model, float]:
    """Train the classifier with Adam on one random segment per track and epoch.

    Parameters
    ----------
    parts
        Features from each network, all for the same tracks.
    tracks
        (n,) int64, positions of the training tracks.
    targets
        (n, classes) float32, one-hot genres of the training tracks.
    name
        Label for the progress bar.

    Returns
    -------
    mlp
        The trained classifier.
    loss
        Mean loss in the last epoch.
    """
    keras.utils.set_random_seed(seed)
    mlp = build_mlp(len(parts) * FEATURE, targets.shape[1])
    mlp.compile(keras.optimizers.Adam(learning_rate), loss=LOSS)
    steps = -(-len(tracks) // batch_size)
    batches = draw_segments(parts, tracks, targets, epochs=epochs, batch_size=batch_size, seed=seed)
    with cli.progress_bar(batches, total=epochs * steps, desc=name, unit="step") as bar:
        history = mlp.fit(iter(bar), steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0)
    return mlp, history.history["loss"][-1]


def draw_segments(
    parts: Sequence[Segments],
    tracks: np.ndarray,
    targets: np.ndarray,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield features (batch, 256 * networks) and targets (batch, classes) for all epochs.

    The paper crops one second at an arbitrary position. Here, one of the track's consecutive
    segments is drawn instead, so that features are computed only once for all epochs and runs.
    """
    rng = np.random.default_rng([seed, len(parts)])
    start = parts[0].start
    for _ in range(epochs):
        order = rng.permutation(len(tracks))
        segments = start[tracks] + rng.integers(start[tracks + 1] - start[tracks])
        for first in range(0, len(tracks), batch_size):
            rows = order[first : first + batch_size]
            features = np.concatenate([part.rows[segments[rows]] for part in parts], axis=1)
            yield features, targets[rows]


def predict_tracks(parts: Sequence[Segments], mlp: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Average features (tracks, 256 * networks) and probabilities (tracks, classes) per track."""
    start = parts[0].start
    features: list[np.ndarray] = []
    probabilities: list[np.ndarray] = []
    for first in range(0, len(start) - 1, _TRACKS):
        bounds = start[first : first + _TRACKS + 1]
        rows = np.concatenate([part.rows[bounds[0] : bounds[-1]] for part in parts], axis=1)
        predicted = keras.ops.convert_to_numpy(mlp.predict_on_batch(rows))
        counts = np.diff(bounds)[:, None].astype(np.float32)
        for segments, means in ((rows, features), (predicted, probabilities)):
            means.append(np.add.reduceat(segments, bounds[:-1] - bounds[0], axis=0) / counts)
    return np.concatenate(features), np.concatenate(probabilities)
