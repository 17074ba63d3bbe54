"""Training of agf2018's genre classifier, an MLP on the features of several networks."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from artist_groups.group_networks import FEATURE, LOSS, build_mlp
from artist_groups.task_sets import GroupTrainingConfig
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
    config: GroupTrainingConfig,
    name: str,
) -> tuple[keras.Model, float]:
    """Train the classifier with Adam; return it with its mean loss in the last epoch.

    `tracks` are the numbers of the training tracks, (n,), and `targets` their genres, one-hot
    (n, classes). `name` is the label of the progress bar.
    """
    keras.utils.set_random_seed(config.seed)
    mlp = build_mlp(len(parts) * FEATURE, targets.shape[1])
    mlp.compile(keras.optimizers.Adam(config.learning_rate), loss=LOSS)
    epochs, steps = config.mlp_epochs, -(-len(tracks) // config.batch_size)
    batches = draw_segments(parts, tracks, targets, config)
    with cli.progress_bar(batches, total=epochs * steps, desc=name, unit="step") as bar:
        history = mlp.fit(iter(bar), steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0)
    return mlp, history.history["loss"][-1]


def draw_segments(
    parts: Sequence[Segments], tracks: np.ndarray, targets: np.ndarray, config: GroupTrainingConfig
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield features (batch, 256 * networks) and targets (batch, classes) for all epochs.

    The paper crops one second at an arbitrary position. Here, one of the track's consecutive
    segments is drawn instead, so that features are computed only once for all epochs and runs.
    """
    rng = np.random.default_rng([config.seed, len(parts)])
    start = parts[0].start
    for _ in range(config.mlp_epochs):
        order = rng.permutation(len(tracks))
        segments = start[tracks] + rng.integers(start[tracks + 1] - start[tracks])
        for first in range(0, len(tracks), config.batch_size):
            rows = order[first : first + config.batch_size]
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
