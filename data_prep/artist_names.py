"""Artist names that stand for no artist, and names that may mean the same artist."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError

NOT_ARTISTS = Path(__file__).with_name("not_artists.txt")

_BRACKETS = "()[]{}<>«»\"'“”‘’"
_GUESTS = re.compile(r"\s[(\[]?(?:feat|ft|featuring|with)\b\.?")
_JOINERS = re.compile(r"\s*(?:&|\+|,|;|/|\band\b|\bund\b|\bet\b|\bvs\b)\s*")
_KANA = "\u3099\u309a"  # tell か from が, and は from ぱ
_NO_WORD = re.compile(r"[\W_]+")
_UNKNOWN = re.compile(r"[\s?_.*#/\\–—-]*")  # "???" or "-", but not the bands "!!!" and "+/-"


def read_not_artists(path: str | Path = NOT_ARTISTS) -> frozenset[str]:
    """Return the names in a list of names that are no artists, one per line; `#` starts a comment.

    Raises
    ------
    InputError
        If the file does not exist or is not UTF-8.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{path}: cannot be read as a UTF-8 list of names ({reason}); check --not-artists"
        ) from error
    names = (line.strip() for line in lines if not line.startswith("#"))
    return frozenset(
        _mark(name) if name[0] in _BRACKETS else _list_key(name) for name in names if name
    )


def clear_not_artists(
    artists: pd.Series, not_artists: frozenset[str]
) -> tuple[pd.Series, dict[str, int]]:
    """Replace names that are no artists by '', and return {name: tracks} of what was replaced.

    Besides the listed names, names without any letter or digit such as `???`, `-` and `[]` are no
    artists, except for some bands such as `!!!`.
    """
    counts = artists.value_counts()
    names = [name for name in counts.index if name and is_no_artist(name, not_artists)]
    return artists.mask(artists.isin(names), ""), {name: int(counts[name]) for name in names}


def is_no_artist(name: str, not_artists: frozenset[str]) -> bool:
    """Return whether a name stands for no artist, given the folded names of `read_not_artists`."""
    is_listed = _list_key(name) in not_artists or (
        name.strip()[:1] in _BRACKETS and _mark(name) in not_artists
    )
    return is_listed or bool(name.strip() and _UNKNOWN.fullmatch(_fold(name)))


def _list_key(name: str) -> str:
    """Return the letters and digits of a name, without brackets, spaces and punctuation."""
    folded = _fold(name)
    return _NO_WORD.sub("", folded) or folded


def _mark(name: str) -> str:
    """Return the key of a name in a list that stands for no artist only in brackets."""
    return f"[{_list_key(name)}]"


def find_similar_names(artists: Iterable[str]) -> list[list[str]]:
    """Return the groups of artist names that differ only in spelling, order or guests.

    `A & B`, `B and A` and `A feat. C` with `A` are examples. Nothing is merged, since the names may
    belong to different artists.

    Examples
    --------
    >>> find_similar_names(["Nina & Tom", "Tom and Nina", "Björk", "Bjork", "Abba"])
    [['Bjork', 'Björk'], ['Nina & Tom', 'Tom and Nina']]
    """
    import scipy.sparse.csgraph  # slow to import, and evaluations do not need it

    names = sorted(set(artists) - {""})
    keys: dict[tuple[str, ...], int] = {}
    edges = []
    for number, name in enumerate(names):
        main, *guests = _GUESTS.split(_fold(name), maxsplit=1)
        together = " & ".join([main, *guests])
        spellings = _spelling_key(main), _spelling_key(together), (_NO_WORD.sub("", main),)
        edges += [
            (number, len(names) + keys.setdefault(key, len(keys))) for key in spellings if any(key)
        ]
    size = len(names) + len(keys)
    rows, columns = zip(*edges, strict=True) if edges else ((), ())
    graph = scipy.sparse.coo_array((np.ones(len(edges)), (rows, columns)), shape=(size, size))
    group = scipy.sparse.csgraph.connected_components(graph, directed=False)[1][: len(names)]
    lists = pd.Series(names, dtype=object).groupby(group).agg(list)
    return sorted(names for names in lists if len(names) > 1)


def _spelling_key(name: str) -> tuple[str, ...]:
    parts = (_NO_WORD.sub("", part.removeprefix("the ")) for part in _JOINERS.split(name))
    return tuple(sorted({part for part in parts if part and part != "the"}))


def artist_key(name: str) -> str:
    """Return a name stripped of case, accents and redundant white space; '' if nothing is left."""
    if not name.isascii():
        decomposed = unicodedata.normalize("NFKD", name.casefold())
        name = "".join(c for c in decomposed if c in _KANA or not unicodedata.combining(c))
        name = unicodedata.normalize("NFC", name)
    return " ".join(name.casefold().split())


def _fold(name: str) -> str:
    """Return the key of a name without the brackets around it."""
    return artist_key(name.strip().strip(_BRACKETS))
