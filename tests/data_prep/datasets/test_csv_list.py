"""Tests of track lists that users write themselves."""

import pandas as pd
import pytest

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import Request, csv_list
from tests.data_prep.datasets.conftest import put


@pytest.fixture
def read(tmp_path):
    """Write audio files a/1.mp3 to a/4.mp3; return a function that writes and reads a list."""
    put(tmp_path / "audio", [f"a/{number}.mp3" for number in range(1, 5)])

    def read_list(content, name="list.csv"):
        content = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(content)
        return csv_list.read_csv_list(Request(root=tmp_path / "audio", metadata=tmp_path / name))

    return read_list


def test_csv_list_reads_all_columns(read, tmp_path):
    catalog = read(
        "genre,subset,path,artist,track_id\n"
        '발라드,training,a/1.mp3,"성시경, ""둘""",n1\n'
        "댄스,Validation,a/2.mp3, 소녀시대 ,n2\n"
        "댄스,testing,a/3.mp3,소녀시대,n3\n"
        ",dev,a/4.mp3,,n4\n"
    )
    assert catalog.table.columns.tolist() == ["track_id", "path", "artist", "genre", "subset"]
    assert catalog.table["track_id"].tolist() == ["n1", "n2", "n3", "n4"]
    assert catalog.table["artist"].tolist() == ['성시경, "둘"', "소녀시대", "소녀시대", ""]
    assert catalog.table["subset"].tolist() == ["train", "valid", "test", "valid"]
    assert (catalog.notes, catalog.missing) == ([], 0)
    split_csv.write_split(catalog.table, tmp_path / "split.csv", {"inputs": {}})
    assert split_csv.read_split(tmp_path / "split.csv")["genre"].tolist()[0] == "발라드"


def test_csv_list_requires_only_a_path_and_one_label(read):
    table = read("path\tgenre\na/1.mp3\tJazz, modern\na/2.mp3\t\n", "list.tsv").table
    assert table["track_id"].tolist() == ["a/1", "a/2"]
    assert table["genre"].tolist() == ["Jazz, modern", ""]
    assert table["artist"].tolist() == ["", ""] and "subset" not in table


def test_csv_list_reads_excel_and_pandas_files(read):
    excel = read("path, artist\r\na/1.mp3,x\r\n".encode("utf-8-sig"))
    assert excel.table["artist"].tolist() == ["x"]
    with_index = pd.DataFrame({"path": ["a/1.mp3"], "artist": ["NA"]}).to_csv()
    assert with_index.startswith(",path")
    table = read(with_index).table
    assert table.columns.tolist() == ["track_id", "path", "artist"]
    assert table["artist"].tolist() == ["NA"]
    # Trailing cells of a row may be omitted.
    assert read("path,artist,genre\na/1.mp3,x\n").table["genre"].tolist() == [""]


def test_tsv_list_takes_quotation_marks_literally_unless_they_enclose_a_field(read):
    rows = ['"Weird Al" Yankovic', '"quoted ""name"""', '"open', 'close"']
    content = "path\tartist\n" + "".join(f"a/{n}.mp3\t{row}\n" for n, row in enumerate(rows, 1))
    table = read(content, "list.tsv").table
    assert table["artist"].tolist() == [rows[0], 'quoted "name"', *rows[2:]]


def test_line_breaks_in_a_field_are_kept_apart_from_rows(read):
    table = read('path,artist,note\na/1.mp3,"A\r\nB","one, two\nthree"\na/2.mp3,C,\n').table
    assert table["artist"].tolist() == ["A B", "C"] and table["note"][0] == "one, two three"


def test_labels_are_read_as_one_line_in_composed_form(read):
    names = ["\ufeffBjörk", "Bjo\u0308rk", "\u202bBjörk\u202c", "Bj\u200börk"]
    rows = "".join(f"a/{n}.mp3\t{name}\n" for n, name in enumerate(names, 1))
    assert set(read("path\tartist\n" + rows, "list.tsv").table["artist"]) == {"Björk"}
    assert read("path,artist\na/1.mp3,A\0B\u2028C\n").table["artist"].tolist() == ["A B C"]


