"""Compare the time of `make demo` at this commit with that at an earlier one.

    python bench/demo.py [--before COMMIT]

Both commits are checked out into a temporary folder. There, one after the other, the command of
`make demo` runs with this Python and its installed packages. The seconds of each step are printed
(steps may overlap), then those of the whole, such as `before_seconds X`, and the processor time of
the whole, which depends less on what else the machine does, such as `before_cpu_seconds X`. The
last line is the ratio of the seconds, `vs_last_build X`. Uncommitted changes do not take part.
"""

import argparse
import csv
import shlex
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench.resources import cpu_seconds, timed

# The last commit at which `make demo` also trained models of 10, 20 and 40 artists.
LAST_BUILD = "be75bca99db9945252725c1660b667c4ad2f489e"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", default=LAST_BUILD, metavar="COMMIT")
    commits = {"before": parser.parse_args().before, "after": "HEAD"}
    look_up = ["git", "-C", ROOT, "cat-file", "-e", commits["before"] + "^{commit}"]
    if subprocess.run(look_up, stderr=subprocess.DEVNULL).returncode:
        sys.exit(f"{commits['before']}: no such commit in this clone; fetch it, or give --before")
    # Both find the libraries in the disk cache.
    imports = "import librosa, sklearn; from models.keras_backend import keras"
    subprocess.run([sys.executable, "-c", imports], cwd=ROOT, check=True)
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, commit in commits.items():
            checkout = Path(folder, name)
            git("worktree", "add", "--quiet", "--detach", checkout, commit)
            try:
                _, before = cpu_seconds()
                _, seconds[name] = timed(partial(run_demo, checkout))
                used = cpu_seconds()[1] - before
                with open(checkout / "results/demo/steps.csv", encoding="utf-8") as file:
                    for step in csv.DictReader(file):
                        print(f"{name} {step['seconds']:>6} s  {step['command']}")
            finally:
                git("worktree", "remove", "--force", checkout)
            print(f"{name}_seconds {seconds[name]:.0f}")
            print(f"{name}_cpu_seconds {used:.0f}", flush=True)
    print(f"vs_last_build {seconds['before'] / seconds['after']:.2f}")


def run_demo(checkout: Path) -> None:
    """Run the command of `make demo` in a checkout; its output goes to stderr."""
    make = ["make", "--dry-run", f"PY={sys.executable}", "demo"]
    lines = subprocess.check_output(make, cwd=checkout, text=True).replace("\\\n", " ").splitlines()
    (command,) = (line for line in lines if "reproduce.py" in line)
    subprocess.run(shlex.split(command), cwd=checkout, stdout=sys.stderr, check=True)


def git(*arguments: object) -> None:
    subprocess.run(["git", "-C", ROOT, *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
