"""Published lists as Python 2 wrote them, and pickles that would do something else."""

import itertools
import os
import pickle
import re
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from data_prep.datasets import pickled_lists
from data_prep.datasets.pickled_lists import load_pickled_list

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def loaded(tmp_path, content: bytes):
    (tmp_path / "a.pkl").write_bytes(content)
    return load_pickled_list(tmp_path / "a.pkl")


def refused(tmp_path, content: bytes) -> str:
    """The one line with which a pickle is refused, in little time and memory."""
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        load_pickled_list(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (1 << 22) + 200 * len(content)
    assert time.monotonic() - began < 10
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "; " in message and message.isprintable()
    return message


# ---------------------------------------------------------------- what is read


def test_lists_of_python_2(tmp_path):
    text = b"(lp1\nS'd/it\\'s-0-29.npy'\np2\naS\"b\\\\n\\xe9.npy\"\np3\naVd\\u00e9\np4\nag2\na."
    assert loaded(tmp_path, text) == ["d/it's-0-29.npy", "b\\n\xe9.npy", "dé", "d/it's-0-29.npy"]
    binary = b"\x80\x02]q\x01(U\x04a/\xe9bq\x02T\x02\x00\x00\x00b1q\x03h\x02K\x05e."
    assert loaded(tmp_path, binary) == ["a/éb", "b1", "a/éb", 5]
    first_binary = b"]q\x01(U\x02a1q\x02X\x02\x00\x00\x00b1q\x03J\xff\xff\xff\xffM\x00\x01e."
    assert loaded(tmp_path, first_binary) == ["a1", "b1", -1, 256]


def test_dictionaries_and_sets_of_python_2(tmp_path):
    text = b"(dp1\nS'TR1'\np2\nS'8/3/83.clip.mp3'\np3\nsS'TR2'\np4\nI7\nsS'TR3'\nL8L\nsI01\nI00\ns."
    assert loaded(tmp_path, text) == {"TR1": "8/3/83.clip.mp3", "TR2": 7, "TR3": 8, True: False}
    marked = b"(S'a'\nI1\nS'b'\nF2.5\nd."
    assert loaded(tmp_path, marked) == {"a": 1, "b": 2.5}
    a_set = b"c__builtin__\nset\np1\n((lp2\nS'a'\naS'b'\natRp3\n."
    assert loaded(tmp_path, a_set) == {"a", "b"}


def test_arrays_of_python_2(tmp_path):
    """Tags by track; the second array refers to what the first one named, as cPickle does."""
    state = b"(I1\n(I3\ntp%d\n%sI00\nS'%s'\ntbs"
    dtype = b"cnumpy\ndtype\np5\n(S'f4'\nI0\nI1\ntRp6\n(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    first = b"cnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntS'b'\ntRp4\n"
    second = b"g2\n(g3\n(I0\ntS'b'\ntRp8\n"
    ones = b"\\x00\\x00\\x80?" * 3
    content = b"(dp1\nS'TR1'\n" + first + state % (7, dtype, ones)
    content += b"S'TR2'\n" + second + state % (9, b"g6\n", b"\\x00" * 12) + b"."
    found = loaded(tmp_path, content)
    assert list(found) == ["TR1", "TR2"] and found["TR1"].dtype == np.float32
    assert found["TR1"].tolist() == [1, 1, 1] and found["TR2"].tolist() == [0, 0, 0]


def test_scalars_of_python_2(tmp_path):
    dtype = b"cnumpy\ndtype\n(S'S3'\nI0\nI1\ntR(I3\nS'|'\nNNNI3\nI1\nI0\ntb"
    content = b"(lcnumpy.core.multiarray\nscalar\n(" + dtype + b"S'TR1'\ntRa."
    assert loaded(tmp_path, content) == [np.bytes_(b"TR1")]


def test_published_lists(music_data):
    folder = music_data / "data" / "splits"
    paths = sorted(folder.rglob("*.cP"))
    assert len(paths) >= 4
    for path in paths:  # known by their content ids, so Python's own reader may read them too
        assert load_pickled_list(path) == pickle.loads(path.read_bytes(), encoding="latin-1")


plain = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary()
values = st.recursive(
    plain | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(plain, inner)
        | st.sets(plain)
        | st.frozensets(plain)
    ),
    max_leaves=10,
)


