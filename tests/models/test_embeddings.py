"""Song features: whatever the packing and the neighbours, and from real audio."""

import functools
import threading

import numpy as np
import pytest

from common.errors import InputError
from data_prep.mel import log_mel, log_mel_of_file
from data_prep.mfcc import mfcc_frames
from extract_features import feature_extractor, mfcc_features
from models import embeddings, pretrained
from models.embeddings import iter_embeddings
from models.encoder import log_mel_model
from models.siamese import build_siamese

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own get_weights
MEAN, STD = 0.2, 0.25
CHECKPOINTS = (
    "siamese_1000_59",
    "siamese_5000",
    "siamese_10000_149",
    "siamese_10000_399",
    "siamese_10000_final",
    "basic_500_random",
)


@pytest.fixture(scope="module")
def extract(encoder):
    return functools.partial(iter_embeddings, log_mel_model(encoder, MEAN, STD))


def songs(*segments: int, dtype=np.float16):
    """Log-mels of so many segments each and some frames more, every one different."""
    rng = np.random.default_rng(0)
    for number, count in enumerate(segments):
        frames = count * 129 + (17 * number) % 129
        yield (rng.random((frames, 128), np.float32) * (0.5 + 0.1 * number)).astype(dtype)


def alone(encoder, mel) -> np.ndarray:
    """A song's feature by the definition: the mean over its segments, and nothing else near."""
    count = len(mel) // 129
    cut = mel[: count * 129].reshape(count, 129, 128).astype(np.float32)
    return encoder.predict_on_batch((cut - MEAN) / STD).mean(axis=0)


@pytest.mark.parametrize("batch", [1, 7, 10, 256])
def test_mean_over_segments_whatever_the_packing(batch, encoder, extract, monkeypatch):
    monkeypatch.setattr(embeddings, "_BATCH_SIZE", batch)
    counts = (1, 9, 10, 300 if batch == 256 else 23, 1, 1, 2, 10)
    found = list(extract(songs(*counts)))
    assert all(feature.shape == (256,) and feature.dtype == np.float32 for feature in found)
    expected = np.stack([alone(encoder, mel) for mel in songs(*counts)])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.stack(found), expected, atol=1e-5 * scale)
    gaps = np.abs(expected[:, None] - expected).max(axis=-1) + np.eye(len(counts)) * scale
    assert gaps.min() > 1e-2 * scale, "songs too alike to tell their order"


def test_remaining_frames_do_not_count(extract):
    (mel,) = songs(3)
    longer = np.concatenate([mel, np.full((128, 128), 9, mel.dtype)])
    np.testing.assert_array_equal(*[next(extract([given])) for given in (mel, longer)])


def test_no_songs(extract):
    assert list(extract([])) == []


@pytest.mark.parametrize("exactly", [4, 8])
def test_last_batch_exactly_full(exactly, encoder, extract, monkeypatch):
    monkeypatch.setattr(embeddings, "_BATCH_SIZE", 4)
    found = list(extract(songs(exactly)))
    assert len(found) == 1
    np.testing.assert_allclose(found[0], alone(encoder, next(songs(exactly))), atol=1e-4)


def test_a_function_serves_more_than_once(extract):
    first, second = (np.stack(list(extract(songs(1, 2)))) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_error_while_reading_reaches_the_caller(extract):
    def reading():
        yield from songs(300)
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="the disk went away"):
        list(extract(reading()))


def test_song_without_a_segment_is_refused(extract):
    with pytest.raises(ValueError, match="number 1: 128 frames"):
        list(extract([np.zeros((129, 128), np.float16), np.zeros((128, 128), np.float16)]))


def test_reads_a_few_batches_ahead_and_stops_with_the_reader(extract):
    """A caller that leaves early leaves no thread behind, nor has all been read for it."""
    drawn = []

    def endless():
        while True:
            drawn.append(None)
            yield np.zeros((256 * 129, 128), np.float16)

    before = set(threading.enumerate())
    reading = extract(endless())
    next(reading)
    (reader,) = set(threading.enumerate()) - before
    reading.close()
    reader.join(timeout=60)
    assert not reader.is_alive()
    assert 2 <= len(drawn) <= embeddings._READ_AHEAD + 4


# ---------------------------------------------------------------- as a library


