"""The papers' datasets: which ones are available, and the steps that prepare each of them.

The audio of dataset NAME is stored in a folder of that name in the data folder, its split in
`splits/NAME.csv` and its mel cache in `cache/NAME.h5`. If the split and the cache both exist,
they are used as they are. Training sets are called NAME_N, where N is the number of artists, so
that papers with different numbers of artists do not overwrite each other's files.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from common.errors import InputError
from data_prep import artist_names, split_csv, split_methods
from data_prep.datasets import sid
from data_prep.mel_cache import cache_files
from papers.pipeline import Step, make_step

SPLITS, CACHES = Path("splits"), Path("cache")
MSD_LARGE_SPLIT = 10_000  # number of artists from which the papers use a different MSD split
LISTS = "lists"  # optional subfolder of the data folder that contains the published track lists
SYNTHETIC = ("demo", "demo_target", "demo_unseen", "demo_genres")
_FACTS = Path(__file__).with_suffix(".toml")


class DatasetFacts(NamedTuple):
    """Facts about a dataset that are known without its files."""

    description: str  # what the user has to obtain
    audio: str  # subfolder of the data folder that contains the audio
    metadata: str = LISTS  # path of the track lists in the data folder; empty if there are none
    loader: str = ""  # loader in `data_prep.datasets` (default: the dataset's name)
    has_artists: bool = True  # whether the tracks have artist names
    tracks: int | None = None  # number of tracks, for datasets in the papers' tables
    test_tracks: int | None = None  # number of test tracks, if stated in the papers


KNOWN_DATASETS = {
    name: DatasetFacts(**facts)
    for name, facts in tomllib.loads(_FACTS.read_text(encoding="utf-8")).items()
} | dict.fromkeys(SYNTHETIC, DatasetFacts("nothing: the audio is synthesised", "", ""))


@dataclass(frozen=True)
class Dataset:
    """A dataset's files, and the steps that create its split and mel cache, if they are missing."""

    name: str
    split: Path
    cache: Path
    steps: tuple[Step, ...]
    audio: Path | None  # None if unknown
    has_artists: bool


