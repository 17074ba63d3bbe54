"""Track embeddings: the mean of a network's outputs over the segments of a track.

`embed` is for waveforms in memory, `embed_files` for audio files, and `extract_embeddings` for an
encoder that is already loaded.
"""

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from common import cli
from common.errors import InputError
from common.feature_file import Features
from common.files import file_sha256
from data_prep.audio import NORMALISATIONS, AudioError, digest_files, list_audio_files
from data_prep.failures import failure_reason
from data_prep.mel import FrontEnd, cut_segments, log_mel_of_array, log_mel_of_file
from data_prep.resampling import RESAMPLERS
from models.architecture import EMBEDDING

if TYPE_CHECKING:
    from models.keras_backend import keras

WEIGHTS = "siamese_10000_final"  # the released model with the best embeddings
# Segments per batch, and in a last batch of a few; a 30 s track has 10. Multiples of 48 fill the
# blocks of rows in which a CPU multiplies matrices, so that the rounding of an embedding does not
# depend on a segment's place in the batch.
_BATCH_SIZE, _SMALL_BATCH = 240, 48
_READ_AHEAD = 4  # batches prepared while the network computes


def embed(
    audio: np.ndarray,
    sample_rate: float,
    weights: str | Path = WEIGHTS,
    *,
    whole_tracks: bool = False,
    resampler: str = RESAMPLERS[0],
    normalise: str = NORMALISATIONS[0],
) -> np.ndarray:
    """Return the embedding of a waveform, which is that of a file with the same samples.

    Parameters
    ----------
    audio
        (n,), (n, channels) as soundfile returns it, or (channels, n) as librosa and torchaudio do;
        the axis with at most 64 values is that of the channels, which are averaged. At least 3 s
        long. Floats have a full scale of 1; int16, int32 and 8-bit integers use their full range.
    sample_rate
        Samples per second, from 4,000 to 400,000.
    weights
        Name of a released model, or an .h5, .keras or .onnx file. It is loaded once and kept in
        memory. Unless the environment variable MUSIC_MIRROR is set, a released model is downloaded
        once. An .onnx file needs no Keras.
    whole_tracks
        Whether to use all of the waveform, up to two hours, instead of its first 30 s as the paper.
    resampler
        "kaiser_best_2017", the authors' filter, or "soxr_hq".
    normalise
        "peak" scales the waveform to a peak of 1; "none" keeps its level, as the authors did.

    Returns
    -------
    np.ndarray
        (256,) float32. The cosine of two embeddings is the similarity of their tracks.

    Raises
    ------
    InputError
        If the waveform is too short, silent, not finite or of another scale, shape or type, or if
        another argument is invalid.

    Examples
    --------
    >>> waveform, rate = soundfile.read("song.wav")  # doctest: +SKIP
    >>> embed(waveform, rate).shape  # doctest: +SKIP
    (256,)
    """
    if isinstance(audio, str | Path):
        raise InputError(f"audio: {audio} is a path; call embed_files, or give the samples")
    front_end = FrontEnd.of(whole_tracks, resampler, normalise)
    mel = log_mel_of_array(audio, sample_rate, front_end)
    (embedding,) = _load_cached(weights).function([mel])
    return embedding


