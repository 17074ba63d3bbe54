"""Supported datasets: one module each, with its loader, licence, citation and homepage.

A module is imported only when one of its datasets is used.
"""

from collections.abc import Callable
from importlib import import_module

from data_prep.datasets.catalog import Catalog, DatasetInfo, Request

# Each dataset's module in this package, and its one-line description.
DATASETS = {
    "demo": ("demo", "built-in corpus: 60 artists, for training"),
    "demo_target": ("demo", "built-in corpus: 40 other artists, for evaluation"),
    "demo_unseen": (
        "demo",
        "built-in corpus: more tracks of the 40 artists, for artist recognition",
    ),
    "demo_genres": ("demo", "built-in corpus: 4 tracks of each artist, for genre classification"),
    "msd": ("msd", "Million Song Dataset: the papers' artist sets"),
    "msd_tags": ("msd", "Million Song Dataset: 50 Last.fm tags"),
    "gtzan": ("gtzan", "GTZAN, fault-filtered: 10 genres"),
    **{
        f"fma_{size}": ("fma", f"Free Music Archive, {size}")
        for size in ("small", "medium", "large", "full")
    },
    "mtat": ("mtat", "MagnaTagATune: 50 tags"),
    "jamendo": ("jamendo", "MTG-Jamendo"),
    "sid": ("sid", "High Voltage SID Collection: artists with 20 tunes or more, for training"),
    "sid_unseen": ("sid", "High Voltage SID Collection: other artists, for artist recognition"),
    "folder": ("folder", "any folder of music, with labels from its tags or paths"),
    "csv": ("csv_list", "any list of tracks, as CSV or TSV"),
}


def load_dataset(name: str) -> tuple[Callable[[Request], Catalog], DatasetInfo]:
    """Import a dataset's module; return the dataset's loader, and its source and licence."""
    return import_module(f"{__name__}.{DATASETS[name][0]}").DATASETS[name]
