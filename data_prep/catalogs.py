"""Each source of music as one table, and the rule that deals its songs to train, valid and test.

A table has `track_id`, `path`, `artist` and label columns; `deal`, or the
source itself, adds `subset`.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import demo_corpus, folder

# ismir2018 section 4.1: 20 songs an artist, 15/3/2 (17/1/2 for 10,000 artists).
SONGS, SHARES = 20, (15, 3, 2)

# The target part of the demo: artists of each genre for train, valid and test.
_TARGET_ARTISTS, _TARGET_SONGS, _TARGET_SHARES = 40, 8, (3, 1, 1)


def demo(root: str | Path, part: str, seed: int, workers: int) -> pd.DataFrame:
    """One part of the built-in corpus, rendered below `root` where it is not there yet.

    `source` has 60 artists with 20 songs each, for training. `target` has 40
    other artists with 8 songs each, for judging, and comes with its subsets:
    artist-disjoint, 3/1/1 artists of each genre.
    """
    table = demo_corpus.catalog(
        seed, target_artists=_TARGET_ARTISTS, target_songs=_TARGET_SONGS
    ).query("part == @part", engine="python")
    table = table.drop(columns="part").reset_index(drop=True)
    demo_corpus.write(Path(root), table, seed, workers)
    if part == "target":
        number = table.groupby("genre")["artist"].transform(lambda names: pd.factorize(names)[0])
        table["subset"] = np.repeat(["train", "valid", "test"], _TARGET_SHARES)[number]
    return table


def from_folder(root: str | Path, pattern: str) -> tuple[pd.DataFrame, list[str]]:
    """Audio files below `root`, their labels read off their paths.

    Parameters
    ----------
    pattern
        The path without its suffix, with a name in braces for each label and
        `{}` for what is none: `{artist}/{album}/{}`, or `{genre}.{}` for files
        like blues.00000.wav.

    Returns
    -------
    The table, and the files that the pattern does not fit.
    """
    labels, expression = _pattern(pattern)
    rows, left_out = [], []
    for path in folder.tracks(root):
        match = expression.fullmatch(path.rpartition(".")[0])
        if match:
            rows.append({"track_id": path, "path": path, "artist": "", **match.groupdict()})
        else:
            left_out.append(path)
    if not rows:
        raise InputError(
            f"{root}: no file fits the pattern {pattern!r}, not even {left_out[0]!r}; give "
            "another --pattern"
        )
    return pd.DataFrame(
        rows, columns=list(dict.fromkeys(["track_id", "path", "artist", *labels]))
    ), left_out


def _pattern(pattern: str) -> tuple[list[str], re.Pattern]:
    pieces = re.split(r"(\{[^{}]*\})", pattern)
    names = [piece[1:-1] for piece in pieces[1::2]]
    labels = [name for name in names if name]
    reserved = {"track_id", "path", "subset"}
    if not labels or len(set(labels)) < len(labels) or reserved & set(labels):
        raise InputError(f"--pattern {pattern!r}: needs names in braces, each once, none reserved")
    if not all(label.isidentifier() for label in labels):
        raise InputError(f"--pattern {pattern!r}: a name in braces is letters, digits and _")
    pieces[::2] = [re.escape(piece) for piece in pieces[::2]]
    pieces[1::2] = [f"(?P<{name}>[^/]+?)" if name else "[^/]*" for name in names]
    return labels, re.compile("".join(pieces))


def deal(
    table: pd.DataFrame,
    *,
    by: str = "artist",
    groups: int | None = None,
    songs: int = SONGS,
    shares: tuple[int, int, int] = SHARES,
    seed: int = 0,
) -> pd.DataFrame:
    """Give each artist (or genre) the same number of songs in train, valid and test.

    Groups with at least `songs` tracks qualify; of each, `songs` are drawn at
    random, spread over its albums where those are known. With the same seed,
    the rows of fewer groups are the first rows of more groups.

    Parameters
    ----------
    by
        The column whose values are the groups.
    groups
        How many; None takes all that qualify.
    shares
        Songs of a group for train, valid and test; they sum to `songs`.

    Raises
    ------
    InputError
        Too few groups qualify, or the shares do not sum to `songs`.
    """
    if sum(shares) != songs:
        train, valid, test = shares
        raise InputError(
            f"--train {train} --valid {valid} --test {test}: sum to {sum(shares)}, not to "
            f"--songs {songs}"
        )
    if by not in table.columns:
        raise InputError(f"--by {by}: no such label; there are {', '.join(table.columns)}")
    rng = np.random.default_rng(seed)
    count = table.loc[table[by] != "", by].value_counts()
    names = count.sort_index().index.to_numpy()
    drawn = [name for name in rng.permutation(names) if count[name] >= songs]
    if len(drawn) < (groups or 1):
        raise InputError(
            f"{len(drawn)} of {len(names)} values of {by!r} have {songs} tracks or more, "
            f"{groups or 1} are asked for; lower --songs or --artists"
        )
    # All of them are dealt, whatever `groups` says, so that it changes nobody's songs.
    kept = table[table[by].isin(drawn)].sample(frac=1, random_state=rng.integers(2**32))
    if "album" in table.columns:
        kept = kept.assign(_turn=kept.groupby([by, "album"]).cumcount())
        kept = kept.sort_values("_turn", kind="stable").drop(columns="_turn")
    kept = kept.groupby(by).head(songs).sample(frac=1, random_state=rng.integers(2**32))
    place = kept.groupby(by).cumcount().to_numpy()
    kept["subset"] = np.repeat(["train", "valid", "test"], shares)[place]
    order = {name: number for number, name in enumerate(drawn[:groups])}
    kept = kept.assign(_order=kept[by].map(order)).dropna(subset="_order")
    kept = kept.sort_values(["_order", "track_id"])
    return kept.drop(columns="_order").reset_index(drop=True)
