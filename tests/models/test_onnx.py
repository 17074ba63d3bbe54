"""Test encoders in ONNX files: equality with Keras and the authors' network, and damaged files."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from data_prep.audio import load_audio
from data_prep.mel import FrontEnd, log_mel, log_mel_of_file
from models import pretrained
from models.embeddings import extract_embeddings
from models.encoder import log_mel_model
from models.siamese import build_siamese
from tests.conftest import start_script
from tests.models.test_pretrained import RELEASED
from tests.training.fixtures import make_encoder

onnx = pytest.importorskip("onnx", reason="needs requirements-onnx.txt")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs requirements-onnx.txt")

from models.onnx_encoder import load_onnx_encoder  # noqa: E402 (needs what is checked above)
from models.onnx_export import build_onnx_model  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # warning from Keras itself
MEAN, STD = 0.2, 0.25


@pytest.fixture(scope="module")
def weights(encoder, tmp_path_factory) -> pretrained.Weights:
    """Return the random encoder's weights, as read from a file of a training run."""
    path = tmp_path_factory.mktemp("onnx") / "best.h5"
    model = build_siamese(encoder, 4, mean=MEAN, std=STD)
    record = {"inputs": {"name": "run", "model": "siamese", "artists": 2, "settings": {"seed": 3}}}
    artists = ["Björk", "a, b"]
    pretrained.save_weights(path, model, mean=MEAN, std=STD, made_from=record, trained_on=artists)
    return pretrained.load_weights(str(path))


@pytest.fixture
def file(weights, tmp_path) -> Path:
    """Return a file with the random encoder, which the test may damage."""
    return write(tmp_path / "encoder.onnx", build_onnx_model(weights))


def write(path: Path, model) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def embed(path: Path, mels) -> np.ndarray:
    return np.stack(list(load_onnx_encoder(path).iter_embeddings(mels)))


def assert_close(rows: np.ndarray, expected: np.ndarray) -> None:
    assert rows.dtype == np.float32 and rows.shape == expected.shape
    assert np.abs(rows - expected).max() <= 1e-5 * np.abs(expected).max()


# ---------------------------------------------------------------- equal embeddings


@pytest.mark.backend
@pytest.mark.parametrize("name", [*RELEASED, "basic_500_random"])
def test_onnx_embeddings_of_real_clips_match_golden_values(
    name, music_data, golden, golden_mels, tmp_path
):
    folder = "golden" if name.startswith("basic") else "data/released_weights"
    weights = pretrained.load_weights(str(music_data / folder / f"{name}.h5"))
    file = write(tmp_path / "a.onnx", build_onnx_model(weights))
    tracks = list(golden["track_id"])
    mels = [log_mel_of_file(music_data / "data/gtzan_clips" / track) for track in tracks]
    assert_close(embed(file, mels), golden[name])
    rows = [tracks.index(track) for track in golden_mels]
    assert_close(embed(file, golden_mels.values()), golden[name][rows])


@pytest.mark.backend
def test_onnx_embeddings_match_keras_for_any_number_of_segments(encoder, file):
    rng = np.random.default_rng(0)
    mels = [rng.random((129 * n + n, 128), np.float32).astype(np.float16) for n in (1, 2, 10, 300)]
    expected = extract_embeddings(log_mel_model(encoder, MEAN, STD), mels)
    assert_close(embed(file, mels), expected)


@pytest.mark.backend
def test_onnx_model_equalises_the_level(encoder, weights, tmp_path):
    file = write(tmp_path / "a.onnx", build_onnx_model(replace(weights, equal_level=True)))
    mel = np.random.default_rng(0).uniform(0.01, 2, (258, 128))
    quiet = np.log10(1 + 0.1 * (10**mel - 1))
    expected = extract_embeddings(log_mel_model(encoder, MEAN, STD, equal_level=True), [mel])
    embeddings = embed(file, [mel.astype(np.float32), quiet.astype(np.float32)])
    assert_close(embeddings, np.repeat(expected, 2, axis=0))


