"""How training data reach the device: placement of the frames, and streams of batches for Keras."""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import InputError
from common.parallel import available_cores
from data_prep.batches import Batches, Crops
from models.keras_backend import keras
from training.blocks import BlockModel
from training.devices import Devices, device_memory

ops = keras.ops

_MEMORY_FRACTION = 0.8  # maximum fraction of device memory for the frames
_STEPS_PER_CALL = {"cpu": 16, "gpu": 64, "tpu": 64}
_BLOCK_BYTES = 1 << 30  # maximum size of the streamed crops of one block
_PREFETCH = 2  # batches that TensorFlow prepares in advance
_CHUNK = 1 << 20  # frames sent to the device at a time, to limit host memory
# Threads that copy crops for an accelerator. On a CPU, they would take time from the training.
_READERS = 8


@dataclass(frozen=True)
class Placement:
    """How training data reach the device.

    If `resident`, all frames are held on the device, and only the positions of the crops are sent
    at each step. Otherwise, the crops themselves are sent.
    """

    resident: bool
    steps: int  # training steps per call of the compiled function
    # Whether one compiled function runs these steps, and takes a block of batches. Otherwise, the
    # backend calls the function of one step several times.
    blocks: bool = False

    @classmethod
    def choose(
        cls, devices: Devices, batches: Batches, data: str = "auto", steps: int | None = None
    ) -> "Placement":
        """Choose the placement of `batches` for a set of devices.

        `data` is "stream", "resident", or "auto": resident on a GPU with enough memory. If `steps`
        is None, the device's default is used. With JAX, steps form a block on an accelerator only:
        on a CPU, XLA computes convolutions in a loop fifty times slower.
        """
        backend = keras.backend.backend()
        # Keras rejects several steps per call with torch, and its loop over steps fails in a
        # TensorFlow mirrored strategy.
        single = backend == "torch" or (backend == "tensorflow" and devices.count > 1)
        if single and (steps or 1) > 1:
            raise InputError(f"--steps-per-call: can only be 1 on {devices}; leave the option out")
        if data == "auto":
            memory = device_memory() if devices.kind == "gpu" else None
            needed = crops_bytes(batches.crops)
            resident = memory is not None and needed <= _MEMORY_FRACTION * memory
        else:
            resident = data == "resident"
        default = 1 if single else _STEPS_PER_CALL[devices.kind]
        blocks = backend == "jax" and devices.kind != "cpu"
        if blocks and not resident:
            largest = max(1, _BLOCK_BYTES // batches.step_bytes)
            default = min(largest, default)
            if steps and steps > largest:
                raise InputError(
                    f"--steps-per-call: {steps} steps need {steps * batches.step_bytes / 1e9:.1f} "
                    f"GB of crops; use at most {largest}, a lower --batch-size, or --data resident"
                )
        steps = steps or default
        return cls(resident, steps, blocks and steps > 1)

    def wrap_model(self, model: keras.Model, resident: "ResidentFrames | None") -> keras.Model:
        """Return a model of the inputs that are sent to the device, which applies `model`."""
        if not (resident or self.blocks):
            return model
        shape = model.input_shape[1:-2] if resident else model.input_shape[1:]
        inputs = keras.Input(shape, dtype="int32" if resident else "float16", name="inputs")
        outputs = model(resident.crops_layer(inputs) if resident else inputs)
        kind = BlockModel if self.blocks else keras.Model
        return kind(inputs, outputs, name=model.name)

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
        self.crops_layer = _CropsLayer(crops, self._spans)

    def places(self, places: np.ndarray) -> np.ndarray:
        """Convert the crops' first-frame indices from cache to device positions, as int32."""
        span = np.searchsorted(self._spans[:, 0], places, side="right") - 1
        return (places + self._shift[span]).astype(np.int32)


class _CropsLayer(keras.layers.Layer):
    """Map (batch, ...) int32 first frames to (batch, ..., segment, bands) float16 crops."""

    def __init__(self, crops: Crops, spans: np.ndarray):
        super().__init__(name="resident_crops", dtype="float16")
        self._segment = crops.segment
        frames = _join(_read_chunks(crops, spans), int(np.diff(spans).sum()))
        # With add_weight, JAX would compile an initializer that embeds all frames as a constant.
        self._frames = keras.Variable(frames, trainable=False, autocast=False, name="frames")

    def call(self, places):
        rows = ops.expand_dims(places, -1) + ops.arange(self._segment, dtype="int32")
        return ops.take(self._frames, rows, axis=0)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self._segment, self._frames.shape[1])


