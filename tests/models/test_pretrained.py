"""Test weights files: golden values, all Keras layouts, damaged files and malicious content."""

import hashlib
import tracemalloc
import zipfile

import h5py
import keras
import numpy as np
import pytest

from common import download
from common.errors import InputError
from common.feature_file import Features, write_features
from models import pretrained, released_weights
from models.architecture import BLOCKS
from models.basic import build_basic
from models.embeddings import extract_embeddings
from models.encoder import build_encoder
from models.siamese import build_siamese
from tests.common.web import server
from tests.models import layouts
from tests.training.fixtures import make_encoder

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # warning from Keras itself
RELEASED = ["siamese_1000_59", "siamese_5000"]
RELEASED += [f"siamese_10000_{epoch}" for epoch in ("149", "399", "final")]


@pytest.fixture(scope="module")
def arrays(encoder) -> list[np.ndarray]:
    """Return the encoder's weights in the order used by the released files."""
    return [array for layer in encoder.layers for array in layer.get_weights()]


@pytest.fixture(scope="module")
def head() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=(256, 9)).astype(np.float32), rng.random(9, np.float32)]


def assert_loads(path, arrays: list[np.ndarray], head=None) -> pretrained.Weights:
    """Check that loading the file returns exactly these arrays."""
    weights = pretrained.load_weights(str(path))
    assert (weights.head is None) == (head is None)
    for ours, expected in ((weights.encoder_arrays, arrays), (weights.head or [], head or [])):
        for array, other in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(array, other)
            assert array.dtype == np.float32
    return weights


def assert_refused(path, *words: str) -> None:
    """Check that loading raises a one-line error that names the file and contains `words`."""
    with pytest.raises(InputError) as caught:
        pretrained.load_weights(str(path))
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    assert "model.weights.h5: model.weights.h5" not in message
    for word in words:
        assert word in message, message


# ---------------------------------------------------------------- golden values


@pytest.mark.backend
@pytest.mark.parametrize("name", [*RELEASED, "basic_500_random"])
def test_released_embeddings_match_golden_values(name, music_data, golden, golden_mels):
    folder = "golden" if name.startswith("basic") else "data/released_weights"
    path = str(music_data / folder / f"{name}.h5")
    weights = pretrained.load_weights(path)
    assert weights.name == name
    assert (weights.mean, weights.std) == (0.22620339, 0.25794547)
    rows = [list(golden["track_id"]).index(track) for track in golden_mels]
    expected = golden[name][rows]
    embeddings = extract_embeddings(pretrained.load_encoder(path), golden_mels.values())
    assert np.abs(embeddings - expected).max() <= 1e-5 * np.abs(expected).max()


def restore_classifier(weights: pretrained.Weights, activation: str) -> keras.Model:
    encoder, outputs = pretrained.encoder_from(weights), len(weights.head[1])
    model = build_basic(encoder, outputs, activation, mean=weights.mean, std=weights.std)
    model.get_layer("classes").set_weights(weights.head)
    return model


@pytest.mark.backend
def test_softmax_outputs_match_golden_values(music_data, golden, golden_mels):
    weights = pretrained.load_weights(str(music_data / "golden/basic_500_random.h5"))
    model = restore_classifier(weights, "softmax")
    rows = [list(golden["track_id"]).index(track) for track in golden_mels]
    segments = np.stack([mel[: 2 * 129].reshape(2, 129, 128) for mel in golden_mels.values()])
    outputs = model.predict_on_batch(segments.reshape(-1, 129, 128)).reshape(len(rows), 2, 500)
    np.testing.assert_allclose(outputs, golden["basic_500_random_softmax"][rows], atol=1e-5)


def test_registry_matches_the_released_files(music_data):
    registry = released_weights.released_models()
    assert set(RELEASED) < set(registry)
    for name in RELEASED:
        path = music_data / f"data/released_weights/{name}.h5"
        assert download.git_blob_id(path) == registry[name]["git_blob"]
        record = pretrained.load_weights(str(path)).provenance
        assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert record["model"] == "siamese" and name.startswith(f"siamese_{record['artists']}")


# ---------------------------------------------------------------- layouts


@pytest.mark.parametrize("first", [1, 9, 98])
@pytest.mark.parametrize("root", ["model_weights", None])
def test_keras2_layouts_are_read(first, root, arrays, head, tmp_path):
    for number, dense in enumerate((None, head)):
        path = tmp_path / f"{number}.h5"
        layouts.write_keras2(path, layouts.make_layers(arrays, first, dense), root=root)
        assert_loads(path, arrays, dense)