@dataclass(frozen=True)
class DataFolder:
    """A folder that contains datasets; if `folder` is None, only prepared datasets are found."""

    folder: Path | None

    def find(
        self,
        name: str,
        *options: object,
        exclude: Sequence[Dataset] = (),
        source="",
        cache=None,
        mel_options: Sequence[object] = (),
    ) -> Dataset | None:
        """Return a dataset, or None if neither its prepared files nor its audio exist.

        `options` are passed to `1_make_splits.py`. The artists of the datasets in `exclude` are
        excluded; an existing split that contains any of them is rejected. `source` names the
        dataset whose audio and track lists are used, if it is another one. `cache` is the mel
        cache of another dataset, if it contains all tracks in this one. `mel_options` are passed to
        `2_cache_mels.py`.
        """
        excluded = [each for each in exclude if each.has_artists]
        source = source or name
        if source in ("", ".", "..") or Path(source).name != source:
            raise InputError(f"{source!r}: is not a dataset; give the name of a folder in --data")
        if self.folder and source not in SYNTHETIC and not self.folder.is_dir():
            raise InputError(f"{self.folder}: no such folder of datasets; check --data")
        splits = [each.split for each in excluded]
        dataset = self._plan(name, options, splits, source, cache, mel_options)
        required = required_paths(self.folder, source) if self.folder else []
        available = self.folder is not None and all(map(Path.exists, required))
        if dataset.split.exists():
            for other in excluded:
                if other.split.exists():
                    _require_disjoint(dataset, other)
            named = bool(split_csv.read_split(dataset.split)["artist"].ne("").any())
            dataset = replace(dataset, has_artists=named)
            if cache or cache_files(dataset.cache):
                return replace(dataset, steps=(), audio=dataset.audio if available else None)
        return dataset if available else None

    def find_training_sets(
        self, name: str, sizes: Sequence[int], exclude: Sequence[Dataset] = ()
    ) -> dict[int, Dataset]:
        """Return the dataset to train on for each number of artists, or {} if there is none.

        All sizes share one split: a smaller training set consists of the first artists in it. As
        in the papers, the MSD is the exception, with one split for 10,000 artists or more and
        another for fewer; neither excludes the artists of other datasets.
        """
        largest = max(sizes)
        prepared = (SPLITS / f"{name}.csv").exists() and cache_files(CACHES / f"{name}.h5")
        if name in SYNTHETIC or prepared:
            dataset = self.find(name, exclude=() if name in SYNTHETIC else exclude)
        elif name == "msd":
            dataset = self._find_msd(largest)
        else:
            options = ("--split", "artists", "--max-artists", largest)
            dataset = self.find(f"{name}_{largest}", *options, exclude=exclude, source=name)
        if not dataset:
            return {}
        datasets = dict.fromkeys(sizes, dataset)
        small = [size for size in sizes if size < MSD_LARGE_SPLIT]
        if dataset.name == f"msd_{largest}" and largest >= MSD_LARGE_SPLIT and small:
            # The smaller MSD split assigns different tracks to training; one cache covers both.
            small_set = self._find_msd(max(small), dataset.cache) or dataset
            datasets |= dict.fromkeys(small, small_set)
        for size, each in datasets.items():
            require_artists(each, size)
        return datasets

    def _find_msd(self, artists: int, cache: Path | None = None) -> Dataset | None:
        return self.find(f"msd_{artists}", "--max-artists", artists, source="msd", cache=cache)

    def plan(self, name: str, *options: object) -> Dataset:
        """Return a dataset as if its audio and lists existed and nothing had been prepared."""
        return self._plan(name, options, [], name, None)

    def _plan(
        self,
        name: str,
        options: Sequence,
        excluded: list,
        source: str,
        cache: Path | None,
        mel_options: Sequence[object] = (),
    ) -> Dataset:
        own_cache = CACHES / f"{name}.h5"
        has_artists = name not in KNOWN_DATASETS or KNOWN_DATASETS[name].has_artists
        dataset = Dataset(name, SPLITS / f"{name}.csv", cache or own_cache, (), None, has_artists)
        if self.folder is None:
            return dataset
        facts = find_facts(self.folder, source)
        audio = self.folder / facts.audio
        arguments = [facts.loader or source, "--root", audio]
        # If the `lists` folder is missing, 1_make_splits.py downloads the published lists.
        if facts.metadata and (facts.metadata != LISTS or (self.folder / LISTS).is_dir()):
            arguments += ["--metadata", self.folder / facts.metadata]
        if excluded:
            arguments += ["--exclude-artists-of", *excluded]
        arguments += [*options, "--out", dataset.split]
        script = "data_prep/1_make_splits.py"
        split = make_step(script, *arguments, output=dataset.split, inputs=excluded)
        arguments = [dataset.split, "--audio", audio, *mel_options, "--out", own_cache]
        script, inputs = "data_prep/2_cache_mels.py", [dataset.split]
        mels = make_step(script, *arguments, output=own_cache, inputs=inputs)
        return replace(dataset, steps=(split,) if cache else (split, mels), audio=audio)

    def describe_missing(
        self, name: str, source: str | None = None, cache: Path | None = None
    ) -> str:
        """Return a message that states where a missing dataset was looked for."""
        files = f"{SPLITS / name}.csv with {cache or CACHES / f'{name}.h5'}"
        if self.folder is None:
            return f"{name}: neither {files} nor a --data folder"
        required = " with ".join(map(str, required_paths(self.folder, source or name)))
        return f"{name}: found neither {files} nor {required}"


def require_artists(dataset: Dataset, size: int) -> None:
    """Raise `InputError` if a dataset's split exists and has fewer artists."""
    if dataset.split.exists():
        artists = split_csv.read_split(dataset.split)["artist"]
        count = artists[artists.ne("")].nunique()
        if count < size:
            raise InputError(
                f"{dataset.split}: has {count} artists instead of {size}; use fewer "
                f"--artists, or delete it and {dataset.cache} to create them again"
            )


def find_facts(folder: Path, source: str) -> DatasetFacts:
    """Return the facts about a known dataset, a folder with a track list, or a music folder.

    The list of a music folder is a file beside it. C64 tunes have a list in their folder, or are an
    unpacked collection.
    """
    if source in KNOWN_DATASETS:
        return KNOWN_DATASETS[source]
    if (folder / f"{source}.csv").is_file():
        return DatasetFacts("", source, f"{source}.csv", "csv")
    if any((folder / source / name).exists() for name in (sid.LIST, *sid.COLLECTION)):
        return DatasetFacts("", source, "", "sid_unseen")
    return DatasetFacts("", source, "", "folder")


def required_paths(folder: Path, source: str) -> list[Path]:
    """Return the paths that `1_make_splits.py` requires and cannot create or download."""
    facts = find_facts(folder, source)
    return [folder / name for name in (facts.audio, facts.metadata) if name not in ("", LISTS)]


def _require_disjoint(dataset: Dataset, other: Dataset) -> None:
    own, excluded = (
        set(map(artist_names.artist_key, split_methods.read_artists(each.split)))
        for each in (dataset, other)
    )
    if own & excluded:
        raise InputError(
            f"{dataset.split}: {len(own & excluded)} of its artists are also in {other.split}, but "
            f"they must differ; delete {dataset.split} and {dataset.cache} to create them again "
            "without these artists"
        )