@given(values, st.sampled_from(PROTOCOLS))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_plain_values_of_any_protocol(tmp_path_factory, value, protocol):
    found = loaded(tmp_path_factory.mktemp("pickle"), pickle.dumps(value, protocol))
    assert found == value and repr(type(found)) == repr(type(value))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        np.arange(2000, dtype=np.float32)[::2],
        np.array([True, False]),
        np.array([[1 + 2j]], np.complex64),
        np.array(["é", "abc"]),
        np.array([b"TR1", b""]),
        np.array(3),
        np.zeros((0, 50)),
    ],
)
def test_arrays_of_any_protocol(array, protocol, tmp_path):
    content = pickle.dumps([array, array], protocol)
    found, again = loaded(tmp_path, content)
    assert type(found) is np.ndarray and found is again and not found.flags.writeable
    assert found.dtype == pickle.loads(content)[0].dtype  # NumPy swaps the bytes of some
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_array_scalars_of_any_protocol(protocol, tmp_path):
    scalars = [np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("é"), np.bytes_(b"a")]
    found = loaded(tmp_path, pickle.dumps([scalars, {scalars[3]: scalars[1]}], protocol))
    assert found == [scalars, {scalars[3]: scalars[1]}]
    assert list(map(type, found[0])) == list(map(type, scalars))


# ---------------------------------------------------------------- what would do something


class Calls:
    """An object whose pickle says: call this function with these arguments."""

    def __init__(self, function, *arguments):
        self.how = function, arguments

    def __reduce__(self):
        return self.how


def running(mark: str) -> dict[str, bytes]:
    """Pickles that make the file `mark` when Python loads them, by what they are refused for."""
    touch = f"touch {mark}".encode()
    code = f"open({mark!r}, 'w')"
    found = {
        "would load posix.system, which": b"cposix\nsystem\n(S'" + touch + b"'\ntR.",
        "would load posix.system": b"(S'" + touch + b"'\niposix\nsystem\n.",
        "load posix.system": b"(cposix\nsystem\nS'" + touch + b"'\no.",
        "would load builtins.exec": pickle.dumps(Calls(exec, code), 4),
    }
    for protocol in PROTOCOLS:
        module = "__builtin__" if protocol < 3 else "builtins"
        found[f"would load {module}.eval (protocol {protocol})"] = pickle.dumps(
            {"tracks": [Calls(eval, code)]}, protocol
        )
    return found


