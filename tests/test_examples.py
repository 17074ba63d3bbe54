"""Tests that the examples run, and that the trained network retrieves better than an untrained."""

import re

import nbformat
import pytest
from nbclient import NotebookClient

from examples import artist_embeddings
from tests.conftest import ROOT, TIMEOUT, run_script


def maps_in(output: str) -> dict[str, float]:
    """Return the values that `artist_embeddings` prints, by name."""
    return {name: float(value) for name, value in re.findall(r"^MAP (\w+) +(.*)$", output, re.M)}


def test_artist_embeddings_runs_on_a_small_corpus(monkeypatch, capsys):
    monkeypatch.setattr(artist_embeddings, "TRAINING", {"source_artists": 5, "source_tracks": 2})
    monkeypatch.setattr(artist_embeddings, "EVALUATION", {"target_artists": 9, "target_tracks": 1})
    monkeypatch.setattr(artist_embeddings, "EPOCHS", 1)
    monkeypatch.setattr(artist_embeddings, "available_cores", lambda: 1)
    artist_embeddings.main()
    output = capsys.readouterr().out
    assert maps_in(output).keys() == {"trained", "untrained", "random"}


@pytest.mark.slow
def test_artist_embeddings_retrieve_better_than_untrained_ones():
    maps = maps_in(run_script("examples/artist_embeddings.py", PYTHONPATH=str(ROOT)).out)
    assert maps["trained"] > maps["untrained"] + 0.05 > maps["random"] + 0.05


def test_own_music_notebook_lists_and_draws_similar_tracks(music_data, monkeypatch, tmp_path):
    notebook = nbformat.read(ROOT / "examples/own_music.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    monkeypatch.setenv("MUSIC_MIRROR", str(music_data / "data/released_weights"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    NotebookClient(notebook, timeout=TIMEOUT).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    lines = "".join(o["text"] for o in outputs if o.get("name") == "stdout").splitlines()
    assert lines[0] == "(24, 256) {}"
    cosines = [float(line.split()[-1]) for line in lines[-5:]]
    assert len(lines) == 3 + 5 and cosines == sorted(cosines, reverse=True)
    assert any("image/png" in output.get("data", ()) for output in outputs)
