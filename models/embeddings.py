"""From log-mels to one vector a song: the mean over its segments of what a network says."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from data_prep.mel import cut_segments, log_mel_of_file
from models.keras_backend import keras

_BATCH = 256  # segments
_AHEAD = 4  # batches made ready while the network works


def extract_embeddings(
    encoder: keras.Model, tracks: Iterable[str | Path | np.ndarray]
) -> np.ndarray:
    """The features of tracks, in their order: (tracks, d) float32.

    Parameters
    ----------
    encoder
        As from `models.pretrained.load_encoder`: segments of plain log-mel -> (batch, d).
    tracks
        Audio files, of which the first 30 s are used as in the paper; or log-mels,
        (frames, 128) float16 or float32, of a segment or more.

    Raises
    ------
    InputError
        A file is absent, no audio, or too short; it is named.
    """
    mels = (log_mel_of_file(t) if isinstance(t, str | Path) else t for t in tracks)
    return np.array(list(track_means(encoder)(mels))).reshape(-1, encoder.output_shape[1])


def track_means(network: keras.Model) -> Callable:
    """Make the function from log-mels to song features, one after another (ismir2018 section 5).

    The feature of a song is the mean over its consecutive segments of what the network
    says of them: `segment_outputs`, of which this has the parameters. (d,) float32 each.
    """
    outputs = segment_outputs(network)
    return lambda mels: (of_song.mean(axis=0) for of_song in outputs(mels))


def segment_outputs(network: keras.Model) -> Callable:
    """Make the function from log-mels to what a network says of each of their segments.

    Parameters
    ----------
    network
        (batch, segment, bands) plain log-mel -> (batch, d).

    Returns
    -------
    A function of an iterable of (frames, bands) log-mels, float16 or float32, of a
    segment or more, that yields (segments, d) float32 for each, in order.
    """
    shape = tuple(network.input_shape[1:])

    def outputs(mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        rows: list[np.ndarray] = []
        song = 0
        for batch, songs in _ahead(_batches(mels, shape)):
            output = keras.ops.convert_to_numpy(network.predict_on_batch(batch))
            for row, owner in zip(output, songs, strict=False):
                if owner != song:
                    yield np.stack(rows)
                    rows, song = [], owner
                rows.append(row)
        if rows:
            yield np.stack(rows)

    return outputs


def _batches(
    mels: Iterable[np.ndarray], shape: tuple[int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pack the segments, each of `shape`, of song after song into batches of one shape.

    Yields (batch, segment, bands) float32, the last one filled up with zeros, and
    the song number of each segment in it.
    """
    batch, owners = np.zeros((_BATCH, *shape), np.float32), []
    for song, mel in enumerate(mels):
        cut = cut_segments(mel, shape[0])
        if not len(cut):
            raise ValueError(f"log-mel number {song}: {len(mel)} frames, needs {shape[0]}")
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
