"""Weights files: the released ones to their golden features, every layout, and hostile ones."""

import hashlib
import io
import tracemalloc
import zipfile

import h5py
import keras
import numpy as np
import pooch
import pytest

from common import download
from common.errors import InputError
from models import pretrained, released_weights
from models.basic import build_basic
from models.embeddings import extract_embeddings
from models.encoder import build_encoder
from models.siamese import build_siamese
from tests.common.web import server
from tests.models import layouts

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own get_weights
RELEASED = (
    "siamese_1000_59",
    "siamese_5000",
    "siamese_10000_149",
    "siamese_10000_399",
    "siamese_10000_final",
)


@pytest.fixture(scope="module")
def arrays(encoder) -> list[np.ndarray]:
    """The encoder's weights in the order of a released file."""
    return [array for layer in encoder.layers for array in layer.get_weights()]


@pytest.fixture(scope="module")
def head() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=(256, 9)).astype(np.float32), rng.random(9, np.float32)]


def same(found: pretrained.Weights, arrays: list[np.ndarray], head=None) -> bool:
    assert (found.head is None) == (head is None)
    pairs = [(found.encoder_arrays, arrays)] + ([(found.head, head)] if head else [])
    return all(
        np.array_equal(a, b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True)
    )


def refused(path, *words: str) -> str:
    """The one line with which the file is refused; it names the file and has these words."""
    with pytest.raises(InputError) as caught:
        pretrained.load_weights(str(path))
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    assert "model.weights.h5: model.weights.h5" not in message
    for word in words:
        assert word in message, message
    return message


# ---------------------------------------------------------------- golden values


@pytest.mark.parametrize("name", [*RELEASED, "basic_500_random"])
def test_golden_features(name, music_data, golden, golden_mels):
    folder = "golden" if name.startswith("basic") else "data/released_weights"
    found = pretrained.load_weights(str(music_data / folder / f"{name}.h5"))
    assert found.name == name
    assert (found.mean, found.std) == (0.22620339, 0.25794547)
    rows = [list(golden["track_id"]).index(track) for track in golden_mels]
    expected = golden[name][rows]
    encoder = pretrained.load_encoder(str(music_data / folder / f"{name}.h5"))
    features = extract_embeddings(encoder, golden_mels.values())
    assert np.abs(features - expected).max() <= 1e-5 * np.abs(expected).max()


def test_golden_softmax(music_data, golden, golden_mels):
    model = pretrained.classifier_from(
        pretrained.load_weights(str(music_data / "golden/basic_500_random.h5"))
    )
    rows = [list(golden["track_id"]).index(track) for track in golden_mels]
    segments = np.stack([mel[: 2 * 129].reshape(2, 129, 128) for mel in golden_mels.values()])
    found = model.predict_on_batch(segments.reshape(-1, 129, 128)).reshape(len(rows), 2, 500)
    np.testing.assert_allclose(found, golden["basic_500_random_softmax"][rows], atol=1e-5)


