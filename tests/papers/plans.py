"""What a paper's plan is, without running it."""

import argparse
from pathlib import Path

from papers.datasets import Data


def plan(paper, *options, data: str | None = "data", out: str = "o") -> tuple[list[str], list[str]]:
    """Commands and what is left out, for these options of `reproduce.py`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path(out))
    paper.add_arguments(parser)
    args = parser.parse_args(list(map(str, options)))
    steps, left_out = paper.plan(args, Data(None if data is None else Path(data)))
    return [str(step).removeprefix("python ") for step in steps], left_out


def scripts(commands: list[str]) -> dict[str, int]:
    """How many commands there are of each script, and of each protocol of evaluate.py."""
    counts: dict[str, int] = {}
    for command in commands:
        script, first = command.split()[:2]
        name = first if script == "evaluate.py" else script
        counts[name] = counts.get(name, 0) + 1
    return counts