@pytest.mark.parametrize("why", running("x"))
def test_nothing_is_run(why, tmp_path):
    mark = tmp_path / "mark"
    content = running(str(mark))[why]
    pickle.loads(content)
    assert mark.exists(), "the test tests nothing"
    mark.unlink()
    assert why.partition(" (")[0] in refused(tmp_path, content)
    assert not mark.exists() and os.listdir(tmp_path) == ["a.pkl"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"csubprocess\nPopen\n)R.", "would load subprocess.Popen"),
        (b"ccopy_reg\n_reconstructor\n.", "would load copy_reg._reconstructor"),
        (b"cnumpy\nload\n(S'x'\ntR.", "would load numpy.load"),
        (b"cnumpy\nndarray.tofile\n.", "would load numpy.ndarray.tofile"),
        (b"\x80\x04\x8c\x08builtins\x8c\x0dset.__class__\x93.", "would load builtins.set.__class"),
        (b"\x80\x02c__builtin__\nset\n)\x81.", "instruction NEWOBJ"),
        (b"\x80\x04c__builtin__\nset\n)}\x92.", "instruction NEWOBJ_EX"),
        (b"(c__builtin__\nset\no.", "instruction OBJ"),
        (b"(i__builtin__\nset\n.", "would load __builtin__.set"),
        (b"Pname\n.", "instruction PERSID"),
        (b"S'a'\nQ.", "instruction BINPERSID"),
        (b"\x82\x01.", "instruction EXT1"),
        (b"\x83\x01\x00.", "instruction EXT2"),
        (b"\x84\x01\x00\x00\x00.", "instruction EXT4"),
        (b"\x80\x05\x97.", "instruction NEXT_BUFFER"),
        (b"]}b.", "sets the state"),
        (b"c__builtin__\nset\n}b.", "sets the state"),
        (b"cnumpy\nndarray\n.", "holds a function"),
        (b"]cnumpy\nndarray\na.", "holds a function"),
        (b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR.", "holds a Float64DType"),
        (b"co\x1b[31m\nsystem\x07\n.", r"would load 'o\x1b[31m.system\x07', which"),
    ],
)
def test_what_no_list_needs_is_refused_by_name(content, why, tmp_path):
    assert why in refused(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        b"S'touch x'\n)R.",
        b"])R.",
        b"c__builtin__\nset\nS'ab'\nR.",
        b"c__builtin__\nset\n(S'ab'\ntR.",
        b"cnumpy\nndarray\n)R.",
        b"cnumpy.core.multiarray\n_reconstruct\n(c__builtin__\nset\n(I0\ntS'b'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n(S'f8'\nS'12345678'\ntR.",
        b"c_codecs\nencode\n(S'ab'\nS'rot13'\ntR.",
        b"\x80\x04K\x01K\x02\x93.",
        b"]S'a'\nI1\ns.",
        b"}I1\na.",
        b"}(I1\ne.",
        b"](I1\nI2\nu.",
        b"}(I1\nu.",
        b"S'ab'\nI1\na.",
    ],
)
def test_instructions_on_what_they_are_not_for(content, tmp_path):
    assert "not a pickle, or a damaged one" in refused(tmp_path, content)


# ---------------------------------------------------------------- arrays of anything else


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_of_objects(protocol, tmp_path):
    mark = tmp_path / "mark"
    objects = np.empty(1, object)
    objects[0] = Calls(open, str(mark), "w")
    assert "type O8" in refused(tmp_path, pickle.dumps(objects, protocol))
    assert not mark.exists()
    assert "type O8" in refused(tmp_path, pickle.dumps(np.array([None]), protocol))
    structured = np.zeros(2, [("a", "i4"), ("b", "O")])
    assert "type V12" in refused(tmp_path, pickle.dumps(structured, protocol))
    nested = np.zeros(2, [("a", [("b", "O")])])
    assert "type V8" in refused(tmp_path, pickle.dumps(nested, protocol))
    assert "type M8" in refused(tmp_path, pickle.dumps(np.zeros(2, "M8[s]"), protocol))


BLANK = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
DTYPE = b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR"
ORDER = b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (DTYPE + b"(I3\nS'|'\nN(S'a'\nt(dS'a'\n(NI0\ntsI8\nI1\nI0\ntb.", "of many types"),
        (DTYPE + b"(I3\nS'|'\n(NNtNNI8\nI1\nI0\ntb.", "of many types"),
        (DTYPE + ORDER + ORDER + b".", "sets the state"),
        (BLANK + b"(I1\n(I1\nt" + DTYPE + ORDER + b"I00\n(lNatb.", "damaged"),
        (BLANK + b"(I1\n(I2\nt" + DTYPE + ORDER + b"I00\nS'12345678'\ntb.", "damaged"),
        (BLANK + b"(I1\n(I-1\nt" + DTYPE + ORDER + b"I00\nS'12345678'\ntb.", "damaged"),
        (BLANK + b"(I1\n(I10000000000\nt" + DTYPE + ORDER + b"I00\nS'12345678'\ntb.", "damaged"),
        (BLANK + b"(I1\n(" + b"I0\n" * 999 + b"t" + DTYPE + b"I00\nS''\ntb.", "damaged"),
        (BLANK + b"(I1\n(I1\ntS'f8'\nI00\nS'12345678'\ntb.", "damaged"),
        (BLANK + (b"(I1\n(I1\nt" + DTYPE + b"I00\nS'12345678'\ntb") * 2 + b".", "sets the state"),
        (DTYPE.replace(b"f8", b"S0") + b".", "type S0"),
        (DTYPE.replace(b"f8", b"S4000000000") + b".", "type S4000000000"),
        (DTYPE.replace(b"f8", b"f8,O") + b".", "type 'f8,O'"),
        (DTYPE.replace(b"f8", b"i7") + b".", "damaged"),
        (DTYPE + ORDER.replace(b"<", b"|") + b".", "damaged"),
    ],
)
def test_arrays_of_tricks(content, why, tmp_path):
    assert why in refused(tmp_path, content)


