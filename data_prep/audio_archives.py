"""Audio archives of the datasets: download URLs, verification and extraction."""

import contextlib
import csv
import hashlib
import lzma
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from common.cli import progress_bar
from common.errors import InputError
from common.files import atomic_write

REGISTRY = Path(__file__).resolve().parent.parent / "splits" / "audio_archives.csv"
_NUMBER = "NN"  # placeholder for the two digits in the names of numbered archives
_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2")
_BLOCK = 1 << 20
_MAX_MEMBERS = 10_000_000
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_DAMAGE = (
    *(ArithmeticError, EOFError, LookupError, MemoryError, RuntimeError, ValueError),
    *(lzma.LZMAError, struct.error, tarfile.TarError, zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True)
class Archive:
    """One archive, as listed in a row of the archive registry."""

    source: str  # dataset name
    file: str
    address: str  # download URL
    size: str  # human-readable
    algorithm: str  # of the checksum; '' if none is published
    digest: str  # checksum; for numbered archives, the name of the dataset's own checksum list

    def describe(self) -> str:
        """Return a one-line summary of the archive: file name, size, URL and checksum."""
        checksum = f"{self.algorithm} {self.digest}" if self.digest else "no checksum is published"
        return f"{self.file}  {self.size or 'unknown size'}  {self.address}  {checksum}"


def list_archives(source: str) -> list[Archive]:
    """Return a dataset's archives, an empty list if its audio is not published as archives."""
    with REGISTRY.open(encoding="utf-8", newline="") as file:
        return [Archive(**row) for row in csv.DictReader(file) if row["source"] == source]


def extract_dataset_archive(source: str, path: Path, root: Path, metadata: Path | None) -> int:
    """Verify a downloaded archive and extract it to `root`; return the number of files in it.

    Existing files of the right size are kept, so an interrupted extraction can be
    resumed. Permissions, owners and timestamps are not restored. An archive that contains links
    or other special files, or paths that escape `root` or collide, is rejected before anything is
    written. `metadata` is the folder with the dataset's lists, which contain the checksums of
    numbered archives.
    """
    numbered = re.sub("[0-9]{2}(?=[.]tar$)", _NUMBER, path.name)
    archives = {archive.file: archive for archive in list_archives(source)}
    archive = archives.get(path.name) or archives.get(numbered)
    if archive is None:
        names = ", ".join(archives) or "none"
        raise InputError(f"{path}: not an archive of {source} ({names}); extract it yourself")
    if digest := _published_digest(archive, path.name, metadata):
        verify_archive(path, archive.algorithm, digest)
    return extract_archive(path, root)


def _published_digest(archive: Archive, name: str, metadata: Path | None) -> str:
    if _NUMBER not in archive.file:
        return archive.digest
    folders = (metadata / "download", metadata) if metadata else ()
    lists = [folder / archive.digest for folder in folders if (folder / archive.digest).is_file()]
    if not lists:
        raise InputError(
            f"{name}: its checksum is in download/{archive.digest} of the dataset's lists; "
            "name their folder with --metadata"
        )
    rows = (line.split() for line in lists[0].read_text("utf-8", "replace").splitlines())
    digests = {row[1]: row[0] for row in rows if len(row) == 2}
    if name not in digests:
        raise InputError(f"{lists[0]}: does not list {name}; download the dataset's lists again")
    return digests[name]


def verify_archive(path: Path, algorithm: str, digest: str) -> None:
    """Raise `InputError` unless a file's hexadecimal md5, sha1 or sha256 digest matches."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    checksum = hashlib.new(algorithm, usedforsecurity=False)
    bar = progress_bar(total=path.stat().st_size, unit="B", unit_scale=True, desc=path.name)
    with bar, path.open("rb") as file:
        while block := file.read(_BLOCK):
            checksum.update(block)
            bar.update(len(block))
    if checksum.hexdigest() != digest.lower():
        raise InputError(
            f"{path}: its {algorithm} is {checksum.hexdigest()}, not {digest}; download it again"
        )


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_folder: bool
    open: Callable[[], IO[bytes] | None]


def extract_archive(archive: Path, folder: Path) -> int:
    """Extract an archive to `folder` without verifying it; see `extract_dataset_archive`."""
    if not archive.name.lower().endswith(_SUFFIXES):
        raise InputError(f"{archive}: none of {', '.join(_SUFFIXES)}; extract it yourself")
    if not archive.is_file():
        raise InputError(f"{archive}: no such file; check the path")
    try:
        with _open_members(archive, folder) as members:
            files = _check_members(members, archive, folder)
            total = sum(member.size for member in files.values())
            with progress_bar(total=total, unit="B", unit_scale=True, desc=archive.name) as bar:
                for target, member in files.items():
                    if not _is_complete(target, member.size):
                        _write(member, target)
                    bar.update(member.size)
            return len(files)
    except tarfile.FilterError as error:
        raise _refusal(archive, error.tarinfo.name, "would be outside the folder") from error
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # a disk error
            raise
        raise InputError(f"{archive}: not an archive, or damaged; download it again") from error


@contextlib.contextmanager
def _open_members(archive: Path, folder: Path) -> Iterator[Iterable[_Member]]:
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(archive, opened)
    else:
        with tarfile.open(archive) as opened:
            yield _tar_members(archive, opened, folder)


def _tar_members(archive: Path, opened: tarfile.TarFile, folder: Path) -> Iterator[_Member]:
    for info in opened:
        if not (info.isreg() or info.isdir()) or info.issparse():
            raise _refusal(archive, info.name, "is a link, a device or a sparse file")
        if info.size < 0:
            raise _refusal(archive, info.name, "has a negative size")
        tarfile.data_filter(info, str(folder))  # raises FilterError
        yield _Member(info.name, info.size, info.isdir(), partial(opened.extractfile, info))
    # tarfile stops silently at a damaged header. At the true end of the archive, the next block is
    # missing or all zeros.
    stream = cast(IO[bytes], opened.fileobj)
    stream.seek(opened.offset)
    if any(stream.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError("damaged header")


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> Iterator[_Member]:
    for info in opened.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if the archive was not made on Unix
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refusal(archive, info.filename, "is a link or a device")
        is_folder = info.is_dir() or kind == stat.S_IFDIR
        if not is_folder and (info.flag_bits & 1 or info.compress_type not in _ZIP_METHODS):
            problem = "is encrypted or compressed by an unknown method"
            raise _refusal(archive, info.filename, problem)
        yield _Member(info.orig_filename, info.file_size, is_folder, partial(opened.open, info))


def _check_members(members: Iterable[_Member], archive: Path, folder: Path) -> dict[Path, _Member]:
    """Check all members before anything is written, and return the files by target path."""
    root = folder.resolve()
    existing = next(place for place in (root, *root.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    files: dict[Path, _Member] = {}
    folders = set()
    for member in progress_bar(members, unit=" members", desc=f"checking {archive.name}"):
        name = PurePosixPath(member.name.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or member.name[1:2] == ":":
            raise _refusal(archive, member.name, "would be outside the folder")
        target = root / name
        if not target.resolve().is_relative_to(root):
            raise _refusal(archive, member.name, f"leads out of {root} through an existing link")
        folders.add(target if member.is_folder else target.parent)
        if member.is_folder:
            continue
        if target in files or target == root or name.suffix == ".partial":
            raise _refusal(archive, member.name, "conflicts with another name")
        files[target] = member
        free -= 0 if _is_complete(target, member.size) else member.size
        if free < 0 or len(files) > _MAX_MEMBERS:
            raise InputError(f"{archive}: larger than the free space of {folder}; free some space")
    for place in folders:
        for parent in (place, *place.parents):
            if parent in files:
                raise _refusal(archive, files[parent].name, "conflicts with another name")
    return files


def _refusal(archive: Path, name: str, problem: str) -> InputError:
    remedy = "nothing was extracted, use the published archive"
    return InputError(f"{archive}: its member {name[:100]!r} {problem}; {remedy}")


def _is_complete(target: Path, size: int) -> bool:
    return target.is_file() and not target.is_symlink() and target.stat().st_size == size


def _write(member: _Member, target: Path) -> None:
    with atomic_write(target) as partial_file:
        partial_file.unlink(missing_ok=True)  # an existing .partial file may be a link
        with member.open() as source, partial_file.open("xb") as sink:  # type: ignore[union-attr]
            shutil.copyfileobj(source, sink, _BLOCK)
            if sink.tell() != member.size:
                raise EOFError("size differs from the declared size")