def test_registry_rows_are_the_real_files(music_data):
    registry = released_weights.released_models()
    assert set(RELEASED) < set(registry)
    for name in RELEASED:
        path = music_data / f"data/released_weights/{name}.h5"
        assert download.git_blob_id(path) == registry[name]["git_blob"]
        origin = pretrained.load_weights(str(path)).provenance
        assert origin["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert origin["model"] == "siamese" and name.startswith(f"siamese_{origin['artists']}")


def test_git_blob_is_gits_own(tmp_path):
    (tmp_path / "file").write_bytes(b"hello\n")  # the id that `git hash-object` gives it
    assert download.git_blob_id(tmp_path / "file") == "ce013625030ba8dba906f756967f9e9ca394464a"


# ---------------------------------------------------------------- layouts


@pytest.mark.parametrize("first", [1, 25, 9, 98])
@pytest.mark.parametrize("parts", [1, 2, 11])
@pytest.mark.parametrize("root", ["model_weights", None])
def test_keras2_layouts(first, parts, root, arrays, head, tmp_path):
    layouts.keras2(tmp_path / "a.h5", layouts.layers(arrays, first), root=root, parts=parts)
    assert same(pretrained.load_weights(str(tmp_path / "a.h5")), arrays)
    layouts.keras2(tmp_path / "b.h5", layouts.layers(arrays, first, head), root=root, parts=parts)
    assert same(pretrained.load_weights(str(tmp_path / "b.h5")), arrays, head)


@pytest.mark.parametrize("first", [1, 9])
def test_keras2_model_in_a_model(first, arrays, tmp_path):
    layouts.keras2_nested(tmp_path / "a.h5", layouts.layers(arrays, first))
    assert same(pretrained.load_weights(str(tmp_path / "a.h5")), arrays)


@pytest.mark.parametrize("first", [1, 8, 97])
def test_keras3_layout_counts_beyond_nine(first, arrays, head, tmp_path):
    layouts.keras3(tmp_path / "a.weights.h5", layouts.layers(arrays, first, head))
    assert same(pretrained.load_weights(str(tmp_path / "a.weights.h5")), arrays, head)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_what_this_keras_saves(suffix, encoder, arrays, head, tmp_path):
    # Dropout has a state of its own, which is no weight.
    mine = build_encoder(dropout=0.5)
    mine.set_weights(encoder.get_weights())
    basic = build_basic(mine, 9, "softmax", mean=0.2, std=0.3)
    basic.get_layer("classes").set_weights(head)
    basic.compile(keras.optimizers.SGD(momentum=0.9), loss="sparse_categorical_crossentropy")
    siamese = build_siamese(mine, 4, mean=0.2, std=0.3)
    for model, expected in ((mine, None), (basic, head), (siamese, None)):
        path = tmp_path / f"{model.name}{suffix}"
        (model.save_weights if suffix == ".weights.h5" else model.save)(path)
        assert same(pretrained.load_weights(str(path)), arrays, expected), model.name


def test_layers_without_names_of_ours_built_flat(arrays, tmp_path):
    """A user's own Keras file: no nested model, automatic names that go on counting."""
    keras.utils.clear_session()
    for _ in range(8):
        keras.layers.Conv1D(1, 1), keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((129, 128))])
    for filters, kernel, pool in ((128, 4, 4), (128, 4, 4), (128, 4, 4), (128, 2, 2), (256, 1, 1)):
        model.add(keras.layers.Conv1D(filters, kernel, padding="same"))
        model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.MaxPooling1D(pool))
    for layer in model.layers:
        count = len(layer.get_weights())
        layer.set_weights(arrays[:count])
        arrays = arrays[count:]
    expected = [array for layer in model.layers for array in layer.get_weights()]
    for suffix in (".h5", ".keras"):
        model.save(tmp_path / f"flat{suffix}")
        assert same(pretrained.load_weights(str(tmp_path / f"flat{suffix}")), expected)
    with h5py.File(tmp_path / "flat.h5") as file:
        assert any("_10" in name for name in file["model_weights"]), "the test tests nothing"


def test_arrays_of_another_float_type(arrays, tmp_path):
    big_endian = [array.astype(">f8") for array in arrays]
    layouts.keras2(tmp_path / "a.h5", layouts.layers(big_endian))
    found = pretrained.load_weights(str(tmp_path / "a.h5"))
    assert same(found, arrays)
    assert all(array.dtype == np.float32 for array in found.encoder_arrays)


@pytest.mark.parametrize("activation, model_name", [("softmax", "basic"), ("sigmoid", "tag")])
def test_what_we_save(activation, model_name, encoder, arrays, tmp_path):
    inputs = {"name": "my_run", "model": model_name, "artists": 9, "settings": {"seed": 7}}
    model = build_basic(encoder, 9, activation, mean=0.1, std=0.4)
    pretrained.save_weights(
        tmp_path / "best.h5", model, mean=0.1, std=0.4, made_from={"inputs": inputs}
    )
    found = pretrained.load_weights(str(tmp_path / "best.h5"))
    assert same(found, arrays, model.get_layer("classes").get_weights())
    assert found.provenance == {
        "name": "my_run",
        "sha256": hashlib.sha256((tmp_path / "best.h5").read_bytes()).hexdigest(),
        "model": model_name,
        "artists": 9,
        "seed": 7,
        "mean": 0.1,
        "std": 0.4,
    }
    mels = np.random.default_rng(0).random((3, 129, 128), np.float32)
    np.testing.assert_allclose(
        pretrained.classifier_from(found).predict_on_batch(mels),
        model.predict_on_batch(mels),
        atol=1e-6,
    )
    loaded = pretrained.load_encoder(str(tmp_path / "best.h5"))
    np.testing.assert_allclose(
        loaded.predict_on_batch(mels), encoder.predict_on_batch((mels - 0.1) / 0.4), atol=1e-5
    )


