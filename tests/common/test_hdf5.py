"""Tests that only values stored in an HDF5 file itself are read, and that writing is atomic."""

import os

import h5py
import numpy as np
import pytest

from common import hdf5
from common.errors import InputError
from tests.conftest import run_script


@pytest.fixture
def path(tmp_path):
    """Return the path of a file with valid and invalid objects of every type."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.arange(4)
    (tmp_path / "raw").write_bytes(bytes(32))
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file["group/numbers"] = np.arange(6.0).reshape(2, 3)
        file["text"] = ["a", "ü", "日本"]
        file["flag"] = np.array([True])
        file["scalar text"] = "abc"
        file["bytes"] = np.array([b"\xff\xfe"])
        file["external link"] = h5py.ExternalLink("other.h5", "secret")
        # Opening this link would block.
        file["pipe link"] = h5py.ExternalLink("pipe", "secret")
        file["soft link"] = h5py.SoftLink("/group/numbers")
        file["linked group"] = h5py.SoftLink("/group")
        file.create_dataset("external", (4,), "i8", external=[(str(tmp_path / "raw"), 0, 32)])
        layout = h5py.VirtualLayout((4,), "i8")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "secret", (4,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("huge", (2**40,), "f8", chunks=(1024,))
        file.create_dataset("large", (2**28,), "f8", chunks=(1024,))
        file.create_dataset("huge text", (2**40,), h5py.string_dtype(), chunks=(1024,))
        file.attrs["json"], file.attrs["list"] = '{"a": 1}', "[1]"
        file.attrs["broken"], file.attrs["deep"] = '{"a":', "[" * 20000
        file.attrs["number"], file.attrs["vector"] = 1.5, [1.5, 2.5]
    return path


def test_read_functions_return_the_values_of_valid_objects(path):
    with hdf5.open_file(path) as file:
        assert hdf5.read_array(file, "group/numbers").tolist() == [[0, 1, 2], [3, 4, 5]]
        assert hdf5.read_array(file["group"], "numbers").shape == (2, 3)
        assert hdf5.read_strings(file, "text").tolist() == ["a", "ü", "日本"]
        assert hdf5.read_json_attribute(file, "json") == {"a": 1}
        assert hdf5.read_attribute(file, "number", float) == 1.5


@pytest.mark.parametrize(
    ("read", "problem", "names"),
    [
        (hdf5.read_array, "is a link", "external link, soft link, linked group/numbers, pipe link"),
        (hdf5.read_array, "is stored in another file", "external, virtual"),
        (hdf5.read_array, "is missing", "absent, group/absent, text/below"),
        (hdf5.read_array, "is not a dataset", "group"),
        (hdf5.read_array, "more than it can contain", "huge, large"),
        (hdf5.read_array, "does not contain numbers", "flag, text"),
        (hdf5.read_strings, "does not contain text", "group/numbers, scalar text"),
        (hdf5.read_strings, "more than it can contain", "huge text"),
        (hdf5.read_strings, "is damaged", "bytes"),
        (hdf5.read_json_attribute, "is missing", "absent, number, vector"),
        (hdf5.read_json_attribute, "is not a JSON object", "list, broken, deep"),
    ],
)
def test_read_functions_reject_invalid_objects(path, read, problem, names):
    for name in names.split(", "):
        with hdf5.open_file(path) as file, pytest.raises(InputError, match=problem) as caught:
            read(file, name)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and name in message and "\n" not in message


def test_open_file_rejects_paths_that_are_not_hdf5_files(tmp_path, path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "split.csv").write_text("hello")
    problems = {"text": "not an HDF5 file", "absent": "no such file", "pipe": "not a file"}
    problems["split.csv"] = "is a list, but an .h5 file is expected here; check the order"
    for name, problem in problems.items():
        with pytest.raises(InputError, match=f"{tmp_path / name}: {problem}"):
            hdf5.open_file(tmp_path / name)


def test_open_file_rejects_truncated_files(path, tmp_path):
    content = path.read_bytes()
    cut = tmp_path / "cut.h5"
    for end in range(0, len(content), len(content) // 50):
        cut.write_bytes(content[:end])
        with pytest.raises(InputError, match="not an HDF5 file, or damaged"):
            hdf5.open_file(cut)


def test_create_file_is_atomic(tmp_path):
    path = tmp_path / "out.h5"
    with hdf5.create_file(path) as file:
        file["x"], file.attrs["a"] = np.arange(100_000), "b"
        file["s"] = ["ab"] * 1000
    with hdf5.open_file(path) as file:
        assert hdf5.read_array(file, "x").sum() == 4999950000
        assert hdf5.read_strings(file, "s")[999] == "ab"
    with pytest.raises(ValueError, match="stop"), hdf5.create_file(path) as file:
        file["y"] = 1
        raise ValueError("stop")
    with hdf5.open_file(path) as file:
        assert "x" in file
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5"]


FULL = """
import resource, signal, sys
import h5py, numpy as np
from common import hdf5
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (0, 700, 5_000, 50_000, 500_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with hdf5.create_file(sys.argv[1]) as file:
            file.attrs["text"] = "x" * 3000
            file["names"] = ["some name"] * 2000
            frames = file.create_dataset("frames", (10_000, 128), np.float16)
            frames[:5_000] = 1
            frames[5_000:] = 2
        print("written")
    except OSError as error:
        print(error.errno, error.filename)
"""


def test_create_file_on_a_full_disk_raises_one_error_with_the_file_name(tmp_path):
    """Test that stderr stays empty, because HDF5 itself would print tracebacks."""
    result = run_script("-c", FULL, tmp_path / "out.h5")
    assert result.out == f"27 {tmp_path / 'out.h5'}\n" * 5
    assert not list(tmp_path.iterdir())
