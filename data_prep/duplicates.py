"""Finding copies of one recording, which would put the same music into training and test.

Two files are copies if their bytes are equal, or if the embeddings of their first 30 s nearly are.
The embedding is the log-mel-spectrogram up to about 4 kHz, in 16 bands and blocks of one second,
less each band's mean. The level, lossy coding and an encoder's delay hardly change it.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse.csgraph
from sklearn.neighbors import NearestNeighbors

from common import cli
from common.files import file_sha256
from common.parallel import ordered_map
from data_prep.audio import AudioError, load_audio
from data_prep.mel import FrontEnd, log_mel

# Of two copies' embeddings. Among 100 real clips, different ones reach at most 0.6, and copies at
# 96 kbit/s or a fifth of the level at least 0.96.
MIN_COSINE = 0.95

COLUMN = "recording"  # of a table of tracks: the group of `find_copies`

_SECONDS, _BANDS, _LOW = 30, 16, 80  # blocks; bands; mel filters below about 4 kHz
_FRONT_END = FrontEnd(max_frames=None)


def find_copies(paths: Iterable[str], audio_folder: str | Path, workers: int = 1) -> np.ndarray:
    """Return each track's group (tracks,) int64: tracks of one group are copies of one recording.

    A track that cannot be decoded is compared by its bytes only.
    """
    paths = list(paths)
    outcomes = ordered_map(partial(_describe, Path(audio_folder)), paths, workers=workers)
    progress = cli.progress_bar(outcomes, total=len(paths), desc="copies", unit="track")
    described = [outcome.result or ("", None) for outcome in progress]
    digests = pd.Series([digest or f"track {n}" for n, (digest, _) in enumerate(described)])
    edges = [np.stack([digests.index, digests.groupby(digests).transform(lambda d: d.index[0])])]
    rows = np.flatnonzero([vector is not None for _, vector in described])
    if len(rows):
        vectors = np.stack([vector for _, vector in described if vector is not None])
        search = NearestNeighbors(radius=1 - MIN_COSINE, metric="cosine").fit(vectors)
        near = search.radius_neighbors_graph(vectors).tocoo()
        edges.append(rows[np.stack([near.row, near.col])])
    first, second = np.concatenate(edges, axis=1).astype(np.int64)
    graph = scipy.sparse.coo_array((np.ones(len(first)), (first, second)), shape=2 * (len(paths),))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1].astype(np.int64)


def drop_copies(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Keep each recording's first track by `track_id`, and return a note about the others."""
    is_copy = table.sort_values("track_id", kind="stable")[COLUMN].duplicated().reindex(table.index)
    note = f"left out: {is_copy.sum()} of {len(table)} tracks, which are copies of others"
    return table[~is_copy].reset_index(drop=True), [note]


def report_copies(table: pd.DataFrame) -> list[str]:
    """Return a note for each recording that a split contains more than once, with the subsets."""
    copies = table[table[COLUMN].duplicated(keep=False)]
    names = copies["track_id"].map(repr) + " (" + copies["subset"] + ")"
    notes = ["copies: " + ", ".join(group) for _, group in names.groupby(copies[COLUMN])]
    across = copies.groupby(COLUMN)["subset"].nunique().gt(1).sum()
    return [*notes, f"{len(notes)} recordings have copies, {across} of them in several subsets"]


def embed_waveform(waveform: np.ndarray) -> np.ndarray | None:
    """Return a waveform's (480,) float32 embedding of norm one; None if it hardly changes."""
    mel = log_mel(waveform[: _SECONDS * _FRONT_END.sample_rate], _FRONT_END)[:, :_LOW]
    per_block = _FRONT_END.sample_rate // _FRONT_END.hop
    blocks = np.zeros((_SECONDS, _BANDS), np.float32)
    for number in range(min(_SECONDS, -(-len(mel) // per_block))):
        block = mel[number * per_block : (number + 1) * per_block]
        blocks[number] = block.mean(axis=0).reshape(_BANDS, -1).mean(axis=1)
    used = blocks[: number + 1]
    used -= used.mean(axis=0)
    norm = np.linalg.norm(blocks)
    return None if norm < 1e-3 else (blocks / norm).ravel()


def _describe(folder: Path, path: str) -> tuple[str, np.ndarray | None]:
    """Return a file's digest and embedding; runs in a worker process."""
    file = folder / path
    try:
        waveform = load_audio(file, float(_SECONDS))
    except AudioError:
        return file_sha256(file) if file.is_file() else "", None
    return file_sha256(file), embed_waveform(waveform)