def test_a_siamese_model_has_no_classes(encoder, arrays, tmp_path):
    model = build_siamese(encoder, 4, mean=0.1, std=0.4)
    pretrained.save_weights(
        tmp_path / "best.h5", model, mean=0.1, std=0.4, made_from={"inputs": {}}
    )
    found = pretrained.load_weights(str(tmp_path / "best.h5"))
    assert same(found, arrays) and found.name == "best" and (found.mean, found.std) == (0.1, 0.4)
    with pytest.raises(InputError, match="no classes"):
        pretrained.classifier_from(found)


# ---------------------------------------------------------------- damaged and foreign files


def test_unknown_name_lists_the_known():
    with pytest.raises(InputError, match=r"siamese_50: .*siamese_5000, .*basic_5000"):
        pretrained.load_weights("siamese_50")


def test_no_such_file(tmp_path):
    refused(tmp_path / "absent.h5", "no such")
    (tmp_path / "folder.h5").mkdir()
    refused(tmp_path / "folder.h5", "no such")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x05\x06" + bytes(18), bytes(5000)])
def test_not_weights_at_all(content, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    refused(path)


def test_truncated_anywhere(arrays, encoder, tmp_path):
    layouts.keras2(tmp_path / "whole.h5", layouts.layers(arrays))
    encoder.save(tmp_path / "whole.keras")
    for suffix in (".h5", ".keras"):
        content = (tmp_path / f"whole{suffix}").read_bytes()
        for share in (0.001, 0.3, 0.7, 0.999):
            path = tmp_path / f"cut{suffix}"
            path.write_bytes(content[: int(share * len(content))])
            refused(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_keras_archive_with_a_flipped_byte(method, arrays, tmp_path):
    layouts.keras3(tmp_path / "model.weights.h5", layouts.layers(arrays))
    with zipfile.ZipFile(tmp_path / "a.keras", "w", method) as archive:
        archive.write(tmp_path / "model.weights.h5", "model.weights.h5")
    assert same(pretrained.load_weights(str(tmp_path / "a.keras")), arrays)
    content = bytearray((tmp_path / "a.keras").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a.keras").write_bytes(content)
    refused(tmp_path / "a.keras", "damaged")


def test_zip_signature_among_the_weights_is_no_archive(arrays, tmp_path):
    """Weights are arbitrary bytes, the four that end a zip archive among them."""
    layouts.keras2(tmp_path / "a.h5", layouts.layers(arrays))
    with (tmp_path / "a.h5").open("ab") as file:
        file.write(b"PK\x05\x06" + bytes(18))
    assert zipfile.is_zipfile(tmp_path / "a.h5"), "the test tests nothing"
    assert same(pretrained.load_weights(str(tmp_path / "a.h5")), arrays)


def altered(arrays, number, array):
    return [*arrays[:number], array, *arrays[number + 1 :]]


@pytest.mark.parametrize("layout", [layouts.keras2, layouts.keras3])
def test_other_networks(layout, arrays, head, tmp_path):
    path, found = tmp_path / "a.h5", layouts.layers(arrays, 1, head)
    kernel = arrays[0]
    for wrong in (
        layouts.layers(altered(arrays, 0, kernel[:3])),  # another kernel
        layouts.layers(altered(arrays, 0, kernel[:, :96])),  # other bands
        layouts.layers(altered(arrays, 1, arrays[1][:64])),  # a bias that does not fit
        layouts.layers(altered(arrays, 2, arrays[2][:64])),  # a gamma that does not fit
        layouts.layers(altered(arrays, 0, kernel[..., None])),  # two-dimensional convolution
        layouts.layers(arrays, 1, [head[0][:128], head[1]]),  # classes of other features
        layouts.layers(arrays, 1, [head[0], head[1][:5]]),
        found[:-3],  # a block too few
        found[:-2] + found[-1:],  # a normalisation too few
        [("conv1d", "conv1d_0", arrays[:2]), *found],  # a convolution too many
        [*found, ("dense", "dense_2", head)],  # a dense layer too many
        [*found[:-1], ("dense", "dense_1", [array.astype(np.int32) for array in head])],
    ):
        layout(path, wrong)
        refused(path)


def test_no_layers(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["something"] = np.zeros(3)
    refused(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["layers/conv1d/vars/0"] = np.zeros(3)
    refused(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["model_weights"] = np.zeros(3)  # a dataset where a group belongs
    refused(tmp_path / "a.h5")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_weights_that_are_no_numbers(value, arrays, tmp_path):
    wrong = arrays[0].astype(np.float64)
    wrong[0, 0, 0] = value
    layouts.keras2(tmp_path / "a.h5", layouts.layers(altered(arrays, 0, wrong)))
    refused(tmp_path / "a.h5", "not finite")


def test_negative_variance(arrays, tmp_path):
    layouts.keras2(tmp_path / "a.h5", layouts.layers(altered(arrays, 5, -arrays[5])))
    refused(tmp_path / "a.h5", "negative variance")


def test_missing_attributes(arrays, tmp_path):
    path = tmp_path / "a.h5"
    for damage in (
        lambda group: group.attrs.__delitem__("layer_names"),
        lambda group: group["conv1d_3"].attrs.__delitem__("weight_names"),
        lambda group: group.attrs.__setitem__("layer_names", "conv1d_1"),
        lambda group: group.attrs.__setitem__("layer_names", 7),
        lambda group: group.attrs.__setitem__("layer_names", h5py.Empty("S8")),
        lambda group: group.attrs.__setitem__("layer_names", [b"\xff\xfe"]),
        lambda group: group.attrs.__setitem__("layer_names", [b"absent"]),
        lambda group: group.attrs.__setitem__("layer_names", [b""]),
        lambda group: group["conv1d_3"].attrs.__setitem__("weight_names", [b"/", b"."]),
        lambda group: group["conv1d_3"].__delitem__("conv1d_3/bias:0"),
    ):
        layouts.keras2(path, layouts.layers(arrays))
        with h5py.File(path, "a") as file:
            damage(file["model_weights"])
        refused(path)


@pytest.mark.parametrize(
    "name, value",
    [
        ("mean", "much"),
        ("mean", np.nan),
        ("std", 0.0),
        ("std", [1.0, 2.0]),
        ("made_from", "no JSON"),
        ("made_from", "[]"),
        ("made_from", '{"inputs": [1]}'),
        ("made_from", '{"inputs": {"name": ["a"]}}'),
        ("made_from", '{"inputs": {"artists": "many"}}'),
    ],
)
def test_damaged_own_attributes(name, value, encoder, tmp_path):
    path = tmp_path / "best.h5"
    model = build_siamese(encoder, 1, mean=0.1, std=0.4)
    pretrained.save_weights(path, model, mean=0.1, std=0.4, made_from={"inputs": {}})
    with h5py.File(path, "a") as file:
        file.attrs[name] = value
    refused(path)
    with h5py.File(path, "a") as file:
        del file.attrs[name]
    if name != "made_from":
        refused(path)


# ---------------------------------------------------------------- hostile files


def test_code_in_a_file_never_runs(encoder, arrays, tmp_path):
    trap = tmp_path / "ran"
    code = f"(lambda x: (open({str(trap)!r}, 'w').close(), x)[1])"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(eval(code))])
    model.save(tmp_path / "trap.keras")
    with zipfile.ZipFile(tmp_path / "trap.keras") as archive:
        config = archive.read("config.json")
    trap.unlink()
    keras.saving.load_model(tmp_path / "trap.keras", safe_mode=False)
    trap.unlink()  # so the trap works, where somebody steps into it
    refused(tmp_path / "trap.keras")

    layouts.keras2(tmp_path / "a.h5", layouts.layers(arrays))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.attrs["model_config"] = config
    encoder.save(tmp_path / "whole.keras")
    with (
        zipfile.ZipFile(tmp_path / "whole.keras") as whole,
        zipfile.ZipFile(tmp_path / "a.keras", "w") as archive,
    ):
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", whole.read("model.weights.h5"))
    for name in ("a.h5", "a.keras"):
        assert same(pretrained.load_weights(str(tmp_path / name)), arrays)
    assert not trap.exists()


@pytest.mark.parametrize("where", ["model_weights", "model_weights/conv1d_1", "bias"])
@pytest.mark.parametrize("kind", ["external", "soft"])
def test_links_are_not_followed(where, kind, arrays, tmp_path):
    path, secret = tmp_path / "a.h5", tmp_path / "secret.h5"
    layouts.keras2(path, layouts.layers(arrays))
    layouts.keras2(secret, layouts.layers(arrays))
    where = "model_weights/conv1d_1/conv1d_1/bias:0" if where == "bias" else where
    with h5py.File(path, "a") as file:
        file.move(where, "aside")
        file[where] = (
            h5py.ExternalLink(str(secret), where) if kind == "external" else h5py.SoftLink("/aside")
        )
    refused(path, "link")


def test_keras3_links_are_not_followed(arrays, tmp_path):
    layouts.keras3(tmp_path / "secret.h5", layouts.layers(arrays))
    for where in ("layers", "layers/conv1d_1/vars/0"):
        layouts.keras3(tmp_path / "a.h5", layouts.layers(arrays))
        with h5py.File(tmp_path / "a.h5", "a") as file:
            del file[where]
            file[where] = h5py.ExternalLink(str(tmp_path / "secret.h5"), where)
        refused(tmp_path / "a.h5")
        with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
            archive.write(tmp_path / "a.h5", "model.weights.h5")
        refused(tmp_path / "a.keras")


def test_external_and_virtual_storage_are_not_read(arrays, tmp_path):
    path, secret = tmp_path / "a.h5", tmp_path / "secret"
    secret.write_bytes(bytes(512))
    for storage in ("external", "virtual"):
        layouts.keras2(path, layouts.layers(arrays))
        with h5py.File(path, "a") as file:
            own = file["model_weights/conv1d_1/conv1d_1"]
            del own["bias:0"]
            if storage == "external":
                own.create_dataset("bias:0", (128,), "f4", external=[(str(secret), 0, 512)])
            else:
                layout = h5py.VirtualLayout((128,), "f4")
                layout[:] = h5py.VirtualSource("other.h5", "bias", (128,))
                own.create_virtual_dataset("bias:0", layout)
        refused(path, "another file")


def test_declared_sizes_are_not_believed(arrays, tmp_path):
    """Datasets that declare much and store nothing: alone too large, or by their number."""
    path = tmp_path / "a.h5"
    for count, size in ((1, 1 << 40), (100, 1 << 25)):
        with h5py.File(path, "w") as file:
            for number in range(count):
                file.create_dataset(f"layers/a/vars/{number}", (size,), "f4", chunks=(1 << 16,))
        assert path.stat().st_size < 1 << 20
        refused(path, "declares")


def test_text_that_refers_to_itself_is_not_unfolded(tmp_path):
    """A million references to one long text would take no room in the file, but in memory."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("layers/a/vars/0", (1 << 20,), h5py.string_dtype(), chunks=(1 << 16,))
    refused(tmp_path / "a.h5", "floats")


def test_zip_bombs(tmp_path, monkeypatch):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(1 << 20))
    monkeypatch.setattr(pretrained, "_LARGEST", 1 << 19)
    refused(path, "larger")
    monkeypatch.undo()
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("model.weights.h5", bytes(1 << 20))
        refused(path, "compressed")


def test_zip_that_unpacks_to_more_than_it_declares(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(1 << 26))
        archive.infolist()[0].file_size = 1000  # goes into the directory on closing
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        assert archive.infolist()[0].file_size == 1000, "the test tests nothing"
    tracemalloc.start()
    refused(tmp_path / "a.keras")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 23


def test_other_members_of_an_archive_are_left_alone(arrays, tmp_path):
    layouts.keras3(tmp_path / "model.weights.h5", layouts.layers(arrays))
    folder = tmp_path / "below"
    folder.mkdir()
    with zipfile.ZipFile(folder / "a.keras", "w") as archive:
        archive.write(tmp_path / "model.weights.h5", "model.weights.h5")
        archive.writestr("../escaped", "x")
        archive.writestr(str(tmp_path / "escaped"), "x")
        archive.writestr("assets/__init__.py", "raise SystemExit")
    before = sorted(tmp_path.rglob("*"))
    assert same(pretrained.load_weights(str(folder / "a.keras")), arrays)
    assert sorted(tmp_path.rglob("*")) == before


def test_archive_without_weights(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    refused(tmp_path / "a.keras")


# ---------------------------------------------------------------- the registry


@pytest.fixture
def one_released(arrays, tmp_path, monkeypatch):
    """A registry of one model, `tiny`, and the bytes that its author published."""
    layouts.keras2(tmp_path / "published.h5", layouts.layers(arrays))
    row = {
        "name": "tiny",
        "model": "siamese",
        "artists": "12",
        "repository": "someone/somewhere",
        "commit": "0" * 40,
        "path": "models/tiny/weights.59-12.32.h5",
        "git_blob": download.git_blob_id(tmp_path / "published.h5"),
    }
    registry = tmp_path / "registry.csv"
    registry.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n", encoding="utf-8")
    monkeypatch.setattr(released_weights, "REGISTRY", registry)
    monkeypatch.delenv(download.MIRROR_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return (tmp_path / "published.h5").read_bytes()


def test_mirror_by_argument_and_by_variable(one_released, arrays, tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "tiny.h5").write_bytes(one_released)
    found = pretrained.load_weights("tiny", mirror)
    assert same(found, arrays)
    assert (found.name, found.provenance["artists"]) == ("tiny", 12)
    monkeypatch.setenv(download.MIRROR_VARIABLE, str(mirror))
    assert same(pretrained.load_weights("tiny"), arrays)
    with pytest.raises(InputError, match=r"elsewhere.tiny\.h5: not in the mirror"):
        pretrained.load_weights("tiny", tmp_path / "elsewhere")


def test_known_by_its_content_under_any_name(one_released, tmp_path):
    (tmp_path / "renamed.h5").write_bytes(one_released)
    assert pretrained.load_weights(str(tmp_path / "renamed.h5")).name == "tiny"


def test_wrong_content_in_the_mirror_is_refused_and_kept(one_released, tmp_path):
    (tmp_path / "tiny.h5").write_bytes(one_released + b" ")
    with pytest.raises(InputError, match=r"tiny\.h5: not the file that was published"):
        pretrained.load_weights("tiny", tmp_path)
    assert (tmp_path / "tiny.h5").exists()


@pytest.fixture
def direct(monkeypatch):
    """Requests to this machine go past whatever proxy the environment names."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_downloaded_once_and_quietly(one_released, direct, arrays, monkeypatch):
    said = io.StringIO()
    for handler in pooch.get_logger().handlers:
        monkeypatch.setattr(handler, "stream", said)
    with server(one_released) as (address, asked):
        monkeypatch.setattr(download, "_RAW", address)
        for _ in range(2):
            assert same(pretrained.load_weights("tiny"), arrays)
    path = "/someone/somewhere/" + "0" * 40 + "/models/tiny/weights.59-12.32.h5"
    assert asked == [path]
    assert said.getvalue() == ""


def test_corrupted_download_is_refused_and_the_next_one_tried(
    one_released, direct, arrays, tmp_path, monkeypatch
):
    with server(one_released[:-1]) as (address, _):
        monkeypatch.setattr(download, "_RAW", address)
        with pytest.raises(InputError, match="not the file that was published, and is deleted"):
            pretrained.load_weights("tiny")
    assert not list((tmp_path / "cache").rglob("*.h5"))
    with server(one_released) as (address, asked):
        monkeypatch.setattr(download, "_RAW", address)
        assert same(pretrained.load_weights("tiny"), arrays)
    assert len(asked) == 1


def test_file_that_went_bad_in_the_cache_is_replaced(
    one_released, direct, arrays, tmp_path, monkeypatch
):
    with server(one_released) as (address, asked):
        monkeypatch.setattr(download, "_RAW", address)
        pretrained.load_weights("tiny")
        (cached,) = (tmp_path / "cache").rglob("*.h5")
        cached.write_bytes(b"rot")
        with pytest.raises(InputError, match="deleted; try again"):
            pretrained.load_weights("tiny")
        assert same(pretrained.load_weights("tiny"), arrays)
    assert len(asked) == 2


@pytest.mark.parametrize("answers", [True, False])
def test_no_network_or_no_such_file(answers, one_released, direct, monkeypatch):
    with server(b"") as (address, _):
        if answers:
            monkeypatch.setattr(download, "_RAW", address)
            with pytest.raises(InputError, match="--mirror") as caught:
                pretrained.load_weights("tiny")
    if not answers:  # the server is gone, its port closed
        monkeypatch.setattr(download, "_RAW", address)
        with pytest.raises(InputError, match="--mirror") as caught:
            pretrained.load_weights("tiny")
    assert "\n" not in str(caught.value) and address in str(caught.value)


def test_nowhere_to_download_to(one_released, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="cannot make this folder for downloads"):
        pretrained.load_weights("tiny")
