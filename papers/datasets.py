"""The datasets that papers are made of: what is in a folder of data, and steps 1 and 2 of each.

A dataset has a name. Its audio is the folder of that name below the folder of data, its
split is `splits/NAME.csv` and its cache `cache/NAME.h5`. Where split and cache are there,
however they were made, they are taken as they are. Songs to train on are called NAME_N
besides, by their number of artists, so that papers of several numbers do not meet.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import InputError
from data_prep import artist_split, split_csv
from data_prep.datasets import DATASETS
from papers.effort import Work
from papers.pipeline import Step, make_step

SPLITS, CACHES = Path("splits"), Path("cache")
OF_ARTIST, TO_TRAIN = 20, 15  # songs of an artist, and those of them that are trained on
MANY = 10_000  # artists of the MSD: from so many on, their songs are shared out otherwise
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
    "fma_medium": Known(
        "FMA medium audio (25,000 clips) and its lists", 25_000, "fma_medium", FMA, test=3_750
    ),
    "fma_large": Known("FMA large audio (106,574 clips)", 106_574, "fma_large", FMA),
    "fma_full": Known("FMA full audio (106,574 tracks)", 106_574, "fma_full", FMA),
    "jamendo": Known("MTG-Jamendo audio", 55_701, "jamendo", "mtg-jamendo-dataset/data"),
    "demo": Known("nothing: it is rendered", 1_200, ""),
    "demo_target": Known("nothing: it is rendered", 320, ""),
    "demo_unseen": Known("nothing: it is rendered", 800, ""),
    "demo_genres": Known("nothing: it is rendered", 400, ""),
}
RENDERED = frozenset(name for name in KNOWN if name.startswith("demo"))


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
        tracks: int | None = None,
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
        tracks
            How many it will have, where the options say so.

        Raises
        ------
        InputError
            Its split is there, with artists that are to be left out.
        """
        source, exclude = source or name, list(exclude)
        given = {"exclude": exclude, "source": source, "cache": cache, "tracks": tracks}
        found = self.planned(name, *options, **given)
        if found.split.exists():
            require_apart(found, exclude)
            table = split_csv.read_split(found.split)
            named = bool(table["artist"].ne("").any())
            found = replace(found, tracks=len(table), artists=named)
            if cache or found.cache.exists():
                audio = found.audio if self._has(source) else None
                return replace(found, steps=(), audio=audio)
        return found if self._has(source) else None

    def training(
        self, name: str, artists: Sequence[int], exclude: Sequence[Dataset] = ()
    ) -> dict[int, Dataset]:
        """The songs to train on for each number of artists; empty where they are not there.

        One split for all, of which the smaller sets are the first artists; of the MSD two
        where some are of 10,000 artists and some of fewer, as the papers have them.

        Parameters
        ----------
        exclude
            Datasets to judge on, whose artists are left out; the MSD's own lists stay whole.

        Raises
        ------
        InputError
            A split that is there has too few artists, or some that are to be left out.
        """
        most = max(artists)
        fewer = [count for count in artists if count < MANY]
        if name in RENDERED:
            found = self.find(name)
        elif (SPLITS / f"{name}.csv").exists() and (CACHES / f"{name}.h5").exists():
            found = self.find(name, exclude=exclude)
        elif name == "msd":
            found = self._msd(most)
        else:
            dealt, size = ("--split", "artists", "--artists", most), most * OF_ARTIST
            found = self.find(f"{name}_{most}", *dealt, exclude=exclude, source=name, tracks=size)
        if not found:
            return {}
        sets = dict.fromkeys(artists, found)
        if found.name == f"msd_{most}" and most >= MANY and fewer:
            # Of fewer artists, other songs are for training; the cache is of all of them.
            sets |= dict.fromkeys(fewer, self._msd(max(fewer), found.cache) or found)
        for count, one in sets.items():
            require_artists(one, count)
        return sets

    def _msd(self, artists: int, cache: Path | None = None) -> Dataset | None:
        size, name = artists * OF_ARTIST, f"msd_{artists}"
        return self.find(name, "--artists", artists, source="msd", cache=cache, tracks=size)

    def planned(
        self,
        name: str,
        *options: object,
        exclude: Iterable[Dataset] = (),
        source: str | None = None,
        cache: Path | None = None,
        tracks: int | None = None,
    ) -> Dataset:
        """A dataset with its steps as `find` has it, were all in its place."""
        split, decoded = SPLITS / f"{name}.csv", cache or CACHES / f"{name}.h5"
        source, known = source or name, KNOWN.get(name)
        audio, tracks = self._audio(source), tracks or (known.tracks if known else None)
        others = [str(one.split) for one in exclude if one.artists]
        left_out = ("--exclude-artists-of", *others) if others else ()
        given = (*self._given(source), *left_out, *options)
        work = Work("render" if source in RENDERED else "split", tracks)
        script = "data_prep/1_make_splits.py"
        steps = [make_step(script, *given, "--out", split, makes=split, of=others, work=work)]
        if not cache:
            script, work = "data_prep/2_cache_mels.py", Work("decode", tracks)
            given = (split, "--audio", audio, "--out", decoded, "--allow-failures")
            steps.append(make_step(script, *given, makes=decoded, of=(split,), work=work))
        artists = not known or known.artists
        return Dataset(name, split, decoded, tuple(steps), audio, tracks, artists)

    def absent(self, name: str, source: str | None = None) -> str:
        """Where a dataset that was not found would have to be, in words."""
        files = f"{SPLITS / name}.csv with {CACHES / name}.h5"
        if self.folder is None:
            return f"{name}: neither {files} nor a folder of --data"
        sources = " with ".join(map(str, self.sources(source or name)))
        return f"{name}: neither {files} nor {sources}"

    def _audio(self, source: str) -> Path | None:
        """Where the audio of a source would have to be."""
        if self.folder is None:
            return None
        return self.folder / (KNOWN[source].folder if source in KNOWN else source)

    def listed(self, source: str) -> Path:
        """Where a list of one's own of a source's songs would be."""
        return self.folder / f"{source}.csv"

    def sources(self, source: str) -> Iterator[Path]:
        """What has to be there for script 1: audio, and lists that are not downloaded."""
        yield self._audio(source)
        if source in KNOWN and source not in DATASETS:
            yield self.listed(source)
        elif source in KNOWN and KNOWN[source].metadata != LISTS:
            yield self.folder / KNOWN[source].metadata

    def _has(self, source: str) -> bool:
        """Whether it is there; the built-in corpus is rendered where it is not."""
        if self.folder is None:
            return False
        return source in RENDERED or all(map(Path.exists, self.sources(source)))

    def _given(self, source: str) -> tuple[object, ...]:
        """What script 1 is told to read."""
        audio = self._audio(source)
        if self.folder is None:
            return ()
        if source in DATASETS and source in KNOWN:
            metadata = self.folder / KNOWN[source].metadata
            # The papers' lists are downloaded where they are not at hand; others are not.
            named = metadata.name != LISTS or metadata.is_dir()
            lists = ("--metadata", metadata) if named and source not in RENDERED else ()
            return source, "--root", audio, *lists
        listed = self.listed(source)
        if listed.is_file() or source in KNOWN:
            return "csv", "--root", audio, "--metadata", listed
        return "folder", "--root", audio


def require(found: Dataset | None, said: str) -> Dataset:
    """The dataset, or an `InputError` that says where it is not."""
    if found is None:
        raise InputError(f"{said}; see data_prep/1_make_splits.py --help")
    return found


def require_artists(found: Dataset, artists: int) -> None:
    """Raise `InputError` unless a split that is there has so many artists."""
    if found.split.exists():
        there = split_csv.read_split(found.split)["artist"].nunique()
        if there < artists:
            raise InputError(
                f"{found.split}: has {there} artists, not {artists}; ask for fewer, or delete it "
                f"and {found.cache} to have them made anew"
            )


def require_apart(found: Dataset, others: Iterable[Dataset]) -> None:
    """Raise `InputError` if a split that is there shares artists with others that are."""
    for other in others:
        if other.artists and other.split.exists():
            own, theirs = (
                {artist_split.artist_key(name) for name in artist_split.read_artists(one.split)}
                for one in (found, other)
            )
            if own & theirs:
                raise InputError(
                    f"{found.split}: {len(own & theirs)} of its artists are in {other.split} too, "
                    f"whose songs are judged; delete it and {found.cache} to have them left out"
                )
