"""Published files, identified by Git's blob id: from a mirror folder, or downloaded once."""

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

    With a mirror folder, the file is looked up there as `name` or as the last part
    of `name`. Without one, it is downloaded once into the user's cache folder.

    Parameters
    ----------
    name
        Name of the file in a mirror, with `/`.
    repository, commit, path
        Where it was published: "OWNER/NAME", the commit, and its path there.
    git_blob
        Git's blob id of the content.
    mirror
        Folder of published files; the environment variable MUSIC_MIRROR by default.
    option
        The script's option for the mirror, for error messages.

    Raises
    ------
    InputError
        The file is not in the mirror, cannot be downloaded, or has another content.
    """
    mirror = mirror or os.environ.get(MIRROR_VARIABLE)
    remedy = f"put the file as {name} in a folder and name it in {MIRROR_VARIABLE} or with {option}"
    if mirror:
        places = (Path(mirror, name), Path(mirror, PurePosixPath(name).name))
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            raise InputError(
                f"{places[0]}: not in the mirror; copy it there, or use no mirror ({option}, "
                f"{MIRROR_VARIABLE})"
            )
        if git_blob_id(file) != git_blob:
            raise InputError(f"{file}: not the file that was published; copy the published file")
        return file
    file = _download(name, f"{_RAW}/{repository}/{commit}/{path}", git_blob, remedy)
    if git_blob_id(file) != git_blob:
        file.unlink()  # otherwise every later call would find it
        raise InputError(
            f"{file}: the download is not the file that was published, and is deleted; try again, "
            f"or {remedy}"
        )
    return file


def git_blob_id(path: str | Path) -> str:
    """Return Git's id of a file: the SHA-1 of "blob SIZE", a zero byte and the content."""
    path = Path(path)
    header = b"blob %d\0" % path.stat().st_size
    with path.open("rb") as file:
        sha1 = hashlib.file_digest(file, lambda: hashlib.sha1(header, usedforsecurity=False))
    return sha1.hexdigest()


def _download(name: str, url: str, git_blob: str, remedy: str) -> Path:
    folder = Path(pooch.os_cache("artist-labels"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot make this folder for downloads ({error.strerror}); set "
            f"XDG_CACHE_HOME to another folder, or {remedy}"
        ) from error
    pooch.get_logger().setLevel("ERROR")  # it would print a hash
    file = PurePosixPath(name)
    try:
        return Path(
            pooch.retrieve(
                url,
                known_hash=None,  # pooch does not know Git's ids; the caller verifies the file
                fname=f"{file.stem}-{git_blob[:12]}{file.suffix}",
                path=folder,
                # pooch sets the total, but ignores a bar without one.
                progressbar=progress_bar(total=1, unit="B", unit_scale=True, desc=file.name),
            )
        )
    except Exception as error:  # messages of requests have many lines
        raise InputError(
            f"{name}: cannot be downloaded from {url} ({type(error).__name__}); check the "
            f"network, or {remedy}"
        ) from error
