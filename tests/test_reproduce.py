"""Test `reproduce.py` as a researcher would run it."""

import logging
import re
from types import SimpleNamespace

import h5py
import pandas as pd
import pytest

from common.files import exclusive_folder
from data_prep import split_csv
from papers import pipeline
from tests.conftest import ROOT, error_in_process, run_in_process

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # warning from Keras itself

COPIES = 5  # copies of each track, so that there are enough for enrolment and nearest neighbours


@pytest.fixture
def place(small_corpus, tmp_path, monkeypatch):
    """Return a working directory with four splits of the small corpus and their caches.

    `small` and `target` both contain all tracks, but with different artist names. `train` and
    `unseen` contain tracks by two artists each.
    """
    split, audio, cache = small_corpus
    monkeypatch.chdir(tmp_path)
    for name in ("splits", "cache", "data"):
        (tmp_path / name).mkdir()
    table = split_csv.read_split(split)
    copies = [table.assign(track_id=table["track_id"] + f" {n}") for n in range(COPIES)]
    table = pd.concat([table, *copies])
    trained = table["artist"].isin(table["artist"].unique()[::2])
    parts = {
        "small": table,
        "target": table.assign(artist=table["artist"] + " too"),
        "train": table[trained].groupby("artist").head(6),
        "unseen": table[~trained].groupby("artist").head(20),
    }
    for name, part in parts.items():
        (tmp_path / "data" / name).symlink_to(audio)
        part.to_csv(f"splits/{name}.csv", index=False)
        with h5py.File(cache) as file, h5py.File(f"cache/{name}.h5", "w") as copy:
            row = {track: number for number, track in enumerate(file["track_id"].asstr())}
            rows = [row[track.split(" ")[0]] for track in part["track_id"]]
            for dataset in set(file) - {"track_id"}:
                values = file[dataset][()]
                copy[dataset] = values[rows] if dataset in ("start", "length") else values
            copy.create_dataset("track_id", data=list(part["track_id"]), dtype=h5py.string_dtype())
            copy.attrs.update(file.attrs)
    return tmp_path


@pytest.fixture
def commands(place, monkeypatch):
    """Record the commands that are run and return them as a list."""
    commands = []

    def run_step(command, output):
        commands.append(command)
        logger = logging.getLogger("papers")
        handlers = logger.handlers  # keep logging to the output of reproduce.py
        status = 0
        try:
            run_in_process(*command)
        except AssertionError:  # non-zero exit status
            status = 1
        finally:
            logger.handlers = handlers
        return SimpleNamespace(poll=lambda: status, returncode=status)

    monkeypatch.setattr(pipeline, "SIDE_BY_SIDE", 1)  # there is only one process
    monkeypatch.setattr(pipeline, "start_script", run_step)
    return commands


def reproduce(paper: str, options: str = "") -> list[str]:
    return ["reproduce.py", paper, "--data", "data", "--out", "out", *options.split()]


def figures_drawn(folder) -> set[str]:
    figures = pd.read_csv(folder / "figures.csv", keep_default_na=False)
    return set(figures.loc[figures["file"].ne(""), "of_paper"]) - {""}


def count_rows(folder, paper: str) -> dict[int, int]:
    """Return how many results on the dataset `target` each table of the paper contains."""
    table = pd.read_csv(folder / "tables.csv")
    own = table[table["paper"].eq(paper) & table["dataset"].eq("target")]
    return own.groupby("table").size().to_dict()


ISMIR2018 = reproduce("ismir2018", "--train small --tags small --targets target --artists 4")


def test_plan_option_prints_the_plan_without_running_it(place, commands):
    ran = run_in_process(*ISMIR2018, "--plan")
    assert not (place / "out").exists() and commands == []
    assert ran.lines[27] == "0 of 27 steps are done"
    files = "cache/small.h5, cache/target.h5, splits/small.csv, splits/target.csv"
    assert ran.lines[28].startswith(f"using existing files: {files}; to create them again, delete")
    assert all(re.match(r" {10}python \S+\.py ", line) for line in ran.lines[:27])


@pytest.mark.slow
def test_ismir2018_runs_end_to_end_without_repeating_steps(place, commands):
    ran = run_in_process(*ISMIR2018, "--epochs", 1)
    assert len(commands) == 27
    logged = [line.partition("] ")[2] for line in ran.lines if line.startswith("[")]
    assert logged == list(pipeline.read_journal(place / "out"))
    assert len(list((place / "out").glob("*.json"))) == 5 * 3 + 2
    assert figures_drawn(place / "out") == {f"ismir2018, Figure {number}" for number in range(2, 8)}
    assert count_rows(place / "out", "ismir2018") == {1: 3, 2: 3, 3: 3, 4: 2}
    page = (place / "out/report.html").read_text(encoding="utf-8")
    assert "python train_siamese.py splits/small.csv cache/small.h5" in page
    assert "songs_target.html" in page and (place / "out/songs_target.html").exists()
    commands.clear()
    again = run_in_process(*ISMIR2018, "--epochs", 1)
    assert commands == [] and "27 of 27 steps are done" in again.lines
    (place / "out/knn_mfcc_target.json").unlink()
    run_in_process(*ISMIR2018, "--epochs", 1)
    assert [words[1] for words in commands] == ["knn", "report"]


