"""Tests of names that stand for no artist, and of names that may mean the same artist."""

import pandas as pd
import pytest

from common.errors import InputError
from data_prep import artist_names

BUILT_IN = artist_names.read_not_artists()


PLACEHOLDERS = """Various Artists|VARIOUS|VA|V.A.|Unknown Artist|<Unknown>|(None)|[NA]|???|-|...|
[anonymous]|Compilations| various artists |Diverse Interpreten|unbekannter kunstler|群星|(null)|
？？？|…|[]|"[]"|AA.VV.|[nan]|[Data]|Traditional|Różni wykonawcy|
various_artists|Unknown-Artist|UnknownArtist|Various Artists.|V. A.|V/A|Original Soundtrack"""
ARTISTS = """nan|Data|Dialogue|None|NA|null|007|1e5|true|!!!|+/-|The The|The Unknown|*NSYNC|Nobody|
Anon|(hed) p.e.|A|Various Cruelties"""


@pytest.mark.parametrize("name", PLACEHOLDERS.replace("\n", "").split("|"))
def test_placeholder_is_no_artist(name):
    assert artist_names.is_no_artist(name, BUILT_IN)


@pytest.mark.parametrize("name", ARTISTS.replace("\n", "").split("|"))
def test_unusual_name_is_an_artist(name):
    assert not artist_names.is_no_artist(name, BUILT_IN)


def test_clear_not_artists_counts_what_it_replaces(tmp_path):
    artists = pd.Series(["VA", "Björk", "VA", "", "???"])
    cleared, counts = artist_names.clear_not_artists(artists, BUILT_IN)
    assert cleared.tolist() == ["", "Björk", "", "", ""] and counts == {"VA": 2, "???": 1}
    own = tmp_path / "names.txt"
    own.write_text("Bjork\n# mine\n\n", encoding="utf-8-sig")
    cleared, counts = artist_names.clear_not_artists(artists, artist_names.read_not_artists(own))
    assert cleared.tolist() == ["VA", "", "VA", "", ""] and counts == {"Björk": 1, "???": 1}
    with pytest.raises(InputError, match=r"none\.txt: .*\(No such file or directory\); check"):
        artist_names.read_not_artists(tmp_path / "none.txt")


def test_similar_names_are_grouped():
    names = [
        "A feat. B",
        "A & B",
        "B & A",
        "AC/DC",
        "Ac/Dc",
        "ACDC",
        "The Beatles",
        "Beatles",
        "か",
        "が",
    ]
    names += [
        "Björk",
        "Bjork",
        "x y",
        " x\u00a0 y ",
        "Straße",
        "STRASSE",
        "Nina",
        "Tom",
        "",
        " ",
        "Beatles, The",
    ]
    assert artist_names.find_similar_names([*names, *names]) == [
        [" x\u00a0 y ", "x y"],
        ["A & B", "A feat. B", "B & A"],
        ["AC/DC", "ACDC", "Ac/Dc"],
        ["Beatles", "Beatles, The", "The Beatles"],
        ["Bjork", "Björk"],
        ["STRASSE", "Straße"],
    ]
    assert artist_names.find_similar_names([]) == []
