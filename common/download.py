"""Published files, identified by Git blob id and either read from a mirror or downloaded once."""

import hashlib
import os
from pathlib import Path, PurePosixPath

import pooch

from common.cli import progress_bar
from common.errors import InputError

MIRROR_VARIABLE = "MUSIC_MIRROR"
_RAW = "https://raw.githubusercontent.com"


def fetch_published_file(
    name: str,
    *,
    repository: str,
    commit: str,
    path: str,
    git_blob: str,
    mirror: str | Path | None = None,
    option: str = "--mirror",
) -> Path:
    """Return a local copy of a file published on GitHub, after verifying its content.

    If there is a mirror folder, from `mirror` (the script's `option`) or MUSIC_MIRROR, the file is
    looked up there as `name` or as the last component of `name`. Otherwise it is downloaded once
    to the user's cache folder, from the `path` in the "OWNER/NAME" repository at the commit.
    """
    mirror, path_in_mirror = mirror or os.environ.get(MIRROR_VARIABLE), PurePosixPath(name)
    if mirror:
        places = (Path(mirror, name), Path(mirror, path_in_mirror.name))
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            settings = f"{option}, {MIRROR_VARIABLE}"
            raise InputError(
                f"{places[0]}: not in the mirror; copy it there, or use no mirror ({settings})"
            )
        if git_blob_id(file) != git_blob:
            raise InputError(f"{file}: not the file that was published; copy the published file")
        return file
    remedy = f"put the file as {name} in a folder and name it in {MIRROR_VARIABLE} or with {option}"
    url, folder = f"{_RAW}/{repository}/{commit}/{path}", pooch.os_cache("artist-labels")
    file_name = f"{path_in_mirror.stem}-{git_blob[:12]}{path_in_mirror.suffix}"
    pooch.get_logger().setLevel("ERROR")  # by default, pooch logs the hash of the file
    # pooch overwrites the total but ignores a bar without one.
    bar = progress_bar(total=1, unit="B", unit_scale=True, desc=path_in_mirror.name)
    try:
        # pooch cannot check Git blob ids, so the file is verified below.
        file = Path(pooch.retrieve(url, None, file_name, folder, progressbar=bar))
    except Exception as error:  # error messages from requests span many lines
        raise InputError(
            f"{name}: cannot be downloaded from {url} to {folder} ({type(error).__name__}); check "
            f"the network, set XDG_CACHE_HOME to another folder, or {remedy}"
        ) from error
    if git_blob_id(file) != git_blob:
        file.unlink()  # otherwise every later call would find the corrupt file
        raise InputError(
            f"{file}: the download is not the file that was published, and is deleted; try again, "
            f"or {remedy}"
        )
    return file


def git_blob_id(path: str | Path) -> str:
    """Return a file's Git blob id: the SHA-1 of "blob SIZE", a zero byte and the content."""
    path = Path(path)
    header = b"blob %d\0" % path.stat().st_size
    with path.open("rb") as file:
        sha1 = hashlib.file_digest(file, lambda: hashlib.sha1(header, usedforsecurity=False))
    return sha1.hexdigest()
