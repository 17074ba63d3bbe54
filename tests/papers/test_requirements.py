import re
import shlex
import shutil

import pandas as pd
import pytest

from papers.paper_tables import QUOTED, read_paper_tables
from papers.requirements import describe_requirements
from tests.conftest import run_in_process


def require(**cell) -> str:
    """Return the requirements of the only table cell that has the given values."""
    cells = read_paper_tables()
    rows = cells[(cells[list(cell)] == pd.Series(cell)).all(axis=1)]
    assert len(rows) == 1
    return describe_requirements(rows.iloc[0].to_dict())


def commands(text: str) -> list[list[str]]:
    """Return the script and arguments of every command in a requirements text."""
    lines = [shlex.split(part) for part in text.split("; ") if "python " in part]
    return [words[words.index("python") + 1 :] for words in lines]


def test_requirements_state_data_weights_and_command():
    for cell in read_paper_tables().to_dict("records"):
        text = describe_requirements(cell)
        if cell["note"] == QUOTED:
            assert text.startswith("nothing to run")
            continue
        assert "audio" in text and "; weights: " in text
        assert f"make {cell['paper']} DATA=DIR" in text
        assert not re.search(r"[{}]|None", text)


def test_requirements_with_released_weights_include_no_training():
    text = require(table=1, dataset="gtzan", model="siamese", protocol="retrieval")
    weights = "weights: the released siamese_5000 (or siamese_5000_best)"
    assert text.startswith(f"GTZAN audio (930 clips) in DIR/gtzan; {weights}")
    assert "train_" not in text
    text = require(dataset="naver", model="basic", protocol="linear")
    assert "private list" in text and "DIR/naver.csv" in text
    text = require(paper="arxiv2017", dataset="gtzan", model="basic without LDA")
    assert "basic_5000 cache/gtzan.h5" in text and "evaluate.py transfer" in text


def test_requirements_without_released_weights_include_training():
    text = require(dataset="gtzan", model="tag", protocol="linear")
    assert "none released" in text and "train_basic.py" in text and "--labels tags" in text
    text = require(paper="arxiv2017", dataset="mtat", model="basic", artists=100)
    assert "no longer available" in text and "reproduce.py arxiv2017 --data DIR" in text
    assert "--artists 100 --out results/arxiv2017" in text
    assert "reproduce.py" in require(paper="arxiv2017", dataset="gtzan", model="basic with LDA")


def test_requirements_of_task_sets_include_training_commands_for_single_runs():
    text = require(paper="agf2018", model="mtn gse", metric="macro_f1")
    assert "--kinds mtn --tasks gse" in text and "runs_se/mtn_gse_0/features.h5" in text
    assert "Essentia" in text
    assert "Essentia" not in require(model="stn gs", metric="macro_f1", table=4)
    assert "train_agf.py" not in require(paper="agf2018", model="stn with g", metric="macro_f1")


def test_scripts_accept_the_commands_in_the_requirements(monkeypatch, tmp_path):
    """Test that each command fails only because its input files are missing."""
    monkeypatch.chdir(tmp_path)
    tried = set()
    for cell in read_paper_tables().to_dict("records"):
        for script, *arguments in commands(describe_requirements(cell)):
            kind = (cell["paper"], cell["protocol"], script)
            if kind not in tried:
                tried.add(kind)
                ran = run_in_process(script, *arguments, status=1)
                assert ran.err.startswith("error: ") and ran.err.count("\n") == 1
    assert {script for *_, script in tried} >= {"evaluate.py", "train_basic.py", "train_agf.py"}


@pytest.mark.slow
def test_required_commands_fill_their_table_cell(music_data, monkeypatch, tmp_path):
    """Test the commands of a GTZAN cell, with a few clips instead of the whole dataset."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSIC_MIRROR", str(music_data / "data/released_weights"))
    for clip in (music_data / "data/gtzan_short").glob("[bc]*.wav"):
        genre = tmp_path / "DIR/gtzan" / clip.name.partition(".")[0]
        genre.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, genre)
    text = require(table=1, dataset="gtzan", model="siamese", protocol="retrieval")
    for script, *arguments in commands(text):
        lists = ["--metadata", music_data / "data/splits"] if "1_make_splits" in script else []
        run_in_process(script, *arguments, *lists)
    results = tmp_path / "results/ismir2018"
    table = run_in_process("evaluate.py", "tables", "--results", results, "--paper", "ismir2018")
    assert re.search(r"\| gtzan \| siamese \| 5000 \| map \| 0.5510 \| \d", table.out)
