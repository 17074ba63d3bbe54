"""Tests that audio archives are extracted completely or rejected before anything is written."""

import bz2
import gzip
import hashlib
import io
import os
import stat
import tarfile
import zipfile

import pytest

from common.errors import InputError
from data_prep.audio_archives import extract_archive, verify_archive

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2")
FILES = {"genres/blues/blues.00000.au": b"blues" * 100, "genres/a b.txt": b"", "é.txt": b"x" * 3000}


def tar_info(name: str, size: int = 0, **fields) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in {"size": size, **fields}.items():
        setattr(info, field, value)
    return info


def tar_content(members) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zip_content(members, method=zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content, method)
    return stream.getvalue()


def write_archive(tmp_path, suffix: str, content):
    """Write an archive from (name, content) pairs or from raw bytes."""
    if not isinstance(content, bytes):
        members = list(content)
        if suffix == ".zip":
            content = zip_content(members)
        else:
            content = tar_content([(tar_info(name, len(data)), data) for name, data in members])
            compress = {".tar": bytes, ".tar.bz2": bz2.compress}.get(suffix, gzip.compress)
            content = compress(content)
    path = tmp_path / f"music{suffix}"
    path.write_bytes(content)
    return path


def files_in(folder) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if not path.is_dir()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def refusal(tmp_path, suffix: str, content) -> str:
    """Return the one-line error for an archive, and check that nothing was written."""
    archive = write_archive(tmp_path, suffix, content)
    (tmp_path / "in").mkdir(exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    for folder in (tmp_path / "in" / "new", tmp_path / "in"):
        with pytest.raises(InputError) as caught:
            extract_archive(archive, folder)
    message = str(caught.value)
    assert message.isprintable() and "; " in message and str(archive) in message
    assert sorted(tmp_path.rglob("*")) == before
    return message


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_extract_archive_writes_all_files_once(suffix, tmp_path):
    archive = write_archive(tmp_path, suffix, FILES.items())
    folder = tmp_path / "out" / "music"
    assert extract_archive(archive, folder) == 3
    assert files_in(folder) == FILES
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert extract_archive(archive, folder) == 3
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_extract_archive_resumes_after_an_interruption(tmp_path):
    archive = write_archive(tmp_path, ".zip", FILES.items())
    extract_archive(archive, tmp_path / "out")
    (tmp_path / "out" / "é.txt").write_bytes(b"half")
    (tmp_path / "out" / "é.txt.partial").symlink_to(archive)
    (tmp_path / "out" / "genres" / "a b.txt").unlink()
    (tmp_path / "out" / "mine").write_bytes(b"mine")
    content = archive.read_bytes()
    assert extract_archive(archive, tmp_path / "out") == 3
    assert files_in(tmp_path / "out") == {**FILES, "mine": b"mine"}
    assert archive.read_bytes() == content


def test_extract_archive_ignores_folders_and_permissions(tmp_path):
    folders = [(tar_info(name, type=tarfile.DIRTYPE), b"") for name in (".", "./a", "./a")]
    content = tar_content([*folders, (tar_info("./a/b", 1, mode=0o6777), b"x")])
    assert extract_archive(write_archive(tmp_path, ".tar", content), tmp_path / "out") == 1
    assert files_in(tmp_path / "out") == {"a/b": b"x"}
    assert not (tmp_path / "out/a/b").stat().st_mode & (stat.S_ISUID | stat.S_ISGID | 0o111)


def test_extract_archive_recognises_zip_folders_by_mode(tmp_path):
    folder = zipfile.ZipInfo("folder")
    folder.create_system, folder.external_attr = 3, (stat.S_IFDIR | 0o755) << 16
    archive = write_archive(tmp_path, ".zip", [(folder, b""), ("folder/a", b"x")])
    assert extract_archive(archive, tmp_path / "out") == 1
    assert files_in(tmp_path / "out") == {"folder/a": b"x"}


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
@pytest.mark.parametrize(
    "name",
    [
        *("../escaped", "a/../../escaped", "/tmp/escaped", "..\\escaped", "C:\\escaped"),
        *("C:escaped", "\\\\host\\share", ".."),
    ],
)
def test_extract_archive_rejects_paths_outside_the_folder(name, suffix, tmp_path):
    message = refusal(tmp_path, suffix, {"good": b"good", name: b"bad"}.items())
    assert f"its member {name!r} would be outside the folder" in message
    assert not (tmp_path / "escaped").exists()


def test_extract_archive_rejects_names_with_nul_characters(tmp_path):
    content = zip_content([("good", b"good"), ("a?b", b"x")]).replace(b"a?b", b"a\0b")
    refusal(tmp_path, ".zip", content)


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
def test_extract_archive_rejects_links_and_devices_in_tar(kind, tmp_path):
    (tmp_path / "secret").write_text("secret")
    link = tar_info("link", type=kind, linkname="../secret")
    content = tar_content([(tar_info("good", 4), b"good"), (link, b"")])
    assert "'link' is a link, a device" in refusal(tmp_path, ".tar", content)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_extract_archive_rejects_links_and_devices_in_zip(kind, tmp_path):
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, (kind | 0o777) << 16
    content = zip_content([("good", b"good"), (link, b".."), ("link/escaped", b"bad")])
    assert "'link' is a link or a device" in refusal(tmp_path, ".zip", content)


@pytest.mark.parametrize(
    "names", [["a", "a"], ["a", "./a"], ["a", "a/b"], ["a/b/c", "a"], ["a", "a.partial"], ["."]]
)
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_extract_archive_rejects_conflicting_names(names, suffix, tmp_path):
    message = refusal(tmp_path, suffix, [(name, b"x") for name in names])
    assert "conflicts with another name" in message


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_extract_archive_does_not_follow_existing_links(suffix, tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "in"
    outside.mkdir()
    folder.mkdir()
    (outside / "precious").write_bytes(b"precious")
    (folder / "link").symlink_to("../outside")
    (folder / "file").symlink_to("../outside/precious")
    for name in ("link/precious", "link/new", "link/deep/new", "file"):
        archive = write_archive(tmp_path, suffix, [("good", b"good"), (name, b"8 bytes.")])
        with pytest.raises(InputError, match=r"outside the folder|through an existing link"):
            extract_archive(archive, folder)
    assert files_in(outside) == {"precious": b"precious"}
    assert sorted(os.listdir(folder)) == ["file", "link"]


def test_extract_archive_rejects_archives_larger_than_the_free_space(tmp_path):
    info = tar_info("huge", 1 << 60)
    content = info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    assert "free some space" in refusal(tmp_path, ".tar.gz", gzip.compress(content))


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 99)], ids=["encrypted", "method"])
def test_extract_archive_rejects_unreadable_zip_members(offset, value, tmp_path):
    content = bytearray(zip_content([("good", b"good"), ("bad", b"bad")]))
    content[content.rindex(b"PK\1\2") + offset] = value  # in the central directory's second entry
    message = refusal(tmp_path, ".zip", bytes(content))
    assert "'bad' is encrypted or compressed by an unknown method" in message


