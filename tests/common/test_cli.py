"""Tests of the command line: exit statuses, one-line errors and argument types."""

import argparse
import io
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common import cli
from tests.conftest import ROOT, run_in_process

SCRIPT = """
import logging, sys
from common import cli
from common.errors import InputError

logger = logging.getLogger("data_prep.example")

def main():
    parser = cli.make_parser("Tries {{things}}.", "python x.py --count 3")
    parser.add_argument("--count", type=cli.positive, default=1, help="number of things")
    cli.add_renamed(parser, "--batch-size", "--batch", type=int, default=15, help="tracks")
    cli.add_seed(parser)
    args = parser.parse_args()
    {body}

cli.run_script(main)
"""


def run(tmp_path, body, *arguments, redirect="", encoding="utf-8"):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(body=body), encoding="utf-8")
    words = " ".join(f"'{word}'" for word in (sys.executable, script, *arguments))
    return subprocess.run(
        ["bash", "-c", f"{words} {redirect}"],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": encoding},
        capture_output=True,
        text=True,
        timeout=60,
    )


FULL = "the disk is full; free some space and run the same command again"
NEEDS_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("print('done')", 0, ""),
        ("return 1", 1, ""),
        (r"raise InputError('a\nb: wrong;   mend it')", 1, "a b: wrong; mend it"),
        ("import absent.part", 1, "the package absent is not installed; run make install"),
        ("raise KeyboardInterrupt", 1, "stopped; run the same command again to finish"),
        ("open('/nowhere/x')", 1, "/nowhere/x: no such file; check the path"),
        ("raise OSError(28, 'x', 'a.h5')", 1, f"a.h5: {FULL}"),
        (
            "raise PermissionError(13, 'a paragraph of h5py', 'a.h5')",
            1,
            "a.h5: Permission denied; change its permissions, or choose another place",
        ),
        ("raise OSError(5, 'x')", 1, "output: Input/output error; check the path and the disk"),
        ("raise OSError('odd')", 1, "output: odd; check the path and the disk"),
    ],
)
def test_run_script_sets_exit_status_and_prints_error(tmp_path, body, status, error):
    result = run(tmp_path, body)
    assert (result.returncode, result.stderr) == (status, error and f"error: {error}\n")


@pytest.mark.parametrize("bug", ["1 / 0", "import models.absent"])
def test_run_script_shows_the_traceback_of_a_bug(tmp_path, bug):
    result = run(tmp_path, bug)
    assert result.returncode == 1 and "Traceback" in result.stderr


@pytest.mark.parametrize("wrong", ["--count=0", "--seed=-1", "--coun=1"])
def test_usage_errors_exit_with_status_2(tmp_path, wrong):
    result = run(tmp_path, "pass", wrong)
    assert result.returncode == 2 and "Traceback" not in result.stderr and "usage:" in result.stderr


def test_help_shows_defaults_and_ends_with_the_example(tmp_path):
    result = run(tmp_path, "pass", "--help")
    assert result.returncode == 0 and result.stdout.endswith("example:\n  python x.py --count 3\n")
    assert "number of things (default: 1)" in result.stdout
    assert "--batch-size" in result.stdout and "--batch " not in result.stdout


def test_renamed_option_accepts_old_and_new_names(tmp_path):
    for arguments, value in (((), 15), (("--batch-size", "3"), 3), (("--batch", "4"), 4)):
        assert run(tmp_path, "print(args.batch_size)", *arguments).stdout == f"{value}\n"


@pytest.mark.parametrize("first", ["0", "logging.basicConfig(level=logging.INFO)"])
def test_run_script_prints_only_logs_from_this_project_and_only_once(tmp_path, first):
    """Test also that a library's configuration of logging changes nothing."""
    theirs = "logging.getLogger('other').warning('theirs')"
    result = run(tmp_path, f"{first}; logger.info('ours'); {theirs}")
    assert (result.stdout, result.stderr) == ("ours\n", "theirs\n")


@pytest.mark.parametrize("output", ["print", "logger.info"])
@pytest.mark.parametrize(
    ("redirect", "shown", "error"),
    [
        ("| head -1", "x" * 1000 + "\n", ""),  # the reader of the output exits
        pytest.param("> /dev/full", "", f"error: output: {FULL}\n", marks=NEEDS_FULL),
        (">&-", "", ""),  # stdout is closed
    ],
)
def test_run_script_reports_unwritable_output_at_most_once(
    tmp_path, output, redirect, shown, error
):
    body = f"[{output}('x' * 1000) for _ in range(1000)]"
    result = run(tmp_path, body, redirect=redirect)
    assert (result.stdout, result.stderr) == (shown, error)
    assert result.returncode == (1 if error else 0)


def test_run_script_escapes_characters_that_the_terminal_cannot_display(tmp_path):
    body = r"print('日本 \udcff'); raise InputError('ü \udcff: wrong')"
    result = run(tmp_path, body, encoding="ascii")
    assert result.returncode == 1 and result.stdout == "\\u65e5\\u672c \\udcff\n"
    assert result.stderr == "error: \\xfc \\udcff: wrong\n"


