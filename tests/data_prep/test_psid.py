"""Tests of the headers of PSID and RSID tunes; the tunes are assembled here."""

import random
from dataclasses import replace

import pytest

from data_prep import psid
from data_prep.psid import PsidError, read_tune
from tests.data_prep.tunes import program, tune


@pytest.fixture
def read(tmp_path):
    """Return a function that writes and reads a tune."""

    def read_content(content):
        (tmp_path / "a.sid").write_bytes(content)
        return read_tune(tmp_path / "a.sid")

    return read_content


def test_read_tune_returns_the_fields_of_the_header(read):
    found = read(tune(title="Übung", author="Jörg", released="199? Éa", flags=0x28, songs=7))
    assert (found.title, found.author, found.released) == ("Übung", "Jörg", "199? Éa")
    assert (found.songs, found.clock, found.chip, found.chips) == (7, "NTSC", "8580", 1)
    assert (found.is_rsid, found.needs_other_player, found.data) == (False, False, program())
    assert read(tune(title="x" * 32)).title == "x" * 32  # without a zero at the end


@pytest.mark.parametrize(
    ("fields", "chips"),
    [
        ({"version": 2, "chips": b"\x42\x44"}, 1),
        ({"version": 3, "chips": b"\x42\x44"}, 2),
        ({"version": 4, "chips": b"\x42\0"}, 2),
        ({"version": 4, "chips": b"\x42\x44"}, 3),
    ],
)
def test_read_tune_counts_the_chips_that_the_version_can_name(read, fields, chips):
    assert read(tune(**fields)).chips == chips


def test_version_1_has_no_flags(read):
    found = read(tune(version=1, flags=0xFFFF))
    assert (found.clock, found.chip, found.chips, found.needs_other_player) == ("", "", 1, False)
    assert found.data == program()


def test_flags_tell_rsid_and_other_players_apart(read):
    assert read(tune(flags=1)).needs_other_player and read(tune(flags=2)).needs_other_player
    basic = read(tune(magic=b"RSID", flags=2))
    assert basic.is_rsid and not basic.needs_other_player


def test_decade_is_read_from_the_year_of_the_release(read):
    found = read(tune())
    for released, decade in (
        ("1987 Ocean", "1980s"),
        ("198? Ocean", "1980s"),
        ("2003-04 Ocean", "2000s"),
        ("19?? Ocean", ""),
        ("Ocean 1987", ""),
        ("", ""),
    ):
        assert replace(found, released=released).decade == decade


def test_authors_are_counted(read):
    found = read(tune())
    assert found.is_by_one_author
    for author in ("A & B", "A, B", "A/B", "", "<?>", "<?> (Handle)"):
        assert not replace(found, author=author).is_by_one_author


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"RIFF" + bytes(200), "is not a PSID or RSID tune", id="other format"),
        pytest.param(b"", "is not a PSID or RSID tune", id="empty"),
        pytest.param(tune(version=5), "its version is 5, not 1 to 4", id="version"),
        pytest.param(tune(offset=0x7B), "start at byte 123, not 124", id="offset"),
        pytest.param(tune(offset=0xFFFF), "start at byte 65535, not 124", id="offset beyond end"),
        pytest.param(tune(init=0xF000), "starts at 0xf000, outside its data", id="program"),
        pytest.param(tune(init=0x1004, data=b"1234"), "outside its data", id="cut off"),
        pytest.param(tune(songs=0), "declares 0 songs", id="no song"),
        pytest.param(tune(songs=257), "declares 257 songs", id="too many songs"),
        pytest.param(tune(data=b""), "ends before the music data", id="no data"),
        pytest.param(tune()[:0x7D], "ends before the music data", id="half an address"),
        pytest.param(tune(data=bytes(0xF001)), "do not fit in the memory", id="too large"),
        pytest.param(tune(data=bytes(10**6)), "do not fit in the memory", id="a million bytes"),
    ],
)
def test_damaged_tunes_are_rejected(read, content, reason):
    with pytest.raises(PsidError, match=reason):
        read(content)


def test_any_bytes_are_a_tune_or_rejected(read):
    sound, rng = tune(version=4), random.Random(0)
    for size in range(len(sound)):
        if size < 0x7F:
            with pytest.raises(PsidError):
                read(sound[:size])
    for _ in range(1000):
        content = bytearray(sound)
        for _ in range(rng.randrange(1, 5)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            assert read(content).chips in (1, 2, 3)
        except PsidError as error:
            assert "\n" not in str(error)


def test_is_tune_reads_the_first_bytes(tmp_path):
    for content, expected in ((tune(), True), (tune(magic=b"RSID"), True), (b"PSI", False)):
        (tmp_path / "a").write_bytes(content)
        assert psid.is_tune(tmp_path / "a") is expected