def _read_chunks(crops: Crops, spans: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the frames of the spans in chunks of equal size, except for the last one."""
    source, left = crops.cache.frames, int(np.diff(spans).sum())
    filled = 0
    for begin, end in spans:
        while begin < end:
            if not filled:
                chunk = np.empty((min(_CHUNK, left), source.shape[1]), source.dtype)
            rows = source[begin : min(end, begin + len(chunk) - filled)]
            # Check each frame as a one-frame crop, so that an error names its track.
            crops.require_finite(rows[:, None], np.arange(begin, begin + len(rows)))
            chunk[filled : filled + len(rows)] = rows
            begin, left, filled = begin + len(rows), left - len(rows), filled + len(rows)
            if filled == len(chunk):
                yield chunk
                filled = 0


def _join(chunks: Iterator[np.ndarray], rows: int) -> Any:
    """Return chunks of `rows` rows in all as one tensor on the device.

    Each chunk is written to its place. To concatenate them would need twice the memory.
    """
    first = next(chunks)
    write, place = _chunk_writer(), 0
    frames = ops.zeros((rows, first.shape[1]), "float16")
    for chunk in itertools.chain([first], chunks):
        frames = write(frames, chunk, place)
        place += len(chunk)
    return frames


def _chunk_writer() -> Callable[[Any, np.ndarray, int], Any]:
    """Return a function that overwrites rows of a tensor in place, and returns the tensor."""
    if keras.backend.backend() == "jax":
        import jax

        update = jax.jit(jax.lax.dynamic_update_slice_in_dim, static_argnums=3, donate_argnums=0)
        # Waiting limits the chunks that are in the host's memory.
        return lambda frames, chunk, place: update(frames, chunk, place, 0).block_until_ready()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Variables can also be written in place, but TensorFlow copies them when it reads them.
        return lambda frames, chunk, place: tf.raw_ops.InplaceUpdate(
            x=frames, i=tf.range(place, place + len(chunk)), v=chunk
        )

    def write(frames: Any, chunk: np.ndarray, place: int) -> Any:
        frames[place : place + len(chunk)] = ops.convert_to_tensor(chunk)
        return frames

    return write


@functools.cache
def _make_readers() -> ThreadPoolExecutor:
    """Return the threads that copy crops, which all streams share."""
    return ThreadPoolExecutor(min(_READERS, available_cores()))


class BatchStream(keras.utils.PyDataset):
    """The batches of one epoch, or blocks of them, as a Keras data set.

    The batches of a block have equal sizes and are stacked along a second axis. A callback sets
    the epoch, because Keras also calls the data set's own `on_epoch_end` once before the first
    epoch, and does not document how often.
    """

    def __init__(
        self,
        batches: Batches,
        devices: Devices,
        placement: Placement,
        resident: ResidentFrames | None = None,
    ):
        super().__init__()
        self.batches, self.epoch = batches, 0
        self.error: InputError | None = None
        self._devices, self._placement, self._resident = devices, placement, resident
        steps = placement.steps if placement.blocks else 1
        self._numbers = [
            range(first, min(first + steps, sizes.stop))
            for sizes in (range(batches.larger), range(batches.larger, len(batches)))
            for first in sizes[::steps]
        ]
        self._readers = None if devices.kind == "cpu" else _make_readers()

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one batch or block in new arrays, whose memory JAX and PyTorch may use."""
        return self._make_batch(number)

    def _make_batch(
        self, number: int, buffer: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        drawn = [self.batches.places(self.epoch, each) for each in self._numbers[number]]
        joined = (np.stack(parts, axis=1) for parts in zip(*drawn, strict=True))
        # Every process draws the whole batch, which is cheap, but gathers only its own crops.
        places, y = map(self._devices.own_part, joined if self._placement.blocks else drawn[0])
        if self._resident:
            return self._resident.places(places), y
        source = self.batches.crops
        if buffer is not None:
            shape = (*places.shape, source.segment, source.cache.frames.shape[1])
            buffer = buffer[: math.prod(shape)].reshape(shape)
        crops = source.gather(places, buffer, self._readers)
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
