"""`reproduce.py` as a researcher runs it: a plan, and papers from few songs to their reports."""

import re

import h5py
import pandas as pd
import pytest

from common.files import exclusive_folder
from data_prep import split_csv
from papers import pipeline
from tests.conftest import error_in_process, run_in_process

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own callbacks
TIMES = 5


@pytest.fixture
def place(small_corpus, tmp_path, monkeypatch):
    """A folder to run in, which has four splits of the small corpus and their caches.

    `small` has all songs, and so has `judged`, as if by other artists; `train` and `unseen`
    have those of two artists each, of `unseen` each so often that there are enough to enrol
    an artist by, and to have neighbours.
    """
    split, audio, cache = small_corpus
    monkeypatch.chdir(tmp_path)
    for folder in ("splits", "cache", "data"):
        (tmp_path / folder).mkdir()
    for name in ("small", "unseen", "judged"):
        (tmp_path / "data" / name).symlink_to(audio)
    table = split_csv.read_split(split)
    more = [table.assign(track_id=table["track_id"] + f" {n}") for n in range(TIMES)]
    table = pd.concat([table, *more])
    names = table["artist"].unique()
    parts = {"small": names, "judged": names, "train": names[::2], "unseen": names[1::2]}
    for name, artists in parts.items():
        of_part = table[table["artist"].isin(artists)]
        if name == "judged":
            of_part = of_part.assign(artist=of_part["artist"] + " too")
        elif name != "small":
            of_part = of_part.groupby("artist").head(6 if name == "train" else 20)
        of_part.to_csv(f"splits/{name}.csv", index=False)
        with h5py.File(cache) as file, h5py.File(f"cache/{name}.h5", "w") as copy:
            row = {track: number for number, track in enumerate(file["track_id"].asstr())}
            rows = [row[track.split(" ")[0]] for track in of_part["track_id"]]
            for dataset in file:
                given = file[dataset][()]
                copy[dataset] = given[rows] if dataset in ("start", "length") else given
            del copy["track_id"]
            text = h5py.string_dtype()
            copy.create_dataset("track_id", data=list(of_part["track_id"]), dtype=text)
            copy.attrs.update(file.attrs)
    commands = []

    def in_process(command):
        commands.append(command)
        run_in_process(*command)
        return 0

    monkeypatch.setattr(pipeline, "run_script", in_process)
    return commands


def ismir2018(*more) -> tuple:
    few = ("--train", "small", "--tags", "small", "--targets", "judged", "--artists", 4)
    return ("reproduce.py", "ismir2018", "--data", "data", "--out", "out", *few, *more)


def test_a_plan_runs_nothing(place, tmp_path):
    ran = run_in_process(*ismir2018("--plan"))
    assert not (tmp_path / "out").exists() and place == []
    assert ran.lines[27].startswith("0 of 27 steps are done; the others take about ")
    taken = "cache/judged.h5, cache/small.h5, splits/judged.csv, splits/small.csv"
    assert ran.lines[28].startswith(f"taken as they are: {taken}; delete them, and what out has")
    steps = ran.lines[:27]
    assert all(re.match(r" +[\d.]+ (s|min|h|days)  python \S+\.py ", line) for line in steps)


def test_a_paper_goes_from_songs_to_its_report_and_no_step_is_done_twice(place, tmp_path):
    command = ismir2018("--epochs", 1)
    ran = run_in_process(*command)
    assert len(place) == 27
    said = [line.partition("] ")[2] for line in ran.lines if line.startswith("[")]
    assert said == list(pipeline.read_journal(tmp_path / "out"))
    out = tmp_path / "out"
    assert len(list(out.glob("*.json"))) == 5 * 3 + 2
    listed = pd.read_csv(out / "figures.csv", keep_default_na=False)
    drawn = set(listed.loc[listed["file"].ne(""), "of_paper"]) - {""}
    assert drawn == {f"ismir2018, Figure {number}" for number in range(2, 8)}
    table = pd.read_csv(out / "tables.csv")
    own = table[table["dataset"].eq("judged")]
    assert own.groupby("table").size().to_dict() == {1: 3, 2: 3, 3: 3, 4: 2}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "python train_siamese.py splits/small.csv cache/small.h5" in page
    assert "songs_judged.html" in page and (out / "songs_judged.html").exists()
    place.clear()
    again = run_in_process(*command)
    assert place == [] and "27 of 27 steps are done" in again.lines
    (out / "knn_mfcc_judged.json").unlink()
    run_in_process(*command)
    assert [words[1] for words in place] == ["knn", "report"]


def test_artists_are_recognised_and_all_is_reported(place, tmp_path):
    """On six songs an artist to train with, and 20 each to recognise."""
    few = ("--artists", 2, "--epochs", 1, "--mixtures", 4, "--dimensions", 3)
    command = ("reproduce.py", "arxiv2017", "--data", "data", "--out", "out", "--train", "train")
    command += ("--unseen", "unseen", "--genres", "judged", "--tags", "judged", *few)
    run_in_process(*command)
    out = tmp_path / "out"
    assert len(list(out.glob("verification_*.json"))) == 7
    assert len(list(out.glob("t*_basic_2_0*_judged.json"))) == 4
    systems = (out / "verification_by_artists_unseen_artist.md").read_text()
    assert "| DeepArtistID + PLDA |" in systems and "| GMM-UBM |" in systems
    listed = pd.read_csv(out / "figures.csv", keep_default_na=False)
    drawn = set(listed.loc[listed["file"].ne(""), "of_paper"]) - {""}
    # LDA to tell two artists apart leaves one dimension, of which there is no map.
    assert drawn == {"arxiv2017, Figure 2", "arxiv2017, Figure 3"}
    table = pd.read_csv(out / "tables.csv")
    own = table[table["paper"].eq("arxiv2017") & table["dataset"].eq("judged")]
    assert own.groupby("table").size().to_dict() == {1: 2, 2: 4}


def test_what_is_not_there_is_told_before_anything_is_made(place, tmp_path):
    given = ("--data", "data", "--out", "out")
    message = error_in_process("reproduce.py", "ismir2018", *given)
    assert "gtzan: neither splits/gtzan.csv with cache/gtzan.h5 nor data/gtzan" in message
    assert "fma_medium" in error_in_process("reproduce.py", "agf2018", *given)
    assert not (tmp_path / "out").exists()


def test_one_damaged_dataset_does_not_keep_the_others_from_the_report(place, tmp_path, monkeypatch):
    def in_process(command):
        try:
            run_in_process(*command)
        except AssertionError:  # its status is not 0
            return 1
        return 0

    monkeypatch.setattr(pipeline, "run_script", in_process)
    (tmp_path / "splits/mine.csv").write_text("track_id,path,subset,artist\na,a,train,b\n")
    (tmp_path / "cache/mine.h5").write_text("no cache")
    given = ("--targets", "mine", "judged", "--out", "out", "--train", "none", "--weights")
    ran = run_in_process("reproduce.py", "ismir2018", *given, status=1)
    assert ran.err.count("extract_features.py ended with 1 for out/features/") == 2
    assert ran.err.endswith("; see above, then run this again\n")
    assert sum(" left out, for want of out/features/" in line for line in ran.lines) == 6
    assert len(list((tmp_path / "out").glob("*_judged.json"))) == 6
    assert "mfcc" in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_two_at_once_do_not_meet(place, tmp_path):
    with exclusive_folder(tmp_path / "out"):
        assert "another process is at work here" in error_in_process(*ismir2018())
