"""Archives of music: verified, and unpacked only below the folder that was named."""

import bz2
import contextlib
import copy
import gzip
import hashlib
import math
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NoReturn

from common.cli import progress_bar
from common.errors import InputError
from common.files import atomic_write

_BLOCK = 1 << 20
_HEADERS = 1 << 28  # bytes of all headers of a tar file, which are half a million files' at least
_DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
# FMA's archives are compressed with bzip2.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


@dataclass(frozen=True)
class _Member:
    """One member of an archive.

    Attributes
    ----------
    size
        In bytes, as declared.
    kind
        "file", "folder", or words for what cannot be unpacked.
    """

    name: str
    size: int
    kind: str
    open: Callable[[], BinaryIO]


def extract_archive(archive: str | Path, folder: str | Path) -> int:
    """Unpack a .zip, .tar, .tar.gz, .tgz or .tar.bz2 file below `folder`; its number of files.

    Files that are there already with their right size are left as they are, so
    that an interrupted unpacking goes on where it was. Rights, owners and times
    are not restored.

    Raises
    ------
    InputError
        Before anything is written: a member that would lie outside `folder`,
        that is a link or a device, or that stands twice; too little space; no
        such archive. While it is written: a damaged archive, or a file of
        another size than declared; files that are complete by then stay.
    """
    archive, folder = Path(archive), Path(folder)
    with _opened(archive) as members:
        files = _checked(members, archive, folder)
        total = sum(member.size for member in files.values())
        with progress_bar(total=total, unit="B", unit_scale=True, desc=archive.name) as bar:
            for target, member in files.items():
                if not _is_there(target, member.size):
                    _write(member, target)
                bar.update(member.size)
    return len(files)


