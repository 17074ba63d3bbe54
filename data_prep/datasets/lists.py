"""What catalogs that read large lists share: their errors in one line, and names told apart."""

import contextlib
import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from common.errors import InputError


@contextlib.contextmanager
def list_errors(path: str | Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is read into an `InputError` of one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check --metadata") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder, not a list; check --metadata") from error
    except (ValueError, csv.Error) as error:  # pandas' and the decoder's errors are ValueErrors
        why = " ".join(str(error).split())
        raise InputError(f"{path}: not a whole UTF-8 table ({why}); get it again") from error


def unique_names(ids: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """{id: label}: its first name, with the id in parentheses where others have that name too.

    White space in a name becomes single spaces; an id without a name is its own label.
    """
    label: dict[str, str] = {}
    for key, name in zip(ids, names, strict=True):
        label.setdefault(key, " ".join(name.split()) or key)
    # Once is not always enough: somebody may be named `A (7)`.
    while (count := Counter(label.values())) and max(count.values()) > 1:
        label = {key: f"{n} ({key})" if count[n] > 1 else n for key, n in label.items()}
    return label