@pytest.mark.backend
def test_onnx_model_of_the_statistics_encoder_matches_keras(weights, tmp_path):
    encoder = make_encoder(kind="statistics")
    weights = replace(weights, encoder_arrays=encoder.get_weights())
    mels = [np.random.default_rng(0).random((129 * n, 128), np.float32) for n in (1, 3)]
    expected = extract_embeddings(log_mel_model(encoder, MEAN, STD), mels)
    assert_close(embed(write(tmp_path / "a.onnx", build_onnx_model(weights)), mels), expected)


@pytest.mark.backend
def test_waveform_model_matches_the_embeddings_of_files(encoder, weights, small_corpus):
    """One track is longer than the 30 s that are used; its last segment is incomplete."""
    content = build_onnx_model(weights, waveforms=True).SerializeToString()
    session = onnxruntime.InferenceSession(content)
    rng = np.random.default_rng(0)
    waveforms = [rng.normal(0, 0.1, samples).astype(np.float32) for samples in (65_536, 700_000)]
    mels = [log_mel(waveform) for waveform in waveforms]
    for path in sorted(path for path in small_corpus[1].rglob("*") if path.is_file())[:2]:
        waveforms.append(load_audio(path, FrontEnd().max_seconds))
        mels.append(log_mel_of_file(path))
    expected = extract_embeddings(log_mel_model(encoder, MEAN, STD), mels)
    for batch, rows in (
        *((waveform[None], [row]) for row, waveform in enumerate(waveforms)),
        (np.stack(waveforms[2:]), [2, 3]),
    ):
        [embeddings] = session.run(["embeddings"], {"waveforms": batch})
        assert_close(embeddings, expected[rows])


def test_onnx_models_pass_the_checker(weights):
    for waveforms in (False, True):
        onnx.checker.check_model(build_onnx_model(weights, waveforms=waveforms), full_check=True)


# ---------------------------------------------------------------- metadata


def test_onnx_metadata_describes_the_model(weights):
    model = build_onnx_model(weights)
    assert (model.producer_name, model.producer_version.count(".")) == ("artist-labels", 2)
    values = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(values["front_end"]) == FrontEnd().to_dict()
    assert (float(values["mean"]), float(values["std"])) == (MEAN, STD)
    assert json.loads(values["weights"]) == weights.provenance
    assert values["licence"] == "not stated in the weights file"
    assert values["input"].startswith("segments (segments, 129, 128) float32: log-mels")
    assert values["output"].startswith("embeddings (segments, 256) float32: one per segment")


def test_onnx_metadata_states_the_licence_of_released_weights(music_data):
    path = str(music_data / "data/released_weights/siamese_5000.h5")
    model = build_onnx_model(pretrained.load_weights(path))
    values = {entry.key: entry.value for entry in model.metadata_props}
    assert values["licence"] == "MIT, Copyright (c) 2018 Jongpil Lee"
    assert values["licence"].partition(", ")[2] in Path(path).with_name("LICENSE").read_text()


