"""Archives that are unpacked whole, and archives of which nothing is."""

import bz2
import gzip
import hashlib
import io
import os
import shutil
import stat
import tarfile
import tracemalloc
import zipfile

import pytest

from common.errors import InputError
from data_prep import archives
from data_prep.archives import extract_archive, verify_archive

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2")
FILES = {"genres/blues/blues.00000.au": b"blues" * 100, "genres/a b.txt": b"", "é.txt": b"x" * 3000}


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], **options) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", **options) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def tar_info(name: str, size: int = 0, **fields) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def zip_of(
    members: list[tuple[str | zipfile.ZipInfo, bytes]], method=zipfile.ZIP_DEFLATED
) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content, method)
    return stream.getvalue()


def archive_of(files: dict[str, bytes], suffix: str) -> bytes:
    if suffix == ".zip":
        return zip_of(list(files.items()))
    content = tar_of([(tar_info(name, len(data)), data) for name, data in files.items()])
    compress = {".tar": bytes, ".tar.bz2": bz2.compress}.get(suffix, gzip.compress)
    return compress(content)


def put(tmp_path, suffix: str, content: bytes):
    path = tmp_path / f"music{suffix}"
    path.write_bytes(content)
    return path


def below(folder) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if not path.is_dir()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def refused(tmp_path, suffix: str, content: bytes) -> str:
    """The one line with which an archive is refused; nothing has been written anywhere."""
    archive = put(tmp_path, suffix, content)
    (tmp_path / "in").mkdir(exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    for folder in (tmp_path / "in" / "new", tmp_path / "in"):
        with pytest.raises(InputError) as caught:
            extract_archive(archive, folder)
    message = str(caught.value)
    assert message.isprintable() and "; " in message and str(archive) in message
    assert sorted(tmp_path.rglob("*")) == before
    return message


# ---------------------------------------------------------------- what is unpacked


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unpacked_whole_and_once(suffix, tmp_path):
    archive = put(tmp_path, suffix, archive_of(FILES, suffix))
    folder = tmp_path / "out" / "music"
    assert extract_archive(archive, folder) == 3
    assert below(folder) == FILES
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert extract_archive(archive, folder) == 3
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_zip_methods(method, tmp_path):
    files = {**FILES, "large": os.urandom(100) * 30_000}
    archive = put(tmp_path, ".zip", zip_of(list(files.items()), method))
    assert extract_archive(archive, tmp_path / "out") == 4
    assert below(tmp_path / "out") == files


def test_an_interrupted_unpacking_goes_on(tmp_path):
    archive = put(tmp_path, ".zip", archive_of(FILES, ".zip"))
    extract_archive(archive, tmp_path / "out")
    (tmp_path / "out" / "é.txt").write_bytes(b"half")
    (tmp_path / "out" / "é.txt.partial").write_bytes(b"ha")
    (tmp_path / "out" / "genres" / "a b.txt").unlink()
    (tmp_path / "out" / "mine").write_bytes(b"mine")
    assert extract_archive(archive, tmp_path / "out") == 3
    assert below(tmp_path / "out") == {**FILES, "mine": b"mine"}


def test_folders_and_rights(tmp_path):
    folders = [(tar_info(name, type=tarfile.DIRTYPE), b"") for name in (".", "./a", "./a")]
    file = (tar_info("./a/b", 1, mode=0o6777, uid=0), b"x")
    archive = put(tmp_path, ".tar", tar_of([*folders, file]))
    assert extract_archive(archive, tmp_path / "out") == 1
    assert below(tmp_path / "out") == {"a/b": b"x"}
    assert not (tmp_path / "out/a/b").stat().st_mode & (stat.S_ISUID | stat.S_ISGID | 0o111)
    assert extract_archive(
        put(tmp_path, ".zip", zip_of([("a/", b""), ("a/b", b"x")])), tmp_path / "zip"
    )
    assert below(tmp_path / "zip") == {"a/b": b"x"}


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "large_disk").mkdir()
    (tmp_path / "out").symlink_to("large_disk")
    assert extract_archive(put(tmp_path, ".tar", archive_of(FILES, ".tar")), tmp_path / "out") == 3
    assert below(tmp_path / "large_disk") == FILES


# ---------------------------------------------------------------- where it must not go