def test_nested_keras2_model_is_read(arrays, tmp_path):
    layouts.write_nested_keras2(tmp_path / "a.h5", layouts.make_layers(arrays, 9))
    assert_loads(tmp_path / "a.h5", arrays)


@pytest.mark.parametrize("first", [1, 97])
def test_keras3_layout_with_multi_digit_layer_numbers_is_read(first, arrays, head, tmp_path):
    layouts.write_keras3(tmp_path / "a.weights.h5", layouts.make_layers(arrays, first, head))
    assert_loads(tmp_path / "a.weights.h5", arrays, head)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_files_written_by_the_installed_keras_are_read(suffix, encoder, arrays, head, tmp_path):
    own_encoder = build_encoder(dropout=0.5)  # the dropout state must not count as a weight
    own_encoder.set_weights(encoder.get_weights())
    basic = build_basic(own_encoder, 9, "softmax", mean=0.2, std=0.3)
    basic.get_layer("classes").set_weights(head)
    basic.compile(keras.optimizers.SGD(momentum=0.9), loss="sparse_categorical_crossentropy")
    siamese = build_siamese(own_encoder, 4, mean=0.2, std=0.3)
    for model, dense in ((own_encoder, None), (basic, head), (siamese, None)):
        path = tmp_path / f"{model.name}{suffix}"
        (model.save_weights if suffix == ".weights.h5" else model.save)(path)
        assert_loads(path, arrays, dense)


def test_flat_user_model_with_automatic_layer_names_is_read(arrays, tmp_path):
    keras.utils.clear_session()
    for _ in range(8):  # enough layers for automatic names to reach two digits
        keras.layers.Conv1D(1, 1), keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((129, 128))])
    for filters, kernel, pool in BLOCKS:
        model.add(keras.layers.Conv1D(filters, kernel, padding="same"))
        model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.MaxPooling1D(pool or 1))
    model.set_weights(arrays)
    for suffix in (".h5", ".keras"):
        model.save(tmp_path / f"flat{suffix}")
        assert_loads(tmp_path / f"flat{suffix}", arrays)


def test_arrays_are_converted_from_other_float_types(arrays, tmp_path):
    big_endian = [array.astype(">f8") for array in arrays]
    layouts.write_keras2(tmp_path / "a.h5", layouts.make_layers(big_endian))
    assert_loads(tmp_path / "a.h5", arrays)


@pytest.fixture
def siamese_file(encoder, tmp_path):
    """Return a weights file as a training run writes it."""
    path, inputs = tmp_path / "best.h5", {"inputs": {}}
    model = build_siamese(encoder, 4, mean=0.1, std=0.4)
    pretrained.save_weights(path, model, mean=0.1, std=0.4, made_from=inputs)
    return path


@pytest.mark.backend
@pytest.mark.parametrize("activation, model_name", [("softmax", "basic"), ("sigmoid", "tag")])
def test_saved_classifier_is_restored(activation, model_name, encoder, arrays, tmp_path):
    path = tmp_path / "best.h5"
    inputs = {"name": "my_run", "model": model_name, "artists": 9, "settings": {"seed": 7}}
    model = build_basic(encoder, 9, activation, mean=0.1, std=0.4)
    pretrained.save_weights(path, model, mean=0.1, std=0.4, made_from={"inputs": inputs})
    weights = assert_loads(path, arrays, model.get_layer("classes").get_weights())
    assert weights.provenance == {
        "name": "my_run",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "model": model_name,
        "artists": 9,
        "seed": 7,
        "mean": 0.1,
        "std": 0.4,
    }
    mels = np.random.default_rng(0).random((3, 129, 128), np.float32)
    restored = restore_classifier(weights, activation).predict_on_batch(mels)
    np.testing.assert_allclose(restored, model.predict_on_batch(mels), atol=1e-6)
    embeddings = pretrained.load_encoder(str(path)).predict_on_batch(mels)
    expected = encoder.predict_on_batch((mels - 0.1) / 0.4)
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)


