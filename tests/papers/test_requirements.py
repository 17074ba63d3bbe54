"""What an empty cell needs: data, weights, time, and commands that the scripts take."""

import re
import shlex
import shutil

import pandas as pd

from papers.paper_tables import read_paper_tables
from papers.requirements import QUOTED, requirements_of
from tests.conftest import run_in_process


def of(**cell) -> str:
    """The need of the one cell of the papers' tables that has these values."""
    cells = read_paper_tables()
    rows = cells[(cells[list(cell)] == pd.Series(cell)).all(axis=1)]
    assert len(rows) == 1
    return requirements_of(rows.iloc[0].to_dict())


def commands(need: str) -> list[list[str]]:
    """The commands of a need, as arguments."""
    return [shlex.split(part) for part in need.split("; ") if "python " in part]


def test_every_need_tells_data_weights_time_and_a_command():
    for cell in read_paper_tables().to_dict("records"):
        need = requirements_of(cell)
        if cell["note"] == "quoted by the paper":
            assert need == QUOTED
            continue
        assert re.search(r"(audio|songs)", need) and "; weights: " in need
        assert re.search(r"about [\d.]+ (s|min|h|days) on two cores without a GPU", need)
        assert f"make {cell['paper']} DATA=DIR" in need
        assert not re.search(r"[{}]|None", need)


def test_released_weights_need_no_training():
    need = of(table=1, dataset="gtzan", model="siamese", protocol="retrieval")
    assert need.startswith(
        "GTZAN audio (930 clips), in DIR/gtzan; weights: the released siamese_5000"
    )
    assert "(likewise siamese_5000_best)" in need and "train_" not in need
    assert "basic_5000" in of(dataset="fma_small", model="basic", protocol="knn")
    assert "private list" in of(dataset="naver", model="basic", protocol="linear")
    assert "DIR/naver.csv" in of(dataset="naver", model="basic", protocol="linear")
    need = of(table=4, dataset="gtzan", model="siamese", protocol="linear")
    assert "siamese_10000_149" in need and "likewise siamese_10000_399" in need
    need = of(paper="arxiv2017", dataset="mtat", model="basic", artists=1000)
    assert "basic_1000_149 cache/mtat.h5" in need and "evaluate.py tagging" in need
    need = of(paper="arxiv2017", dataset="gtzan", model="basic without LDA")
    assert "basic_5000 cache/gtzan.h5" in need and "evaluate.py transfer" in need


def test_models_that_were_not_released_are_trained():
    need = of(dataset="gtzan", model="tag", protocol="linear")
    assert "none released" in need and "train_basic.py" in need and "--labels tags" in need
    need = of(paper="arxiv2017", dataset="mtat", model="basic", artists=100)
    assert "not to be had any more" in need and "reproduce.py arxiv2017 --data DIR" in need
    assert "--artists 100 --out results/arxiv2017" in need
    assert "reproduce.py" in of(paper="arxiv2017", dataset="gtzan", model="basic with LDA")


def test_sets_of_tasks_name_their_run():
    need = of(paper="agf2018", model="mtn gse", metric="macro_f1")
    assert "--kinds mtn --tasks gse" in need and "runs_se/mtn_gse_0/features.h5" in need
    assert "Essentia" in need and "Essentia" not in of(model="stn gs", metric="macro_f1", table=4)
    mean = of(paper="agf2018", model="stn with g", metric="macro_f1")
    assert "train_agf.py" not in mean
    hours = [re.search(r"about (.*?) on two", each)[1] for each in (need, mean)]
    assert hours[0].endswith(("h", "days")) and hours[1].endswith(("h", "days"))


def test_the_scripts_take_the_commands(monkeypatch, tmp_path):
    """Each gets as far as to miss the data: no option or name in it is unknown."""
    monkeypatch.chdir(tmp_path)
    asked = set()
    for cell in read_paper_tables().to_dict("records"):
        for _, script, *arguments in map(_from_python, commands(requirements_of(cell))):
            kind = (cell["paper"], cell["protocol"], script)
            if kind in asked:
                continue
            asked.add(kind)
            ran = run_in_process(script, *arguments, status=1)
            assert ran.err.startswith("error: ") and ran.err.count("\n") == 1
    assert {script for *_, script in asked} >= {"evaluate.py", "train_basic.py", "train_agf.py"}


def _from_python(words: list[str]) -> list[str]:
    return words[words.index("python") :]


def test_the_commands_of_a_cell_fill_it(music_data, monkeypatch, tmp_path):
    """Of GTZAN, a few clips in the place of all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSIC_MIRROR", str(music_data / "data/released_weights"))
    for clip in (music_data / "data/gtzan_short").glob("[bc]*.wav"):
        genre = tmp_path / "DIR/gtzan" / clip.name.partition(".")[0]
        genre.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, genre)
    lists = music_data / "data/splits"
    need = of(table=1, dataset="gtzan", model="siamese", protocol="retrieval")
    for _, script, *arguments in map(_from_python, commands(need)):
        more = ["--metadata", lists] if "1_make_splits" in script else []
        run_in_process(script, *arguments, *more)
    results = tmp_path / "results/ismir2018"
    assert (results / "retrieval_siamese_5000_gtzan.json").exists()
    table = run_in_process("evaluate.py", "tables", "--results", results, "--paper", "ismir2018")
    assert re.search(r"\| gtzan \| siamese \| 5000 \| map \| 0.5510 \| \d", table.out)