OUTSIDE = {
    "../escaped": "leads out",
    "a/../../escaped": "leads out",
    "/tmp/escaped": "leads out",
    "..\\escaped": "leads out",
    "C:\\escaped": "leads out",
    "C:escaped": "leads out",
    "\\\\host\\share": "leads out",
    "..": "leads out",
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out(name, suffix, tmp_path):
    files = {"good": b"good", name: b"bad", "also good": b"good"}
    message = refused(tmp_path, suffix, archive_of(files, suffix))
    assert f"its member {name!r} {OUTSIDE[name]}" in message
    assert not (tmp_path / "escaped").exists()


def test_a_name_with_nul(tmp_path):
    content = zip_of([("good", b"good"), ("seen.txt?/../../../escaped", b"bad")])
    message = refused(tmp_path, ".zip", content.replace(b"seen.txt?", b"seen.txt\0"))
    assert r"\x00" in message and "leads out" in message
    message = refused(tmp_path, ".zip", zip_of([("a?b", b"x")]).replace(b"a?b", b"a\0b"))
    assert r"'a\x00b' leads out" in message
    info = tar_info("a", 1, pax_headers={"path": "a\0b"})
    refused(tmp_path, ".tar", tar_of([(info, b"x")], format=tarfile.PAX_FORMAT))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a device"),
    ],
)
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_links_and_devices_in_tar(kind, why, suffix, tmp_path):
    (tmp_path / "secret").write_text("secret")
    link = tar_info("link", type=kind, linkname="../secret")
    through = tar_info("link/escaped", 3)
    content = tar_of([(tar_info("good", 4), b"good"), (link, b""), (through, b"bad")])
    content = gzip.compress(content) if suffix == ".tar.gz" else content
    assert f"'link' is {why}" in refused(tmp_path, suffix, content)
    assert (tmp_path / "secret").read_text() == "secret"


@pytest.mark.parametrize(
    ("form", "why"), [(stat.S_IFLNK, "a link"), (stat.S_IFIFO, "a device"), (0o060000, "a device")]
)
def test_links_and_devices_in_zip(form, why, tmp_path):
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, (form | 0o777) << 16
    content = zip_of([("good", b"good"), (link, b".."), ("link/escaped", b"bad")])
    assert f"'link' is {why}" in refused(tmp_path, ".zip", content)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["a", "a"], "'a' stands twice"),
        (["a", "./a"], "'./a' stands twice"),
        (["x//a", "x/a"], "'x/a' stands twice"),
        (["a", "a/b"], "'a' is both a file and a folder"),
        (["a/b/c", "a"], "'a' is both a file and a folder"),
        (["a", "a.partial"], "'a.partial' has the name of an unfinished file"),
        (["a", "."], "'.' is no name"),
    ],
)
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_meet(names, why, suffix, tmp_path):
    if suffix == ".zip":
        content = zip_of([(name, b"x") for name in names])
    else:
        content = tar_of([(tar_info(name, 1), b"x") for name in names])
    assert why in refused(tmp_path, suffix, content)


