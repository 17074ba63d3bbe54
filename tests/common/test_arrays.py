"""Arrays in .npy files, and arrays concatenated on disk."""

import io
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import concatenate_on_disk, load_npy
from common.errors import InputError


def npy(array, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def with_header(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


def with_shape(shape: bytes) -> bytes:
    return with_header(b"{'descr': '<f8', 'fortran_order': False, 'shape': " + shape + b"}\n")


def load_error(tmp_path, content: bytes, **options) -> str:
    """The one-line error for a file, which must not allocate what the header declares."""
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        load_npy(path, **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 22
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and "; " in message
    return message


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        np.array([True, False]),
        np.array(3, np.uint8),
    ],
)
def test_load_npy_returns_numbers(array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    loaded = load_npy(tmp_path / "a.npy", ndim=array.ndim)
    assert type(loaded) is np.ndarray and loaded.dtype == array.dtype
    np.testing.assert_array_equal(loaded, array)


def test_load_npy_reads_published_tags(music_data):
    tags = load_npy(music_data / "data/splits/MTAT_split/y_valid_pub.npy", ndim=2)
    assert tags.shape == (1529, 50) and set(np.unique(tags)) == {0, 1}


class _Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_load_npy_does_not_unpickle(tmp_path):
    touched = tmp_path / "touched"
    array = np.empty(1, object)
    array[0] = _Touch(touched)
    load_error(tmp_path, npy(array, allow_pickle=True))
    load_error(tmp_path, npy(np.array([(1, None)], [("a", "i4"), ("b", "O")]), allow_pickle=True))
    load_error(tmp_path, pickle.dumps(_Touch(touched)))
    assert not touched.exists()


@pytest.mark.parametrize(
    "shape",
    [
        *(b"(10000000000,)", b"(3, 3)", b"(" + b"99999999999999999999," * 9 + b")", b"(-8,)"),
        *(b"-1", b"'a'", b"(1.5,)", b"(((((", b"(" * 5000, b"-" * 9000 + b"1"),
    ],
)
def test_load_npy_rejects_invalid_shapes(tmp_path, shape):
    load_error(tmp_path, with_shape(shape))


def test_load_npy_rejects_other_content(tmp_path):
    whole = npy(np.arange(9.0))
    for end in range(0, len(whole), 7):
        load_error(tmp_path, whole[:end])
    load_error(tmp_path, with_header(b"open('touched', 'w')\n"))
    load_error(tmp_path, with_header(b" " * 60_000 + b"\n"))
    assert "contains no numbers" in load_error(tmp_path, npy(np.array(["a"])))
    assert "has 1 dimensions, not 2" in load_error(tmp_path, npy(np.arange(3)), ndim=2)
    with pytest.raises(InputError, match="no such file"):
        load_npy(tmp_path / "absent.npy")
    stream = io.BytesIO()
    np.savez(stream, a=np.arange(3))
    assert "not an .npy" in load_error(tmp_path, stream.getvalue())


@given(st.integers(6, 127), st.integers(0, 255))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_load_npy_loads_or_rejects_a_damaged_header(tmp_path_factory, place, byte):
    content = bytearray(npy(np.arange(9.0)))
    content[place] = byte
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    path.write_bytes(content)
    try:
        assert load_npy(path).nbytes <= 72
    except InputError as error:
        assert str(error).startswith(f"{path}: ")


def test_concatenate_on_disk_returns_all_rows(tmp_path):
    random = np.random.default_rng(0)
    arrays = [random.random((count, 3)).astype(np.float32) for count in (4, 0, 1, 7)]
    rows, start = concatenate_on_disk(iter(arrays), tmp_path)
    assert start.tolist() == [0, 4, 4, 5, 12] and rows.dtype == np.float32
    np.testing.assert_array_equal(rows, np.concatenate(arrays))
    assert not list(tmp_path.iterdir()), "the file has no name"
