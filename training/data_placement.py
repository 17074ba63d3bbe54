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
_SPARE = 16  # one more crop is sent for so many that the batches of the first epoch need
# Threads that copy crops for an accelerator. On a CPU, they would take time from the training.
_READERS = 8


@dataclass(frozen=True)
class Placement:
    """How training data reach the device.

    Of crops whose frames are held on the device, only the positions are sent at each step.
    Otherwise, the crops themselves are sent.
    """

    resident: float  # fraction of the frames that are held on the device
    steps: int  # training steps per call of the compiled function
    # Whether one compiled function runs these steps, and takes a block of batches. Otherwise, the
    # backend calls the function of one step several times.
    blocks: bool = False

    @classmethod
    def choose(
        cls,
        devices: Devices,
        batches: Batches,
        data: str | float = "auto",
        steps: int | None = None,
    ) -> "Placement":
        """Choose the placement of `batches` for a set of devices.

        `data` is "stream", "resident", the fraction of the frames to hold on the device, or "auto":
        as many as fit on a GPU. Several devices hold all frames or none. If `steps` is None, the
        device's default is used. With JAX, steps form a block on an accelerator only: on a CPU,
        XLA computes convolutions in a loop fifty times slower.
        """
        backend = keras.backend.backend()
        # Keras rejects several steps per call with torch, and its loop over steps fails in a
        # TensorFlow mirrored strategy.
        single = backend == "torch" or (backend == "tensorflow" and devices.count > 1)
        if single and (steps or 1) > 1:
            raise InputError(f"--steps-per-call: can only be 1 on {devices}; leave the option out")
        if data == "auto":
            memory = device_memory() if devices.kind == "gpu" else None
            resident = min(1.0, _MEMORY_FRACTION * (memory or 0) / crops_bytes(batches.crops))
            if resident < 1 and devices.count > 1:
                resident = 0.0
        else:
            resident = float({"stream": 0, "resident": 1}.get(str(data), data))
            if 0 < resident < 1 and devices.count > 1:
                raise InputError(
                    f"--data {data}: not possible on {devices}; use --data resident or stream"
                )
        default = 1 if single else _STEPS_PER_CALL[devices.kind]
        blocks = backend == "jax" and devices.kind != "cpu"
        streamed = math.ceil(batches.step_bytes * (1 - resident))
        if blocks and streamed:
            largest = max(1, _BLOCK_BYTES // streamed)
            default = min(largest, default)
            if steps and steps > largest:
                raise InputError(
                    f"--steps-per-call: {steps} steps need {steps * streamed / 1e9:.1f} "
                    f"GB of crops; use at most {largest}, a lower --batch-size, or --data resident"
                )
        steps = steps or default
        return cls(resident, steps, blocks and steps > 1)

    def wrap_model(self, model: keras.Model, resident: "ResidentFrames | None") -> keras.Model:
        """Return a model of the inputs that are sent to the device, which applies `model`."""
        if not (resident or self.blocks):
            return model
        shape = model.input_shape[1:]
        if not resident:
            inputs = crops = keras.Input(shape, dtype="float16", name="inputs")
        else:
            inputs = keras.Input(shape[:-2], dtype="int32", name="inputs")
            if self.is_partial:
                inputs = inputs, keras.Input(shape[-2:], dtype="float16", name="streamed")
            crops = resident.crops_layer(*(inputs if self.is_partial else [inputs]))
        kind = BlockModel if self.blocks else keras.Model
        return kind(inputs, model(crops), name=model.name)

    @property
    def is_partial(self) -> bool:
        """Whether the device holds some of the frames, but not all of them."""
        return 0 < self.resident < 1

    def __str__(self) -> str:
        data = "frames on the device" if self.resident else "crops streamed from the mapped cache"
        part = f"{100 * self.resident:.3g} % of the " * self.is_partial
        return f"{part}{data}, {self.steps} step{'s' * (self.steps > 1)} per call"


def crops_bytes(crops: Crops) -> int:
    """Return the total size, in bytes, of the frames of all tracks in `crops`."""
    return int(np.diff(crops.spans()).sum()) * crops.cache.frames.shape[1] * 2


class ResidentFrames:
    """Frames of the training and validation tracks, held on the device.

    They are the first ones of the cache, up to the fraction `fraction` of all frames. The others
    lie together, in the last shards if there are any.
    """

    def __init__(self, crops: Crops, fraction: float = 1.0):
        self._first, stop = crops.spans().T
        lengths, self._segment = stop - self._first, crops.segment
        rows = max(crops.segment, int(fraction * lengths.sum()))
        kept = np.clip(rows - np.cumsum(lengths) + lengths, 0, lengths)
        self._stop = self._first + kept
        # Offset from a frame's index in the cache to its index on the device.
        self._shift = np.cumsum(kept) - kept - self._first
        self.crops_layer = _CropsLayer(crops, np.stack([self._first, self._stop], axis=1))

    def split(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert the crops' first-frame indices from cache to device positions, as int32.

        Crop n of those that the device does not hold gets the position -1 - n. Also return their
        first frames in the cache, (crops,) int64. Sorting them would not speed up reads from an
        SSD.
        """
        span = np.searchsorted(self._first, places, side="right") - 1
        positions = (places + self._shift[span]).astype(np.int32)
        absent = places + self._segment > self._stop[span]
        streamed = places[absent]
        positions[absent] = -1 - np.arange(len(streamed))
        return positions, streamed


class _CropsLayer(keras.layers.Layer):
    """Map (batch, ...) int32 positions to (batch, ..., segment, bands) float16 crops.

    The positions are those of `ResidentFrames.split`. `streamed` contains the crops that the device
    does not hold, (crops, segment, bands).
    """

    def __init__(self, crops: Crops, spans: np.ndarray):
        super().__init__(name="resident_crops", dtype="float16")
        self._segment = crops.segment
        frames = _join(_read_chunks(crops, spans), int(np.diff(spans).sum()))
        # With add_weight, JAX would compile an initializer that embeds all frames as a constant.
        self._frames = keras.Variable(frames, trainable=False, autocast=False, name="frames")

    def call(self, places, streamed=None):
        first = ops.expand_dims(ops.maximum(places, 0), -1)
        rows = first + ops.arange(self._segment, dtype="int32")
        crops = ops.take(self._frames, rows, axis=0)
        if streamed is None:
            return crops
        others = ops.take(streamed, ops.maximum(-1 - places, 0), axis=0)
        return ops.where(places[..., None, None] >= 0, crops, others)

    def compute_output_shape(self, places_shape, streamed_shape=None):
        return (*places_shape, self._segment, self._frames.shape[1])


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
        self._sent = self._count_sent(resident) if resident and placement.is_partial else {}

    def _count_sent(self, resident: ResidentFrames) -> dict[int, int]:
        """Return how many crops to send with a batch or block, by its total number of crops.

        A function is compiled for one number, so each batch is padded to the most that any of its
        size needs in the first epoch, and a few more. This costs small batches most: with half of
        the frames on the device, 71 crops are sent for 15 x 6, instead of 45 on average, and 828
        for 240 x 6. With blocks of 64 batches, they are 49 for 15 x 6.
        """
        sent: dict[int, int] = {}
        for number in range(len(self)):
            places, _ = self._draw(number)
            needed = len(resident.split(places)[1])
            needed += needed // _SPARE + 1
            sent[places.size] = max(sent.get(places.size, 0), needed)
        return sent

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> tuple[Any, np.ndarray]:
        """Return one batch or block in new arrays, whose memory JAX and PyTorch may use."""
        return self._make_batch(number)

    def _draw(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the crops' first frames in one batch or block, and the targets."""
        drawn = [self.batches.places(self.epoch, each) for each in self._numbers[number]]
        joined = (np.stack(parts, axis=1) for parts in zip(*drawn, strict=True))
        # Every process draws the whole batch, which is cheap, but gathers only its own crops.
        places, y = map(self._devices.own_part, joined if self._placement.blocks else drawn[0])
        return places, y

    def _make_batch(self, number: int, buffer: np.ndarray | None = None) -> tuple[Any, np.ndarray]:
        places, y = self._draw(number)
        if not self._resident:
            return self._gather(places, places.shape, buffer), y
        positions, streamed = self._resident.split(places)
        if not self._placement.is_partial:
            return positions, y
        sent = self._sent[places.size]
        # Where more are needed, a multiple of this number is sent, and compiled for.
        sent = min(places.size, sent * max(1, math.ceil(len(streamed) / sent)))
        return (positions, self._gather(streamed, (sent,), buffer)), y

    def _gather(
        self, places: np.ndarray, shape: tuple[int, ...], buffer: np.ndarray | None
    ) -> np.ndarray:
        """Copy crops to the start of an array of `shape` crops, which lies in `buffer` if given."""
        source = self.batches.crops
        shape = (*shape, source.segment, source.cache.frames.shape[1])
        if buffer is None:
            buffer = np.empty(math.prod(shape), np.float16)
        crops = buffer[: math.prod(shape)].reshape(shape)
        gathered = source.gather(places, crops[: len(places)], self._readers)
        try:
            source.require_finite(gathered, places)
        except InputError as error:
            self.error = error
            raise
        return crops

    def to_keras(self) -> Any:
        """Return the input for `keras.Model.fit`: this object, or a TensorFlow data set.

        The TensorFlow data set that Keras would build from this object tunes itself in a thread
        that sleeps for up to 5 s at a time, and each epoch would wait for that thread to end.
        """
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        dataset = tf.data.Dataset.from_generator(
            lambda: self._generate_batches(_unaligned_array(self.batches.step_bytes // 2)),
            output_signature=keras.tree.map_structure(
                lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), self[0]
            ),
        )
        options = tf.data.Options()
        options.autotune.enabled = False
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(self)))
        return dataset.prefetch(_PREFETCH).with_options(options)

    def _generate_batches(self, buffer: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
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