def test_argument_types_accept_only_numbers_in_range():
    for kind, right, wrong in (
        (cli.non_negative, "0", "-1"),
        (cli.positive, "1", "0"),
        (cli.positive_float, "1e-3", "0 nan inf"),
        (cli.fraction, "0", "1 -0.1 nan"),
    ):
        assert kind(right) == float(right)
        for text in wrong.split():
            with pytest.raises(argparse.ArgumentTypeError):
                kind(text)


def test_output_file_must_have_the_suffix_of_its_format(tmp_path):
    parse = cli.output_file(".h5")
    assert parse("a/b.H5") == Path("a/b.H5") and parse(str(tmp_path)) == tmp_path
    for name in ("x.csv", "x.npy", "x", "x.h5.txt"):
        message = f"{name}: written as HDF5; give a name that ends in .h5"
        with pytest.raises(argparse.ArgumentTypeError, match=re.escape(message)):
            parse(name)


@pytest.mark.parametrize(
    ("command", "option", "name", "suffix"),
    [
        ("extract_features.py mfcc music", "--out", "features.npy", ".h5"),
        ("evaluate.py explore x.h5 x.csv", "--out", "page.csv", ".html"),
        ("export.py siamese_5000", "--out", "encoder.h5", ".onnx"),
        ("evaluate.py lda x.h5 x.csv y.h5", "--out", "lda.csv", ".h5"),
        ("evaluate.py knn x.h5 x.csv", "--json", "result.csv", ".json"),
        ("data_prep/1_make_splits.py folder --root x", "--out", "split.tsv", ".csv"),
        ("data_prep/2_cache_mels.py x.csv --audio x", "--out", "mels.npy", ".h5"),
        ("data_prep/2b_artist_groups.py x.csv x.h5", "--out", "groups.json", ".h5"),
    ],
)
def test_scripts_refuse_names_of_other_formats(tmp_path, command, option, name, suffix):
    message = run_in_process(*command.split(), option, tmp_path / name, status=2).err
    assert f"{option}: {tmp_path / name}: written as" in message
    assert message.endswith(f"give a name that ends in {suffix}\n")


def test_progress_bar_is_shown_on_a_terminal_unless_hidden():
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    assert not cli.progress_bar(range(3), file=terminal).disable
    assert cli.progress_bar(range(3), shown=False, file=terminal).disable


PROGRESS = [
    ({"total": 450, "initial": 20}, r"120 of 450 tracks, [\d.]+k? tracks/s, \d+ (s|min) left"),
    ({"total": 450, "desc": "mel cache"}, r"mel cache: 100 of 450 tracks, .+ left"),
    ({}, r"100 tracks, [\d.]+k? tracks/s"),
    ({"total": 2048, "unit": "B", "unit_scale": True}, r"100 of 2.05k B, [\d.]+k? B/s, .+ left"),
    ({"total": 450, "unit_scale": 50.0}, r"5.00k of 22.5k tracks, .+ left"),
]


@pytest.mark.parametrize(("settings", "expected"), PROGRESS)
def test_progress_is_printed_as_plain_lines_without_a_terminal(monkeypatch, settings, expected):
    monkeypatch.setattr(cli, "PLAIN_SECONDS", 0.01)
    output = io.StringIO()
    with cli.progress_bar(file=output, **{"unit": "track", **settings}) as bar:
        time.sleep(0.02)
        bar.update(100)
    assert re.fullmatch(expected + "\n", output.getvalue()), output.getvalue()


def test_plain_progress_has_a_line_per_interval_and_none_if_the_work_is_fast(monkeypatch):
    output = io.StringIO()
    assert list(cli.progress_bar(range(1000), file=output)) == list(range(1000))
    assert output.getvalue() == ""
    monkeypatch.setattr(cli, "PLAIN_SECONDS", 0.05)
    started = time.monotonic()
    for _ in cli.progress_bar(range(30), unit="track", file=output):
        time.sleep(0.01)
    intervals = (time.monotonic() - started) / 0.05
    lines = output.getvalue().splitlines()
    assert 2 <= len(lines) <= intervals and all(" of 30 tracks, " in line for line in lines)


# Writes 100 times to new memory of 4 MiB, which takes 1,024 page faults unless it is reused.
FAULTS = """import resource
    for _ in range(100):
        bytearray(b'x') * 2**22
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")
def test_run_script_has_freed_memory_reused_except_where_the_user_decides(tmp_path):
    assert int(run(tmp_path, FAULTS).stdout) < 50_000
    words = [sys.executable, tmp_path / "script.py"]
    chosen = {"PYTHONPATH": str(ROOT), **dict.fromkeys(cli._MALLOC, "0")}
    assert int(subprocess.check_output(words, env=chosen, timeout=60)) > 100_000