def test_links_that_stand_in_the_folder_are_not_followed(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "in"
    outside.mkdir()
    folder.mkdir()
    (outside / "precious").write_bytes(b"precious")
    (folder / "link").symlink_to("../outside")
    for name in ("link/precious", "link/new", "link/deep/new"):
        with pytest.raises(InputError, match=r"leads out of .*; remove the link"):
            extract_archive(
                put(tmp_path, ".zip", zip_of([("good", b"good"), (name, b"bad")])), folder
            )
    assert below(outside) == {"precious": b"precious"} and os.listdir(folder) == ["link"]
    assert os.listdir(outside) == ["precious"]


def test_links_that_stand_in_place_of_a_file_are_replaced(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "in"
    folder.mkdir()
    outside.write_bytes(b"precious")
    for name in ("a", "a.partial", "b.partial"):
        (folder / name).symlink_to(outside)
    archive = put(tmp_path, ".zip", zip_of([("a", b"8 bytes."), ("b", b"8 bytes,")]))
    assert extract_archive(archive, folder) == 2
    assert outside.read_bytes() == b"precious"
    assert below(folder) == {"a": b"8 bytes.", "b": b"8 bytes,"} and not (folder / "a").is_symlink()


# ---------------------------------------------------------------- bombs


def test_more_than_the_disk_has_room_for(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage._replace(free=3400))
    for suffix in SUFFIXES:
        assert "free some space" in refused(tmp_path, suffix, archive_of(FILES, suffix))
    archive = put(tmp_path, ".tar", archive_of(FILES, ".tar"))
    (tmp_path / "in" / "é.txt").write_bytes(FILES["é.txt"])
    assert extract_archive(archive, tmp_path / "in") == 3  # what is there already needs no room


def test_sizes_that_only_a_header_has(tmp_path):
    info = tar_info("huge", 1 << 60)
    content = tarfile.TarInfo.tobuf(info, tarfile.GNU_FORMAT) + bytes(1024)
    for suffix, compress in ((".tar", bytes), (".tar.gz", gzip.compress)):
        assert "free some space" in refused(tmp_path, suffix, compress(content))
    head = bytearray(tarfile.TarInfo.tobuf(tar_info("a", 0), tarfile.GNU_FORMAT))
    head[124:136] = (-512).to_bytes(12, "big", signed=True)
    total = 256 + sum(head[:148]) + sum(head[156:])
    head[148:156] = b"%06o\0 " % total
    assert "negative size" in refused(tmp_path, ".tar", bytes(head) + bytes(1024))


def test_headers_that_unpack_to_gigabytes(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_HEADERS", 1 << 16)
    long_name = tar_info("././@LongLink", 1 << 24, type=tarfile.GNUTYPE_LONGNAME)
    pax = tar_info("pax", 1 << 24, type=tarfile.XHDTYPE)
    for info in (long_name, pax):
        content = info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 24)
        tracemalloc.start()
        assert "damaged" in refused(tmp_path, ".tar.gz", gzip.compress(content, 1))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 22
    many = tar_of([(tar_info(str(number)), b"") for number in range(200)])
    assert "damaged" in refused(tmp_path, ".tar", many)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("declared", [1000, 1 << 27])
def test_zip_that_unpacks_to_another_size_than_declared(method, declared, tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("bomb", bytes(1 << 26))
        archive.infolist()[0].file_size = declared  # goes into the directory on closing
    path = put(tmp_path, ".zip", stream.getvalue())
    tracemalloc.start()
    with pytest.raises(InputError, match="damaged"):
        extract_archive(path, tmp_path / "out")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24 and below(tmp_path / "out") == {}


def test_zip_that_is_compressed_or_locked_as_none_of_ours(tmp_path):
    content = zip_of([("good", b"good"), ("a", b"x")], zipfile.ZIP_LZMA)
    assert "compressed in an unknown way" in refused(tmp_path, ".zip", content)
    content = bytearray(zip_of([("a", b"x")]))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "'a' is encrypted" in refused(tmp_path, ".zip", bytes(content))


def test_sparse_files(tmp_path):
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1000"}
    info = tar_info("a", 512, pax_headers=headers)
    content = tar_of([(info, b"1\n0\n0\n".ljust(512, b"\0"))], format=tarfile.PAX_FORMAT)
    assert "'a' is a sparse file" in refused(tmp_path, ".tar", content)


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_such_archive(suffix, tmp_path):
    for content in (b"", b"text", bytes(range(256)) * 40):
        assert "damaged" in refused(tmp_path, suffix, content)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_cut_leaves_no_half(suffix, tmp_path):
    files = {"a": b"a" * 500, "b": os.urandom(20_000), "c": b"c"}
    content = archive_of(files, suffix)
    archive = put(tmp_path, suffix, content[: len(content) // 2])
    with pytest.raises(InputError, match=r"damaged one; download it again"):
        extract_archive(archive, tmp_path / "out")
    whole = {name: data for name, data in below(tmp_path / "out").items() if name in files}
    assert below(tmp_path / "out") == whole
    assert all(files[name] == data for name, data in whole.items())


def test_wrong_bytes(tmp_path):
    zipped = bytearray(zip_of([("a", b"content")], zipfile.ZIP_STORED))
    zipped[zipped.index(b"content")] ^= 1
    with pytest.raises(InputError, match="damaged"):
        extract_archive(put(tmp_path, ".zip", bytes(zipped)), tmp_path / "out")
    tar = bytearray(archive_of(FILES, ".tar"))
    tar[tar.index(b"genres/a b") + 1] ^= 1  # a header that tarfile would take for the end
    assert "damaged" in refused(tmp_path, ".tar", bytes(tar))


def test_other_files(tmp_path):
    with pytest.raises(InputError, match=r"none of \.zip, .*; unpack it yourself"):
        extract_archive(put(tmp_path, ".rar", b"x"), tmp_path / "out")
    with pytest.raises(InputError, match="no such archive"):
        extract_archive(tmp_path / "nowhere.tar.gz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_verify(tmp_path):
    path = put(tmp_path, ".zip", b"abc" * 1_000_000)
    for algorithm in ("md5", "sha1", "sha256"):
        digest = hashlib.new(algorithm, path.read_bytes()).hexdigest()
        verify_archive(path, algorithm, digest)
        verify_archive(path, algorithm, digest.upper())
        with pytest.raises(InputError, match=rf"its {algorithm} is {digest}, not 00; download"):
            verify_archive(path, algorithm, "00")
    with pytest.raises(InputError, match="no such file"):
        verify_archive(tmp_path / "nowhere", "md5", "00")
