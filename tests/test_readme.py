"""Tests that the numbers, commands, code and links in the READMEs are correct."""

import contextlib
import io
import re
import shlex
import shutil
import sys
from functools import cache

import h5py
import pytest

from bench import readme
from tests.conftest import ROOT, run_in_process

READMES = [*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/README.md")]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in READMES}


def test_readme_numbers_match_the_reference_results(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["readme.py", "--check"])
    readme.main()
    for name in readme.READMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    number = re.search(r"<!-- demo -->.*?(0\.\d\d\d)", TEXTS["papers/README.md"], re.DOTALL)[1]
    (tmp_path / "papers/README.md").write_text(TEXTS["papers/README.md"].replace(number, "0.999"))
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"papers/README\.md: differs from results/reference"):
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


def readme_blocks() -> list[tuple[str, str]]:
    """Return the language and text of each code block of the main README, except the references."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", TEXTS["README.md"], re.DOTALL | re.MULTILINE)
    return [block for block in blocks if block[0] != "bibtex"]


def test_readme_blocks_run_as_printed(music_data, small_corpus, monkeypatch, tmp_path):
    """Run the README's commands and code in their order, on a small folder of tagged music."""
    makefile = (ROOT / "Makefile").read_text()
    shutil.copytree(small_corpus[1] / "source", tmp_path / "my_music")
    tracks = sorted((tmp_path / "my_music").rglob("*.*"))
    tracks[0].rename(tracks[0].with_stem("yesterday"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSIC_MIRROR", str(music_data / "data/released_weights"))
    for language, text in readme_blocks():
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(text, {})
        for command in text.splitlines() if language == "" else ():
            program, *arguments = shlex.split(command)
            if program == "python":
                run_in_process(*arguments)
            elif program == "make":  # the tests of continuous integration run in what these make
                assert re.search(rf"^([\w -]+ )?{arguments[0]}( [\w -]+)?:", makefile, re.MULTILINE)
            else:
                assert command == "source .venv/bin/activate"
    assert (tmp_path / "songs.html").stat().st_size > 10_000
    with h5py.File("features/my_music.h5") as before, h5py.File("features/tuned.h5") as after:
        assert before["features"].shape == after["features"].shape == (24, 256)
