"""Supported datasets: one module each, defining its loader, licence, citation and homepage."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from data_prep.datasets import csv_list, demo, fma, folder, gtzan, jamendo, msd, mtat
from data_prep.datasets.catalog import Catalog, DatasetInfo, Request


@dataclass(frozen=True)
class Dataset:
    """A dataset that `1_make_splits.py` can split."""

    read_catalog: Callable[[Request], Catalog]
    about: str  # one-line description
    info: DatasetInfo


DATASETS = {
    "demo": Dataset(demo.read_demo, "built-in corpus: 60 artists, for training", demo.INFO),
    "demo_target": Dataset(
        demo.read_demo_target, "built-in corpus: 40 other artists, for evaluation", demo.INFO
    ),
    "demo_unseen": Dataset(
        demo.read_demo_unseen,
        "built-in corpus: more tracks of the 40 artists, for artist recognition",
        demo.INFO,
    ),
    "demo_genres": Dataset(
        demo.read_demo_genres,
        "built-in corpus: 4 tracks of each artist, for genre classification",
        demo.INFO,
    ),
    "msd": Dataset(msd.read_msd, "Million Song Dataset: the papers' artist sets", msd.INFO),
    "msd_tags": Dataset(
        msd.read_msd_tags, "Million Song Dataset: 50 Last.fm tags", msd.TAG_SET_INFO
    ),
    "gtzan": Dataset(gtzan.read_gtzan, "GTZAN, fault-filtered: 10 genres", gtzan.INFO),
    **{
        f"fma_{size}": Dataset(
            partial(fma.read_fma, size=size), f"Free Music Archive, {size}", fma.INFO
        )
        for size in fma.SIZES
    },
    "mtat": Dataset(mtat.read_mtat, "MagnaTagATune: 50 tags", mtat.INFO),
    "jamendo": Dataset(jamendo.read_jamendo, "MTG-Jamendo", jamendo.INFO),
    "folder": Dataset(
        folder.read_folder, "any folder of music, with labels from its tags or paths", folder.INFO
    ),
    "csv": Dataset(csv_list.read_csv_list, "any list of tracks, as CSV or TSV", csv_list.INFO),
}

__all__ = ["DATASETS", "Catalog", "Dataset", "DatasetInfo", "Request"]
