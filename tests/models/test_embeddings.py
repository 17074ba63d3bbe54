"""Test track embeddings with any batch packing, and the extractors of extract_features.py."""

import functools
import threading

import numpy as np
import pytest

from common.errors import InputError
from data_prep.mel import log_mel_of_file
from data_prep.mfcc import mfcc_frames
from extract_features import feature_extractor, mfcc_features
from models import embeddings, pretrained
from models.embeddings import iter_embeddings
from models.encoder import log_mel_model
from models.siamese import build_siamese

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # warning from Keras itself
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


def random_mels(*segments: int, dtype=np.float16):
    """Yield distinct log-mels with the given segment counts, most with surplus frames."""
    rng = np.random.default_rng(0)
    for number, count in enumerate(segments):
        frames = count * 129 + (17 * number) % 129
        yield (rng.random((frames, 128), np.float32) * (0.5 + 0.1 * number)).astype(dtype)


def mean_over_segments(encoder, mel) -> np.ndarray:
    """Compute the embedding of one track directly from its definition."""
    count = len(mel) // 129
    segments = mel[: count * 129].reshape(count, 129, 128).astype(np.float32)
    return encoder.predict_on_batch((segments - MEAN) / STD).mean(axis=0)


@pytest.mark.backend
@pytest.mark.parametrize("batch_size", [1, 7, 19, 240])
def test_embedding_is_the_segment_mean_for_any_batch_size(
    batch_size, encoder, extract, monkeypatch
):
    monkeypatch.setattr(embeddings, "_BATCH_SIZE", batch_size)
    counts = (1, 9, 10, 300 if batch_size == 240 else 23, 1, 1, 2, 10)
    rows = list(extract(random_mels(*counts)))
    assert all(row.shape == (256,) and row.dtype == np.float32 for row in rows)
    expected = np.stack([mean_over_segments(encoder, mel) for mel in random_mels(*counts)])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.stack(rows), expected, atol=1e-5 * scale)
    gaps = np.abs(expected[:, None] - expected).max(axis=-1) + np.eye(len(counts)) * scale
    assert gaps.min() > 1e-2 * scale, "tracks are too similar to check their order"


@pytest.mark.backend
def test_embedding_does_not_depend_on_other_tracks_even_in_its_last_bit(extract):
    """On GPUs, the kernels of a convolution may round differently."""
    mels = list(random_mels(3, 101, 57, 94, 8, 230, 11))
    rows = np.stack(list(extract(mels)))
    for first in (1, 2, 5):
        np.testing.assert_array_equal(np.stack(list(extract(mels[first:]))), rows[first:])


def test_reader_errors_and_short_tracks_raise(extract):
    def failing_reader():
        yield from random_mels(300)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(extract(failing_reader()))
    with pytest.raises(ValueError, match="number 1: 128 frames"):
        list(extract([np.zeros((129, 128), np.float16), np.zeros((128, 128), np.float16)]))


def test_reader_thread_reads_a_few_batches_ahead_and_stops_with_its_caller(extract):
    reads = []

    def endless_mels():
        while True:
            reads.append(None)
            yield np.zeros((256 * 129, 128), np.float16)

    before = set(threading.enumerate())
    rows = extract(endless_mels())
    next(rows)
    (reader,) = set(threading.enumerate()) - before
    rows.close()
    reader.join(timeout=60)
    assert not reader.is_alive()
    assert 2 <= len(reads) <= embeddings._READ_AHEAD + 4


def test_extract_embeddings_accepts_log_mels_and_audio_files(encoder, small_corpus):
    network = log_mel_model(encoder, MEAN, STD)
    audio = sorted(path for path in small_corpus[1].rglob("*") if path.is_file())[:2]
    mels = [log_mel_of_file(path) for path in audio]
    rows = embeddings.extract_embeddings(network, [audio[0], mels[1], str(audio[1])])
    assert rows.shape == (3, 256) and rows.dtype == np.float32
    expected = np.stack([mean_over_segments(encoder, mel) for mel in mels])[[0, 1, 1]]
    np.testing.assert_allclose(rows, expected, atol=1e-5 * np.abs(expected).max())
    assert embeddings.extract_embeddings(network, []).shape == (0, 256)
    with pytest.raises(InputError, match=r"absent\.wav"):
        embeddings.extract_embeddings(network, [audio[0].with_name("absent.wav")])


# ---------------------------------------------------------------- extractors


def test_mfcc_features_are_the_mean_and_standard_deviation_of_20_coefficients():
    mels = list(random_mels(1, 3))
    for mel, row in zip(mels, mfcc_features(mels), strict=True):
        coefficients = mfcc_frames(mel)
        assert row.dtype == np.float32 and coefficients.shape == (len(mel), 20)
        expected = [*coefficients.mean(axis=0), *coefficients.std(axis=0)]
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-4)


def make_extractor(name, seed=0, mean_and_std=None):
    return feature_extractor(str(name), mirror=None, seed=seed, mean_and_std=mean_and_std)


def untrained_rows(seed: int, mean_and_std=None) -> np.ndarray:
    extractor = make_extractor("untrained", seed, mean_and_std)
    origin = {"name": "untrained", "model": "untrained", "artists": None, "seed": seed}
    assert extractor.origin == origin
    return np.stack(list(extractor.function(random_mels(1, 2))))


@pytest.mark.backend
def test_untrained_encoder_depends_on_the_seed_and_the_normalisation():
    rows = untrained_rows(3)
    np.testing.assert_array_equal(rows, untrained_rows(3))
    for other in (untrained_rows(4), untrained_rows(3, (0.0, 1.0))):
        assert np.abs(rows - other).max() > 1e-2


def test_feature_extractor_handles_baselines_and_weights_files(encoder, extract, tmp_path):
    mfccs = make_extractor("mfcc")
    assert (mfccs.function, mfccs.origin["model"]) == (mfcc_features, "mfcc")
    path, record = tmp_path / "best.h5", {"inputs": {"name": "run"}}
    model = build_siamese(encoder, 4, mean=MEAN, std=STD)
    pretrained.save_weights(path, model, mean=MEAN, std=STD, made_from=record)
    extractor = make_extractor(path, mean_and_std=(9.0, 9.0))
    origin = extractor.origin
    assert (origin["name"], origin["mean"], origin["std"]) == ("run", MEAN, STD)
    ours, expected = (
        np.stack(list(function(random_mels(1, 2)))) for function in (extractor.function, extract)
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


# ---------------------------------------------------------------- real audio


@pytest.fixture(scope="module")
def clips(music_data, golden) -> list[np.ndarray]:
    """Return the log-mels of the ten clips, in the order of the golden features."""
    return [log_mel_of_file(music_data / "data/gtzan_clips" / t) for t in golden["track_id"]]


@pytest.mark.backend
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_features_of_real_clips_match_golden_values(name, clips, golden, music_data):
    folder = "golden" if name.startswith("basic") else "data/released_weights"
    extract = make_extractor(music_data / folder / f"{name}.h5").function
    expected = golden[name]
    rows = np.stack(list(extract(clips)))
    assert np.abs(rows - expected).max() <= 1e-3 * np.abs(expected).max()
    # Rounding the log-mels to float16, as caches do, rotates embeddings by less than one degree.
    rounded = np.stack(list(extract([mel.astype(np.float16) for mel in clips])))
    lengths = np.linalg.norm(rounded, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((rounded * expected).sum(axis=1) / lengths).min() >= 0.9999
