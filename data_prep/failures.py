"""Reporting of tracks that could not be used: reasons, list file and exit status."""

import csv
import logging
import os
from pathlib import Path

from common.files import atomic_write
from common.parallel import WorkerLost
from data_prep.audio import AudioError

logger = logging.getLogger(__name__)

SILENT = "has no frame that is loud enough; it may be silent"


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
    with (
        atomic_write(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator=os.linesep)
        writer.writerows([("track_id", "reason"), *failed.items()])


def report_failures(
    out: str | Path,
    tracks: int,
    failed: dict[str, str],
    strict: bool,
    state: str,
    *,
    retry: str = "to try them again, delete {out}",
) -> int:
    """Log a script's final line about the `tracks` in `out`; return its exit status.

    `retry` states how the failed tracks are tried again.
    The status is 1 only if `strict` and any tracks failed, {track_id: reason}.
    """
    if not failed:
        logger.info(f"{out}: {state}, {tracks} tracks")
        return 0
    logger.info(
        f"{out}: {state}, {tracks} tracks; {len(failed)} failed, see {failures_path(out)} "
        f"({retry.format(out=out)})"
    )
    return int(strict)
