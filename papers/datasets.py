"""The datasets that papers are made of: what is in a folder of data, and steps 1 and 2 of each.

A dataset has a name. Its audio is the folder of that name below the folder of data, its
split is `splits/NAME.csv` and its cache `cache/NAME.h5`. Where split and cache are there,
however they were made, they are taken as they are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import InputError
from data_prep import split_csv
from data_prep.catalogs import SOURCES
from papers.effort import Work
from papers.plan import Step, step

SPLITS, CACHES = Path("splits"), Path("cache")
LISTS = "lists"  # a folder of data may hold the papers' published lists in this one


@dataclass(frozen=True)
class Known:
    """What is known of a dataset before its files are read.

    Attributes
    ----------
    about
        What has to be at hand.
    tracks
        How many it has.
    folder
        Of its audio, below the folder of data.
    metadata
        Of its lists, likewise; those of the papers may be downloaded instead.
    artists
        Whether its tracks have artists' names.
    test
        How many of its tracks are for testing in the papers; None where they do not say.
    """

    about: str
    tracks: int
    folder: str
    metadata: str = LISTS
    artists: bool = True
    test: int | None = None


FMA = "fma_metadata"
KNOWN = {
    "msd": Known("MSD previews by 7digital, which are not to be had any more", 100_000, "msd"),
    "msd_tags": Known("MSD previews, and their Last.fm tags", 118_435, "msd", artists=False),
    "gtzan": Known("GTZAN audio (930 clips)", 930, "gtzan", artists=False, test=290),
    "mtat": Known("MagnaTagATune audio (21,105 clips, 50 tags)", 21_105, "mtat", test=4_332),
    "naver": Known(
        "the NAVER Korean songs (8,000 clips; a private list: bring your own)", 8_000, "naver"
    ),
    "fma_small": Known(
        "FMA small audio (8,000 clips) and its lists", 8_000, "fma_small", FMA, test=800
    ),
    "fma_medium": Known("FMA medium audio (25,000 clips) and its lists", 25_000, "fma_medium", FMA),
    "fma_large": Known("FMA large audio (106,574 clips)", 106_574, "fma_large", FMA),
    "fma_full": Known("FMA full audio (106,574 tracks)", 106_574, "fma_full", FMA),
    "jamendo": Known("MTG-Jamendo audio", 55_701, "jamendo", "mtg-jamendo-dataset/data"),
    "demo": Known("nothing: it is rendered", 1_200, ""),
    "demo_target": Known("nothing: it is rendered", 320, ""),
    "demo_unseen": Known("nothing: it is rendered", 800, ""),
    "demo_genres": Known("nothing: it is rendered", 400, ""),
}


@dataclass(frozen=True)
class Dataset:
    """A dataset that is there, or can be made ready.

    Attributes
    ----------
    steps
        Of scripts 1 and 2; none where both files are there.
    audio
        Folder of its audio; None where it is not known.
    tracks
        How many it has, as far as that is known.
    """

    name: str
    split: Path
    cache: Path
    steps: Sequence[Step]
    audio: Path | None
    tracks: int | None
    artists: bool


@dataclass(frozen=True)
class Data:
    """A folder of data; None: only what has its split and cache already."""

    folder: Path | None

    def find(
        self,
        name: str,
        *options: object,
        exclude: Iterable[Dataset] = (),
        source: str | None = None,
        cache: Path | None = None,
    ) -> Dataset | None:
        """A dataset with its steps 1 and 2, or None if it is not there.

        Parameters
        ----------
        options
            For script 1.
        exclude
            Datasets whose artists are left out, where they have any.
        source
            Whose audio and lists it is made from; by default those of its own name.
        cache
            Another dataset's, that has all its tracks; by default its own.
        """
        source = source or name
        found = self.planned(name, *options, exclude=exclude, source=source, cache=cache)
        if found.split.exists():
            table = split_csv.read(found.split)
            named = bool(table["artist"].ne("").any())
            found = replace(found, tracks=len(table), artists=named)
            if cache or found.cache.exists():
                audio = found.audio if self._has(source) else None
                return replace(found, steps=(), audio=audio)
        return found if self._has(source) else None

    def planned(
        self,
        name: str,
        *options: object,
        exclude: Iterable[Dataset] = (),
        source: str | None = None,
        cache: Path | None = None,
    ) -> Dataset:
        """A dataset with its steps as `find` has it, were all in its place."""
        split, decoded = SPLITS / f"{name}.csv", cache or CACHES / f"{name}.h5"
        source, known = source or name, KNOWN.get(name)
        audio, tracks = self._audio(source), known.tracks if known else None
        others = [str(one.split) for one in exclude if one.artists]
        left_out = ("--exclude-artists-of", *others) if others else ()
        given = (*self._given(source), *left_out, *options)
        work = Work("render" if source.startswith("demo") else "split", tracks)
        script = "data_prep/1_make_splits.py"
        steps = [step(script, *given, "--out", split, makes=split, of=others, work=work)]
        if not cache:
            script, work = "data_prep/2_cache_mels.py", Work("decode", tracks)
            given = (split, "--audio", audio, "--out", decoded, "--allow-failures")
            steps.append(step(script, *given, makes=decoded, of=(split,), work=work))
        artists = not known or known.artists
        return Dataset(name, split, decoded, tuple(steps), audio, tracks, artists)

    def absent(self, name: str) -> str:
        """Where a dataset that was not found would have to be, in words."""
        files = f"{SPLITS / name}.csv with {CACHES / name}.h5"
        if self.folder is None:
            return f"{name}: neither {files} nor a folder of --data"
        return f"{name}: neither {files} nor {self._audio(name)}"

    def _audio(self, source: str) -> Path | None:
        """Where the audio of a source would have to be."""
        if self.folder is None:
            return None
        return self.folder / (KNOWN[source].folder if source in KNOWN else source)

    def _has(self, source: str) -> bool:
        """Whether it is there; the built-in corpus is rendered where it is not."""
        audio = self._audio(source)
        return audio is not None and (source.startswith("demo") or audio.is_dir())

    def _given(self, source: str) -> tuple[object, ...]:
        """What script 1 is told to read."""
        audio = self._audio(source)
        if self.folder is None:
            return ()
        if source in SOURCES and source in KNOWN:
            metadata = self.folder / KNOWN[source].metadata
            # The papers' lists are downloaded where they are not at hand; others are not.
            named = metadata.name != LISTS or metadata.is_dir()
            lists = ("--metadata", metadata) if named and not source.startswith("demo") else ()
            return source, "--root", audio, *lists
        listed = self.folder / f"{source}.csv"
        if listed.is_file() or source in KNOWN:
            return "csv", "--root", audio, "--metadata", listed
        return "folder", "--root", audio


def require(found: Dataset | None, said: str) -> Dataset:
    """The dataset, or an `InputError` that says where it is not."""
    if found is None:
        raise InputError(f"{said}; see data_prep/1_make_splits.py --help")
    return found