def test_text_of_what_are_no_characters(tmp_path):
    content = pickle.dumps(np.array(["abc"]), 4)
    assert "damaged" in refused(tmp_path, content.replace(b"a\0\0\0", b"a\0\0\xff"))
    assert "damaged" in refused(tmp_path, content.replace(b"a\0\0\0", b"\0\xd8\0\0"))


# ---------------------------------------------------------------- bombs


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8e" + (10**10).to_bytes(8, "little") + b"x.",
        b"\x80\x04\x8d" + (10**10).to_bytes(8, "little") + b"x.",
        b"\x80\x05\x96" + (10**10).to_bytes(8, "little") + b"x.",
        b"\x80\x04\x8e" + b"\xff" * 8 + b"x.",
        b"B\xff\xff\xff\xffx.",
        b"X\xff\xff\xff\xffx.",
        b"T\xff\xff\xff\xffx.",
        b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
        b"\x80\x02\x8b\x00\x00\x00\x80\x01.",
        b"\x80\x02\x8a\xff" + b"\x01" * 255 + b".",
        b"I" + b"9" * 1_000_000 + b"\n.",
        b"L" + b"9" * 1_000_000 + b"L\n.",
        b"]p" + b"9" * 1_000_000 + b"\n.",
        b"g" + b"9" * 1_000_000 + b"\n.",
        b"\x80\x04\x95" + b"\xff" * 8,
        b"\x80\x06].",
    ],
)
def test_lengths_and_digits_that_are_not_there(content, tmp_path):
    assert "not a pickle, or a damaged one" in refused(tmp_path, content)


def test_a_memo_of_any_number_takes_no_room(tmp_path):
    tracemalloc.start()
    for content in (b"]r\xff\xff\xff\xff0j\xff\xff\xff\xff.", b"]p9999999999\n0g9999999999\n."):
        assert loaded(tmp_path, content) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    "content",
    [
        b"]" * 100_000 + b"a" * 99_999 + b".",
        b"(" * 100_000 + b"l" * 100_000 + b".",
        b"(" * 100_000 + b"t" * 100_000 + b".",
        b")" + b"\x85" * 100_000 + b".",
        b"N" + b"}I1\n" * 100_000 + b"N" + b"s" * 100_000 + b"\x86.",
        b"]q\x00h\x00a.",
        b"}q\x00I1\nh\x00s.",
        b"]q\x00h\x00\x85a.",
    ],
)
def test_nesting_without_end(content, tmp_path):
    assert "nests its values more than 16 deep" in refused(tmp_path, content)


def test_a_billion_laughs_are_one_list(tmp_path):
    """Each list holds the one before it ten times; it is the same one each time."""
    levels = b"".join(b"q\x000](" + b"h\x00" * 10 + b"e" for _ in range(12))
    found = loaded(tmp_path, b"]" + levels + b".")
    assert len(found) == 10 and all(item is found[0] for item in found)


def test_what_grows_by_copying(tmp_path):
    numbers = b"](" + b"".join(b"M" + n.to_bytes(2, "little") for n in range(20_000)) + b"eq\x00"
    sets = (b"c__builtin__\nset\n(h\x00tR" * 5000, b"c__builtin__\nfrozenset\n(h\x00tR" * 5000)
    text = b"T\x50\xc3\x00\x00" + b"a" * 50_000 + b"q\x00"
    dtype = b"cnumpy\ndtype\n(S'S50000'\nI0\nI1\ntRq\x01"
    scalars = dtype + b"cnumpy.core.multiarray\nscalar\nq\x02" + b"h\x02(h\x01h\x00tR" * 5000
    encoded = b"c_codecs\nencode\n(h\x00S'latin1'\ntR" * 5000
    contents = [numbers + made for made in sets] + [text + scalars, text + encoded]
    for content in contents:
        assert "repeats its values" in refused(tmp_path, b"(" + content + b"l.")