def verify_archive(path: str | Path, algorithm: str, digest: str) -> None:
    """Compare a file with its published hex digest ("md5", "sha1", "sha256" …).

    Raises
    ------
    InputError
        No such file, or another content.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    found = hashlib.new(algorithm, usedforsecurity=False)
    bar = progress_bar(total=path.stat().st_size, unit="B", unit_scale=True, desc=path.name)
    with bar, path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
            bar.update(len(block))
    if found.hexdigest() != digest.lower():
        raise InputError(
            f"{path}: its {algorithm} is {found.hexdigest()}, not {digest}; download it again"
        )


# ---------------------------------------------------------------- what an archive holds


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[Iterable[_Member]]:
    """The members of an archive; damage, met now or later, becomes an InputError."""
    openers = {".zip": _zip, ".tar": open, ".tar.gz": gzip.open, ".tgz": gzip.open}
    openers[".tar.bz2"] = bz2.open
    suffix = next((end for end in openers if archive.name.lower().endswith(end)), None)
    if suffix is None:
        raise InputError(f"{archive}: none of {', '.join(openers)}; unpack it yourself")
    if not archive.is_file():
        raise InputError(f"{archive}: no such archive; check the path")
    damage = f"{archive}: not a {suffix} archive, or a damaged one; download it again"
    try:
        with _zip(archive) if suffix == ".zip" else _tar(archive, openers[suffix]) as members:
            yield members
    except _DAMAGE as error:
        raise InputError(damage) from error
    except OSError as error:
        if error.errno is not None:  # the disk's; those of gzip and bz2 have none
            raise
        raise InputError(damage) from error


@contextlib.contextmanager
def _zip(path: Path) -> Iterator[Iterator[_Member]]:
    with zipfile.ZipFile(path) as opened:
        yield (
            # The original name, for zipfile cuts a name at a NUL.
            _Member(info.orig_filename, info.file_size, _zip_kind(info), _zip_file(opened, info))
            for info in opened.infolist()
        )


def _zip_kind(info: zipfile.ZipInfo) -> str:
    form = stat.S_IFMT(info.external_attr >> 16)  # of Unix; 0 where none was recorded
    if form not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link" if form == stat.S_IFLNK else "a device"
    if info.is_dir() or form == stat.S_IFDIR:
        return "folder"
    if info.flag_bits & 1:
        return "encrypted"
    return "file" if info.compress_type in _METHODS else "compressed in an unknown way"


def _zip_file(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], BinaryIO]:
    if info.compress_type != zipfile.ZIP_BZIP2:
        return lambda: opened.open(info)
    # zipfile asks bzip2 for all that a block expands to, gigabytes at worst. Taken as stored, it
    # comes as it is, and bz2 expands it bit by bit and verifies it by bzip2's own checksums.
    raw = copy.copy(info)
    raw.compress_type, raw.file_size, raw.CRC = zipfile.ZIP_STORED, info.compress_size, None
    return lambda: bz2.open(opened.open(raw))


@contextlib.contextmanager
def _tar(path: Path, opener: Callable) -> Iterator[Iterator[_Member]]:
    with opener(path, "rb") as plain:
        stream = _Metered(plain)
        with tarfile.open(fileobj=stream, mode="r:") as opened:
            yield _tar_members(opened, stream)


def _tar_members(opened: tarfile.TarFile, stream: "_Metered") -> Iterator[_Member]:
    while (info := opened.next()) is not None:
        yield _Member(
            info.name,
            info.size,
            _tar_kind(info),
            lambda info=info: opened.extractfile(info),
        )
    # tarfile takes a damaged header for the end, which is a block of zeros or of nothing.
    stream.seek(opened.offset)
    if any(stream.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError("damaged header")
    stream.left = math.inf


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.issparse():
        return "a sparse file"
    if info.isfile() or info.isdir():
        return "file" if info.isfile() else "folder"
    return "a link" if info.issym() or info.islnk() else "a device"


class _Metered:
    """A tar file that lends no more than some bytes: a header can ask tarfile for gigabytes."""

    def __init__(self, file: BinaryIO):
        self._file, self.left = file, _HEADERS
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        self.left -= size
        if size < 0 or self.left < 0:
            raise tarfile.ReadError("headers too large")
        return self._file.read(size)


# ---------------------------------------------------------------- what may be unpacked


def _checked(members: Iterable[_Member], archive: Path, folder: Path) -> dict[Path, _Member]:
    """All files by where they go; nothing is written if one of them must not."""
    root = folder.resolve()
    free, need = _free_space(root), 0
    files, folders = {}, set()
    for member in progress_bar(members, unit=" members", desc=f"checking {archive.name}"):
        target = _target(member, archive, root)
        if member.kind == "folder":
            folders.add(target)
            continue
        if target in files:
            _refuse(archive, member.name, "stands twice")
        files[target] = member
        need += 0 if _is_there(target, member.size) else member.size
        if need > free:  # said at once: what follows may be endless
            raise InputError(
                f"{archive}: needs {need / 1e9:.1f} GB or more, {folder} has {free / 1e9:.1f} GB "
                "left; free some space"
            )
    folders.update(target.parent for target in files)
    for place in sorted(folders):
        _check_folder(place, files, root, archive)
    for target, member in files.items():
        if target.with_name(target.name + ".partial") in files:
            _refuse(archive, member.name + ".partial", "has the name of an unfinished file")
    return files


def _target(member: _Member, archive: Path, root: Path) -> Path:
    if member.kind not in ("file", "folder"):
        _refuse(archive, member.name, f"is {member.kind}")
    if member.size < 0:
        _refuse(archive, member.name, "has a negative size")
    name = PurePosixPath(member.name.replace("\\", "/"))
    drive = member.name[1:2] == ":"
    if name.is_absolute() or ".." in name.parts or drive or "\0" in member.name:
        _refuse(archive, member.name, "leads out of the folder")
    if not name.parts and member.kind == "file":
        _refuse(archive, member.name, "is no name")
    return root / PurePosixPath(member.name)


def _check_folder(place: Path, files: dict[Path, _Member], root: Path, archive: Path) -> None:
    """Neither a file of the archive nor a link on this disk may stand in for a folder."""
    for parent in (place, *place.parents):
        if parent in files:
            _refuse(archive, files[parent].name, "is both a file and a folder")
    if not place.resolve().is_relative_to(root):
        raise InputError(
            f"{place}: leads out of {root}, where {archive} is to be unpacked; remove the link"
        )


def _refuse(archive: Path, name: str, why: str) -> NoReturn:
    raise InputError(
        f"{archive}: its member {name[:100]!r} {why}; nothing was unpacked, use the published "
        "archive"
    )


def _free_space(place: Path) -> int:
    existing = next(parent for parent in (place, *place.parents) if parent.exists())
    return shutil.disk_usage(existing).free


def _is_there(target: Path, size: int) -> bool:
    """Whether it was unpacked before; a link is no file of ours."""
    try:
        found = target.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size


def _write(member: _Member, target: Path) -> None:
    left = member.size
    with atomic_write(target) as aside:
        aside.unlink(missing_ok=True)  # it may be a link, through which nothing is to be written
        with member.open() as source, aside.open("xb") as sink:
            # One byte more is asked for than there should be, and never a second one.
            while block := source.read(min(_BLOCK, left + 1)):
                left -= len(block)
                sink.write(block)
        if left:
            raise EOFError("another size than declared")
