"""agf2018 artist groups: soft artist labels learned by latent Dirichlet allocation (LDA).

An artist is treated as a document whose terms are symbols from one vocabulary, identified by a
one-letter *word* (`artist_groups.vocabulary`). LDA assigns each artist a distribution over topics,
the artist groups, which serves as the training target for all tracks by the artist. The groups for
a split are stored in groups/NAME.h5:

| dataset | shape, dtype | content |
|---|---|---|
| decibels/mean, decibels/std | (128,) float64 | band statistics over the training tracks |
| words/W/artists | (artists,) str | artists with groups for vocabulary W (m, d, e or s) |
| words/W/shares | (artists, groups) float64 | each artist's distribution over groups |
| words/W/symbols | (groups, size) float64 | each group's distribution over symbols |
| words/W/centres, words/W/scale | (size, d), (d,) float32 | the codebook, for m, d and e |
| words/s/names | (size,) str | sub-genre names |

Root attributes: `format` and `made_from` (JSON).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
    """The topic model for one vocabulary. Every row of `proportions` and `topics` sums to 1."""

    artists: np.ndarray  # (artists,) str
    proportions: np.ndarray  # (artists, groups) float64, θ in LDA: each artist's groups
    topics: np.ndarray  # (groups, size) float64, φ in LDA: each group's symbols

    def rows_of(self, artists: ArrayLike) -> np.ndarray:
        """Return the row number of each artist, (n,) int64, or -1 for artists without groups."""
        return pd.Index(self.artists, dtype=object).get_indexer(np.asarray(artists, dtype=object))

    @property
    def diversity(self) -> float:
        """Mean total variation distance of the artists' proportions from their mean, from 0 to 1.

        The value is 0 if all artists have identical proportions.
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
    """Learn groups for all artists whose tracks have symbols, by batch variational Bayes.

    `word`, the code of the vocabulary, is for error messages. `symbols` are (n,) int for each
    track, from 0 to `size` - 1, and `artists` are (tracks,) str.

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
    from sklearn.decomposition import LatentDirichletAllocation  # imported here because it is slow

    lda = LatentDirichletAllocation(groups, random_state=seed, learning_method="batch", n_jobs=1)
    with threadpoolctl.threadpool_limits(1):  # rounding of sums depends on the number of threads
        proportions = lda.fit_transform(counts[has_symbols])
    return ArtistGroups(
        np.asarray(names[has_symbols], object),
        proportions / proportions.sum(axis=1, keepdims=True),
        lda.components_ / lda.components_.sum(axis=1, keepdims=True),
    )


@dataclass(frozen=True, eq=False)
class GroupsFile:
    """The content of groups/NAME.h5; `inputs` is everything that determines it, as JSON values."""

    mean: np.ndarray  # (128,) float64, of each band in decibels; so is std
    std: np.ndarray
    groups: dict[str, ArtistGroups]  # {word: artist groups}
    subgenres: Sequence[str]  # the vocabulary `s`, or empty
    inputs: dict
    codebooks: dict[str, Codebook] = field(default_factory=dict)  # for vocabularies m, d and e


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
    """Read groups/NAME.h5; raise `InputError` if it has another format or is damaged."""
    hint = "not a file of artist groups; make one with data_prep/2b_artist_groups.py"
    groups, codebooks, subgenres = {}, {}, []
    with hdf5.open_format(path, FORMAT, hint) as file:
        inputs = hdf5.read_json_attribute(file, "made_from").get("inputs")
        mean, std = (hdf5.read_array(file, f"decibels/{name}") for name in ("mean", "std"))
        words = hdf5.get_group(file, "words")
        is_valid = isinstance(inputs, dict) and 0 < len(words) == len(set(words) & set(WORDS))
        for word in (word for word in WORDS if word in words):
            group = hdf5.get_group(words, word)
            shares, symbols = (hdf5.read_array(group, name) for name in ("shares", "symbols"))
            groups[word] = ArtistGroups(hdf5.read_strings(group, "artists"), shares, symbols)
            if word == "s":
                subgenres = list(hdf5.read_strings(group, "names"))
            else:
                centres, scale = (hdf5.read_array(group, name) for name in ("centres", "scale"))
                codebooks[word] = Codebook(centres, scale)
    content = GroupsFile(mean, std, groups, subgenres, inputs or {}, codebooks)
    if not is_valid or not _has_schema(content):
        remedy = "delete it and make it again with data_prep/2b_artist_groups.py"
        raise InputError(f"{path}: damaged; {remedy}")
    return content


def _has_schema(content: GroupsFile) -> bool:
    """Return whether all arrays have the expected shapes, types and value ranges."""
    arrays = [(content.mean, (128,), "f8"), (content.std, (128,), "f8")]
    scales, names = [content.std], [list(content.subgenres)]
    for word, found in content.groups.items():
        groups, size = found.proportions.shape[-1:], found.topics.shape[-1:]
        arrays.append((found.proportions, (len(found.artists), *groups), "f8"))
        arrays.append((found.topics, (*groups, *size), "f8"))
        names.append(list(found.artists))
        if codebook := content.codebooks.get(word):
            arrays.append((codebook.centres, (*size, *codebook.scale.shape), "f4"))
            scales.append(codebook.scale)
        elif size != (len(content.subgenres),):
            return False
    return (
        all(a.shape == shape and a.dtype == t and np.isfinite(a).all() for a, shape, t in arrays)
        and all((scale > 0).all() for scale in scales)
        and all(len(set(unique)) == len(unique) for unique in names)
        and all(
            (found.proportions >= 0).all() and np.allclose(found.proportions.sum(axis=1), 1)
            for found in content.groups.values()
        )
    )