@pytest.mark.parametrize(
    "content",
    [
        b")q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(60)) + b"q\x01}h\x01Ns.",
        b"\x80\x04(((\x91\x91\x91.",
        b"}]Ns.",
        b"}F1.5\nNs.",
        b"\x80\x04\x8f()\x90.",
        b"c__builtin__\nset\n(](]etR.",
    ],
)
def test_keys_that_cannot_be_or_take_forever_to_hash(content, tmp_path):
    assert "has keys that are neither text nor whole numbers" in refused(tmp_path, content)


def test_too_long_a_program_and_too_large_a_file(tmp_path, monkeypatch):
    content = pickle.dumps(list(range(100)))
    assert loaded(tmp_path, content) == list(range(100))
    monkeypatch.setattr(pickled_lists, "_MOST_STEPS", 100)
    assert "takes more steps" in refused(tmp_path, content)
    monkeypatch.setattr(pickled_lists, "_LARGEST", 100)
    assert "is larger than any list" in refused(tmp_path, content)


# ---------------------------------------------------------------- damage


def real(protocol: int) -> bytes:
    value = [{"TR1": np.arange(3.0), "b": (1, 2.5, None)}, {"x", "y"}, np.str_("é"), b"\x00", True]
    return pickle.dumps(value, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cut_anywhere(protocol, tmp_path):
    whole = real(protocol)
    for cut in range(len(whole)):
        (tmp_path / "a.pkl").write_bytes(whole[:cut])
        with pytest.raises(InputError, match="not a pickle, or a damaged one"):
            load_pickled_list(tmp_path / "a.pkl")


@given(st.data())
@settings(deadline=None, derandomize=True, max_examples=300)
def test_wrong_bytes_fail_in_one_line_or_load(tmp_path_factory, data):
    content = bytearray(real(data.draw(st.sampled_from(PROTOCOLS))))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("pickle") / "a.pkl"
    path.write_bytes(content)
    try:
        load_pickled_list(path)
    except InputError as error:
        assert re.fullmatch(re.escape(f"{path}: ") + ".*; .*", str(error))


@given(st.lists(st.sampled_from(sorted(pickled_lists._STEPS)) | st.binary(max_size=3)))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_any_instructions_fail_in_one_line_or_load(tmp_path_factory, instructions):
    content = b"".join(itertools.chain(instructions, [b"."]))
    try:
        loaded(tmp_path_factory.mktemp("pickle"), content)
    except InputError as error:
        assert str(error).isprintable()


@pytest.mark.parametrize(
    "content",
    [b"", b".", b"blues/blues.00012.wav\n", b"# a list\n", b"PK\x03\x04", b"].junk", b"]]."],
)
def test_what_is_no_pickle(content, tmp_path):
    message = refused(tmp_path, content)
    assert "not a pickle" in message or content.startswith(b"PK")


def test_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere.pkl"):
        with pytest.raises(InputError, match="no such file; check the path"):
            load_pickled_list(path)


def test_nothing_is_imported(tmp_path):
    """A module on the path whose import would be seen is not so much as looked for."""
    (tmp_path / "trap.py").write_text("open('mark', 'w')\n", encoding="utf-8")
    (tmp_path / "a.pkl").write_bytes(b"ctrap\nlist\n.")
    program = "import pickle; pickle.load(open('a.pkl', 'rb'))"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    mark = tmp_path / "mark"
    assert mark.exists(), "the test tests nothing"
    mark.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        patch.chdir(tmp_path)
        with pytest.raises(InputError, match=r"would load trap\.list"):
            load_pickled_list(tmp_path / "a.pkl")
    assert not mark.exists()
