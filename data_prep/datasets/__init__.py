"""Every source of music as one table: each module reads a dataset's own lists."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from data_prep.datasets import (
    csv_list,
    demo,
    fma,
    folder_paths,
    folder_tags,
    gtzan,
    jamendo,
    msd,
    mtat,
)
from data_prep.datasets.catalog import Catalog, Request


@dataclass(frozen=True)
class Dataset:
    """A name that script 1 takes.

    Attributes
    ----------
    read
        Reads its lists.
    about
        What it is, in one line.
    metadata
        What --metadata names; '' where it is not used.
    """

    read: Callable[[Request], Catalog]
    about: str
    metadata: str = ""


def _folder(request: Request) -> Catalog:
    read = folder_paths.read_folder_paths if request.pattern else folder_tags.read_folder_tags
    return read(request)


_MIRROR = "a folder of the published lists, else they are downloaded"
_FMA = "the folder of fma_metadata.zip's tracks.csv and genres.csv"

DATASETS = {
    "demo": Dataset(demo.source, "the built-in corpus, for training"),
    "demo_target": Dataset(demo.target, "its other artists, for judging"),
    "demo_unseen": Dataset(demo.unseen, "those with more songs each, to recognise by them"),
    "demo_genres": Dataset(
        demo.genres, "songs of the first to learn genres from, others' to judge"
    ),
    "msd": Dataset(msd.read_msd, "Million Song Dataset, the papers' artist sets", _MIRROR),
    "msd_tags": Dataset(msd.read_msd_tags, "its songs with the 50 Last.fm tags", _MIRROR),
    "gtzan": Dataset(gtzan.read_gtzan, "GTZAN, fault-filtered: 10 genres", _MIRROR),
    **{
        f"fma_{size}": Dataset(
            partial(fma.read_fma, size=size), f"Free Music Archive, {size}", _FMA
        )
        for size in fma.SIZES
    },
    "mtat": Dataset(mtat.read_mtat, "MagnaTagATune: 50 tags", _MIRROR),
    "jamendo": Dataset(jamendo.read_jamendo, "MTG-Jamendo", "the folder data of its repository"),
    "folder": Dataset(_folder, "any folder of music, by its files' tags or by --pattern"),
    "csv": Dataset(csv_list.read_csv_list, "any list of yours", "the .csv or .tsv file"),
}

__all__ = ["SOURCES", "Catalog", "Request", "Source"]