@pytest.mark.slow
def test_arxiv2017_runs_end_to_end(place, commands):
    datasets = "--train train --unseen unseen --genres target --tags target"
    sizes = "--artists 2 --epochs 1 --mixtures 4 --dimensions 3"
    run_in_process(*reproduce("arxiv2017", f"{datasets} {sizes}"))
    out = place / "out"
    assert len(list(out.glob("verification_*.json"))) == 7
    assert len(list(out.glob("t*_basic_2_0*_target.json"))) == 4
    systems = (out / "verification_by_artists_unseen_artist.md").read_text()
    assert "| DeepArtistID + PLDA |" in systems and "| GMM-UBM |" in systems
    # LDA of two artists has only one dimension, so no map can be drawn.
    assert figures_drawn(out) == {"arxiv2017, Figure 2", "arxiv2017, Figure 3"}
    assert count_rows(out, "arxiv2017") == {1: 2, 2: 4}


@pytest.mark.parametrize("others", ["", pytest.param(" target", marks=pytest.mark.slow)])
def test_damaged_dataset_is_left_out_of_the_report(place, commands, others):
    (place / "splits/mine.csv").write_text("track_id,path,subset,artist\na,a,train,b\n")
    (place / "cache/mine.h5").write_text("no cache")
    arguments = reproduce("ismir2018", f"--targets mine{others} --train none --weights")
    ran = run_in_process(*arguments, status=1)
    assert ran.err.count("extract_features.py failed with exit status 1 for out/features/") == 2
    assert ran.err.endswith("; see the output above, then run this again\n")
    skipped = [line for line in ran.lines if " skipped: missing input out/" in line]
    assert len(skipped) == (6 if others else 7)  # without any results, no report is written
    assert len(list((place / "out").glob("*_target.json"))) == (6 if others else 0)
    assert not others or "mfcc" in (place / "out/report.html").read_text(encoding="utf-8")


@pytest.fixture
def tunes(place):
    """Prepare the datasets of the study of C64 music from tracks of the small corpus."""
    for name, other in (("sid", "target"), ("sid_unseen", "unseen"), ("sid_unseen_8580", "unseen")):
        table = split_csv.read_split(f"splits/{other}.csv")
        parity = table.groupby("artist").cumcount().mod(2).map(str)
        table = table.assign(chip="chip " + parity, decade="1980s")
        table.to_csv(f"splits/{name}.csv", index=False)
        (place / f"cache/{name}.h5").hardlink_to(place / f"cache/{other}.h5")
    subsets = dict(zip("012", split_csv.SUBSETS, strict=True))
    track = table.groupby("artist").cumcount()
    table.assign(subset=track.mod(3).map(str).map(subsets)).to_csv(
        "splits/sid_unseen_disjoint.csv", index=False
    )


SID = "--artists 4 --seeds 0 1 --epochs 1 --components 4 --dimensions 3"


@pytest.mark.slow
def test_sid_runs_end_to_end_and_continues_after_a_step_was_lost(
    place, tunes, commands, music_data, monkeypatch
):
    monkeypatch.setenv("MUSIC_MIRROR", str(music_data / "data/released_weights"))
    ran = run_in_process(*reproduce("sid", SID))
    steps = len(commands)
    assert f"0 of {steps} steps are done" in ran.lines
    left_out = [line for line in ran.lines if line.startswith("left out: ")]
    assert [line.split()[2] for line in left_out] == ["country:", "decade:"]
    table = pd.read_csv(place / "out/systems_sid_unseen_artist.csv", keep_default_na=False)
    scores = table.set_index("system")[["EER", "accuracy", "MAP"]]
    assert list(scores.index) == [
        *("GMM-UBM", "i-vector + cosine", "i-vector + PLDA", "DeepArtistID + cosine"),
        *("DeepArtistID + PLDA", "early fusion + PLDA", "late fusion + PLDA"),
        *("best + cosine", "best + PLDA"),
        *("siamese + cosine", "siamese + PLDA", "header + cosine", "mfcc + cosine"),
        *("released siamese + cosine", "siamese fine-tuned + cosine"),
        *("siamese fine-tuned + PLDA", "untrained + cosine"),
    ]
    assert scores["EER"].str.contains("±").all()
    assert set(scores.index[scores["MAP"].eq("")]) == {
        *("GMM-UBM", "early fusion + PLDA", "late fusion + PLDA"),
        *(name for name in scores.index if name.endswith(" + PLDA")),
    }
    assert "released siamese" in (place / "out/report.html").read_text(encoding="utf-8")
    commands.clear()
    (place / "out/features/basic_4_1_sid.h5").unlink()
    run_in_process(*reproduce("sid", SID))
    # The features, PLDA, early and late fusion on them, and the report are made again.
    assert [command[0] for command in commands] == ["extract_features.py", *["evaluate.py"] * 4]


def test_missing_data_and_second_process_are_rejected_before_any_step_runs(place):
    message = error_in_process(*reproduce("ismir2018"))
    assert "gtzan: found neither splits/gtzan.csv with cache/gtzan.h5 nor data/gtzan" in message
    assert not (place / "out").exists()
    with exclusive_folder(place / "out"):
        assert "another process" in error_in_process(*ISMIR2018)


def test_demo_commands_of_the_makefile_need_no_data(tmp_path, monkeypatch):
    """Test that each demo can be planned in a folder that contains nothing."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", "")
    for name, value in re.findall(r"^(ISMIR2018|DEMO) := (.*)$", makefile, re.M)[::-1]:
        makefile = makefile.replace(f"$({name})", value)
    commands = re.findall(r"^\t\$\(PY\) (reproduce\.py .*--data corpus.*)$", makefile, re.M)
    assert len(commands) == 4
    monkeypatch.chdir(tmp_path)
    for command in commands:
        lines = run_in_process(*command.split(), "--plan").lines
        # Without Essentia, a line about the part of agf2018 that needs it follows.
        assert any(re.fullmatch(r"0 of \d+ steps are done", line) for line in lines)
    assert "no such folder of datasets" in error_in_process("reproduce.py", "ismir2018", "--data=x")
