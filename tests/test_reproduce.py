"""`reproduce.py` as a researcher runs it: a plan, and papers from few songs to their reports."""

import re

import h5py
import pandas as pd
import pytest

from data_prep import split_csv
from papers import plan
from tests.conftest import refused_here, run, run_here

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own callbacks
TIMES = 5


@pytest.fixture
def place(small_corpus, tmp_path, monkeypatch):
    """A folder to run in, which has three splits of the small corpus and their cache.

    `small` has all songs; `train` and `unseen` those of two artists each, of `unseen` each
    so often that there are enough to enrol an artist by, and to have neighbours.
    """
    split, audio, cache = small_corpus
    monkeypatch.chdir(tmp_path)
    for folder in ("splits", "cache", "data"):
        (tmp_path / folder).mkdir()
    for name in ("small", "unseen"):
        (tmp_path / "data" / name).symlink_to(audio)
    table = split_csv.read(split)
    more = [table.assign(track_id=table["track_id"] + f" {n}") for n in range(TIMES)]
    table = pd.concat([table, *more])
    names = table["artist"].unique()
    parts = {"small": names, "train": names[::2], "unseen": names[1::2]}
    for name, artists in parts.items():
        of_part = table[table["artist"].isin(artists)]
        if name != "small":
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
        run_here(*command)
        return 0

    monkeypatch.setattr(plan, "run_script", in_process)
    return commands


def ismir2018(*more) -> tuple:
    small = ("--train", "small", "--tags", "small", "--targets", "small", "--artists", 4)
    return ("reproduce.py", "ismir2018", "--data", "data", "--out", "out", *small, *more)


def test_a_plan_runs_nothing(place, tmp_path):
    ran = run_here(*ismir2018("--plan"))
    assert not (tmp_path / "out").exists() and place == []
    assert ran.lines[-1].startswith("0 of 27 steps are done; the others take about ")
    steps = ran.lines[:-1]
    assert len(steps) == 27
    assert all(re.match(r" +[\d.]+ (s|min|h|days)  python \S+\.py ", line) for line in steps)


def test_a_paper_goes_from_songs_to_its_report_and_no_step_is_done_twice(place, tmp_path):
    command = ismir2018("--epochs", 1)
    ran = run_here(*command)
    assert len(place) == 27
    said = [line.partition("] ")[2] for line in ran.lines if line.startswith("[")]
    assert said == list(plan.read_journal(tmp_path / "out"))
    out = tmp_path / "out"
    assert len(list(out.glob("*.json"))) == 5 * 3 + 2
    listed = pd.read_csv(out / "figures.csv", keep_default_na=False)
    drawn = set(listed.loc[listed["file"].ne(""), "of_paper"]) - {""}
    assert drawn == {f"ismir2018, Figure {number}" for number in range(2, 8)}
    table = pd.read_csv(out / "tables.csv")
    own = table[table["dataset"].eq("small")]
    assert own.groupby("table").size().to_dict() == {1: 3, 2: 3, 3: 3, 4: 2}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "python train_siamese.py splits/small.csv cache/small.h5" in page
    assert "songs_small.html" in page and (out / "songs_small.html").exists()
    place.clear()
    again = run_here(*command)
    assert place == [] and again.lines[-1] == "27 of 27 steps are done"
    (out / "knn_mfcc_small.json").unlink()
    run_here(*command)
    assert [words[1] for words in place] == ["knn", "report"]


def test_artists_are_recognised_and_all_is_reported(place, tmp_path):
    """On six songs an artist to train with, and 20 each to recognise."""
    few = ("--artists", 2, "--epochs", 1, "--mixtures", 4, "--dimensions", 3)
    command = ("reproduce.py", "arxiv2017", "--data", "data", "--out", "out", "--train", "train")
    command += ("--unseen", "unseen", "--genres", "small", "--tags", "small", *few)
    run_here(*command)
    out = tmp_path / "out"
    assert len(list(out.glob("verification_*.json"))) == 7
    assert len(list(out.glob("t*_basic_2_0*_small.json"))) == 4
    systems = (out / "verification_by_artists_unseen_artist.md").read_text()
    assert "| DeepArtistID + PLDA |" in systems and "| GMM-UBM |" in systems
    listed = pd.read_csv(out / "figures.csv", keep_default_na=False)
    drawn = set(listed.loc[listed["file"].ne(""), "of_paper"]) - {""}
    # LDA to tell two artists apart leaves one dimension, of which there is no map.
    assert drawn == {"arxiv2017, Figure 2", "arxiv2017, Figure 3"}
    table = pd.read_csv(out / "tables.csv")
    own = table[table["paper"].eq("arxiv2017") & table["dataset"].eq("small")]
    assert own.groupby("table").size().to_dict() == {1: 2, 2: 4}


def test_what_is_not_there_is_told_before_anything_is_made(place, tmp_path):
    given = ("--data", "data", "--out", "out")
    message = refused_here("reproduce.py", "ismir2018", *given)
    assert "gtzan: neither splits/gtzan.csv with cache/gtzan.h5 nor data/gtzan" in message
    assert "fma_medium" in refused_here("reproduce.py", "agf2018", *given)
    assert not (tmp_path / "out").exists()


def test_a_command_that_fails_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("splits", "cache"):
        (tmp_path / folder).mkdir()
    (tmp_path / "splits/mine.csv").write_text("track_id,path,subset,artist\na,a,train,b\n")
    (tmp_path / "cache/mine.h5").write_text("no cache")
    given = ("--targets", "mine", "--out", tmp_path / "out", "--weights")
    ran = run_here("reproduce.py", "ismir2018", *given, status=1)
    assert "extract_features.py ended with 1; see above, then run this again" in ran.err
    assert run and ran.lines[-1].startswith("[1/9] python extract_features.py mfcc cache/mine.h5")