def embed_files(
    paths: str | Path | Iterable[str | Path],
    weights: str | Path = WEIGHTS,
    *,
    on_error: str = "raise",
    whole_tracks: bool = False,
    resampler: str = RESAMPLERS[0],
    normalise: str = NORMALISATIONS[0],
) -> Features:
    """Return the embeddings of audio files, and the reasons why others have none.

    Parameters
    ----------
    paths
        Audio files, one audio file, or a folder, which stands for all audio files below it.
    weights
        See `embed`.
    on_error
        What to do with a file that cannot be used: "raise" an `InputError`, which is best for a few
        files, or "skip" it and keep the results of the others.
    whole_tracks, resampler, normalise
        See `embed`.

    Returns
    -------
    Features
        `features` (n, 256) float32; `track_id` (n,), the path of each row as given, or relative to
        the folder; and `failed`, {path: reason} of the skipped files.
        `common.feature_file.write_features` saves them for evaluate.py.

    Raises
    ------
    InputError
        If a file cannot be used, unless `on_error` is "skip", or if an argument is invalid.

    Notes
    -----
    Files are decoded one after another. For thousands of them, extract_features.py is faster.

    Examples
    --------
    >>> music = embed_files("my_music", on_error="skip")  # doctest: +SKIP
    >>> music.features.shape, music.failed  # doctest: +SKIP
    ((2, 256), {'c.mp3': 'is empty (0 bytes); download or copy it again'})
    """
    if on_error not in ("raise", "skip"):
        raise InputError(f"on_error: {on_error!r} is unknown; use raise or skip")
    front_end = FrontEnd.of(whole_tracks, resampler, normalise)
    folder, names = _list_paths(paths)
    extractor = _load_cached(weights)
    files = {"files": digest_files(folder, names), "front_end": front_end.to_dict()}
    inputs = {"weights": extractor.origin, "input": files}
    track_id: list[str] = []
    failed: dict[str, str] = {}

    def usable_mels() -> Iterator[np.ndarray]:
        for name in names:
            try:
                mel = log_mel_of_file(folder / name, front_end)
            except Exception as error:
                if on_error == "raise" and isinstance(error, AudioError):
                    hint = 'on_error="skip" leaves such files out'
                    raise AudioError(error.path, f"{error.reason}; {hint}") from error
                if on_error == "raise":
                    raise
                failed[name] = failure_reason(error)
            else:
                track_id.append(name)
                yield mel

    with cli.progress_bar(usable_mels(), total=len(names), unit="track") as mels:
        rows = list(extractor.function(mels))
    features = np.array(rows, np.float32).reshape(-1, EMBEDDING)
    return Features(features, np.array(track_id, object), failed, inputs, extractor.trained_on)


def _list_paths(paths: str | Path | Iterable[str | Path]) -> tuple[Path, list[str]]:
    """Return the folder to which the paths are relative, and the paths."""
    if isinstance(paths, str | Path):
        folder = Path(paths)
        if not folder.exists():
            raise InputError(f"{folder}: no such file or folder; check the path")
        return (folder, list_audio_files(folder)) if folder.is_dir() else (Path(), [str(paths)])
    names = []
    if isinstance(paths, bytes):  # an iterable of numbers
        paths = [paths]
    for path in paths if isinstance(paths, Iterable) else [paths]:
        if not isinstance(path, str | Path):
            raise InputError(
                f"paths: contains the type {type(path).__name__}, which is no path; for a "
                "waveform, call embed"
            )
        names.append(str(path))
    return Path(), names


class Extractor(NamedTuple):
    """A loaded encoder, and what feature files record about it."""

    function: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]  # log-mels to embeddings
    origin: dict
    trained_on: Sequence[str]


def _load_cached(weights: str | Path) -> Extractor:
    if not isinstance(weights, str | Path):
        raise InputError(
            f"weights: has the type {type(weights).__name__}; give a released model or a file"
        )
    path = Path(weights)
    # With the digest in the key, a file is loaded again if its content has changed.
    return _load_by_digest(str(weights), file_sha256(path) if path.is_file() else None)


@functools.lru_cache(maxsize=4)
def _load_by_digest(weights: str, _sha256: str | None) -> Extractor:
    return load_extractor(weights)


def load_extractor(weights: str, mirror: str | Path | None = None) -> Extractor:
    """Load an .onnx file, or what `models.pretrained.load_weights` reads."""
    if Path(weights).suffix == ".onnx":
        from models.onnx_encoder import load_onnx_encoder

        encoder = load_onnx_encoder(weights)
        return Extractor(encoder.iter_embeddings, encoder.provenance, encoder.trained_on)
    # Imported only now, so that .onnx files are read without delay.
    from models.pretrained import load_weights, with_normalisation

    loaded = load_weights(weights, mirror)
    network = with_normalisation(loaded)
    function = functools.partial(iter_embeddings, network)
    return Extractor(function, loaded.provenance, loaded.trained_on)


def extract_embeddings(
    encoder: "keras.Model", tracks: Iterable[str | Path | np.ndarray]
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


def iter_embeddings(network: "keras.Model", mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield one embedding of shape (d,), float32, per log-mel; see `segment_outputs`."""
    for outputs in segment_outputs(network, mels):
        yield outputs.mean(axis=0)


def segment_outputs(network: "keras.Model", mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield a network's outputs (segments, d), float32, for the segments of each log-mel.

    The log-mels have shape (frames, bands), float16 or float32, and are at least one segment long.
    """
    from models.keras_backend import keras

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

    The last batch is padded with zeros so that the network is compiled for two shapes only.
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
        yield batch[:_SMALL_BATCH] if len(numbers) <= _SMALL_BATCH else batch, numbers


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