@pytest.mark.backend
@pytest.mark.parametrize("activation", ["softmax", "cosine"])
def test_saved_statistics_encoder_is_restored(activation, tmp_path):
    encoder, path = make_encoder(kind="statistics"), tmp_path / "best.h5"
    model = build_basic(encoder, 9, activation, mean=0.1, std=0.4)
    pretrained.save_weights(path, model, mean=0.1, std=0.4, made_from={"inputs": {}})
    arrays = [array for layer in encoder.layers for array in layer.get_weights()]
    # Vectors that are compared by cosine are not a dense layer, which has probabilities.
    head = model.get_layer("classes").get_weights() if activation == "softmax" else None
    weights = assert_loads(path, arrays, head)
    assert weights.encoder == "statistics"
    mels = np.random.default_rng(0).random((3, 129, 128), np.float32)
    embeddings = pretrained.load_encoder(str(path)).predict_on_batch(mels)
    expected = encoder.predict_on_batch((mels - 0.1) / 0.4)
    np.testing.assert_allclose(embeddings, expected, atol=1e-4)
    if head:  # Keras lists the layers in another order
        model.save(tmp_path / "best.keras")
        assert_loads(tmp_path / "best.keras", arrays, head)
    with h5py.File(path, "r+") as file:
        del file["model_weights/feature/feature/kernel:0"]
        file["model_weights/feature/feature/kernel:0"] = np.zeros((256, 256), np.float32)
    assert_refused(path, "its layers differ from this encoder's")


def test_saved_siamese_model_has_no_classes(siamese_file, arrays):
    weights = assert_loads(siamese_file, arrays)
    assert (weights.name, weights.mean, weights.std) == ("best", 0.1, 0.4)


# ---------------------------------------------------------------- damaged and unsuitable files


def test_unknown_names_and_missing_files_are_rejected(tmp_path):
    with pytest.raises(InputError, match=r"siamese_50: .*siamese_5000, .*basic_5000"):
        pretrained.load_weights("siamese_50")
    assert_refused(tmp_path / "absent.h5", "no such")
    (tmp_path / "folder.h5").mkdir()
    assert_refused(tmp_path / "folder.h5", "no such")
    (tmp_path / "best.h5").touch()
    assert_refused(tmp_path, f"name {tmp_path / 'best.h5'}")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x05\x06" + bytes(18), bytes(5000)])
