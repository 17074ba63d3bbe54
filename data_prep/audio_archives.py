"""The large archives of each dataset's audio: where they are, and unpacking what was downloaded."""

import csv
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from data_prep import archives

REGISTRY = Path(__file__).resolve().parent.parent / "splits" / "audio_archives.csv"
_NUMBER = "NN"  # stands in a name for the two digits of each of a hundred files


@dataclass(frozen=True)
class Archive:
    """A row of the registry.

    Attributes
    ----------
    source
        Of script 1.
    file, address, size
        Its name, where it is, and how large, in words.
    algorithm, digest
        What its content is known by; '' where none is published. For an archive
        of many files, `digest` is the dataset's own list of them.
    """

    source: str
    file: str
    address: str
    size: str
    algorithm: str
    digest: str

    def line(self) -> str:
        """What a person needs in order to get it."""
        known = f"{self.algorithm} {self.digest}" if self.digest else "no checksum is published"
        return f"{self.file}  {self.size or 'size not known'}  {self.address}  {known}"


def list_archives(source: str) -> list[Archive]:
    """The archives of a source; none for music that is not had from elsewhere."""
    with REGISTRY.open(encoding="utf-8", newline="") as file:
        return [Archive(**row) for row in csv.DictReader(file) if row["source"] == source]


def extract_dataset_archive(source: str, path: Path, root: Path, metadata: Path | None) -> int:
    """Verify an archive that was downloaded, and unpack it below `root`; its number of files.

    Raises
    ------
    InputError
        None of the source's archives, another content than published, or
        anything for which `data_prep.archives.extract_archive` refuses it.
    """
    known = [archive for archive in list_archives(source) if _names(archive, path.name)]
    if not known:
        names = ", ".join(archive.file for archive in list_archives(source)) or "none"
        raise InputError(f"{path}: no archive of {source}, whose are {names}; unpack it yourself")
    digest = _digest(known[0], path.name, metadata)
    if digest:
        archives.verify_archive(path, known[0].algorithm, digest)
    return archives.extract_archive(path, root)


def _names(archive: Archive, name: str) -> bool:
    before, number, after = archive.file.partition(_NUMBER)
    if not number:
        return name == archive.file
    middle = name[len(before) : len(name) - len(after)]
    return name == before + middle + after and len(middle) == 2 and middle.isdigit()


def _digest(archive: Archive, name: str, metadata: Path | None) -> str:
    """The digest itself, or for one of many files that which the dataset's own list has."""
    if _NUMBER not in archive.file:
        return archive.digest
    folders = (metadata / "download", metadata) if metadata else ()
    lists = [folder / archive.digest for folder in folders if (folder / archive.digest).is_file()]
    if not lists:
        raise InputError(
            f"{name}: its checksum stands in download/{archive.digest} of the dataset's lists; "
            "name their folder with --metadata"
        )
    rows = (line.split() for line in lists[0].read_text("utf-8", "replace").splitlines())
    digests = {row[1]: row[0] for row in rows if len(row) == 2}
    if name not in digests:
        raise InputError(f"{lists[0]}: does not list {name}; get the dataset's lists again")
    return digests[name]
