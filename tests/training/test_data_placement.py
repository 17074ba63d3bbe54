"""Where the frames lie: which place is taken, and that crops found there are the cache's."""

import keras
import numpy as np
import pytest

from common.errors import InputError
from data_prep.batches import Crops
from tests.training import fixtures
from training import data_placement
from training.data_placement import Placement, Resident
from training.devices import Devices

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own conversions
BACKEND = keras.backend.backend()
CPU, GPU, GPUS = Devices("cpu"), Devices("gpu"), Devices("gpu", 2)
# Keras makes one step per call with torch, TensorFlow with several devices, whatever was asked.
SINGLE = {CPU: BACKEND == "torch", GPU: BACKEND == "torch", GPUS: BACKEND != "jax"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return fixtures.cache(tmp_path_factory.mktemp("cache") / "made_up.h5")


@pytest.fixture(scope="module")
def crops(cache):
    return fixtures.crops(cache)


@pytest.fixture
def gigabyte(monkeypatch):
    """A GPU with that much memory."""
    monkeypatch.setattr(data_placement, "memory", lambda: 10**9)


# ---------------------------------------------------------------- the choice


def test_a_cpu_is_sent_crops(crops, gigabyte):
    found = Placement.choose(CPU, crops)
    assert found == Placement(False, 1 if SINGLE[CPU] else 16)
    assert str(found).startswith("crops streamed")
    assert str(found).endswith(", 1 step per call" if SINGLE[CPU] else ", 16 steps per call")


@pytest.mark.parametrize("devices", [GPU, GPUS], ids=str)
def test_a_gpu_keeps_the_frames_if_it_has_room(devices, crops, gigabyte, monkeypatch):
    steps = 1 if SINGLE[devices] else 64
    assert Placement.choose(devices, crops) == Placement(True, steps)
    # What is to be left is for the network, and for the frames again while they are put together.
    needed = Resident.bytes_of(crops)
    for memory, resident in ((3 * needed, True), (2 * needed, False), (None, False)):
        monkeypatch.setattr(data_placement, "memory", lambda found=memory: found)
        assert Placement.choose(devices, crops).resident == resident


@pytest.mark.parametrize("devices", [CPU, GPU, GPUS], ids=str)
def test_what_is_asked_for_is_taken(devices, crops, monkeypatch):
    monkeypatch.setattr(data_placement, "memory", lambda: 1)
    for data, resident in (("stream", False), ("resident", True)):
        assert Placement.choose(devices, crops, data).resident == resident
        assert Placement.choose(devices, crops, data, 1) == Placement(resident, 1)
        if not SINGLE[devices]:
            assert Placement.choose(devices, crops, data, 5) == Placement(resident, 5)


@pytest.mark.parametrize("devices", [CPU, GPU, GPUS], ids=str)
def test_more_steps_than_can_be_are_refused(devices, crops):
    if not SINGLE[devices]:
        pytest.skip(f"{BACKEND} makes any number of steps per call there")
    with pytest.raises(InputError, match=r"--steps-per-call: can only be 1 on .*; leave it out"):
        Placement.choose(devices, crops, "stream", 2)


# ---------------------------------------------------------------- frames on the device


@pytest.mark.parametrize("chunk", [data_placement._CHUNK, 100])
def test_the_crops_of_all_places_are_those_of_the_cache(chunk, cache, monkeypatch):
    """Of tracks in any order, some side by side and some with others between, in many chunks."""
    monkeypatch.setattr(data_placement, "_CHUNK", chunk)
    tracks = np.array([30, 7, 8, 3, 35, 6, 0, 19])
    crops = Crops(cache, cache.track_id[tracks])
    assert len(crops.spans()) == 6  # 6, 7 and 8 are one; before 0, 30 and 35 lie other frames
    resident = Resident(crops)
    segment = keras.Input((129, 128), dtype="float16")
    found = resident.model(keras.Model(segment, keras.layers.Identity(dtype="float16")(segment)))

    first, last = cache.start[tracks], cache.start[tracks] + cache.length[tracks] - 129
    places = np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last, strict=True)])
    places = np.random.default_rng(0).permutation(places)
    there = resident.places(places)
    assert there.dtype == np.int32
    np.testing.assert_array_equal(found.predict(there, verbose=0), crops.gather(places))


def test_sets_of_crops_keep_their_shape(crops):
    resident = Resident(crops)
    songs = keras.Input((4, 129, 128), dtype="float16")
    model = resident.model(keras.Model(songs, keras.layers.Identity(dtype="float16")(songs)))
    places = crops.places(np.arange(12).reshape(3, 4), np.random.default_rng(0))
    assert model.input_shape == (None, 4)
    found = model.predict_on_batch(resident.places(places))
    np.testing.assert_array_equal(found, crops.gather(places))


def test_bytes_are_those_of_the_tracks_alone(cache):
    tracks = np.array([30, 7, 8])
    needed = cache.length[tracks].sum() * 128 * 2
    assert Resident.bytes_of(Crops(cache, cache.track_id[tracks])) == needed
    twice = Crops(cache, cache.track_id[np.array([30, 7, 8, 7])])
    assert Resident.bytes_of(twice) == needed
