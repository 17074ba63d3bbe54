"""Tests of published lists in Python 2's pickle format and of pickles that are rejected."""

import builtins
import collections
import pickle

import numpy as np
import pytest

from common.errors import InputError
from data_prep.datasets.pickled_lists import load_pickled_dict, load_pickled_texts


def write(folder, content: bytes):
    path = folder / "a.pkl"
    path.write_bytes(content)
    return path


def test_load_texts_from_python_2(tmp_path):
    text = b"(lp1\nS'd/it\\'s-0-29.npy'\np2\naS\"b\\\\n\\xe9.npy\"\np3\naVd\\u00e9\np4\na."
    assert load_pickled_texts(write(tmp_path, text)) == ["d/it's-0-29.npy", "b\\n\xe9.npy", "dé"]
    binary = b"\x80\x02]q\x01(U\x04a/\xe9bq\x02T\x02\x00\x00\x00b1q\x03e."
    assert load_pickled_texts(write(tmp_path, binary)) == ["a/éb", "b1"]


def test_load_dict_from_python_2(tmp_path):
    text = b"(dp1\nS'TR1'\np2\nS'8/3/83.clip.mp3'\np3\nsI7\nI8\nsS'TR3'\nL8L\ns."
    expected = {"TR1": "8/3/83.clip.mp3", "7": 8, "TR3": 8}
    assert load_pickled_dict(write(tmp_path, text)) == expected


def test_load_arrays_from_python_2(tmp_path):
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I3\nt"
    array += b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI0\n"
    text = b"(dS'a'\n" + array + rb"S'\x00\x00\x80?\x00\x00\x00\x00\x00\x00\x80?'" + b"\ntbs."
    binary = b"(dS'a'\n" + array + b"U\x0c\0\0\x80?\0\0\0\0\0\0\x80?tbs."
    for content in (text, binary):
        loaded = load_pickled_dict(write(tmp_path, content))["a"]
        np.testing.assert_array_equal(loaded, np.array([1, 0, 1], np.float32), strict=True)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL))
def test_load_arrays_and_scalars_from_python_3(tmp_path, protocol):
    values = {"a": np.array([1.0, 0.0]), "b": np.int64(3), "c": np.str_("é"), "d": b"\xff"}
    loaded = load_pickled_dict(write(tmp_path, pickle.dumps(values, protocol)))
    np.testing.assert_array_equal(loaded.pop("a"), values.pop("a"))
    if protocol < 3:
        values["d"] = loaded["d"]  # old protocols store bytes as encoded text
    assert loaded == values


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (collections.OrderedDict(a=1), "collections.OrderedDict"),
        ([builtins.len], "builtins.len"),
        (np.array([len], object), "builtins.len"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_any_other_global_is_rejected_with_a_one_line_error(tmp_path, value, name, protocol):
    name = name.replace("builtins", "__builtin__") if protocol < 4 else name
    path = write(tmp_path, pickle.dumps(value, protocol))
    for load in (load_pickled_texts, load_pickled_dict):
        with pytest.raises(InputError) as caught:
            load(path)
        assert str(caught.value) == (
            f"{path}: refers to {name!r}, which a list of tracks does not need; use the published "
            "file"
        )


@pytest.mark.parametrize("content", [b"", b"blues/blues.00012.wav\n", b"(lp1\nS'a'\n", b"I7\n."])
def test_files_that_are_not_lists_are_rejected_with_a_one_line_error(tmp_path, content):
    path = write(tmp_path, content)
    for load in (load_pickled_texts, load_pickled_dict):
        with pytest.raises(InputError, match=r"a\.pkl: .*; download it again") as caught:
            load(path)
        assert "\n" not in str(caught.value)
