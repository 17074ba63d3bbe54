"""Lists that users write themselves."""

import pandas as pd
import pytest

from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets import csv_list
from data_prep.datasets.catalog import Request


@pytest.fixture
def catalog(tmp_path):
    """Write a list and the audio of a/1.mp3 to a/4.mp3, and read it."""
    for number in range(1, 5):
        path = tmp_path / "audio" / "a" / f"{number}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")

    def made(content, name="list.csv"):
        content = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(content)
        return csv_list.read_csv_list(Request(root=tmp_path / "audio", metadata=tmp_path / name))

    return made


def test_a_list_with_all_columns(catalog, tmp_path):
    found = catalog(
        "genre,subset,path,artist,track_id\n"
        '발라드,training,a/1.mp3,"성시경, ""둘""",n1\n'
        "댄스,Validation,a/2.mp3, 소녀시대 ,n2\n"
        "댄스,testing,a/3.mp3,소녀시대,n3\n"
        ",dev,a/4.mp3,,n4\n"
    )
    assert found.table.columns.tolist() == ["track_id", "path", "artist", "genre", "subset"]
    assert found.table["track_id"].tolist() == ["n1", "n2", "n3", "n4"]
    assert found.table["artist"].tolist() == ['성시경, "둘"', "소녀시대", "소녀시대", ""]
    assert found.table["subset"].tolist() == ["train", "valid", "test", "valid"]
    assert found.notes == []
    split_csv.write_split(found.table, tmp_path / "split.csv", {"inputs": {}})
    assert split_csv.read_split(tmp_path / "split.csv")["genre"].tolist()[0] == "발라드"


def test_a_path_and_one_label_are_enough(catalog):
    found = catalog("path\tgenre\na/1.mp3\tJazz, modern\na/2.mp3\t\n", "list.tsv")
    assert found.table["track_id"].tolist() == ["a/1", "a/2"]
    assert found.table["genre"].tolist() == ["Jazz, modern", ""]
    assert found.table["artist"].tolist() == ["", ""] and "subset" not in found.table


def test_lists_of_other_programs(catalog):
    excel = catalog("path, artist\r\na/1.mp3,x\r\n".encode("utf-8-sig"))
    assert excel.table["artist"].tolist() == ["x"]
    index = pd.DataFrame({"path": ["a/1.mp3"], "artist": ["NA"]}).to_csv()
    assert index.startswith(",path")
    found = catalog(index)
    assert found.table.columns.tolist() == ["track_id", "path", "artist"]
    assert found.table["artist"].tolist() == ["NA"] and not found.notes
    # The last cells of a row may be left out.
    assert catalog("path,artist,genre\na/1.mp3,x\n").table["genre"].tolist() == [""]


def test_files_that_are_not_there_are_counted(catalog):
    found = catalog("path,artist\na/1.mp3,x\na/9.mp3,\n")
    assert found.table["path"].tolist() == ["a/1.mp3"]
    (note,) = found.notes
    assert "1 of 2 tracks are not there, such as 'a/9.mp3'" in note


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("1,a/1.mp3,x,train\n1,a/2.mp3,x,train\n", "row 3: track_id '1' stands twice"),
        ("1,a/1.mp3,x,train\n1,a/2.mp3,x,dev\n", "row 3: track_id '1' is in two subsets"),
        ("1,a/1.mp3,x,train\n2,a/1.mp3,x,train\n", "row 3: path 'a/1.mp3' stands twice"),
        ("1,a/1.mp3,x,train\n2,a/1.mp3,x,test\n", "row 3: path 'a/1.mp3' is in two subsets"),
        (",a/1.mp3,x,train\n", "row 2: track_id '' is empty"),
        ("1,,x,train\n", "row 2: path '' does not lie below the audio folder"),
        ("1,/etc/passwd,x,train\n", "row 2: path '/etc/passwd' does not lie below"),
        ("1,a/../../1.mp3,x,train\n", "row 2: path 'a/../../1.mp3' does not lie below"),
        ("1,a/1.mp3,x,tests\n", "row 2: subset 'tests' is none of train, valid, test; correct"),
        ("1,a/1.mp3,x,\n", "row 2: subset '' is none of"),
        ("1,a/1.mp3,x,train\n2,a/2.mp3,x,test,more\n", "not a whole UTF-8 table"),
        ("1,a/1.mp3,x,train,more\n", "rows have more fields than its header"),
        ('1,a/1.mp3,"x,train\n', "not a whole UTF-8 table"),
        ("", "lists no track"),
    ],
)
def test_rows_that_are_wrong(catalog, tmp_path, rows, why):
    with pytest.raises(InputError, match=why) as caught:
        catalog("track_id,path,artist,subset\n" + rows)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'list.csv'}: ") and "\n" not in message


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a whole UTF-8 table"),
        (b"artist,genre\nx,y\n", "lacks the column path; it has artist, genre"),
        (b"path;artist\na/1.mp3;x\n", "lacks the column path; it has path;artist"),
        (b"track_id,path,subset\n1,a/1.mp3,train\n", "lacks the column artist, or any label"),
        (b",path\n0,a/1.mp3\n", "lacks the column artist, or any label"),
        (b"path,artist\na/1.mp3,\xe9\n", "not a whole UTF-8 table"),
    ],
)
def test_lists_that_are_wrong(catalog, content, why):
    with pytest.raises(InputError, match=why):
        catalog(content)


def test_lists_that_are_not_given(tmp_path):
    with pytest.raises(InputError, match="--metadata: a list needs it"):
        csv_list.read_csv_list(Request(root=tmp_path))
    with pytest.raises(InputError, match=r"x.csv: no such file; check --metadata"):
        csv_list.read_csv_list(Request(root=tmp_path, metadata=tmp_path / "x.csv"))
    with pytest.raises(InputError, match="is a folder, not a list"):
        csv_list.read_csv_list(Request(root=tmp_path, metadata=tmp_path))
