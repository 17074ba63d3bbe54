"""Arrays of numbers from .npy files, and files that claim to be such."""

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


def with_header(header: bytes, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


def refused(tmp_path, content: bytes, **options) -> str:
    """The one line with which the file is refused, at no more memory than it has."""
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
def test_numbers(array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    found = load_npy(tmp_path / "a.npy", ndim=array.ndim)
    assert type(found) is np.ndarray and found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_real_tags(music_data):
    tags = load_npy(music_data / "data/splits/MTAT_split/y_valid_pub.npy", ndim=2)
    assert tags.shape == (1529, 50) and set(np.unique(tags)) == {0, 1}


class _Touches:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_objects_are_not_loaded(tmp_path):
    mark = tmp_path / "mark"
    array = np.empty(1, object)
    array[0] = _Touches(mark)
    content = npy(array, allow_pickle=True)
    np.load(io.BytesIO(content), allow_pickle=True)
    assert mark.exists(), "the test tests nothing"
    mark.unlink()
    refused(tmp_path, content)
    refused(tmp_path, npy(np.array([(1, None)], [("a", "i4"), ("b", "O")]), allow_pickle=True))
    assert "not an .npy" in refused(tmp_path, pickle.dumps(_Touches(mark)))
    assert not mark.exists()


def test_more_claimed_than_there_is(tmp_path):
    for shape in (b"(10000000000,)", b"(3, 3)", b"(" + b"99999999999999999999," * 9 + b")"):
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': " + shape + b"}\n"
        refused(tmp_path, with_header(header, bytes(64)))
    whole = npy(np.arange(9.0))
    for cut in range(0, len(whole), 7):
        refused(tmp_path, whole[:cut])


def test_headers_that_are_none(tmp_path):
    for shape in (b"(-8,)", b"-1", b"'a'", b"(1.5,)", b"(((((", b"(" * 5000, b"-" * 9000 + b"1"):
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': " + shape + b"}\n"
        refused(tmp_path, with_header(header, bytes(64)))
    refused(tmp_path, with_header(b"__import__('os').system('touch mark')\n", bytes(64)))
    refused(tmp_path, with_header(b" " * 60_000 + b"\n"))
    assert not (tmp_path / "mark").exists()


@given(st.integers(6, 127), st.integers(0, 255))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_a_header_with_one_wrong_byte_fails_in_one_line_or_loads(tmp_path_factory, place, byte):
    content = bytearray(npy(np.arange(9.0)))
    content[place] = byte
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    path.write_bytes(content)
    try:
        assert load_npy(path).nbytes <= 72
    except InputError as error:
        assert str(error).startswith(f"{path}: ")


def test_text_and_other_dimensions(tmp_path):
    assert "no numbers" in refused(tmp_path, npy(np.array(["a"])))
    assert "has 1 dimensions, not 2" in refused(tmp_path, npy(np.arange(3)), ndim=2)
    with pytest.raises(InputError, match="no such file"):
        load_npy(tmp_path / "nowhere.npy")
    stream = io.BytesIO()
    np.savez(stream, a=np.arange(3))
    assert "not an .npy" in refused(tmp_path, stream.getvalue())


def test_arrays_end_to_end_are_what_was_put_in(tmp_path):
    random = np.random.default_rng(0)
    arrays = [random.random((count, 3)).astype(np.float32) for count in (4, 0, 1, 7)]
    rows, start = concatenate_on_disk(iter(arrays), tmp_path)
    assert start.tolist() == [0, 4, 4, 5, 12] and rows.dtype == np.float32
    for array, first, after in zip(arrays, start, start[1:], strict=False):
        np.testing.assert_array_equal(rows[first:after], array)
    assert not list(tmp_path.iterdir()), "the file has no name"