def test_onnx_encoder_records_its_weights_and_its_own_file(file, weights):
    encoder = load_onnx_encoder(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert encoder.provenance == {**weights.provenance, "onnx_sha256": digest}
    assert (encoder.provenance["name"], encoder.provenance["seed"]) == ("run", 3)
    assert encoder.trained_on == ["Björk", "a, b"]


def test_onnxruntime_reports_nothing_to_its_makers(file, tmp_path):
    """By default, it keeps an identifier of the computer there, and sends it."""
    code = (
        "import sys; from models.onnx_encoder import load_onnx_encoder as load; load(sys.argv[1])"
    )
    home = tmp_path / "home"
    home.mkdir()
    process = start_script("-c", code, file, HOME=str(home), XDG_CACHE_HOME=str(home))
    assert (*process.communicate(), process.returncode) == ("", "", 0)
    assert not list(home.rglob("*"))


# ---------------------------------------------------------------- unusable files


def assert_refused(path: Path, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        load_onnx_encoder(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and problem in message, message


def test_files_that_export_did_not_write_are_refused(tmp_path):
    assert_refused(tmp_path / "absent.onnx", "no such file")
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["n", 129, 128]) for name in "xy"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "other", ends[:1], ends[1:]
    )
    other = write(tmp_path / "other.onnx", onnx.helper.make_model(graph))
    assert_refused(other, "not a file of export.py")
    for content in (b"", b"no model", bytes(1000), b"\x89HDF\r\n\x1a\n" * 100):
        other.write_bytes(content)
        assert_refused(other, "export")


def test_truncated_and_damaged_files_are_refused(file):
    content = file.read_bytes()
    for size in (1, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        assert_refused(file, "truncated")


def change(file: Path, **parts) -> None:
    """Rewrite a file, with each part of its model changed by a function."""
    model = onnx.load(file)
    for name, edit in parts.items():
        edit(getattr(model, name))
    write(file, model)


def test_waveform_models_are_refused(weights, tmp_path):
    path = write(tmp_path / "a.onnx", build_onnx_model(weights, waveforms=True))
    assert_refused(path, "takes waveforms; export the weights without --waveform")


def test_other_shapes_and_operators_are_refused(file, capfd):
    content = file.read_bytes()

    def rename_input(graph):
        graph.input[0].name = graph.node[0].input[0] = "x"

    def change_shape(graph):
        graph.input[0].type.tensor_type.shape.dim[1].dim_value = 130

    def add_loop(graph):
        body = onnx.helper.make_graph([], "body", [], [])
        graph.node.append(onnx.helper.make_node("Loop", ["", ""], ["forever"], body=body))

    def nest_graph(graph):
        body = onnx.helper.make_graph([], "body", [], [])
        graph.node[0].attribute.append(onnx.helper.make_attribute("body", body))

    def join_segments(graph):
        graph.node[-1].attribute.append(onnx.helper.make_attribute("axis", 0))

    def overflow(graph):
        for array in graph.initializer:
            array.raw_data = np.full(list(array.dims), 3e38, np.float32).tobytes()

    def use_extension(graph):
        graph.node[0].domain = "com.microsoft"

    for edit, problem in (
        (rename_input, "other inputs"),
        (change_shape, "other inputs"),
        (add_loop, "other operators"),
        (nest_graph, "other operators"),
        (use_extension, "other operators"),
        (lambda graph: graph.node.pop(5), "cannot run it"),
        (join_segments, "other outputs"),
        (overflow, "other outputs"),
        (lambda graph: graph.initializer.pop(2), "cannot run it"),
        (lambda graph: graph.initializer[2].dims.append(10**6), "arrays are damaged"),
        (lambda graph: graph.initializer[2].ClearField("raw_data"), "arrays are damaged"),
    ):
        file.write_bytes(content)
        change(file, graph=edit)
        assert_refused(file, problem)
    file.write_bytes(b"\xff\xff\xff\xff3".join(content.rsplit(b"conv3", 1)))  # an input of a node
    assert_refused(file, "cannot run it")
    assert capfd.readouterr() == ("", "")


def test_arrays_in_other_files_are_refused(file, tmp_path, monkeypatch):
    """The other file exists, below the model's folder and the current one."""
    monkeypatch.chdir(tmp_path)
    model = onnx.load(file)
    onnx.save(model, file, save_as_external_data=True, location="arrays.bin", size_threshold=0)
    assert (tmp_path / "arrays.bin").stat().st_size > 1 << 19
    onnxruntime.InferenceSession(file)  # works, and so would be read
    assert_refused(file, "stored in another file")


def test_infinite_arrays_are_refused(file):
    def fill(graph):
        kernel = next(array for array in graph.initializer if len(array.dims) == 3)
        kernel.raw_data = np.full(list(kernel.dims), np.nan, np.float32).tobytes()

    change(file, graph=fill)
    assert_refused(file, "arrays are damaged")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", "{"),
        ("weights", "[" * 100_000),
        ("weights", '{"name": 1}'),
        ("trained_on", '{"a": 1}'),
        ("trained_on", "[1]"),
        ("trained_on", '["\\ud800"]'),  # half of a surrogate pair, which no file can store
    ],
)
def test_damaged_metadata_is_refused(name, value, file):
    def edit(properties):
        next(entry for entry in properties if entry.key == name).value = value

    change(file, metadata_props=edit)
    assert_refused(file, "metadata is damaged")
