"""Reporting of tracks that could not be used: reasons, list file and exit status."""

import logging
from pathlib import Path

import pandas as pd

from common.files import atomic_write
from common.parallel import WorkerLost
from data_prep import split_csv
from data_prep.audio import AudioError

logger = logging.getLogger(__name__)


def failure_reason(error: Exception) -> str:
    """Return a one-line explanation of why a track failed."""
    if isinstance(error, AudioError):
        return error.reason
    if isinstance(error, WorkerLost):
        return str(error)
    return f"unforeseen {type(error).__name__}: {' '.join(str(error).split())}"


def failures_path(out: str | Path) -> Path:
    """Return the path of the failed-track list for NAME.h5, which is NAME.failures.csv."""
    return Path(out).with_suffix(".failures.csv")


def write_failures(out: str | Path, failed: dict[str, str]) -> None:
    """Write the list of failed tracks, {track_id: reason}, or remove it if no track failed."""
    path = failures_path(out)
    if not failed:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as partial:
        pd.DataFrame({"track_id": failed.keys(), "reason": failed.values()}).to_csv(
            partial, index=False, encoding="utf-8"
        )


def report_failures(
    out: str | Path, tracks: int, failed: dict[str, str], strict: bool, state: str
) -> int:
    """Log a script's final line about the `tracks` in `out`; return its exit status.

    The status is 1 only if `strict` and any tracks failed, {track_id: reason}.
    """
    if not failed:
        logger.info(f"{out}: {state}, {tracks} tracks")
        return 0
    logger.info(
        f"{out}: {state}, {tracks} tracks; {len(failed)} failed, see {failures_path(out)} "
        f"(to try them again, delete {out})"
    )
    return int(strict)


def read_usable_tracks(
    split: str | Path, failed: dict[str, str], source: str | Path, max_artists: int | None = None
) -> pd.DataFrame:
    """Read a split, omitting tracks that failed when `source` was made; log how many.

    If `max_artists` is given, only that many artists are kept, in split order.
    """
    tracks = split_csv.keep_first_artists(split_csv.read_split(split), max_artists, split)
    dropped = tracks["track_id"].isin(failed)
    if dropped.any():
        logger.info(f"{source}: {dropped.sum()} tracks skipped, which failed when it was made")
    return tracks[~dropped].reset_index(drop=True)