def test_files_in_other_formats_are_rejected(content, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert_refused(path)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_truncated_files_are_rejected(suffix, arrays, encoder, tmp_path):
    path = tmp_path / f"a{suffix}"
    if suffix == ".h5":
        layouts.write_keras2(path, layouts.make_layers(arrays))
    else:
        encoder.save(path)
    content = path.read_bytes()
    for fraction in (0.001, 0.3, 0.7, 0.999):
        path.write_bytes(content[: int(fraction * len(content))])
        assert_refused(path)


def write_archive(folder, arrays, method=zipfile.ZIP_STORED):
    """Write a .keras archive that contains only the weights."""
    layouts.write_keras3(folder / "model.weights.h5", layouts.make_layers(arrays))
    with zipfile.ZipFile(folder / "a.keras", "w", method) as archive:
        archive.write(folder / "model.weights.h5", "model.weights.h5")
    return folder / "a.keras"


def test_archive_with_a_corrupted_byte_is_rejected(arrays, tmp_path):
    path = write_archive(tmp_path, arrays, zipfile.ZIP_DEFLATED)
    assert_loads(path, arrays)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert_refused(path, "damaged")


def replace(arrays, number, array):
    return [*arrays[:number], array, *arrays[number + 1 :]]


@pytest.mark.parametrize("write", [layouts.write_keras2, layouts.write_keras3])
def test_files_containing_a_different_network_are_rejected(write, arrays, head, tmp_path):
    path, layers = tmp_path / "a.h5", layouts.make_layers(arrays, 1, head)
    kernel = arrays[0]
    integers = [array.astype(np.int32) for array in head]
    for wrong in (
        layouts.make_layers(replace(arrays, 0, kernel[:, :96])),  # wrong number of bands
        layouts.make_layers(replace(arrays, 2, arrays[2][:64])),  # wrong gamma size
        layouts.make_layers(replace(arrays, 0, kernel[..., None])),  # a 2-D convolution
        layouts.make_layers(arrays, 1, [head[0][:128], head[1]]),  # wrong embedding size
        layers[:-3],  # missing block
        layers[:-2] + layers[-1:],  # missing normalisation layer
        [("conv1d", "conv1d_0", arrays[:2]), *layers],  # extra convolution
        [*layers, ("dense", "dense_2", head)],  # extra dense layer
        [*layers[:-1], ("dense", "dense_1", integers)],
    ):
        write(path, wrong)
        assert_refused(path)


@pytest.mark.parametrize("name", ["something", "layers/conv1d/vars/0", "model_weights"])
def test_files_without_layers_are_rejected(name, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[name] = np.zeros(3)
    assert_refused(tmp_path / "a.h5")


def test_feature_files_contain_no_weights(tmp_path):
    path = tmp_path / "a.h5"
    write_features(path, Features(np.ones((1, 2)), np.array(["a"], object)))
    with pytest.raises(InputError, match="contains no weights of a network; choose"):
        pretrained.load_weights(path)


@pytest.mark.parametrize(
    "number, value, message",
    [(0, np.nan, "NaN or inf"), (0, 1e300, "NaN or inf"), (5, -1, "negative variance")],
)
def test_invalid_values_are_rejected(number, value, message, arrays, tmp_path):
    wrong = np.full(arrays[number].shape, value, np.float64)
    layouts.write_keras2(tmp_path / "a.h5", layouts.make_layers(replace(arrays, number, wrong)))
    assert_refused(tmp_path / "a.h5", message)


def test_missing_or_damaged_keras_attributes_are_rejected(arrays, tmp_path):
    path = tmp_path / "a.h5"
    for damage in (
        lambda group: group.attrs.__delitem__("layer_names"),
        lambda group: group["conv1d_3"].attrs.__delitem__("weight_names"),
        *(
            lambda group, value=value: group.attrs.__setitem__("layer_names", value)
            for value in ("conv1d_1", 7, h5py.Empty("S8"), [b"\xff\xfe"], [b"absent"])
        ),
        lambda group: group["conv1d_3"].__delitem__("conv1d_3/bias:0"),
    ):
        layouts.write_keras2(path, layouts.make_layers(arrays))
        with h5py.File(path, "a") as file:
            damage(file["model_weights"])
        assert_refused(path)


@pytest.mark.parametrize(
    "name, value",
    [
        ("mean", "much"),
        ("mean", np.nan),
        ("std", 0.0),
        ("std", [1.0, 2.0]),
        ("made_from", "no JSON"),
        ("made_from", '{"inputs": {"name": ["a"]}}'),
    ],
)
def test_missing_or_damaged_run_attributes_are_rejected(name, value, siamese_file):
    with h5py.File(siamese_file, "a") as file:
        file.attrs[name] = value
    assert_refused(siamese_file)


# ---------------------------------------------------------------- malicious files


def test_code_in_a_file_is_never_executed(encoder, arrays, tmp_path):
    trap = tmp_path / "ran"
    code = f"(lambda x: (open({str(trap)!r}, 'w').close(), x)[1])"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(eval(code))])
    model.save(tmp_path / "trap.keras")
    with zipfile.ZipFile(tmp_path / "trap.keras") as archive:
        config = archive.read("config.json")
    trap.unlink()
    keras.saving.load_model(tmp_path / "trap.keras", safe_mode=False)
    trap.unlink()  # confirms that Keras itself executed the code
    assert_refused(tmp_path / "trap.keras")

    layouts.write_keras2(tmp_path / "a.h5", layouts.make_layers(arrays))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.attrs["model_config"] = config
    with zipfile.ZipFile(write_archive(tmp_path, arrays), "a") as archive:
        archive.writestr("config.json", config)
        archive.writestr("../escaped", "x")
    for name in ("a.h5", "a.keras"):
        assert_loads(tmp_path / name, arrays)
    assert not trap.exists() and not (tmp_path.parent / "escaped").exists()
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", config)
    assert_refused(tmp_path / "a.keras")


@pytest.mark.parametrize("kind", ["external", "soft"])
@pytest.mark.parametrize(
    "write, name",
    [
        (layouts.write_keras2, "model_weights"),
        (layouts.write_keras2, "model_weights/conv1d_1"),
        (layouts.write_keras2, "model_weights/conv1d_1/conv1d_1/bias:0"),
        (layouts.write_keras3, "layers"),
        (layouts.write_keras3, "layers/conv1d_1/vars/0"),
    ],
)
def test_links_are_not_followed(kind, write, name, arrays, tmp_path):
    path, secret = tmp_path / "a.h5", tmp_path / "secret.h5"
    for file_path in (path, secret):
        write(file_path, layouts.make_layers(arrays))
    with h5py.File(path, "a") as file:
        file.move(name, "moved")
        external = h5py.ExternalLink(str(secret), name)
        file[name] = external if kind == "external" else h5py.SoftLink("/moved")
    assert_refused(path)
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.write(path, "model.weights.h5")
    assert_refused(tmp_path / "a.keras")


