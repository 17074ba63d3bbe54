"""The command line: exit statuses, one-line errors, and remedies that fit."""

import argparse
import io
import subprocess
import sys
from pathlib import Path

import pytest

from common import cli
from tests.conftest import ROOT

SCRIPT = """
import sys
from common import cli
from common.errors import InputError

def main():
    parser = cli.make_parser("Tries {{things}}.", "python x.py --count 3")
    parser.add_argument("--count", type=cli.positive, default=1, help="how many")
    cli.add_seed(parser)
    args = parser.parse_args()
    {body}

cli.run_script(main)
"""


def run(tmp_path, body, *arguments, shell_end="", encoding="utf-8"):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(body=body), encoding="utf-8")
    words = " ".join(f"'{word}'" for word in (sys.executable, script, *arguments))
    return subprocess.run(
        ["bash", "-c", f"{words} {shell_end}"],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": encoding},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("print('done')", 0, ""),
        ("return 1", 1, ""),
        (r"raise InputError('a\nb: wrong;   mend it')", 1, "error: a b: wrong; mend it\n"),
        ("raise KeyboardInterrupt", 1, "error: stopped; run the same command again to finish\n"),
        ("open('/nowhere/x')", 1, "error: /nowhere/x: no such file; check the path\n"),
        (
            "raise OSError(28, 'x', 'a.h5')",
            1,
            "error: a.h5: the disk is full; free some space and run the same command again\n",
        ),
        (
            "raise OSError(27, 'x', 'a.h5')",
            1,
            "error: a.h5: the disk is full; free some space and run the same command again\n",
        ),
        (
            "raise PermissionError(13, 'a paragraph of h5py', 'a.h5')",
            1,
            "error: a.h5: Permission denied; change its permissions, or choose another place\n",
        ),
        (
            "raise OSError(5, 'x')",
            1,
            "error: output: Input/output error; check the path and the disk\n",
        ),
        ("raise OSError('odd')", 1, "error: output: odd; check the path and the disk\n"),
    ],
)
def test_exit_statuses_and_errors(tmp_path, body, status, error):
    done = run(tmp_path, body)
    assert (done.returncode, done.stderr) == (status, error)


def test_a_bug_keeps_its_traceback(tmp_path):
    done = run(tmp_path, "1 / 0")
    assert done.returncode == 1 and "Traceback" in done.stderr


@pytest.mark.parametrize("wrong", ["--count=0", "--count=x", "--seed=-1", "--coun=1", "more"])
def test_wrong_use_exits_with_2(tmp_path, wrong):
    done = run(tmp_path, "pass", wrong)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "usage:" in done.stderr


def test_help_closes_with_the_example_and_shows_defaults(tmp_path):
    done = run(tmp_path, "pass", "--help")
    assert done.returncode == 0 and done.stdout.endswith("example:\n  python x.py --count 3\n")
    assert "how many (default: 1)" in done.stdout


def test_a_reader_that_leaves_is_no_news(tmp_path):
    done = run(tmp_path, "[print('x' * 1000) for _ in range(1000)]", shell_end="| head -1")
    assert done.stderr == "" and done.stdout == "x" * 1000 + "\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_that_cannot_be_written_is_one_error(tmp_path):
    done = run(tmp_path, "print('x')", shell_end="> /dev/full")
    assert done.returncode == 1 and done.stderr.startswith("error: output: the disk is full")
    assert done.stderr.count("\n") == 1


def test_closed_output_is_no_error(tmp_path):
    done = run(tmp_path, "print('x')", shell_end=">&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_names_that_the_terminal_cannot_show_are_no_error(tmp_path):
    body = r"print('日本 \udcff'); raise InputError('ü \udcff: wrong')"
    done = run(tmp_path, body, encoding="ascii")
    assert done.returncode == 1 and done.stdout == "\\u65e5\\u672c \\udcff\n"
    assert done.stderr == "error: \\xfc \\udcff: wrong\n"


def test_kinds_of_arguments():
    assert cli.non_negative("0") == 0 and cli.positive("1") == 1
    assert cli.positive_float("1e-3") == 0.001 and cli.fraction("0") == 0
    for kind, wrong in (
        (cli.non_negative, "-1"),
        (cli.positive, "0"),
        (cli.positive_float, "0"),
        (cli.positive_float, "nan"),
        (cli.positive_float, "inf"),
        (cli.fraction, "1"),
        (cli.fraction, "-0.1"),
        (cli.fraction, "nan"),
    ):
        with pytest.raises(argparse.ArgumentTypeError):
            kind(wrong)


def test_settings_are_what_decides_the_output():
    args = argparse.Namespace(seed=1, out=Path("x"), rate=0.1, name="a", patience=None, workers=8)
    assert cli.settings(args) == {"seed": 1, "rate": 0.1, "name": "a", "patience": None}


def test_the_bar_is_silent_where_nobody_watches(capsys):
    assert list(cli.progress_bar(range(3), desc="x")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("shown", [True, False])
def test_the_bar_is_silent_where_it_is_told_to_be(shown):
    """One process of several shows it, though all of them have a terminal."""
    bar = cli.progress_bar(range(3), shown=shown, file=Terminal())
    assert bar.disable != shown
    assert list(bar) == [0, 1, 2]
