"""From log-mels to one vector a song: the encoder's feature."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from data_prep.mel import SEGMENT, segments
from models.encoder import BANDS, FEATURE, normalisation
from models.quiet_keras import keras

_BATCH = 256  # segments
_AHEAD = 4  # batches made ready while the encoder works


def song_features(encoder: keras.Model, mean: float, std: float) -> Callable:
    """Make the function from log-mels to song features (ismir2018 section 5).

    The feature of a song is the mean over its consecutive segments of the
    encoder's output.

    Parameters
    ----------
    encoder
        As from `models.encoder.build_encoder`.
    mean, std
        What its input is normalised with.

    Returns
    -------
    A function of an iterable of (frames, 129 or more) log-mels, float16 or
    float32, that yields a (256,) float32 feature for each, in order.
    """
    segment = keras.Input((SEGMENT, BANDS))
    network = keras.Model(segment, encoder(normalisation(mean, std)(segment)))

    def features(mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        total, song = np.zeros(FEATURE, np.float32), 0
        counts: dict[int, int] = {}
        for batch, songs in _ahead(_batches(mels, counts)):
            output = keras.ops.convert_to_numpy(network.predict_on_batch(batch))
            for row, owner in zip(output, songs, strict=False):
                if owner != song:
                    yield total / counts.pop(song)
                    total, song = np.zeros(FEATURE, np.float32), owner
                total += row
        if counts:
            yield total / counts.pop(song)

    return features


def _batches(
    mels: Iterable[np.ndarray], counts: dict[int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pack the segments of song after song into batches of one shape.

    Yields (batch, 129, bands) float32, the last one filled up with zeros, and
    the song number of each segment in it; `counts` gets each song's segments.
    """
    batch, owners = np.zeros((_BATCH, SEGMENT, BANDS), np.float32), []
    for song, mel in enumerate(mels):
        cut = segments(mel)
        if not len(cut):
            raise ValueError(f"log-mel number {song}: {len(mel)} frames, needs {SEGMENT}")
        counts[song] = len(cut)
        while len(cut):
            room = _BATCH - len(owners)
            batch[len(owners) : len(owners) + len(cut[:room])] = cut[:room]
            owners += [song] * len(cut[:room])
            cut = cut[room:]
            if len(owners) == _BATCH:
                yield batch, np.array(owners)
                batch, owners = np.zeros_like(batch), []
    if owners:
        yield batch, np.array(owners)


def _ahead(items: Iterator) -> Iterator:
    """Draw from `items` in a thread, a few ahead, so that reading and computing overlap."""
    ready: queue.Queue = queue.Queue(_AHEAD)
    end = object()
    stopped = threading.Event()

    def put(item) -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def draw() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
            put(end)
        except BaseException as error:
            put(error)

    threading.Thread(target=draw, daemon=True).start()
    try:
        while (item := ready.get()) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
