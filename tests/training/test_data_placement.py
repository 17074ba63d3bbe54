"""Test the choice of data placement, and crops of frames held on the device."""

import keras
import numpy as np
import pytest

from common.errors import InputError
from data_prep.batches import Crops
from tests.training import fixtures
from training import data_placement
from training.data_placement import Placement, ResidentFrames, crops_bytes
from training.devices import Devices

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore:__array__ impl"),  # warning from Keras itself
]
BACKEND = keras.backend.backend()
CPU, GPU, GPUS = Devices("cpu"), Devices("gpu"), Devices("gpu", 2)
# Only one step per call is possible with torch, and with TensorFlow on several devices.
SINGLE = {CPU: BACKEND == "torch", GPU: BACKEND == "torch", GPUS: BACKEND != "jax"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return fixtures.write_cache(tmp_path_factory.mktemp("cache") / "cache.h5")


@pytest.fixture(scope="module")
def crops(cache):
    return fixtures.make_crops(cache)


@pytest.fixture(scope="module")
def batches(crops):
    return fixtures.make_batches(crops, range(30), 5)


def set_memory(monkeypatch, memory: int | None) -> None:
    """Pretend that the GPU has `memory` bytes, or an unknown amount if None."""
    monkeypatch.setattr(data_placement, "device_memory", lambda: memory)


# ---------------------------------------------------------------- choice of placement


@pytest.mark.parametrize("devices", [CPU, GPU, GPUS], ids=str)
def test_default_placement_is_resident_on_a_gpu_with_enough_memory(devices, batches, monkeypatch):
    """A fifth of the memory is left to the network. Frames beyond the others are streamed."""
    steps = 1 if SINGLE[devices] else 16 if devices == CPU else 64
    blocks = BACKEND == "jax" and devices != CPU
    needed = crops_bytes(batches.crops)
    for memory, part in ((1.3 * needed, 1), (needed, 0.8), (None, 0)):
        set_memory(monkeypatch, memory)
        placement = Placement.choose(devices, batches)
        resident = 0 if devices == CPU or (devices == GPUS and part < 1) else part
        assert placement == Placement(pytest.approx(resident), steps, blocks)
        assert str(placement).startswith("80 % of the frames on the device, ") == (resident == 0.8)
    assert str(placement).startswith("crops streamed")
    assert str(placement).endswith(f", {steps} step{'s' * (steps > 1)} per call")


@pytest.mark.parametrize("devices", [CPU, GPU, GPUS], ids=str)
@pytest.mark.parametrize("data", ["stream", "resident", 0.5])
def test_requested_placement_is_used(data, devices, batches, monkeypatch):
    set_memory(monkeypatch, 1)
    if data == 0.5 and devices == GPUS:
        with pytest.raises(InputError, match=r"--data 0\.5: not possible on 2 GPUs .* or stream"):
            Placement.choose(devices, batches, data)
        return
    for steps in (1,) if SINGLE[devices] else (1, 5):
        blocks = BACKEND == "jax" and devices != CPU and steps > 1
        expected = Placement({"stream": 0, "resident": 1}.get(data, data), steps, blocks)
        assert Placement.choose(devices, batches, data, steps) == expected


@pytest.mark.parametrize("devices", [CPU, GPU, GPUS], ids=str)
def test_several_steps_per_call_are_rejected_where_unsupported(devices, batches):
    if not SINGLE[devices]:
        pytest.skip(f"{BACKEND} allows any number of steps per call")
    with pytest.raises(InputError, match=r"--steps-per-call: can only be 1 on .*; leave the"):
        Placement.choose(devices, batches, "stream", 2)


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX takes blocks")
def test_streamed_blocks_are_limited_in_size(batches, monkeypatch):
    """Three steps of 5 crops of 129 x 128 float16 fit into half a megabyte, 12 of a quarter."""
    monkeypatch.setattr(data_placement, "_BLOCK_BYTES", 500_000)
    assert Placement.choose(GPU, batches, "stream") == Placement(False, 3, True)
    assert Placement.choose(GPU, batches, "stream", 3) == Placement(False, 3, True)
    with pytest.raises(InputError, match=r"--steps-per-call: 4 steps need 0.0 GB .* at most 3"):
        Placement.choose(GPU, batches, "stream", 4)
    assert Placement.choose(GPU, batches, 0.75) == Placement(0.75, 12, True)
    assert Placement.choose(GPU, batches, "resident", 64).steps == 64


# ---------------------------------------------------------------- frames on the device


@pytest.mark.parametrize("chunk", [data_placement._CHUNK, 100])
@pytest.mark.parametrize("fraction", [0, 0.3, 0.5, 0.999, 1])
def test_resident_crops_match_the_cache(fraction, chunk, cache, monkeypatch):
    """Test every position in adjacent and separate tracks, sent in one chunk or in several."""
    monkeypatch.setattr(data_placement, "_CHUNK", chunk)
    tracks = np.array([30, 7, 8, 3, 35, 6, 0, 19])
    crops = Crops(cache, cache.track_id[tracks])
    # Tracks 6 to 8 are adjacent; NaN frames precede tracks 0, 30 and 35.
    assert len(crops.spans()) == 6
    resident = ResidentFrames(crops, fraction)
    segment = keras.Input((129, 128), dtype="float16")
    identity = keras.Model(segment, keras.layers.Identity(dtype="float16")(segment))
    model = Placement(fraction or 0.1, 1).wrap_model(identity, resident)

    first, last = cache.start[tracks], cache.start[tracks] + cache.length[tracks] - 129
    places = np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last, strict=True)])
    places = np.random.default_rng(0).permutation(places)
    inputs, streamed = resident.split(places)
    assert inputs.dtype == np.int32
    held = int(resident.crops_layer.weights[0].shape[0])
    assert held == max(129, int(fraction * crops_bytes(crops) / 256))
    assert fraction < 1 or not len(streamed)
    if fraction < 1:
        inputs = inputs, crops.gather(streamed)
    np.testing.assert_array_equal(model.predict_on_batch(inputs), crops.gather(places))


def test_grouped_resident_crops_keep_their_shape(crops):
    resident = ResidentFrames(crops)
    tracks = keras.Input((4, 129, 128), dtype="float16")
    model = keras.Model(tracks, keras.layers.Identity(dtype="float16")(tracks))
    model = Placement(1, 1).wrap_model(model, resident)
    places = crops.places(np.arange(12).reshape(3, 4), np.random.default_rng(0))
    assert model.input_shape == (None, 4)
    output = model.predict_on_batch(resident.split(places)[0])
    np.testing.assert_array_equal(output, crops.gather(places))


def test_crops_bytes_counts_each_track_once(cache):
    tracks = np.array([30, 7, 8])
    needed = cache.length[tracks].sum() * 128 * 2
    assert crops_bytes(Crops(cache, cache.track_id[tracks])) == needed
    twice = Crops(cache, cache.track_id[np.array([30, 7, 8, 7])])
    assert crops_bytes(twice) == needed
