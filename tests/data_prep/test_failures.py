"""Tests of failed tracks: reasons, lists and the exit status."""

import pandas as pd

from common.parallel import WorkerLost
from data_prep import failures
from data_prep.audio import AudioError


def test_failure_reason_is_one_line():
    assert failures.failure_reason(AudioError("a.wav", "is silent")) == "is silent"
    assert failures.failure_reason(WorkerLost("its decoder crashed")) == "its decoder crashed"
    assert failures.failure_reason(ValueError("a\n  b")) == "unforeseen ValueError: a b"


def test_write_failures_writes_and_removes_the_list(tmp_path):
    out = tmp_path / "c.v1.h5"
    failed = {'a,"b"': "is silent", "日本\n": "is empty"}
    failures.write_failures(out, failed)
    listed = pd.read_csv(tmp_path / "c.v1.failures.csv")
    assert dict(zip(listed["track_id"], listed["reason"], strict=True)) == failed
    failures.write_failures(out, {})
    failures.write_failures(out, {})
    assert not list(tmp_path.iterdir())


def test_report_failures_logs_one_line_and_returns_the_exit_status(caplog):
    caplog.set_level("INFO")
    assert failures.report_failures("x/c.h5", 3, {}, False, "complete") == 0
    assert failures.report_failures("x/c.h5", 2, {"a": "b"}, True, "complete") == 1
    assert failures.report_failures("x/c.h5", 2, {"a": "b"}, False, "complete") == 0
    line = "x/c.h5: complete, 2 tracks; 1 failed, see x/c.failures.csv (to try them again, delete "
    assert caplog.messages == ["x/c.h5: complete, 3 tracks", *[line + "x/c.h5)"] * 2]
