"""Published files, known by git's content id: from a mirror folder, or downloaded once."""

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
    """The verified local file that was published as `path` at `commit` of a GitHub repository.

    It is looked up in the mirror folder (this argument, or the environment
    variable MUSIC_MIRROR), as `name` or as the last part of `name`; without a
    mirror it is downloaded once into the user's cache folder. Either way its
    content must have the id `git_blob`. Messages name the script's `option` for it.

    Raises
    ------
    InputError
        Not in the mirror, no network, or another content than published.
    """
    mirror = mirror or os.environ.get(MIRROR_VARIABLE)
    remedy = (
        f"put the file as {name} in a folder and name that in {MIRROR_VARIABLE} or with {option}"
    )
    if mirror:
        found = _in_mirror(Path(mirror), name)
    else:
        found = _download(name, f"{_RAW}/{repository}/{commit}/{path}", git_blob, remedy)
    if git_blob_id(found) == git_blob:
        return found
    if mirror:
        raise InputError(f"{found}: not the file that was published; copy that one there")
    found.unlink()  # or every later call would find it there and fail
    raise InputError(
        f"{found}: the download was not the file that was published, and is deleted; try again, or "
        f"{remedy}"
    )


def git_blob_id(path: str | Path) -> str:
    """Git's content id of a file: sha1 of "blob SIZE", a zero byte and the content."""
    path = Path(path)
    head = b"blob %d\0" % path.stat().st_size
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.sha1(head, usedforsecurity=False))
    return found.hexdigest()


def _in_mirror(mirror: Path, name: str) -> Path:
    places = (mirror / name, mirror / PurePosixPath(name).name)
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"{places[0]}: not in the mirror; copy it there, or leave the mirror out")


def _download(name: str, url: str, git_blob: str, remedy: str) -> Path:
    folder = Path(pooch.os_cache("artist-labels"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot make this folder for downloads ({error.strerror}); name another "
            f"place in XDG_CACHE_HOME, or {remedy}"
        ) from error
    pooch.get_logger().setLevel("ERROR")  # it would print the hash that we had no need to give
    plain = PurePosixPath(name)
    try:
        return Path(
            pooch.retrieve(
                url,
                known_hash=None,  # a blob id is no hash of the content alone: verified afterwards
                fname=f"{plain.stem}-{git_blob[:12]}{plain.suffix}",
                path=folder,
                # pooch sets the total itself, but takes a bar without one for no bar.
                progressbar=progress_bar(total=1, unit="B", unit_scale=True, desc=plain.name),
            )
        )
    except Exception as error:  # requests' errors, each with a text of many lines
        raise InputError(
            f"{name}: cannot be downloaded from {url} ({type(error).__name__}); check the "
            f"network, or {remedy}"
        ) from error
