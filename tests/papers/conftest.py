import pytest


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory with an empty data folder, `data`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path
