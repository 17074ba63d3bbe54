"""Artist groups of agf2018: soft labels of artists, learned by latent Dirichlet allocation (LDA).

An artist is a document whose terms are the symbols of one word (`artist_groups.vocabulary`).
LDA gives each artist a distribution over topics, the artist groups, which is the training
target of all of the artist's tracks. The groups of a split are kept in groups/NAME.h5:

| dataset | shape, dtype | content |
|---|---|---|
| decibels/mean, decibels/std | (128,) float64 | statistics of each band over the training tracks |
| words/W/artists | (artists,) str | artists that have groups by the word W: m, d, e or s |
| words/W/shares | (artists, groups) float64 | each artist's distribution over groups |
| words/W/symbols | (groups, size) float64 | each group's distribution over symbols |
| words/W/centres, words/W/scale | (size, d), (d,) float32 | the codebook, for m, d and e |
| words/s/names | (size,) str | the sub-genres |

Root attributes: `format`, and `made_from` as JSON.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import threadpoolctl
from numpy.typing import ArrayLike

from artist_groups.vocabulary import WORDS, Codebook, count_symbols
from common import hdf5, provenance
from common.errors import InputError

GROUPS = 40
FORMAT = "artist labels artist groups 1"


@dataclass(frozen=True, eq=False)
class ArtistGroups:
    """The topic model of one word. Every row of both arrays sums to 1.

    Attributes
    ----------
    artists
        (artists,) str.
    proportions
        (artists, groups) float64, θ of LDA: each artist's distribution over groups.
    topics
        (groups, size) float64, φ of LDA: each group's distribution over symbols.
    """

    artists: np.ndarray
    proportions: np.ndarray
    topics: np.ndarray

    def rows_of(self, artists: ArrayLike) -> np.ndarray:
        """Return the rows of these artists, (n,) int64; -1 for an artist without groups."""
        return pd.Index(self.artists, dtype=object).get_indexer(np.asarray(artists, dtype=object))

    @property
    def diversity(self) -> float:
        """Mean total variation distance between the artists' proportions and their mean.

        It is 0 if all artists have the same proportions, and at most 1.
        """
        difference = np.abs(self.proportions - self.proportions.mean(axis=0))
        return float(difference.sum(axis=1).mean() / 2)


def learn_groups(
    word: str,
    symbols: Iterable[np.ndarray],
    artists: ArrayLike,
    size: int,
    groups: int = GROUPS,
    *,
    seed: int = 0,
) -> ArtistGroups:
    """Learn the groups of the artists whose tracks have a symbol, by batch variational Bayes.

    Parameters
    ----------
    word
        Letter of the word, for error messages.
    symbols
        (n,) int of each track, from 0 to `size` - 1.
    artists
        (tracks,) str.
    size
        Size of the vocabulary.

    Raises
    ------
    InputError
        Fewer than two artists have a symbol.

    Examples
    --------
    >>> rock, jazz = np.array([0, 0, 1]), np.array([2, 2])
    >>> groups = learn_groups("s", [rock, jazz, rock, jazz], list("abcd"), size=3, groups=2)
    >>> groups.proportions.shape, groups.topics.shape
    ((4, 2), (2, 3))
    """
    counts, names = count_symbols(symbols, artists, size)
    has_symbols = counts.any(axis=1)
    if has_symbols.sum() < 2:
        raise InputError(
            f"word {word}: {has_symbols.sum()} artists with symbols; use a split with two or more"
        )
    from sklearn.decomposition import LatentDirichletAllocation  # slow: only where it is used

    lda = LatentDirichletAllocation(groups, random_state=seed, learning_method="batch", n_jobs=1)
    with threadpoolctl.threadpool_limits(1):  # the sums depend on the number of threads
        proportions = lda.fit_transform(counts[has_symbols])
    return ArtistGroups(
        np.asarray(names[has_symbols], object),
        proportions / proportions.sum(axis=1, keepdims=True),
        lda.components_ / lda.components_.sum(axis=1, keepdims=True),
    )


# ---------------------------------------------------------------- file


@dataclass(frozen=True, eq=False)
class GroupsFile:
    """The content of groups/NAME.h5.

    Attributes
    ----------
    mean, std
        (128,) float64, decibels of each band over the training tracks' frames.
    groups
        {word: artist groups}.
    subgenres
        Vocabulary of the word s; empty without it.
    inputs
        What the file was made from, JSON values.
    codebooks
        {word: codebook} of m, d and e.
    """

    mean: np.ndarray
    std: np.ndarray
    groups: dict[str, ArtistGroups]
    subgenres: Sequence[str]
    inputs: dict
    codebooks: dict[str, Codebook] = field(default_factory=dict)


def save_groups(path: str | Path, content: GroupsFile) -> None:
    """Write groups/NAME.h5 atomically."""
    with hdf5.create_file(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["made_from"] = provenance.to_json(provenance.make_record(content.inputs))
        file["decibels/mean"], file["decibels/std"] = content.mean, content.std
        for word, groups in content.groups.items():
            group = file.create_group(f"words/{word}")
            hdf5.write_strings(group, "artists", groups.artists)
            group["shares"], group["symbols"] = groups.proportions, groups.topics
            if word == "s":
                hdf5.write_strings(group, "names", content.subgenres)
            else:
                codebook = content.codebooks[word]
                group["centres"], group["scale"] = codebook.centres, codebook.scale


def load_groups(path: str | Path) -> GroupsFile:
    """Read groups/NAME.h5.

    Raises
    ------
    InputError
        The file does not exist, has another format or is damaged.
    """
    hint = "not a file of artist groups; make one with data_prep/2b_artist_groups.py"
    groups, codebooks, subgenres = {}, {}, []
    with hdf5.open_format(path, FORMAT, hint) as file:
        inputs = hdf5.read_json_attribute(file, "made_from").get("inputs")
        mean, std = _read_arrays(file, "decibels/mean", "decibels/std")
        words = hdf5.get_group(file, "words")
        known_words = set(words) <= set(WORDS)
        for word in (word for word in WORDS if word in words):
            group = hdf5.get_group(words, word)
            artists = hdf5.read_strings(group, "artists")
            groups[word] = ArtistGroups(artists, *_read_arrays(group, "shares", "symbols"))
            if word == "s":
                subgenres = list(hdf5.read_strings(group, "names"))
            else:
                codebooks[word] = Codebook(*_read_arrays(group, "centres", "scale"))
    content = GroupsFile(mean, std, groups, subgenres, inputs or {}, codebooks)
    if not isinstance(inputs, dict) or not known_words or not _has_schema(content):
        raise InputError(
            f"{path}: damaged; delete it and make it again with data_prep/2b_artist_groups.py"
        )
    return content


def _read_arrays(group: h5py.Group, *names: str) -> list[np.ndarray]:
    return [hdf5.read_array(group, name) for name in names]


def _has_schema(content: GroupsFile) -> bool:
    """Whether all arrays have the shapes, types and finite values that `save_groups` writes."""
    arrays: list[tuple[np.ndarray, tuple, type]] = [
        (content.mean, (128,), np.float64),
        (content.std, (128,), np.float64),
    ]
    for word, found in content.groups.items():
        groups, size = found.proportions.shape[-1:], found.topics.shape[-1:]
        arrays.append((found.proportions, (len(found.artists), *groups), np.float64))
        arrays.append((found.topics, (*groups, *size), np.float64))
        if word != "s":
            codebook = content.codebooks[word]
            arrays.append((codebook.centres, (*size, *codebook.scale.shape), np.float32))
        elif size != (len(content.subgenres),):
            return False
    if not content.groups or not all(
        array.shape == shape and array.dtype == dtype and np.isfinite(array).all()
        for array, shape, dtype in arrays
    ):
        return False
    scales = [content.std, *(codebook.scale for codebook in content.codebooks.values())]
    names = [content.subgenres, *(found.artists for found in content.groups.values())]
    proportions = [found.proportions for found in content.groups.values()]
    return (
        all((scale > 0).all() for scale in scales)
        and all(len(set(unique)) == len(unique) for unique in names)
        and all((p >= 0).all() and np.allclose(p.sum(axis=1), 1, atol=1e-6) for p in proportions)
    )
