import pytest


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Change to an empty working directory that contains an empty data folder, `data`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path
