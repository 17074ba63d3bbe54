"""Test that messages of C libraries are dropped, and nothing else."""

import os
import threading

from common.stderr import drop_lines


def test_drop_lines_keeps_other_lines(capfd):
    with drop_lines(b"[noise"):
        os.write(2, b"[noise] one\nfirst\n[noise] two\n")
        os.write(2, b"second\n")
    os.write(2, b"[noise] after\n")
    assert capfd.readouterr().err == "first\nsecond\n[noise] after\n"


def test_drop_lines_in_overlapping_threads_restores_stderr(capfd):
    first_entered, second_entered, first_left = (threading.Event() for _ in range(3))

    def first():
        with drop_lines(b"[noise"):
            first_entered.set()
            second_entered.wait(10)
            os.write(2, b"[noise] one\n")
        first_left.set()

    thread = threading.Thread(target=first)
    thread.start()
    first_entered.wait(10)
    with drop_lines(b"[noise"):
        second_entered.set()
        first_left.wait(10)
        os.write(2, b"[noise] two\nkept\n")
    thread.join(10)
    os.write(2, b"end\n")
    assert capfd.readouterr().err == "kept\nend\n"