def test_tracks_are_extracted_from_log_mels_and_audio_files_alike(encoder, small_corpus):
    network = log_mel_model(encoder, MEAN, STD)
    audio = sorted(path for path in small_corpus[1].rglob("*") if path.is_file())[:2]
    mels = [log_mel_of_file(path) for path in audio]
    found = embeddings.extract_embeddings(network, [audio[0], mels[1], str(audio[1])])
    assert found.shape == (3, 256) and found.dtype == np.float32
    expected = np.stack([alone(encoder, mel) for mel in mels])[[0, 1, 1]]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert embeddings.extract_embeddings(network, []).shape == (0, 256)


def test_a_file_that_is_no_audio_is_named(encoder, tmp_path):
    with pytest.raises(InputError, match=r"absent\.wav"):
        embeddings.extract_embeddings(log_mel_model(encoder, MEAN, STD), [tmp_path / "absent.wav"])


# ---------------------------------------------------------------- baselines


def test_mfcc_is_mean_and_deviation_of_20_coefficients():
    mels = list(songs(1, 3))
    found = list(mfcc_features(mels))
    assert [feature.shape for feature in found] == [(40,), (40,)]
    for mel, feature in zip(mels, found, strict=True):
        direct = mfcc_frames(mel)
        assert feature.dtype == np.float32 and direct.shape == (len(mel), 20)
        np.testing.assert_allclose(feature[:20], direct.mean(axis=0), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(feature[20:], direct.std(axis=0), rtol=1e-5, atol=1e-4)


def test_mfcc_hears_pitch_and_not_loudness_alone():
    """Against real sound: twice as loud moves the first coefficient only; another pitch all."""
    time = np.arange(22_050 * 2) / 22_050
    tone, louder, higher = (
        next(mfcc_features([log_mel(waveform.astype(np.float32))]))
        for waveform in (
            0.2 * np.sin(2 * np.pi * 440 * time),
            0.4 * np.sin(2 * np.pi * 440 * time),
            0.2 * np.sin(2 * np.pi * 1760 * time),
        )
    )
    assert abs(louder[0] - tone[0]) > 10 * np.abs((louder - tone)[1:20]).max()
    assert np.abs((higher - tone)[1:20]).max() > 10


def untrained(seed: int, mean_and_std=None) -> np.ndarray:
    extract, origin, *_ = feature_extractor(
        "untrained", mirror=None, seed=seed, mean_and_std=mean_and_std
    )
    assert origin == {"name": "untrained", "model": "untrained", "artists": None, "seed": seed}
    return np.stack(list(extract(songs(1, 2))))


def test_untrained_is_the_same_for_the_same_seed():
    np.testing.assert_array_equal(untrained(3), untrained(3))
    assert np.abs(untrained(3) - untrained(4)).max() > 1e-2
    assert np.abs(untrained(3) - untrained(3, (0.0, 1.0))).max() > 1e-2


def test_named_mfcc_and_named_file(encoder, extract, tmp_path):
    function, origin, *_ = feature_extractor("mfcc", mirror=None, seed=0, mean_and_std=None)
    assert (function, origin["model"], origin["artists"]) == (mfcc_features, "mfcc", None)
    path = tmp_path / "best.h5"
    inputs = {"name": "run", "model": "siamese", "artists": 4}
    model = build_siamese(encoder, 4, mean=MEAN, std=STD)
    pretrained.save_weights(path, model, mean=MEAN, std=STD, made_from={"inputs": inputs})
    function, origin, *_ = feature_extractor(
        str(path), mirror=None, seed=0, mean_and_std=(9.0, 9.0)
    )
    assert origin["name"] == "run" and (origin["mean"], origin["std"]) == (MEAN, STD)
    np.testing.assert_allclose(
        np.stack(list(function(songs(1, 2)))), np.stack(list(extract(songs(1, 2)))), rtol=1e-5
    )


# ---------------------------------------------------------------- real audio


@pytest.fixture(scope="module")
def clips(music_data, golden) -> list[np.ndarray]:
    """Log-mels of the ten clips, in the order of the golden features."""
    return [log_mel_of_file(music_data / "data/gtzan_clips" / t) for t in golden["track_id"]]


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_features_of_real_clips(name, clips, golden, music_data):
    folder = "golden" if name.startswith("basic") else "data/released_weights"
    path = music_data / folder / f"{name}.h5"
    extract, *_ = feature_extractor(str(path), mirror=None, seed=0, mean_and_std=None)
    expected = golden[name]
    found = np.stack(list(extract(clips)))
    assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()
    # A cache holds float16: that may turn a feature by less than one degree.
    rounded = np.stack(list(extract([mel.astype(np.float16) for mel in clips])))
    lengths = np.linalg.norm(rounded, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((rounded * expected).sum(axis=1) / lengths).min() >= 0.9999
