"""Python pickles of plain values, read without Python's unpickler.

The published lists of tracks are pickles, and to load a pickle is to run
whatever its author wrote into it. This reader carries out the format's
instructions itself. It knows those that make containers, text, numbers and
NumPy arrays, and makes these with its own functions: it imports nothing and
calls nothing that a file names.
"""

import codecs
import io
import math
import pickle  # for its names of the instructions only
import pickletools
import re
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FunctionType
from typing import Any, NoReturn

import numpy as np

from common.cli import progress_bar
from common.errors import InputError

_LARGEST = 1 << 27  # bytes; GitHub, where the lists are published, takes no file this large
_MOST_STEPS = 1 << 25  # instructions; a dictionary of a million tracks takes six million
_DEEPEST = 16  # containers in containers
_NEEDLESS = "which a list of tracks has no need of"
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
)

_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
_WHOLE = {np.dtype(code).type for code in "bBhHiIlLqQ"}
# No tuples, whose hash can be made to take forever, nor floats, many of which can share one.
_KEYS = frozenset({str, bytes, int, bool, type(None), np.str_, np.bytes_, *_WHOLE})
_VALUES = _KEYS | {float, np.ndarray}


def load_pickled_list(path: str | Path) -> Any:
    """The value in a pickle of protocol 0 to 5, as Python 2 or 3 wrote it.

    It is made of lists, tuples, dicts, sets, str, bytes, numbers, bools, None,
    and read-only NumPy arrays and scalars of numbers or text. Python 2's byte
    strings become str, a character for each byte (Latin-1). Keys are text or
    whole numbers.

    Raises
    ------
    InputError
        No such file, not a pickle, a damaged one, or one that holds or would
        do anything else; nothing of it has been done then.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path}: is larger than any list of tracks; use the published file")
    try:
        value = _Reader(path.read_bytes()).value()
        _require_plain(value)
    except _Refused as error:
        raise InputError(f"{path}: {error}; use the published file") from None
    except _DAMAGE as error:
        raise InputError(f"{path}: not a pickle, or a damaged one; download it again") from error
    return value


class _Refused(Exception):
    """What a file would do, or holds, that none of the published does."""


class _Reader:
    """The pickle machine: a stack, marks on it, and a memo of values to come back to."""

    def __init__(self, content: bytes):
        stream = io.BytesIO(content)
        self.read, self._readline, self._position = stream.read, stream.readline, stream.tell
        self.stack: list = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._blank: dict[int, Any] = {}  # by id: arrays and types whose state is still to come
        self._size = len(content)
        self._room = 2 * self._size  # for copies: text becomes bytes, and bytes an array

    def value(self) -> Any:
        """Carry out all instructions; the one value that they leave."""
        with progress_bar(total=self._size, unit="B", unit_scale=True, desc="reading") as bar:
            for number in range(_MOST_STEPS):
                code = self.read(1)
                if code == pickle.STOP:
                    break
                _STEPS.get(code, _unknown)(self, code)
                if not number % 65536:
                    bar.update(self._position() - bar.n)
            else:
                raise _Refused("takes more steps than any list of tracks")
        if self.read(1):
            raise ValueError("goes on after its end")
        (value,) = self.stack
        return value

    # -------------------------------------------------------- reading

    def take(self, size: int) -> bytes:
        content = self.read(size)
        if len(content) != size:
            raise EOFError
        return content

    def line(self) -> bytes:
        line = self._readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line[:-1]

    # -------------------------------------------------------- stack and memo

    def mark(self, _: bytes) -> None:
        self._marks.append(len(self.stack))

    def above(self) -> list:
        """Take off the stack what lies above its last mark."""
        mark = self._marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def pop(self, _: bytes) -> None:
        self.stack.pop()

    def pop_mark(self, _: bytes) -> None:
        self.above()

    def duplicate(self, _: bytes) -> None:
        self.stack.append(self.stack[-1])

    def put_text(self, _: bytes) -> None:
        self._memo[_whole(self.line())] = self.stack[-1]

    def put(self, code: bytes) -> None:
        size = 1 if code == pickle.BINPUT else 4
        self._memo[int.from_bytes(self.take(size), "little")] = self.stack[-1]

    def memoize(self, _: bytes) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    def get_text(self, _: bytes) -> None:
        self.stack.append(self._memo[_whole(self.line())])

    def get(self, code: bytes) -> None:
        size = 1 if code == pickle.BINGET else 4
        self.stack.append(self._memo[int.from_bytes(self.take(size), "little")])

    # -------------------------------------------------------- text and numbers

    def text(self, _: bytes) -> None:
        """Python 2's byte string, quoted and escaped."""
        line = self.line()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise ValueError("no quotes")
        content = line[1:-1]
        if b"\\" in content:
            content = codecs.escape_decode(content)[0]
        self.stack.append(content.decode("latin-1"))

    def unicode(self, _: bytes) -> None:
        text = self.line().decode("raw-unicode-escape")
        text.encode()  # fails where half of a character is escaped, which could not be written down
        self.stack.append(text)

    def whole_text(self, _: bytes) -> None:
        line = self.line()
        self.stack.append(line == b"01" if line in (b"00", b"01") else _whole(line))

    def long_text(self, _: bytes) -> None:
        self.stack.append(_whole(self.line().removesuffix(b"L")))

    def long(self, code: bytes) -> None:
        size = int.from_bytes(self.take(1 if code == pickle.LONG1 else 4), "little")
        if size > 9:  # bytes, of which an unsigned number of 64 bits takes so many
            raise ValueError("too many digits")
        self.stack.append(int.from_bytes(self.take(size), "little", signed=True))

    def float_text(self, _: bytes) -> None:
        self.stack.append(float(self.line()))

    # -------------------------------------------------------- containers

    def tuple_of_marked(self, _: bytes) -> None:
        self.stack.append(tuple(self.above()))

    def list_of_marked(self, _: bytes) -> None:
        self.stack.append(self.above())

    def dict_of_marked(self, _: bytes) -> None:
        items = self.above()
        self.stack.append({})
        self._store(items)

    def frozenset_of_marked(self, _: bytes) -> None:
        self.stack.append(frozenset(_keys(self.above())))

    def short_tuple(self, code: bytes) -> None:
        size = 1 + (pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3).index(code)
        items = tuple(self.stack[-size:])
        if len(items) < size:
            raise IndexError
        self.stack[-size:] = [items]

    def append(self, _: bytes) -> None:
        item = self.stack.pop()
        list.append(self.stack[-1], item)  # so called, it takes nothing but a list

    def extend(self, _: bytes) -> None:
        items = self.above()
        list.extend(self.stack[-1], items)

    def set_item(self, _: bytes) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._store([key, value])

    def set_items(self, _: bytes) -> None:
        self._store(self.above())

    def add_items(self, _: bytes) -> None:
        items = self.above()
        set.update(self.stack[-1], _keys(items))

    def _store(self, items: list) -> None:
        dict.update(self.stack[-1], zip(_keys(items[::2]), items[1::2], strict=True))

    # -------------------------------------------------------- what has a name, and a state

    def named(self, _: bytes) -> None:
        self.stack.append(_find(self.line().decode("latin-1"), self.line().decode("latin-1")))

    def named_on_stack(self, _: bytes) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(module) is not str or type(name) is not str:
            raise TypeError("a name that is no text")
        self.stack.append(_find(module, name))

    def instance(self, _: bytes) -> None:
        _would_load(self.line().decode("latin-1"), self.line().decode("latin-1"))

    def reduce(self, _: bytes) -> None:
        """Call one of the functions below, the only ones that can lie on the stack."""
        arguments, make = self.stack.pop(), self.stack.pop()
        if type(make) is not FunctionType or type(arguments) is not tuple:
            raise TypeError("nothing to call")
        self.stack.append(make(self, *arguments))

    def build(self, _: bytes) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if self._blank.pop(id(target), None) is None:
            raise _Refused(f"sets the state of a value, {_NEEDLESS}")
        if isinstance(target, np.ndarray):
            self._fill(target, *state)
        else:
            _set_order(target, *state)

    # -------------------------------------------------------- what names stand for

    def ndarray(self) -> NoReturn:
        """Only an argument of `blank_array`, never called."""
        raise TypeError("an array without content")

    def blank_array(self, kind: Any, *_) -> np.ndarray:
        if kind is not _Reader.ndarray:
            raise TypeError("not an array")
        made = np.empty(0, np.int8)
        self._blank[id(made)] = made
        return made

    def dtype(self, code: str, *_) -> np.dtype:
        if not re.fullmatch(r"[biufcSU][1-9]\d{0,6}", code):
            raise _Refused(f"holds an array of type {_shown(code)}, {_NEEDLESS}")
        made = np.dtype(code, copy=True)
        self._blank[id(made)] = made
        return made

    def scalar(self, dtype: np.dtype, content: str | bytes) -> np.generic:
        return np.ndarray((), dtype, self._content(content, dtype, ()))[()]

    def array_of_buffer(
        self, content: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str
    ) -> np.ndarray:
        if order not in ("C", "F"):
            raise ValueError("an order of neither C nor Fortran")
        return np.ndarray(shape, dtype, self._content(content, dtype, shape), order=order)

    def encoded(self, text: str, codec: str) -> bytes:
        """How Python 3 writes bytes in the protocols of Python 2."""
        if codec not in ("latin1", "latin-1"):
            raise ValueError("an unknown codec")
        self._spend(len(text))
        return str.encode(text, "latin-1")

    def no_bytes(self) -> bytes:
        return b""

    def set_of(self, items: list | tuple = ()) -> set:
        if type(items) not in (list, tuple):
            raise TypeError("not a list")
        self._spend(len(items))
        return set(_keys(items))

    def frozenset_of(self, items: list | tuple = ()) -> frozenset:
        return frozenset(self.set_of(items))

    def _fill(
        self,
        array: np.ndarray,
        _version: int,
        shape: tuple[int, ...],
        dtype: np.dtype,
        fortran: bool,
        content: str | bytes,
    ) -> None:
        content = self._content(content, dtype, shape)
        array.__setstate__((1, shape, dtype, bool(fortran), content))
        array.flags.writeable = False  # it may share its bytes with another

    def _content(self, content: str | bytes, dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
        """The bytes of an array, exactly as many as its shape and type call for."""
        if type(shape) is not tuple or len(shape) > 32 or {*map(type, shape)} - {int}:
            raise TypeError("not a shape")
        content = content.encode("latin-1") if type(content) is str else content
        if type(content) is not bytes or not isinstance(dtype, np.dtype):
            raise TypeError("not an array's content")
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise ValueError("another size than its shape's")
        if dtype.kind == "U":  # NumPy would make text of numbers that stand for no character
            content.decode("utf-32-be" if dtype.str.startswith(">") else "utf-32-le")
        self._blank.pop(id(dtype), None)  # it is in use now and must not change any more
        self._spend(len(content))
        return content

    def _spend(self, size: int) -> None:
        """Copies, in bytes or items, are bounded by the file, which can refer to a part often."""
        self._room -= size
        if self._room < 0:
            raise _Refused(f"repeats its values over and over, {_NEEDLESS}")


_Step = Callable[[_Reader, bytes], None]


def _pushing(make: Callable[[], Any]) -> _Step:
    """The step that pushes a value which is always the same, or new and empty."""
    return lambda reader, _: reader.stack.append(make())


def _fixed(layout: str) -> _Step:
    """The step that pushes one number of this `struct` layout."""
    parts = struct.Struct(layout)
    return lambda reader, _: reader.stack.extend(parts.unpack(reader.take(parts.size)))


def _sized(width: int, convert: Callable[[bytes], Any]) -> _Step:
    """The step that pushes content after its length, which takes `width` bytes."""

    def step(reader: _Reader, _: bytes) -> None:
        size = int.from_bytes(reader.take(width), "little")
        reader.stack.append(convert(reader.take(size)))

    return step


def _whole(digits: bytes) -> int:
    """A number of 64 bits or little more: larger ones only serve to keep a reader busy."""
    if len(digits) > 20:
        raise ValueError("too many digits")
    return int(digits)


def _latin1(content: bytes) -> str:
    return content.decode("latin-1")


def _protocol(reader: _Reader, _: bytes) -> None:
    if reader.take(1)[0] > 5:
        raise ValueError("a protocol of the future")


def _frame(reader: _Reader, _: bytes) -> None:
    reader.take(8)  # the length of what follows, which is all in memory already


def _unknown(_: _Reader, code: bytes) -> NoReturn:
    known = pickletools.code2op.get(code.decode("latin-1"))
    if known is None:
        raise ValueError("not an instruction, or none left")
    raise _Refused(f"has the instruction {known.name}, {_NEEDLESS}")


_STEPS: dict[bytes, _Step] = {
    pickle.PROTO: _protocol,
    pickle.FRAME: _frame,
    pickle.MARK: _Reader.mark,
    pickle.POP: _Reader.pop,
    pickle.POP_MARK: _Reader.pop_mark,
    pickle.DUP: _Reader.duplicate,
    pickle.PUT: _Reader.put_text,
    pickle.BINPUT: _Reader.put,
    pickle.LONG_BINPUT: _Reader.put,
    pickle.MEMOIZE: _Reader.memoize,
    pickle.GET: _Reader.get_text,
    pickle.BINGET: _Reader.get,
    pickle.LONG_BINGET: _Reader.get,
    pickle.NONE: _pushing(lambda: None),
    pickle.NEWTRUE: _pushing(lambda: True),
    pickle.NEWFALSE: _pushing(lambda: False),
    pickle.INT: _Reader.whole_text,
    pickle.LONG: _Reader.long_text,
    pickle.LONG1: _Reader.long,
    pickle.LONG4: _Reader.long,
    pickle.BININT: _fixed("<i"),
    pickle.BININT1: _fixed("<B"),
    pickle.BININT2: _fixed("<H"),
    pickle.FLOAT: _Reader.float_text,
    pickle.BINFLOAT: _fixed(">d"),
    pickle.STRING: _Reader.text,
    pickle.BINSTRING: _sized(4, _latin1),
    pickle.SHORT_BINSTRING: _sized(1, _latin1),
    pickle.UNICODE: _Reader.unicode,
    pickle.BINUNICODE: _sized(4, bytes.decode),
    pickle.SHORT_BINUNICODE: _sized(1, bytes.decode),
    pickle.BINUNICODE8: _sized(8, bytes.decode),
    pickle.BINBYTES: _sized(4, bytes),
    pickle.SHORT_BINBYTES: _sized(1, bytes),
    pickle.BINBYTES8: _sized(8, bytes),
    pickle.BYTEARRAY8: _sized(8, bytes),  # the content of an array, and nothing else
    pickle.EMPTY_TUPLE: _pushing(tuple),
    pickle.EMPTY_LIST: _pushing(list),
    pickle.EMPTY_DICT: _pushing(dict),
    pickle.EMPTY_SET: _pushing(set),
    pickle.TUPLE: _Reader.tuple_of_marked,
    pickle.LIST: _Reader.list_of_marked,
    pickle.DICT: _Reader.dict_of_marked,
    pickle.FROZENSET: _Reader.frozenset_of_marked,
    pickle.TUPLE1: _Reader.short_tuple,
    pickle.TUPLE2: _Reader.short_tuple,
    pickle.TUPLE3: _Reader.short_tuple,
    pickle.APPEND: _Reader.append,
    pickle.APPENDS: _Reader.extend,
    pickle.SETITEM: _Reader.set_item,
    pickle.SETITEMS: _Reader.set_items,
    pickle.ADDITEMS: _Reader.add_items,
    pickle.GLOBAL: _Reader.named,
    pickle.STACK_GLOBAL: _Reader.named_on_stack,
    pickle.INST: _Reader.instance,
    pickle.REDUCE: _Reader.reduce,
    pickle.BUILD: _Reader.build,
}

_GLOBALS: dict[tuple[str, str], Callable] = {
    ("_codecs", "encode"): _Reader.encoded,
    ("numpy", "dtype"): _Reader.dtype,
    ("numpy", "ndarray"): _Reader.ndarray,
    **{
        (f"{core}.{module}", name): make
        for core in ("numpy.core", "numpy._core")
        for module, name, make in (
            ("multiarray", "_reconstruct", _Reader.blank_array),
            ("multiarray", "scalar", _Reader.scalar),
            ("numeric", "_frombuffer", _Reader.array_of_buffer),
        )
    },
    **{
        (module, name): make
        for module in ("__builtin__", "builtins")
        for name, make in (
            ("bytes", _Reader.no_bytes),
            ("set", _Reader.set_of),
            ("frozenset", _Reader.frozenset_of),
        )
    },
}


def _find(module: str, name: str) -> Callable:
    if (module, name) not in _GLOBALS:
        _would_load(module, name)
    return _GLOBALS[module, name]


def _would_load(module: str, name: str) -> NoReturn:
    raise _Refused(f"would load {_shown(f'{module}.{name}')}, {_NEEDLESS}")


def _shown(name: str) -> str:
    """A name as it may stand in a message, on a terminal."""
    return name if re.fullmatch(r"[A-Za-z0-9_.]{1,80}", name) else ascii(name[:80])


def _keys(items: Iterable) -> Iterable:
    """The items, if all may be keys of a dict or members of a set."""
    if not _KEYS.issuperset(map(type, items)):
        raise _Refused("has keys that are neither text nor whole numbers")
    return items


def _set_order(
    dtype: np.dtype, _version: int, order: str, base: Any, names: Any, fields: Any, *_
) -> None:
    """Give a type its byte order; all else that a state may say has no place here."""
    if base is not None or names is not None or fields is not None:
        raise _Refused(f"holds an array of many types, {_NEEDLESS}")
    if order not in ("|" if dtype.byteorder == "|" else ("<", ">")):
        raise ValueError("an unknown order of bytes")
    dtype.__setstate__((3, order, None, None, None, dtype.itemsize, dtype.alignment, 0))


def _require_plain(value: Any) -> None:
    """No function or type has been left among the values, and no container holds itself."""
    level: list = [[value]]
    for _ in range(_DEEPEST):
        inner = {}
        for container in level:
            for item in container.values() if type(container) is dict else container:
                if type(item) in _CONTAINERS:
                    inner[id(item)] = item
                elif type(item) not in _VALUES and not isinstance(item, np.generic):
                    raise _Refused(f"holds a {type(item).__name__}, {_NEEDLESS}")
        if not inner:
            return
        level = list(inner.values())
    raise _Refused(f"nests its values more than {_DEEPEST} deep, as no list of tracks does")
