"""The plan of a paper, without running it."""

import argparse
from collections import Counter
from pathlib import Path

from papers.datasets import DataFolder


def plan(paper, *arguments, data: str | None = "data") -> tuple[list[str], list[str]]:
    """Return the commands, and what is left out, for some arguments of reproduce.py."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("o"))
    paper.add_arguments(parser)
    options = paper.Options(**vars(parser.parse_args(list(map(str, arguments)))))
    steps, left_out = paper.plan(options, DataFolder(data and Path(data)))
    return [str(step).removeprefix("python ") for step in steps], left_out


def count_scripts(commands: list[str]) -> Counter:
    """Return the number of commands of each script, and of each protocol of evaluate.py."""
    words = [command.split() for command in commands]
    return Counter(word[1] if word[0] == "evaluate.py" else word[0] for word in words)
