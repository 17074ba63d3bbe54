"""Tracks that could not be used: told once, listed in a file, and counted in the exit status."""

from pathlib import Path

import pandas as pd

from common.files import atomic_write
from common.parallel import WorkerLost
from data_prep.audio import AudioError


def failure_reason(error: Exception) -> str:
    """One line on why a track failed; an unforeseen error is named as such."""
    if isinstance(error, AudioError):
        return error.reason
    if isinstance(error, WorkerLost):
        return str(error)
    return f"unforeseen {type(error).__name__}: {' '.join(str(error).split())}"


def failures_path(out: str | Path) -> Path:
    """Where the failed tracks of the output NAME.h5 are listed: NAME.failures.csv beside it."""
    return Path(out).with_suffix(".failures.csv")


def write_failures(out: str | Path, failed: dict[str, str]) -> None:
    """List the failed tracks {track_id: reason} beside `out`; no file where none failed."""
    path = failures_path(out)
    if not failed:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as aside:
        pd.DataFrame({"track_id": failed.keys(), "reason": failed.values()}).to_csv(
            aside, index=False, encoding="utf-8"
        )


def report_failures(
    out: str | Path, tracks: int, failed: dict[str, str], allowed: bool, verb: str
) -> int:
    """Print a script's closing line; return its exit status, 1 if any track failed."""
    if not failed:
        print(f"{out}: {verb}, {tracks} tracks")
        return 0
    print(
        f"{out}: {verb}, {tracks} tracks; {len(failed)} failed, see {failures_path(out)} "
        f"(to try them again, delete {out})"
    )
    return 0 if allowed else 1


def drop_failed(split: pd.DataFrame, failed: dict[str, str], source: str | Path) -> pd.DataFrame:
    """The split without the tracks that failed in the making of `source`; says how many."""
    gone = split["track_id"].isin(failed)
    if gone.any():
        print(f"{source}: {gone.sum()} tracks left out, which could not be used when it was made")
    return split[~gone].reset_index(drop=True)
