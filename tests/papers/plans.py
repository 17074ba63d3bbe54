"""Helpers that return the planned commands of a paper without running them."""

import argparse
from collections import Counter
from pathlib import Path

from papers.datasets import DataFolder


def plan(paper, *arguments, data: str | None = "data") -> tuple[list[str], list[str]]:
    """Return the planned commands and the omitted parts for given reproduce.py arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("o"))
    paper.add_arguments(parser)
    options = parser.parse_args(list(map(str, arguments)))
    steps, left_out = paper.plan(options, DataFolder(data and Path(data)))
    return [str(step).removeprefix("python ") for step in steps], left_out


def count_scripts(commands: list[str]) -> Counter:
    """Return how many commands call each script, counting each evaluate.py protocol separately."""
    words = [command.split() for command in commands]
    return Counter(word[1] if word[0] == "evaluate.py" else word[0] for word in words)
