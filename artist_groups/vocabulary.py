"""The words of agf2018: a split's training tracks as symbols, and their artists in groups.

`artist_groups` says what a word is. Here frames and descriptors of tracks become
symbols, track by track, so that memory does not grow with their number.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import librosa
import numpy as np

from artist_groups.topics import ArtistGroups, Codebook, count_symbols, learn_codebook, learn_groups
from common import cli
from common.errors import InputError
from common.parallel import map_in_threads
from data_prep.mel import SILENCE, mel_magnitudes
from data_prep.mel_cache import MelCache
from data_prep.mfcc import DELTA_WIDTH, MfccSettings, TrackFrames

WORDS = ("m", "d", "e", "s")
MFCC = MfccSettings(coefficients=25)


@dataclass(frozen=True)
class VocabularySettings:
    """How many clusters of frames (`m`, `d`), of tracks (`e`) and groups; and the seed."""

    clusters: int
    track_clusters: int
    groups: int
    seed: int


# ---------------------------------------------------------------- words


def group_by_frames(
    word: str, frames: TrackFrames, artists: np.ndarray, settings: VocabularySettings
) -> tuple[ArtistGroups, Codebook]:
    """Groups by the word `m`, clusters of MFCCs, or `d`, clusters of their first difference.

    Parameters
    ----------
    frames
        The MFCCs of tracks; a track with fewer than 9 of them has no difference.
    artists
        (tracks,) str, of `frames.track_id`.

    Returns
    -------
    Groups of the artists that have a symbol, and the clusters.

    Raises
    ------
    InputError
        Fewer frames than clusters, or fewer than two artists with symbols.
    """
    vectors = {"m": np.asarray, "d": first_difference}[word]

    def passing(function: Callable, what: str) -> Iterable[np.ndarray]:
        bar = {"total": len(artists), "desc": f"{word}, {what}", "unit": "track"}
        return cli.progress_bar(map_in_threads(function, frames), **bar)

    codebook = learn_codebook(passing(vectors, "sample"), settings.clusters, seed=settings.seed)
    symbols = passing(lambda of_track: codebook.assign(vectors(of_track)), "clusters")
    return _grouped(word, symbols, artists, settings.clusters, settings), codebook


def group_by_descriptors(
    values: np.ndarray, artists: np.ndarray, settings: VocabularySettings
) -> tuple[ArtistGroups, Codebook]:
    """`of_frames` by the word `e`: one cluster a track, of its (tracks, d) normalised descriptors.

    Raises
    ------
    InputError
        Fewer tracks than clusters, or fewer than two artists.
    """
    codebook = learn_codebook([values], settings.track_clusters, seed=settings.seed)
    symbols = codebook.assign(values)[:, None]
    return _grouped("e", symbols, artists, settings.track_clusters, settings), codebook


def group_by_labels(
    hot: np.ndarray, artists: np.ndarray, settings: VocabularySettings
) -> ArtistGroups:
    """Groups by the word `s`: labels (tracks, labels) of 0 and 1 are its symbols.

    Raises
    ------
    InputError
        Fewer than two artists with a label.
    """
    return _grouped("s", map(np.flatnonzero, hot), artists, hot.shape[1], settings)


def first_difference(mfcc: np.ndarray) -> np.ndarray:
    """First difference over time of (n, d) frames, librosa's over 9 of them: (n or 0, d)."""
    if len(mfcc) < DELTA_WIDTH:
        return np.zeros((0, mfcc.shape[1]), np.float32)
    return librosa.feature.delta(mfcc, width=DELTA_WIDTH, axis=0).astype(np.float32)


def _grouped(
    word: str,
    symbols: Iterable[np.ndarray],
    artists: np.ndarray,
    size: int,
    settings: VocabularySettings,
) -> ArtistGroups:
    """The artists that have a symbol, in groups."""
    counts, names = count_symbols(symbols, artists, size)
    some = counts.any(axis=1)
    try:
        return learn_groups(counts[some], names[some], settings.groups, seed=settings.seed)
    except InputError as error:
        raise InputError(f"the word {word}: {error}") from error


# ---------------------------------------------------------------- levels


def decibels(log_mel: np.ndarray, gain: float) -> np.ndarray:
    """Log-mel log10(1 + gain mel) of any shape as levels, 20 log10 of the magnitude, float64.

    Silence is -100 dB; what the networks of agf2018 take.
    """
    return 20 * np.log10(np.maximum(mel_magnitudes(log_mel.astype(np.float64), gain), SILENCE))


def band_statistics(cache: MelCache, track_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation in each band, in `decibels`, over all frames of these tracks.

    Returns
    -------
    Two (n_mels,) float64; a band that never changes has the deviation 1.

    Raises
    ------
    InputError
        A track that the cache lacks, one with NaN or infinity, or no frame at all.
    """
    length = cache.length[cache.rows(track_ids)]
    if not length.any():
        raise InputError(f"{cache.path}: none of these tracks has a frame; make it again")
    # A cached value is one of 65,536: what equals another stays equal, and nothing is computed.
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    level_of = np.full(len(halves), np.nan)
    finite = np.isfinite(halves)
    with np.errstate(over="ignore"):
        level_of[finite] = decibels(halves[finite], cache.front_end.gain)
    # Sums are of what differs from one frame, so that rounding makes no deviation out of none.
    away = level_of[cache[track_ids[np.argmax(length > 0)]][0].view(np.uint16)]

    def sums(track: str) -> tuple[np.ndarray, np.ndarray]:
        level = level_of[cache[track].view(np.uint16)] - away
        return level.sum(axis=0), np.square(level).sum(axis=0)

    total = np.zeros((2, cache.front_end.n_mels))
    made = cli.progress_bar(
        map_in_threads(sums, track_ids), total=len(track_ids), desc="levels", unit="track"
    )
    for track, both in zip(track_ids, made, strict=True):
        if not np.isfinite(both).all():
            raise InputError(
                f"{cache.path}: {track!r} holds NaN or infinity; make the mel cache again"
            )
        total += both
    mean, squares = total / length.sum()
    std = np.sqrt(np.maximum(squares - mean**2, 0))
    return mean + away, np.where(std > 0, std, 1)
