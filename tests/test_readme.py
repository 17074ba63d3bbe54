"""Tests that the numbers, commands, code and links in the READMEs are correct."""

import re
import shlex
import shutil
import sys
from functools import cache

import h5py
import numpy as np
import pandas as pd
import pytest

from bench import readme
from common import feature_file
from tests.conftest import ROOT, run_in_process

READMES = [*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/README.md")]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in READMES}


def test_readme_numbers_match_the_reference_results(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["readme.py", "--check"])
    readme.main()
    for name in readme.READMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    number = re.search(r"<!-- demo -->.*?(0\.\d\d\d)", TEXTS["README.md"], re.DOTALL)[1]
    (tmp_path / "README.md").write_text(TEXTS["README.md"].replace(number, "0.999"))
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"README\.md: differs from results/reference"):
        readme.main()


def readme_commands() -> list[str]:
    """Return the README commands that run a script, from code blocks and inline code."""
    commands = set()
    code_block = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
    for text in TEXTS.values():
        lines = [line for block in code_block.findall(text) for line in block.splitlines()]
        inline = re.findall(r"`([^`]+)`", code_block.sub("", text))
        for line in [*lines, *(" ".join(code.split()) for code in inline)]:
            match = re.search(r"(?:\.venv/bin/)?python (\S+\.py .*)", line)
            if match:
                commands.add(match[1].partition("#")[0].strip())
    assert len(commands) > 30
    return sorted(commands)


@cache
def help_of(*command: str) -> str:
    return run_in_process(*command, "--help").out


@pytest.mark.parametrize("command", readme_commands())
def test_readme_commands_use_existing_options(command):
    script, *arguments = shlex.split(command)
    if script.startswith("bench/"):
        text = (ROOT / script).read_text()
    elif script in ("evaluate.py", "reproduce.py") and not arguments[0].startswith("-"):
        text = help_of(script, arguments[0])
    else:
        text = help_of(script)
    for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", " ".join(arguments)):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), option


def test_readme_links_have_existing_targets():
    for name, text in TEXTS.items():
        for link in re.findall(r"\]\(([^)]+)\)", text):
            if not link.startswith("https:"):
                path, _, anchor = link.partition("#")
                target = (ROOT / name).parent / path if path else ROOT / name
                assert target.exists(), (name, link)
                if anchor:
                    text = target.read_text(encoding="utf-8").lower()
                    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
                    slugs = [re.sub(r"[^\w -]", "", head).replace(" ", "-") for head in heads]
                    assert anchor in slugs, (name, link)


def test_readme_library_example_matches_the_golden_features(music_data, monkeypatch, tmp_path):
    [code] = re.findall(r"As a library:\n\n```python\n(.*?)```", TEXTS["README.md"], re.DOTALL)
    (tmp_path / "my_music").mkdir()
    names = [path.name for path in sorted((music_data / "data/gtzan_clips").glob("*.au"))[:3]]
    for name in names:
        shutil.copy(music_data / "data/gtzan_clips" / name, tmp_path / "my_music")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSIC_MIRROR", str(music_data / "data/released_weights"))
    variables = {}
    exec(code.replace("*.mp3", "*.au"), variables)
    features = variables["features"]
    with np.load(music_data / "golden/features.npz") as golden:
        row = {track: number for number, track in enumerate(golden["track_id"])}
        expected = golden["siamese_5000"][[row[name] for name in names]]
    assert features.shape == (3, 256) and features.dtype == np.float32
    assert np.abs(features - expected).max() <= 1e-3 * np.abs(expected).max()


def test_readme_pandas_one_liner_opens_a_feature_file(monkeypatch, tmp_path):
    [code] = re.findall(r"one line:\n\n```python\n(.*?)```", TEXTS["README.md"], re.DOTALL)
    assert code.count("\n") == 1
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    features = feature_file.Features(values, np.array(["a", "ü"], object), {}, {})
    feature_file.write_features(tmp_path / "features/my_music.h5", features)
    monkeypatch.chdir(tmp_path)
    table = eval(code, {"h5py": h5py, "pd": pd})
    assert table.index.tolist() == ["a", "ü"]
    np.testing.assert_array_equal(table, values)
