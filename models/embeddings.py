"""Track embeddings: the mean of a network's outputs over the segments of a track."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from data_prep.mel import cut_segments, log_mel_of_file
from models.keras_backend import keras

# Segments per batch. A multiple of 48 fills the blocks of rows in which a CPU multiplies matrices,
# so that the rounding of an embedding does not depend on a segment's place in the batch.
_BATCH_SIZE = 240
_READ_AHEAD = 4  # batches prepared while the network computes


def extract_embeddings(
    encoder: keras.Model, tracks: Iterable[str | Path | np.ndarray]
) -> np.ndarray:
    """Return one embedding per track (ismir2018, section 5).

    Parameters
    ----------
    encoder
        Model from `models.pretrained.load_encoder`.
    tracks
        Audio files (only the first 30 s are used, as in the paper), or log-mels with shape
        (frames, 128), float16 or float32, at least one segment (129 frames) long.

    Returns
    -------
    np.ndarray
        Embeddings with shape (tracks, 256), float32, in the same order as `tracks`.

    Examples
    --------
    >>> from models.pretrained import load_encoder
    >>> encoder = load_encoder("siamese_5000")  # doctest: +SKIP
    >>> extract_embeddings(encoder, ["a.mp3", "b.wav"]).shape  # doctest: +SKIP
    (2, 256)
    """
    mels = (log_mel_of_file(t) if isinstance(t, str | Path) else t for t in tracks)
    rows = list(iter_embeddings(encoder, mels))
    return np.array(rows, np.float32).reshape(-1, encoder.output_shape[1])


def iter_embeddings(network: keras.Model, mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield one embedding of shape (d,), float32, per log-mel; see `segment_outputs`."""
    for outputs in segment_outputs(network, mels):
        yield outputs.mean(axis=0)


def segment_outputs(network: keras.Model, mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield a network's outputs (segments, d), float32, for the segments of each log-mel.

    The log-mels have shape (frames, bands), float16 or float32, and are at least one segment long.
    """
    rows: list[np.ndarray] = []
    current = 0
    for batch, numbers in _read_ahead(_pack_batches(mels, tuple(network.input_shape[1:]))):
        outputs = keras.ops.convert_to_numpy(network.predict_on_batch(batch))
        for row, number in zip(outputs, numbers, strict=False):
            if number != current:
                yield np.stack(rows)
                rows, current = [], number
            rows.append(row)
    if rows:
        yield np.stack(rows)


def _pack_batches(
    mels: Iterable[np.ndarray], shape: tuple[int, int]
) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Yield full batches of segments from consecutive tracks, with each segment's track number.

    The last batch is padded with zeros so that the network is compiled for a single shape.
    """
    batch = np.zeros((_BATCH_SIZE, *shape), np.float32)
    numbers: list[int] = []
    for number, mel in enumerate(mels):
        if len(mel) < shape[0]:
            raise ValueError(f"log-mel number {number}: {len(mel)} frames, needs {shape[0]}")
        for segment in cut_segments(mel, shape[0]):
            batch[len(numbers)] = segment
            numbers.append(number)
            if len(numbers) == _BATCH_SIZE:
                yield batch, numbers
                batch, numbers = np.zeros_like(batch), []
    if numbers:
        yield batch, numbers


def _read_ahead(items: Iterator) -> Iterator:
    """Yield `items` while a background thread reads ahead of the caller."""
    end = object()
    pool = ThreadPoolExecutor(1)
    ahead = deque(pool.submit(next, items, end) for _ in range(_READ_AHEAD))
    try:
        while (item := ahead.popleft().result()) is not end:
            ahead.append(pool.submit(next, items, end))
            yield item
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
