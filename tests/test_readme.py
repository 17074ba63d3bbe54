"""The READMEs tell the truth: their numbers, their commands, their code and their links."""

import re
import shlex
import shutil
from functools import cache

import h5py
import numpy as np
import pandas as pd
import pytest

from common import feature_file
from tests.conftest import ROOT, run_in_process, run_script

READMES = sorted(path for path in ROOT.glob("*.md")) + sorted(ROOT.glob("[a-z]*/README.md"))
TEXT = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in READMES}


def test_the_numbers_are_those_of_the_reference():
    assert run_script("bench/readme.py", "--check").out == ""


def test_a_number_that_has_changed_is_found(tmp_path):
    """Of a copy, so that the check is known to be able to fail."""
    for name in ("README.md", "results/reference", "bench", "common", "evaluation", "papers"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    for name in ("report", "models", "data_prep"):
        shutil.copytree(ROOT / name, tmp_path / name)
    text = (tmp_path / "README.md").read_text()
    number = re.search(r"<!-- demo -->.*?(0\.\d\d\d)", text, re.DOTALL)[1]
    (tmp_path / "README.md").write_text(text.replace(number, "0.999"))
    assert (
        "README.md: not as results/reference has it"
        in run_script(str(tmp_path / "bench/readme.py"), "--check", status=1).err
    )


def commands() -> list[str]:
    """Every command of the READMEs that runs a script, in code blocks and between backticks."""
    found = []
    for text in TEXT.values():
        fenced = r"^```\w*\n(.*?)^```"
        flags = re.DOTALL | re.MULTILINE
        blocks = "".join(re.findall(fenced, text, flags)).splitlines()
        inline = re.findall(r"`([^`]+)`", re.sub(fenced, "", text, flags=flags))
        for line in [*blocks, *(" ".join(one.split()) for one in inline)]:
            match = re.search(r"(?:\.venv/bin/)?python (\S+\.py .*)", line)
            if match:
                found.append(match[1].partition("#")[0].strip())
    return sorted(set(found))


@cache
def help_of(script: str, command: str | None) -> str:
    return run_in_process(script, *([command] if command else []), "--help").out


@pytest.mark.parametrize("command", commands())
def test_scripts_have_the_options_that_are_told(command):
    script, *arguments = shlex.split(command)
    assert (ROOT / script).is_file()
    if script.startswith("bench/"):
        told = (ROOT / script).read_text()
    else:
        sub = arguments[0] if script in ("evaluate.py", "reproduce.py") else None
        told = help_of(script, None if sub is None or sub.startswith("-") else sub)
    for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", " ".join(arguments)):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", told), option


def test_commands_are_found():
    scripts = {command.split()[0] for command in commands()}
    assert {"evaluate.py", "extract_features.py", "data_prep/1_make_splits.py"} < scripts
    assert len(commands()) > 30


def test_links_lead_somewhere():
    for name, text in TEXT.items():
        for link in re.findall(r"\]\(([^)]+)\)", text):
            path, _, anchor = link.partition("#")
            target = (ROOT / name).parent / path
            assert target.is_file(), (name, link)
            if anchor:
                heads = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
                assert anchor in slugs, (name, link)


def test_the_package_as_a_library_in_five_lines(music_data, monkeypatch, tmp_path):
    """The README's own code, on real clips, beside the authors' own features of them."""
    [code] = re.findall(r"As a library:\n\n```python\n(.*?)```", TEXT["README.md"], re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 5
    (tmp_path / "my_music").mkdir()
    for clip in sorted((music_data / "data/gtzan_clips").glob("*.au"))[:3]:
        shutil.copy(clip, tmp_path / "my_music")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSIC_MIRROR", str(music_data / "data/released_weights"))
    made = {}
    exec(code.replace("*.mp3", "*.au"), made)
    with np.load(music_data / "golden/features.npz") as golden:
        row = {track: number for number, track in enumerate(golden["track_id"])}
        names = sorted(path.name for path in (tmp_path / "my_music").iterdir())
        expected = golden["siamese_5000"][[row[name] for name in names]]
    assert made["features"].shape == (3, 256) and made["features"].dtype == np.float32
    assert np.abs(made["features"] - expected).max() <= 1e-3 * np.abs(expected).max()


def test_a_feature_file_opens_in_pandas_in_one_line(monkeypatch, tmp_path):
    [code] = re.findall(r"one line:\n\n```python\n(.*?)```", TEXT["README.md"], re.DOTALL)
    assert code.count("\n") == 1
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    made = feature_file.Features(values, np.array(["a", "ü"], object), {}, {})
    feature_file.write_features(tmp_path / "features/my_music.h5", made)
    monkeypatch.chdir(tmp_path)
    table = eval(code, {"h5py": h5py, "pd": pd})
    assert table.index.tolist() == ["a", "ü"]
    np.testing.assert_array_equal(table, values)