@pytest.mark.parametrize("storage", ["external", "virtual"])
def test_external_and_virtual_storage_are_rejected(storage, arrays, tmp_path):
    path, secret = tmp_path / "a.h5", tmp_path / "secret"
    secret.write_bytes(bytes(512))
    layouts.write_keras2(path, layouts.make_layers(arrays))
    with h5py.File(path, "a") as file:
        group = file["model_weights/conv1d_1/conv1d_1"]
        del group["bias:0"]
        if storage == "external":
            group.create_dataset("bias:0", (128,), "f4", external=[(str(secret), 0, 512)])
        else:
            layout = h5py.VirtualLayout((128,), "f4")
            layout[:] = h5py.VirtualSource("other.h5", "bias", (128,))
            group.create_virtual_dataset("bias:0", layout)
    assert_refused(path, "another file")


@pytest.mark.parametrize(
    "count, size, dtype, message",
    [
        (1, 1 << 40, "f4", "declares"),
        (100, 1 << 25, "f4", "declares"),
        # Many references to one long text would exhaust memory if they were read.
        (1, 1 << 20, h5py.string_dtype(), "floats"),
    ],
    ids=["alone", "in total", "text"],
)
def test_implausible_declared_contents_are_rejected(count, size, dtype, message, tmp_path):
    """Test datasets that declare too much data but store none."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for number in range(count):
            file.create_dataset(f"layers/a/vars/{number}", (size,), dtype, chunks=(1 << 16,))
    assert_refused(path, message)


def write_zeros(path, size, method, declared_size=None) -> None:
    """Write an archive of `size` zeros whose directory declares `declared_size`, if given."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("model.weights.h5", bytes(size))
        archive.infolist()[0].file_size = declared_size or size


def test_zip_bombs_are_rejected(tmp_path, monkeypatch):
    path = tmp_path / "a.keras"
    write_zeros(path, 1 << 20, zipfile.ZIP_LZMA)
    assert_refused(path, "compressed")
    write_zeros(path, 1 << 26, zipfile.ZIP_DEFLATED, declared_size=1000)
    tracemalloc.start()
    assert_refused(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 23
    write_zeros(path, 1 << 20, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(pretrained, "_MAX_BYTES", 1 << 19)
    assert_refused(path, "larger")


# ---------------------------------------------------------------- released models


@pytest.fixture
def released_file(arrays, tmp_path, monkeypatch):
    """Return the weights file of `tiny`, the only model in a temporary registry."""
    path = tmp_path / "published.h5"
    layouts.write_keras2(path, layouts.make_layers(arrays))
    row = {
        "name": "tiny",
        "model": "siamese",
        "artists": "12",
        "repository": "someone/somewhere",
        "commit": "0" * 40,
        "path": "models/tiny/weights.59-12.32.h5",
        "git_blob": download.git_blob_id(path),
    }
    registry = tmp_path / "registry.csv"
    registry.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n", encoding="utf-8")
    monkeypatch.setattr(released_weights, "REGISTRY", registry)
    monkeypatch.delenv(download.MIRROR_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return path


def test_released_model_is_read_from_a_mirror(released_file, arrays, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    released_file.rename(mirror / "tiny.h5")
    weights = pretrained.load_weights("tiny", mirror)
    assert (weights.name, weights.provenance["artists"]) == ("tiny", 12)
    np.testing.assert_array_equal(weights.encoder_arrays[0], arrays[0])
    with pytest.raises(InputError, match=r"elsewhere.tiny\.h5: not in the mirror"):
        pretrained.load_weights("tiny", tmp_path / "elsewhere")


def test_released_file_is_identified_by_its_content(released_file):
    assert pretrained.load_weights(str(released_file)).name == "tiny"


def test_released_model_is_downloaded_from_its_recorded_commit(released_file, arrays, monkeypatch):
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    with server(released_file.read_bytes()) as (address, requested):
        monkeypatch.setattr(download, "_RAW", address)
        assert_loads("tiny", arrays)
    assert requested == ["/someone/somewhere/" + "0" * 40 + "/models/tiny/weights.59-12.32.h5"]
