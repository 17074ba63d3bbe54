"""Where the frames lie while a model trains on them, and how many steps a call makes."""

from dataclasses import dataclass

import numpy as np

from common.errors import InputError
from data_prep.batches import Crops
from models.keras_backend import keras
from training.devices import Devices, device_memory

layers, ops = keras.layers, keras.ops

AUTOMATIC, STREAM, RESIDENT = "auto", "stream", "resident"
_SHARE = 0.35  # of the device's memory for frames: while they are put together they are there twice
_STEPS = {"cpu": 16, "gpu": 64, "tpu": 64}  # a call, unless told
_CHUNK = 1 << 20  # frames that go to the device at a time, so that the host holds no more


@dataclass(frozen=True)
class Placement:
    """How a training's data come to the device.

    Attributes
    ----------
    resident
        The frames lie on the device, and a step is sent places in them;
        otherwise it is sent the crops themselves.
    steps
        In one call of the compiled function.
    """

    resident: bool
    steps: int

    @classmethod
    def choose(
        cls, devices: Devices, crops: Crops, data: str = AUTOMATIC, steps: int | None = None
    ) -> "Placement":
        """Take what is asked for; else the frames onto an accelerator that has room for them."""
        backend = keras.backend.backend()
        # Keras refuses more with torch; with a mirrored strategy TensorFlow's loop over them fails.
        single = backend == "torch" or (backend == "tensorflow" and devices.count > 1)
        if single and (steps or 1) > 1:
            raise InputError(f"--steps-per-call: can only be 1 on {devices}; leave it out")
        room = device_memory() if devices.kind == "gpu" else None
        fits = room is not None and Resident.bytes_of(crops) <= _SHARE * room
        resident = fits if data == AUTOMATIC else data == RESIDENT
        return cls(resident, 1 if single else steps or _STEPS[devices.kind])

    def __str__(self) -> str:
        data = "frames on the device" if self.resident else "crops streamed from the mapped cache"
        return f"{data}, {self.steps} step{'s' * (self.steps > 1)} per call"


class Resident:
    """The frames of some tracks on the device.

    Parameters
    ----------
    crops
        Of all tracks that will be trained and validated on.
    """

    def __init__(self, crops: Crops):
        self._spans = crops.spans()
        lengths = np.diff(self._spans, axis=1)[:, 0]
        # What is to be added to a frame's place in the cache to have its place on the device.
        self._shift = np.cumsum(lengths) - lengths - self._spans[:, 0]
        self._crops_layer = _Crops(crops, self._spans)

    @staticmethod
    def bytes_of(crops: Crops) -> int:
        """What the frames of `crops` will take."""
        return int(np.diff(crops.spans()).sum()) * crops.cache.frames.shape[1] * 2

    def places(self, places: np.ndarray) -> np.ndarray:
        """First frames of crops in the cache -> int32 first frames on the device."""
        span = np.searchsorted(self._spans[:, 0], places, side="right") - 1
        return (places + self._shift[span]).astype(np.int32)

    def model(self, model: keras.Model) -> keras.Model:
        """The model on (batch, ...) int32 places that computes what `model` does on the crops."""
        places = keras.Input(model.input_shape[1:-2], dtype="int32", name="places")
        return keras.Model(places, model(self._crops_layer(places)), name=model.name)


class _Crops(layers.Layer):
    """(batch, ...) int32 first frames -> (batch, ..., segment, bands) float16 crops."""

    def __init__(self, crops: Crops, spans: np.ndarray):
        super().__init__(name="resident_crops", dtype="float16")
        self._segment = crops.segment
        chunks = []
        for begin, after in spans:
            for first in range(begin, after, _CHUNK):
                chunk = crops.cache.frames[first : min(first + _CHUNK, after)]
                # A frame of its own is a crop of one frame here.
                crops.require_finite(chunk[:, None], np.arange(first, first + len(chunk)))
                chunks.append(ops.convert_to_tensor(chunk))
        whole = ops.concatenate(chunks) if len(chunks) > 1 else chunks[0]
        # Not add_weight, whose initializer JAX would compile with all frames as a constant in it.
        self._frames = keras.Variable(whole, trainable=False, autocast=False, name="frames")

    def call(self, places):
        rows = ops.expand_dims(places, -1) + ops.arange(self._segment, dtype="int32")
        return ops.take(self._frames, rows, axis=0)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self._segment, self._frames.shape[1])
