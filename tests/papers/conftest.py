from pathlib import Path

import pytest


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Change to an empty working directory that contains an empty data folder, `data`."""
    monkeypatch.chdir(tmp_path)
    make_data("")
    return tmp_path


def make_data(*names: str) -> None:
    """Create a folder in the data folder for each dataset."""
    for name in names:
        Path("data", name).mkdir()
