"""Finding copies of one recording, which would put the same music into training and test.

Two files are copies if their bytes are equal, or if the embeddings of 30 s of them nearly are,
where one may start up to a second later than the other. The embedding consists of the changes of
the log-mel-spectrogram up to about 4 kHz, in 16 bands, from each second to the next, without the
changes of the level. The level, lossy coding and silence hardly affect it.
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

# Of two copies' embeddings. Among 100 real clips and 80 synthetic tracks, different ones reach at
# most 0.78 (0.82 if all fade out), and copies in MP3 or Ogg, at another level, or that start up to
# a second later at least 0.95.
MIN_COSINE = 0.9

COLUMN = "\0recording"  # of a table of tracks: the group of `find_copies`; never a label's name

_SECONDS, _BANDS, _LOW = 30, 16, 80  # blocks; bands; mel filters below about 4 kHz
_MIN_SECONDS = 5  # of sound; what is shorter has too few changes to tell tracks apart
_SILENCE = 0.1  # of the largest value in the spectrogram
_STARTS = range(0, 48, 4)  # frames after which an embedding starts: 0 to 1.02 s
_FRONT_END = FrontEnd(max_frames=None)


def find_copies(
    paths: Iterable[str], audio_folder: str | Path, workers: int = 1
) -> tuple[np.ndarray, list[str]]:
    """Return each track's group (tracks,) int64: tracks of one group are copies of one recording.

    A track that cannot be decoded, or has too little sound, is compared by its bytes only; a note
    counts these tracks.
    """
    paths = list(paths)
    outcomes = ordered_map(partial(_describe, Path(audio_folder)), paths, workers=workers)
    progress = cli.progress_bar(outcomes, total=len(paths), desc="copies", unit="track")
    described = [outcome.result or ("", None) for outcome in progress]
    digests = pd.Series([digest or f"track {n}" for n, (digest, _) in enumerate(described)])
    edges = [np.stack([digests.index, digests.groupby(digests).transform(lambda d: d.index[0])])]
    rows = np.flatnonzero([vectors is not None for _, vectors in described])
    if len(rows):
        vectors = np.stack([vectors for _, vectors in described if vectors is not None])
        search = NearestNeighbors(radius=1 - MIN_COSINE, metric="cosine").fit(vectors[:, 0])
        for start in range(len(_STARTS)):
            near = search.radius_neighbors_graph(vectors[:, start]).tocoo()
            edges.append(rows[np.stack([near.row, near.col])])
    first, second = np.concatenate(edges, axis=1).astype(np.int64)
    graph = scipy.sparse.coo_array((np.ones(len(first)), (first, second)), shape=2 * (len(paths),))
    groups = scipy.sparse.csgraph.connected_components(graph, directed=False)[1].astype(np.int64)
    others = len(paths) - len(rows)
    note = (
        f"copies: {others} of {len(paths)} tracks are compared by their bytes only, as they cannot "
        f"be decoded, or have less than {_MIN_SECONDS} s of sound"
    )
    return groups, [note] if others else []


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
    summary = (
        f"in the split, {len(notes)} recordings have copies, {across} of them in several subsets"
    )
    return [*notes, summary]


def embed_waveform(waveform: np.ndarray) -> np.ndarray | None:
    """Return a waveform's embeddings from each of `_STARTS`: (12, 480) float32 of norm one.

    The result is None if the waveform has less than `_MIN_SECONDS` of sound or does not change.
    """
    if len(waveform) < _MIN_SECONDS * _FRONT_END.sample_rate:
        return None
    mel = log_mel(waveform, _FRONT_END)[:, :_LOW]
    mel = mel.reshape(len(mel), _BANDS, -1).mean(axis=2)
    first = _embed(mel)
    if first is None:
        return None
    embeddings = [first, *(_embed(mel[start:]) for start in _STARTS[1:])]
    return np.stack([first if each is None else each for each in embeddings])


def _embed(mel: np.ndarray) -> np.ndarray | None:
    """Return the (480,) embedding of the first 30 s of a (frames, bands) spectrogram."""
    per_block = _FRONT_END.sample_rate // _FRONT_END.hop
    mel = mel[: _SECONDS * per_block]
    starts = np.arange(0, len(mel), per_block)
    if not len(starts):
        return None
    lengths = np.diff(starts, append=len(mel))[:, None]
    blocks = np.add.reduceat(mel, starts) / lengths
    has_sound = blocks.max(axis=1) > _SILENCE * blocks.max()
    if has_sound.sum() < _MIN_SECONDS:
        return None
    blocks -= blocks.mean(axis=1, keepdims=True)
    # Without the changes from and to silence, which are alike in all music. A last block that is
    # short weighs less.
    weights = (has_sound[1:] & has_sound[:-1])[:, None] * np.sqrt(lengths[1:] / per_block)
    changes = np.zeros((_SECONDS, _BANDS), np.float32)
    changes[: len(blocks) - 1] = np.diff(blocks, axis=0) * weights
    norm = np.linalg.norm(changes)
    return None if norm < 1e-3 else (changes / norm).ravel()


def _describe(folder: Path, path: str) -> tuple[str, np.ndarray | None]:
    """Return a file's digest and embeddings; runs in a worker process."""
    file = folder / path
    try:
        # As far as the last of `_STARTS` needs.
        waveform = load_audio(file, _SECONDS + 1.1, normalise="peak")
    except AudioError:
        return file_sha256(file) if file.is_file() else "", None
    return file_sha256(file), embed_waveform(waveform)
