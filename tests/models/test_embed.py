"""Test the embeddings of waveforms in memory and of lists of files."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from common.feature_file import read_features, write_features
from data_prep.mel import FrontEnd, log_mel_of_array, log_mel_of_file
from evaluation.neighbours import similar
from models import embeddings, pretrained
from models.embeddings import embed, embed_files
from models.siamese import build_siamese
from tests.data_prep.files import RATE, clip, write_bad

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # warning from Keras itself
RATES = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000)
FULL_SCALES = {"uint8": 2**7, "int16": 2**15, "int32": 2**31, "float32": 1, "float64": 1}
MUSIC = clip(8.0)
MONO = MUSIC[: 4 * RATE]


@pytest.fixture(scope="module")
def weights(encoder, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "best.h5"
    model = build_siamese(encoder, 4, mean=0.2, std=0.25)
    record = {"inputs": {"name": "run"}}
    pretrained.save_weights(path, model, mean=0.2, std=0.25, made_from=record)
    return path


def convert(audio: np.ndarray, dtype: str) -> np.ndarray:
    """Convert floats in [-1, 1] to another type, rounding integers."""
    if np.issubdtype(dtype, np.floating):
        return audio.astype(dtype)
    offset = 128 if dtype == "uint8" else 0
    return np.rint(audio.astype(np.float64) * (FULL_SCALES[dtype] - 1) + offset).astype(dtype)


def make_waveform(dtype: str, channels: int, samples: int) -> np.ndarray:
    """Return (samples, channels) music, different in each channel; (samples,) for one channel."""
    parts = [np.resize(MUSIC[1000 * c :], samples) / (1 + c) for c in range(channels)]
    return convert(np.stack(parts, axis=1) if channels > 1 else parts[0], dtype)


def assert_same(rows, expected, tolerance=1e-4):
    assert np.abs(np.subtract(rows, expected)).max() <= tolerance * np.abs(expected).max()


# ---------------------------------------------------------------- waveforms


def test_embed_equals_the_embedding_of_the_file_at_every_rate(weights, tmp_path):
    kinds = itertools.cycle(itertools.product(FULL_SCALES, range(1, 9)))
    paths, rows = [], []
    for number, (rate, (dtype, channels)) in enumerate(zip(RATES * 5, kinds, strict=False)):
        audio = make_waveform(dtype, channels, int(3.1 * rate))
        paths.append(tmp_path / f"{number}.wav")
        scipy.io.wavfile.write(paths[-1], rate, audio)
        rows.append(embed(audio, rate, weights))
        assert rows[-1].shape == (256,) and rows[-1].dtype == np.float32
    assert_same(rows, embed_files(paths, weights).features)
    gaps = np.abs(np.diff(rows, axis=0)).max(axis=1)
    assert gaps.min() > 1e-3 * np.abs(rows).max(), "tracks are too similar to tell them apart"


@settings(max_examples=25, deadline=None, database=None, derandomize=True)
@given(
    rate=st.sampled_from(RATES[:7]),
    dtype=st.sampled_from(list(FULL_SCALES)),
    channels=st.integers(1, 8),
    seconds=st.floats(3.0, 4.0),
    normalise=st.sampled_from(["none", "peak"]),
    is_transposed=st.booleans(),
)
def test_log_mel_of_array_equals_that_of_the_file(
    tmp_path_factory, rate, dtype, channels, seconds, normalise, is_transposed
):
    path = tmp_path_factory.mktemp("property") / "a.wav"
    audio = make_waveform(dtype, channels, int(seconds * rate))
    scipy.io.wavfile.write(path, rate, audio)
    front_end = FrontEnd(normalise=normalise)
    mel = log_mel_of_array(audio.T if is_transposed else audio, rate, front_end)
    assert np.array_equal(mel, log_mel_of_file(path, front_end))


def test_embed_accepts_both_orientations_and_any_memory_layout(weights):
    stereo = make_waveform("float32", 2, 4 * RATE)
    expected = embed(stereo, RATE, weights)
    views = (stereo.T, np.asfortranarray(stereo), np.repeat(stereo, 2, axis=0)[::2])
    for audio in (*views, stereo.astype(">f4"), stereo.astype(np.float64)):
        assert np.array_equal(embed(audio, RATE, weights), expected)
    mono = stereo.mean(axis=1)
    for audio in (mono, mono[:, None], mono[None]):
        assert_same(embed(audio, RATE, weights), expected)
    loud = convert(stereo, "int16")
    before = loud.copy()
    assert_same(embed(loud, RATE, weights), expected, 1e-2)
    assert np.array_equal(loud, before)


@pytest.mark.parametrize("rate", [np.int64(RATE), float(RATE), np.float32(RATE), np.int32(RATE)])
def test_embed_accepts_whole_rates_of_any_type(rate, weights):
    assert np.array_equal(embed(MONO, rate, weights), embed(MONO, RATE, weights))


def test_embed_options_are_those_of_the_front_end(weights, tmp_path):
    long = np.concatenate([MUSIC] * 5) * np.linspace(0.2, 0.6, 5 * len(MUSIC), dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", long, 2 * RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", long, RATE, subtype="FLOAT")
    plain = {path: embed(long, rate, weights) for path, rate in (("a", 2 * RATE), ("b", RATE))}
    for path, rate, options in (
        ("a", 2 * RATE, {"resampler": "soxr_hq"}),
        ("b", RATE, {"whole_tracks": True}),
        ("b", RATE, {"normalise": "peak"}),
    ):
        row = embed(long, rate, weights, **options)
        features = embed_files(tmp_path / f"{path}.wav", weights, **options).features
        assert_same(features, [row])
        assert np.abs(row - plain[path]).max() > 1e-4 * np.abs(row).max()


NAN = np.where(np.arange(len(MONO)) == 9, np.nan, MONO)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (NAN, RATE, "audio: 1 samples are not finite"),
        (np.where(np.isnan(NAN), np.inf, NAN), RATE, "audio: 1 samples are not finite"),
        (MONO.astype(np.float64) * 1e300, RATE, "samples are not finite"),
        (np.zeros(4 * RATE), RATE, "audio: is silent"),
        (np.zeros((4 * RATE, 2), np.int16), RATE, "audio: is silent"),
        (np.full(4 * RATE, 128, np.uint8), RATE, "audio: is silent"),
        (np.stack([MONO, -MONO]), RATE, "channels that cancel"),
        (MONO * 32768, RATE, "look like integers stored as floats; divide them by full scale"),
        (convert(MONO, "int16").astype(np.int32), RATE, "16-bit values as int32"),
        (convert(MONO, "int16").astype(np.int64), RATE, "the type int64"),
        (convert(MONO, "int16").astype(np.uint16), RATE, "the type uint16"),
        (MONO > 0, RATE, "the type bool"),
        (MONO.astype(complex), RATE, "the type complex128"),
        (MONO.astype(object), RATE, "the type object"),
        (MONO.astype(str), RATE, "the type <U"),
        (MONO[:RATE], RATE, "is 1.00 s long, less than one segment"),
        (MONO, 44_100, "is 2.00 s long, less than one segment"),
        (MONO[:0], RATE, "audio: contains no samples"),
        (np.zeros((2, 0)), RATE, "audio: contains no samples"),
        (MONO[:1], RATE, "less than one segment"),
        (np.array(0.5), RATE, r"the shape \(\)"),
        (np.zeros((2, RATE, 1)), RATE, r"the shape \(2, 22050, 1\)"),
        (np.zeros((300, 300)), RATE, r"the shape \(300, 300\); give .*at most 64 channels"),
        (np.zeros((2, 40)), RATE, r"the shape \(2, 40\); give .*more than 64 samples"),
        (MONO.tolist(), RATE, "has the type list; give a NumPy array"),
        ([[0.5, 0.5]] * 9, RATE, "has the type list"),
        (MONO.tobytes(), RATE, "has the type bytes"),
        (None, RATE, "has the type NoneType"),
        (RATE, MONO, "audio: has the type int; give a NumPy array"),
        (MONO, MONO, "sample_rate: has the type ndarray; give a whole number of Hz"),
        ("song.mp3", RATE, "song.mp3 is a path; call embed_files"),
        (Path("song.mp3"), RATE, "song.mp3 is a path; call embed_files"),
        *(
            (MONO, rate, f"sample_rate: {rate} is not a whole number from 4,000 to 400,000 Hz")
            for rate in (0, -RATE, np.nan, np.inf, 44_100.5, 44.1, 10**9)
        ),
        *(
            (MONO, rate, f"sample_rate: has the type {type(rate).__name__}; give a")
            for rate in (True, np.True_, "22050", None, 1j)
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else type(value).__name__,
)
def test_embed_rejects_invalid_waveforms(audio, rate, message, weights):
    with pytest.raises(InputError, match=message) as caught:
        embed(audio, rate, weights)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_embed_uses_whole_waveforms_of_up_to_two_hours(weights):
    with pytest.raises(InputError, match="audio: is longer than two hours"):
        embed(np.zeros(2 * 3600 * 4000 + 1, np.int8), 4000, weights, whole_tracks=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resampler": "linear"}, "resampler: 'linear' is unknown; use kaiser_best_2017 or soxr"),
        ({"normalise": True}, "normalise: True is unknown; use none or peak"),
        ({"weights": None}, "weights: has the type NoneType"),
        ({"weights": "siamese_1"}, "neither an .h5 or .keras file nor a released model"),
        ({"weights": "absent.h5"}, "no such weights file"),
    ],
)
def test_embed_and_embed_files_reject_invalid_options(options, message, tmp_path):
    soundfile.write(tmp_path / "a.wav", MONO, RATE)
    for call in (lambda: embed(MONO, RATE, **options), lambda: embed_files(tmp_path, **options)):
        with pytest.raises(InputError, match=message):
            call()


def test_weights_are_loaded_once_unless_the_file_changes(weights, encoder, tmp_path, monkeypatch):
    path, loaded = tmp_path / "w.h5", []
    path.write_bytes(weights.read_bytes())
    load = embeddings.load_extractor
    monkeypatch.setattr(
        embeddings, "load_extractor", lambda name: loaded.append(name) or load(name)
    )
    rows = [embed(MONO, RATE, path), embed(MONO, RATE, str(path)), embed(MONO, RATE, path)]
    assert loaded == [str(path)]
    assert np.array_equal(rows[0], rows[2])
    model = build_siamese(encoder, 4, mean=0.0, std=1.0)
    pretrained.save_weights(path, model, mean=0.0, std=1.0, made_from={"inputs": {}})
    assert np.abs(embed(MONO, RATE, path) - rows[0]).max() > 1e-3
    assert len(loaded) == 2


# ---------------------------------------------------------------- files


@pytest.fixture
def music(tmp_path) -> Path:
    """Return a folder with three usable files and two others."""
    folder = tmp_path / "music"
    (folder / "sub").mkdir(parents=True)
    for name, level in (("a.wav", 1.0), ("sub/b.flac", 0.5), ("c.wav", 0.2)):
        soundfile.write(folder / name, MONO * level, RATE)
    soundfile.write(folder / "short.wav", MONO[:RATE], RATE)
    (folder / "empty.mp3").touch()
    return folder


def test_embed_files_keeps_the_usable_files_of_a_folder(music, weights, tmp_path):
    result = embed_files(str(music), weights, on_error="skip")
    assert result.track_id.tolist() == ["a.wav", "c.wav", "sub/b.flac"]
    for name, row in zip(result.track_id, result.features, strict=True):
        assert_same(row, embed(*soundfile.read(music / name), weights))
    assert result.features.dtype == np.float32
    assert result.failed.keys() == {"empty.mp3", "short.wav"}
    assert result.failed["empty.mp3"].startswith("is empty (0 bytes)")
    assert result.failed["short.wav"].startswith("is 1.00 s long")
    assert similar(result, "a.wav")["track_id"].tolist() == [
        "sub/b.flac",
        "c.wav",
    ]
    write_features(tmp_path / "f.h5", result)
    saved = read_features(tmp_path / "f.h5")
    assert np.array_equal(saved.features, result.features)
    assert saved.failed == result.failed and saved.inputs["weights"]["name"] == "run"


def test_embed_files_names_paths_as_given_and_in_order(music, weights):
    paths = [music / "c.wav", str(music / "a.wav"), music / "c.wav"]
    result = embed_files((path for path in paths), weights)
    assert result.track_id.tolist() == [str(path) for path in paths]
    assert np.array_equal(result.features[0], result.features[2])
    single = embed_files(paths[0], weights)
    assert single.track_id.tolist() == [str(paths[0])] and not single.failed
    assert_same(single.features, result.features[:1], 1e-5)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_embed_files_of_an_empty_list_has_no_rows(on_error, weights, tmp_path):
    result = embed_files([], weights, on_error=on_error)
    assert result.features.shape == (0, 256) and result.features.dtype == np.float32
    assert not len(result.track_id) and not result.failed


def test_embed_files_skips_or_raises_for_every_kind_of_bad_file(weights, music, tmp_path):
    expected = write_bad(tmp_path / "bad")
    bad = [tmp_path / "bad" / name for name in expected]
    result = embed_files([*bad[:5], music / "a.wav", *bad[5:]], weights, on_error="skip")
    assert result.track_id.tolist() == [str(music / "a.wav")]
    for path, reason in zip(bad, expected.values(), strict=True):
        assert reason in result.failed[str(path)] and "\n" not in result.failed[str(path)]
    assert embed_files(bad[:2], weights, on_error="skip").features.shape == (0, 256)
    for path in bad:
        with pytest.raises(InputError) as caught:
            embed_files([music / "a.wav", path], weights)
        assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (MONO, "paths: contains the type float32, .* call embed"),
        (MONO[None], "paths: contains the type ndarray"),
        ([MONO], "paths: contains the type ndarray"),
        (b"a.wav", "paths: contains the type bytes"),
        ([b"a.wav"], "paths: contains the type bytes"),
        ([None], "paths: contains the type NoneType"),
        (None, "paths: contains the type NoneType"),
        (7, "paths: contains the type int"),
        ("absent.wav", "absent.wav: no such file"),
        ("", "is not a file|no audio files"),
    ],
)
def test_embed_files_rejects_what_is_no_path(paths, message, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        embed_files(paths, weights)


@pytest.mark.parametrize("on_error", ["ignore", None, True])
def test_embed_files_rejects_unknown_values_of_on_error(on_error, weights):
    with pytest.raises(InputError, match=r"on_error: .* is unknown; use raise or skip"):
        embed_files([], weights, on_error=on_error)


# ---------------------------------------------------------------- real audio


def test_embeddings_of_real_clips_match_golden_values(music_data, golden):
    name = "siamese_10000_final"
    weights = music_data / "data/released_weights" / f"{name}.h5"
    paths = [music_data / "data/gtzan_clips" / track for track in golden["track_id"]]
    rows = [embed(*soundfile.read(path, dtype="int16"), weights) for path in paths]
    assert_same(rows, golden[name], 1e-3)
    assert_same(embed_files(paths, weights).features, rows, 1e-5)