def test_extract_archive_rejects_negative_sizes(tmp_path):
    content = tar_info("bad", -512).tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    assert "'bad' has a negative size" in refusal(tmp_path, ".tar", content)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_extract_archive_rejects_a_damaged_second_header(suffix, tmp_path):
    content = tar_content([(tar_info(name, 4), b"good") for name in ("a", "b")])
    damaged = content[:1024] + b"x" + content[1025:]
    compress = gzip.compress if suffix == ".tar.gz" else bytes
    for changed in (damaged, content[:1100], b"text", b""):
        assert "damaged" in refusal(tmp_path, suffix, compress(changed))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_extract_archive_leaves_no_partial_files_from_a_truncated_archive(suffix, tmp_path):
    files = {"a": b"a" * 500, "b": os.urandom(20_000), "c": b"c"}
    archive = write_archive(tmp_path, suffix, files.items())
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(InputError, match=r"or damaged; download it again"):
        extract_archive(archive, tmp_path / "out")
    assert files_in(tmp_path / "out").items() <= files.items()


def test_extract_archive_rejects_unknown_suffixes_and_missing_files(tmp_path):
    with pytest.raises(InputError, match=r"none of \.zip, .*; extract it yourself"):
        extract_archive(write_archive(tmp_path, ".rar", b"x"), tmp_path / "out")
    with pytest.raises(InputError, match="no such file"):
        extract_archive(tmp_path / "absent.tar.gz", tmp_path / "out")


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_verify_archive_compares_digests(algorithm, tmp_path):
    path = write_archive(tmp_path, ".zip", b"abc" * 1_000_000)
    digest = hashlib.new(algorithm, path.read_bytes()).hexdigest()
    verify_archive(path, algorithm, digest.upper())
    with pytest.raises(InputError, match=rf"its {algorithm} is {digest}, not 00; download"):
        verify_archive(path, algorithm, "00")
    with pytest.raises(InputError, match="no such file"):
        verify_archive(tmp_path / "absent", algorithm, "00")
