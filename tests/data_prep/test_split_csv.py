"""Tests of reading, writing and checking split CSV files."""

import json
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common import provenance
from common.errors import InputError
from data_prep import split_csv
from data_prep.split_csv import is_outside

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]  # all examples use the same folder
HEAD = b"track_id,path,subset,artist\n"
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
LIKELY = st.text("a ,\"'\r\n|é日\t;#", max_size=6)


def table(**columns):
    plain = {"track_id": ["a", "b"], "path": ["a", "b"], "subset": ["train", "test"]}
    return pd.DataFrame({**plain, "artist": ["x", "y"], **columns}, dtype=str)


@given(st.lists(st.tuples(NAMES | LIKELY, NAMES | LIKELY), max_size=4))
@settings(deadline=None, derandomize=True, max_examples=30, suppress_health_check=SHARED_FOLDER)
def test_any_text_survives_a_round_trip(tmp_path, pairs):
    rows = [(f"{number}{name}", label) for number, (name, label) in enumerate(pairs)] or [("a", "")]
    ids, labels = zip(*rows, strict=True)
    written = pd.DataFrame({"genre": labels, "artist": ids, "subset": "test", "track_id": ids})
    written["path"] = ["p/" + label.replace("..", "") + "x" for label in labels]
    split_csv.write_split(written, tmp_path / "s.csv", provenance.make_record({"seed": 1}))
    found = split_csv.read_split(tmp_path / "s.csv")
    assert found.columns.tolist() == ["track_id", "path", "subset", "artist", "genre"]
    assert found.equals(written[found.columns].astype(found.dtypes))
    assert all(type(value) is str for value in found.to_numpy().ravel())
    assert provenance.read_sidecar(tmp_path / "s.csv")["inputs"] == {"seed": 1}


@pytest.mark.parametrize(
    ("content", "row"),
    [
        (HEAD + b"001,1.0,train,1e5\n", ["001", "1.0", "train", "1e5"]),
        (HEAD + b"NA,null,test,None\n", ["NA", "null", "test", "None"]),
        (b"\xef\xbb\xbf" + HEAD + b"a,b,train,\n", ["a", "b", "train", ""]),
        (HEAD.replace(b"\n", b"\r\n") + b"a,b,train,c\r\n", ["a", "b", "train", "c"]),
        (HEAD + b"\na,b,train\n\n", ["a", "b", "train", ""]),
    ],
)
def test_reads_files_written_by_other_programs(tmp_path, content, row):
    (tmp_path / "s.csv").write_bytes(content)
    assert split_csv.read_split(tmp_path / "s.csv").to_numpy().tolist() == [row]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a UTF-8 CSV file"),
        (b"\x93NUMPY\x00\xff\xfe" * 20, "not a UTF-8 CSV file"),
        (HEAD + b'"a,b,train,c\n', "not a UTF-8 CSV file"),
        (HEAD + b"a,b,train,c\nd,e,train,f,g,h\n", "not a UTF-8 CSV file"),
        (HEAD + b"a,b,train,c,d\n", "rows have more fields than its header"),
        (b"track_id,subset\na,train\n", "has no column path, artist"),
        (HEAD, "lists no track"),
        (HEAD + b"a,b,train,c\n,b,train,c\n", "row 3: track_id '' is empty"),
        (HEAD + b"a,b,train,c\na,b,test,c\n", "row 3: track_id 'a' is a duplicate"),
        (HEAD + b"a\0b,b,train,c\n", "NUL character"),
        (HEAD + b"a,b,Train,c\n", "row 2: subset 'Train' is not one of train, valid, test"),
        (HEAD + b"a,,train,c\n", "row 2: path '' is not below"),
        (HEAD + b"a,../b,train,c\n", "row 2: path '../b' is not below the audio folder"),
        (HEAD + b"a,x,train,c\nb,y,test,c\nd,x,valid,c\n", "row 4: path 'x' is in two subsets"),
        (HEAD + b"a,x/y,test,c\nb,x/.//y,train,c\n", "row 3: path 'x/.//y' is in two subsets"),
    ],
)
def test_rejects_invalid_files(tmp_path, content, problem):
    (tmp_path / "s.csv").write_bytes(content)
    with pytest.raises(InputError, match=problem) as caught:
        split_csv.read_split(tmp_path / "s.csv")
    assert str(caught.value).startswith(f"{tmp_path / 's.csv'}: ")


def test_writes_plain_csv_and_rejects_invalid_tables(tmp_path):
    split_csv.write_split(table(genre=["g", ""]), tmp_path / "s.csv", provenance.make_record({}))
    text = (tmp_path / "s.csv").read_bytes().decode()
    assert text == "track_id,path,subset,artist,genre\na,a,train,x,g\nb,b,test,y,\n"
    assert "versions" in json.loads((tmp_path / "s.csv.json").read_text())
    with pytest.raises(InputError, match=r"no such split; make it with data_prep/1_make_splits.py"):
        split_csv.read_split(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a duplicate"):
        split_csv.write_split(table(track_id=["a", "a"]), tmp_path / "none.csv", {})
    assert not (tmp_path / "none.csv").exists()


@given(st.text("/\\.:a\0\nü", max_size=6))
@settings(deadline=None, derandomize=True, max_examples=500)
def test_is_outside_matches_path_components(path):
    pure = PurePosixPath(path.replace("\\", "/"))
    drive = path[1:2] == ":"
    outside = not path or "\0" in path or pure.is_absolute() or ".." in pure.parts or drive
    assert is_outside(path) == outside


def test_file_may_be_repeated_within_a_subset():
    made = table(track_id=["a", "b", "c"], path=["x", "./x", "y"], artist="", subset="train")
    split_csv.check_split(made, "s.csv")
    assert split_csv.normalise_paths(pd.Series(["a/./b", "a//b", "a./b", "..a"])).tolist() == [
        *("a/b", "a/b", "a./b", "..a"),
    ]
    split_csv.check_split(made.drop(columns="subset"), "s.csv", ("track_id", "path"))
    with pytest.raises(InputError, match=r"^s\.csv: has no column subset; make it again$"):
        split_csv.check_split(made.drop(columns="subset"), "s.csv")


def test_label_column_and_subset_mask():
    made = table(genre=["g", "h"])
    assert split_csv.label_column(made, "genre", "s.csv").tolist() == ["g", "h"]
    with pytest.raises(InputError, match=r"s.csv: has no column 'mood'; it has track_id, path"):
        split_csv.label_column(made, "mood", "s.csv")
    assert np.array_equal(split_csv.subset_mask(made, "test", "s.csv"), [False, True])
    with pytest.raises(InputError, match=r"s.csv: no track is in the subset valid"):
        split_csv.subset_mask(made, "valid", "s.csv")


def test_keep_first_artists_keeps_all_their_tracks():
    """Test that artists are ordered by their first tracks and keep all their tracks."""
    artists = ["z", "b", "z", "", "b", "a", "b"]
    made = pd.DataFrame({"track_id": list("1234567"), "artist": artists})
    for count, kept in ((1, "13"), (2, "12357"), (3, "123457"), (4, "1234567"), (None, "1234567")):
        found = split_csv.keep_first_artists(made, count, "s.csv")
        assert "".join(found["track_id"]) == kept
        assert found.index.equals(pd.RangeIndex(len(kept)))
        assert found.columns.equals(made.columns)
    with pytest.raises(InputError, match=r"^s\.csv: has 4 artists, not 5; ask for fewer$"):
        split_csv.keep_first_artists(made, 5, "s.csv")