def test_fields_of_any_length_and_all_line_ends_are_read(read):
    for name, row in (("list.csv", "a/1.mp3,"), ("list.tsv", "a/1.mp3\t")):
        header = row.replace("a/1.mp3", "path") + "artist"
        assert len(read(f"{header}\n{row}{'x' * 10**6}\n", name).table["artist"][0]) == 10**6
        assert read(f"\r\r{header}\r{row}x\r", name).table["artist"].tolist() == ["x"]


@pytest.mark.parametrize("name", ["list.csv", "list.tsv"])
def test_artists_that_look_like_missing_values_are_kept(read, name):
    artists = ["NA", "None", "null", "007"]
    separator = "\t" if name.endswith("tsv") else ","
    rows = [("path", "artist"), *((f"a/{n}.mp3", a) for n, a in enumerate(artists, 1))]
    table = read("".join(separator.join(row) + "\n" for row in rows), name).table
    assert table["artist"].tolist() == artists


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("1,a/1.mp3,x,train\n1,a/2.mp3,x,train\n", "row 3: track_id '1' is a duplicate"),
        ("1,a/1.mp3,x,train\n2,a/1.mp3,x,train\n", "row 3: path 'a/1.mp3' is a duplicate"),
        ("1,a/1.mp3,x,train\n2,./a//1.mp3,x,train\n", "row 3: path './a//1.mp3' is a duplicate"),
        ("1,a/1.mp3,x,train\n2,a/1.mp3,x,test\n", "row 3: path 'a/1.mp3' is in two subsets"),
        (",a/1.mp3,x,train\n", "row 2: track_id '' is empty"),
        ("1,a/../../1.mp3,x,train\n", "row 2: path 'a/../../1.mp3' is not below"),
        ("1,a/1.mp3,x,tests\n", "row 2: subset 'tests' is not one of train, valid, test; correct"),
        ("1,a/1.mp3,x,train\n2,a/2.mp3,x,test,more\n", "row 3 has 5 fields, the header 4"),
        ("1,a/1.mp3,x,train,more\n", "row 2 has 5 fields, the header 4; name all"),
        ("1,a/1.mp3,x,train\n\n,,,\n2,,x,train\n", "row 5: path '' is empty; name the track's"),
        ('1,a/1.mp3,"x,train\n2,a/2.mp3,y",train\n', "line 2: a field in .* contains whole rows"),
        ('1,a/1.mp3,"x,train\n2,a/2.mp3,y,"\n', "line 2: a field in .* contains whole rows"),
        ('1,a/1.mp3,"x,train\n2,a/2.mp3,y,z\n', "line 2: unexpected end of data; put a field"),
        ('1,a/1.mp3, "x",train\n', "line 2: a space before a quotation mark; remove it"),
        ('1,a/1.mp3,"x,train\n', "line 2: unexpected end of data; put a field"),
        ('1,a/1.mp3,"x" y,train\n', "line 2: ',' expected after '\"'; put a field"),
        ("", "lists no track"),
    ],
)
def test_rejects_invalid_rows(read, tmp_path, rows, problem):
    with pytest.raises(InputError, match=problem) as caught:
        read("track_id,path,artist,subset\n" + rows)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'list.csv'}: ") and "\n" not in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has no column path; it has no columns"),
        (b"path,artist,artist\n", "has two columns 'artist'"),
        (b"artist,genre\nx,y\n", "has no column path; it has artist, genre"),
        (b"track_id,path,subset\n1,a/1.mp3,train\n", "has no column artist, or any other label"),
        (b"path,artist\na/1.mp3,\xe9\n", "not a complete UTF-8 table .*; save it as UTF-8 text"),
        (b"path;artist\na/1.mp3;x\n", "has no column path; it has path;artist, when split at com"),
        (b"path,artist\na/1.mp3,x\na/1.wav,y\n", "row 3: path 'a/1.wav' without its suffix is"),
    ],
)
def test_rejects_invalid_lists(read, content, problem):
    with pytest.raises(InputError, match=problem):
        read(content)


def test_rejects_missing_lists(tmp_path):
    with pytest.raises(InputError, match="--metadata: missing; give the CSV or TSV file"):
        csv_list.read_csv_list(Request(root=tmp_path))
    with pytest.raises(InputError, match=r"x.csv: no such file; check --metadata"):
        csv_list.read_csv_list(Request(root=tmp_path, metadata=tmp_path / "x.csv"))
    with pytest.raises(InputError, match="is a folder, not a list"):
        csv_list.read_csv_list(Request(root=tmp_path, metadata=tmp_path))
