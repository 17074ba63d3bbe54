"""Where frames are stored during training, and how many steps run per call."""

from dataclasses import dataclass

import numpy as np

from common.errors import InputError
from data_prep.batches import Crops
from models.keras_backend import keras
from training.devices import Devices, device_memory

ops = keras.ops

# Maximum fraction of device memory for the frames, which briefly exist twice while being joined.
_MEMORY_FRACTION = 0.35
_STEPS_PER_CALL = {"cpu": 16, "gpu": 64, "tpu": 64}
_CHUNK = 1 << 20  # frames sent to the device at a time, to limit host memory


@dataclass(frozen=True)
class Placement:
    """How training data reach the device.

    Attributes
    ----------
    resident
        Whether all frames are held on the device, so that only the positions of the crops are
        sent at each step. Otherwise, the crops themselves are sent.
    steps
        Training steps per call of the compiled function.
    """

    resident: bool
    steps: int

    @classmethod
    def choose(
        cls, devices: Devices, crops: Crops, data: str = "auto", steps: int | None = None
    ) -> "Placement":
        """Choose the placement for a set of devices.

        Parameters
        ----------
        data
            "stream", "resident", or "auto": resident on a GPU with enough memory.
        steps
            Training steps per call, or None for the device's default.

        Raises
        ------
        InputError
            If the backend cannot run several steps per call on these devices.
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
    """Frames of a set of tracks, held on the device.

    Parameters
    ----------
    crops
        Crops of all tracks used for training and validation.
    """

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
