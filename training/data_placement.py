"""How training data reach the device: placement of the frames, and streams of batches for Keras."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import InputError
from data_prep.batches import Batches, Crops
from models.keras_backend import keras
from training.devices import Devices, device_memory

ops = keras.ops

# Maximum fraction of device memory for the frames, which briefly exist twice while being joined.
_MEMORY_FRACTION = 0.35
_STEPS_PER_CALL = {"cpu": 16, "gpu": 64, "tpu": 64}
_PREFETCH = 2  # batches that TensorFlow prepares in advance
_CHUNK = 1 << 20  # frames sent to the device at a time, to limit host memory


@dataclass(frozen=True)
class Placement:
    """How training data reach the device.

    If `resident`, all frames are held on the device, and only the positions of the crops are sent
    at each step. Otherwise, the crops themselves are sent.
    """

    resident: bool
    steps: int  # training steps per call of the compiled function

    @classmethod
    def choose(
        cls, devices: Devices, crops: Crops, data: str = "auto", steps: int | None = None
    ) -> "Placement":
        """Choose the placement for a set of devices.

        `data` is "stream", "resident", or "auto": resident on a GPU with enough memory. If `steps`
        is None, the device's default is used.
        """
        backend = keras.backend.backend()
        # Keras rejects several steps per call with torch, and its loop over steps fails in a
        # TensorFlow mirrored strategy.
        single = backend == "torch" or (backend == "tensorflow" and devices.count > 1)
        if single and (steps or 1) > 1:
            raise InputError(f"--steps-per-call: can only be 1 on {devices}; leave the option out")
        if data == "auto":
            memory = device_memory() if devices.kind == "gpu" else None
            resident = memory is not None and crops_bytes(crops) <= _MEMORY_FRACTION * memory
        else:
            resident = data == "resident"
        return cls(resident, 1 if single else steps or _STEPS_PER_CALL[devices.kind])

    def __str__(self) -> str:
        data = "frames on the device" if self.resident else "crops streamed from the mapped cache"
        return f"{data}, {self.steps} step{'s' * (self.steps > 1)} per call"


def crops_bytes(crops: Crops) -> int:
    """Return the total size, in bytes, of the frames of all tracks in `crops`."""
    return int(np.diff(crops.spans()).sum()) * crops.cache.frames.shape[1] * 2


class ResidentFrames:
    """The frames of all training and validation tracks, held on the device."""

    def __init__(self, crops: Crops):
        self._spans = crops.spans()
        lengths = np.diff(self._spans, axis=1)[:, 0]
        # Offset from a frame's index in the cache to its index on the device.
        self._shift = np.cumsum(lengths) - lengths - self._spans[:, 0]
        self._crops_layer = _CropsLayer(crops, self._spans)

    def places(self, places: np.ndarray) -> np.ndarray:
        """Convert the crops' first-frame indices from cache to device positions, as int32."""
        span = np.searchsorted(self._spans[:, 0], places, side="right") - 1
        return (places + self._shift[span]).astype(np.int32)

    def wrap_model(self, model: keras.Model) -> keras.Model:
        """Return a model from (batch, ...) int32 places that applies `model` to their crops."""
        places = keras.Input(model.input_shape[1:-2], dtype="int32", name="places")
        return keras.Model(places, model(self._crops_layer(places)), name=model.name)


class _CropsLayer(keras.layers.Layer):
    """Map (batch, ...) int32 first frames to (batch, ..., segment, bands) float16 crops."""

    def __init__(self, crops: Crops, spans: np.ndarray):
        super().__init__(name="resident_crops", dtype="float16")
        self._segment = crops.segment
        chunks = []
        for begin, end in spans:
            for first in range(begin, end, _CHUNK):
                chunk = crops.cache.frames[first : min(first + _CHUNK, end)]
                # Check each frame as a one-frame crop, so that an error names its track.
                crops.require_finite(chunk[:, None], np.arange(first, first + len(chunk)))
                chunks.append(ops.convert_to_tensor(chunk))
        frames = ops.concatenate(chunks) if len(chunks) > 1 else chunks[0]
        # With add_weight, JAX would compile an initializer that embeds all frames as a constant.
        self._frames = keras.Variable(frames, trainable=False, autocast=False, name="frames")

    def call(self, places):
        rows = ops.expand_dims(places, -1) + ops.arange(self._segment, dtype="int32")
        return ops.take(self._frames, rows, axis=0)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self._segment, self._frames.shape[1])


class BatchStream(keras.utils.PyDataset):
    """The batches of one epoch, as a Keras data set.

    A callback sets the epoch, because Keras also calls the data set's own `on_epoch_end` once
    before the first epoch, and does not document how often.
    """

    def __init__(self, batches: Batches, devices: Devices, resident: ResidentFrames | None):
        super().__init__()
        self.batches, self.epoch = batches, 0
        self.error: InputError | None = None
        self._devices, self._resident = devices, resident

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one batch in new arrays, whose memory JAX and PyTorch may use without copying."""
        return self._make_batch(number)

    def _make_batch(
        self, number: int, buffer: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        # Every process draws the whole batch, which is cheap, but gathers only its own crops.
        places, y = map(self._devices.own_part, self.batches.places(self.epoch, number))
        if self._resident:
            return self._resident.places(places), y
        source = self.batches.crops
        if buffer is not None:
            shape = (*places.shape, source.segment, source.cache.frames.shape[1])
            buffer = buffer[: math.prod(shape)].reshape(shape)
        crops = source.gather(places, buffer)
        try:
            source.require_finite(crops, places)
        except InputError as error:
            self.error = error
            raise
        return crops, y

    def to_keras(self) -> Any:
        """Return the input for `keras.Model.fit`: this object, or a TensorFlow data set.

        The TensorFlow data set that Keras would build from this object tunes itself in a thread
        that sleeps for up to 5 s at a time, and each epoch would wait for that thread to end.
        """
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        x, y = self[0]
        dataset = tf.data.Dataset.from_generator(
            lambda: self._generate_batches(_unaligned_array(self.batches.batch_size * x[0].size)),
            output_signature=tuple(
                tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in (x, y)
            ),
        )
        options = tf.data.Options()
        options.autotune.enabled = False
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(self)))
        return dataset.prefetch(_PREFETCH).with_options(options)

    def _generate_batches(self, buffer: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the batches for TensorFlow, gathered into `buffer`, and stop early at an error.

        TensorFlow then raises an error because batches are missing. An error raised here would
        reach TensorFlow immediately, but one of its threads would request more batches and wait
        forever while the interpreter exits.
        """
        with contextlib.suppress(InputError):  # stored in `error`
            for number in range(len(self)):
                yield self._make_batch(number, buffer)

    def set_epoch(self, epoch: int, logs: dict | None = None) -> None:
        """Set the epoch for which batches are returned."""
        self.epoch = epoch


def _unaligned_array(size: int) -> np.ndarray:
    """Return a float16 array that TensorFlow copies, so that it can be reused for every batch.

    TensorFlow copies each array that a generator yields before it requests the next one, unless
    the array is aligned to 64 bytes, in which case the tensor uses the array's memory directly. A
    single misaligned array can therefore serve all batches. Allocating a new array per batch would
    cause page faults that take 1 ms of the 33 ms of a siamese step, because TensorFlow makes malloc
    return large arrays to the system.
    """
    return np.empty(size + 1, np.float16)[1:]
