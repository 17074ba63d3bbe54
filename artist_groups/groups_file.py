"""The file of a split's artist groups, groups/NAME.h5: the soft targets of agf2018, in HDF5.

| in the file | shape, dtype | what |
|---|---|---|
| decibels/mean, decibels/std | (128,) float64 | of the training tracks' frames in each band |
| words/W/artists | (a,) str | who has groups by the word W: m, d, e or s |
| words/W/shares | (a, groups) float64 | the soft label of each artist's tracks |
| words/W/symbols | (groups, size) float64 | what each group is made of |
| words/W/centres, words/W/scale | (size, d), (d,) float32 | of m, d and e: the clusters |
| words/s/names | (size,) str | the sub-genres |

Root attributes: `format`, and `made_from` as JSON.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from artist_groups.topics import ArtistGroups, Codebook
from artist_groups.vocabulary import WORDS
from common import hdf5, provenance
from common.errors import InputError

FORMAT = "artist labels artist groups 1"


@dataclass(frozen=True, eq=False)
class GroupsFile:
    """All that the networks of agf2018 are given besides spectrograms and genres.

    Attributes
    ----------
    mean, std
        (128,) float64, in each band over the training tracks' frames, in `words.decibels`.
    groups
        {word: its groups}.
    subgenres
        Sub-genres, the symbols of the word s; none without it.
    inputs
        What it was made from, JSON values.
    codebooks
        {word: its clusters}, of m, d and e.
    """

    mean: np.ndarray
    std: np.ndarray
    groups: dict[str, ArtistGroups]
    subgenres: Sequence[str]
    inputs: dict
    codebooks: dict[str, Codebook] = field(default_factory=dict)


def save_groups(path: str | Path, prepared: GroupsFile) -> None:
    """Write a file of groups whole."""
    with hdf5.create_file(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["made_from"] = provenance.to_json(provenance.make_record(prepared.inputs))
        file["decibels/mean"], file["decibels/std"] = prepared.mean, prepared.std
        for word, groups in prepared.groups.items():
            of_word = file.create_group(f"words/{word}")
            hdf5.write_strings(of_word, "artists", groups.artists)
            of_word["shares"], of_word["symbols"] = groups.proportions, groups.topics
            if word == "s":
                hdf5.write_strings(of_word, "names", prepared.subgenres)
            else:
                codebook = prepared.codebooks[word]
                of_word["centres"], of_word["scale"] = codebook.centres, codebook.scale


def load_groups(path: str | Path) -> GroupsFile:
    """Read a file of groups.

    Raises
    ------
    InputError
        No such file, a file of something else, or a damaged one.
    """
    other = "no file of artist groups; make one with data_prep/2b_artist_groups.py"
    with hdf5.open_format(path, FORMAT, other) as file:
        inputs = hdf5.read_json_attribute(file, "made_from").get("inputs")
        mean, std = (hdf5.read_array(file, f"decibels/{name}") for name in ("mean", "std"))
        words = list(hdf5.get_group(file, "words"))
        groups, codebooks, names = {}, {}, []
        for word in [word for word in WORDS if word in words]:
            of_word = hdf5.get_group(file, f"words/{word}")
            groups[word] = ArtistGroups(
                hdf5.read_strings(of_word, "artists"),
                hdf5.read_array(of_word, "shares"),
                hdf5.read_array(of_word, "symbols"),
            )
            if word == "s":
                names = list(hdf5.read_strings(of_word, "names"))
            else:
                codebooks[word] = Codebook(
                    *(hdf5.read_array(of_word, name) for name in ("centres", "scale"))
                )
    sound = (
        isinstance(inputs, dict)
        and bool(groups)
        and set(words) <= set(WORDS)
        and all(_sound(each, (128,), np.float64) for each in (mean, std))
        and (std > 0).all()
        and all(_sound_groups(each) for each in groups.values())
        and all(_fits(codebook, groups[word]) for word, codebook in codebooks.items())
        and ("s" not in groups or len(set(names)) == groups["s"].topics.shape[1] == len(names))
    )
    if not sound:
        raise InputError(f"{path}: a damaged file of artist groups; delete it and make it again")
    return GroupsFile(mean, std, groups, names, inputs, codebooks)


def _sound_groups(groups: ArtistGroups) -> bool:
    artists, count = len(groups.artists), groups.proportions.shape[-1:]
    return (
        len(set(groups.artists)) == artists > 0
        and _sound(groups.proportions, (artists, *count), np.float64)
        and _sound(groups.topics, (*count, *groups.topics.shape[-1:]), np.float64)
        and all(_are_shares(each) for each in (groups.proportions, groups.topics))
    )


def _are_shares(rows: np.ndarray) -> bool:
    return (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1)


def _fits(codebook: Codebook, groups: ArtistGroups) -> bool:
    size, dimensions = groups.topics.shape[1], (codebook.scale.size,)
    return (
        _sound(codebook.centres, (size, *dimensions), np.float32)
        and _sound(codebook.scale, dimensions, np.float32)
        and (codebook.scale > 0).all()
    )


def _sound(values: np.ndarray, shape: tuple, dtype: type) -> bool:
    return values.shape == shape and values.dtype == dtype and bool(np.isfinite(values).all())
