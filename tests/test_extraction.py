"""Test that extraction continues after a stop, and follows a folder that grows."""

import json
import os
import shutil
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest

from common import feature_file, feature_journal
from common.files import exclusive_folder
from data_prep import track_readers
from tests.conftest import ROOT, error_in_process, run_in_process, start_script, without_progress
from tests.data_prep.files import clip, in_this_process, wav

TRACKS = 6
BAD = "3.wav"  # fails; it is between usable tracks
MARK = 1000.0  # added to stored vectors, to see in the output which were not computed again

# Runs a script and sends itself a signal once `count` lines of the journal have been written.
STOPPED = """
import os, runpy, signal, sys
from common import feature_journal

count, number, *sys.argv = sys.argv[1:]
write_all, seen = feature_journal.write_all, 0


def counting_write(file, line):
    global seen
    write_all(file, line)
    seen += 1
    if seen == int(count):
        os.kill(os.getpid(), int(number))


feature_journal.write_all = counting_write
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module", autouse=True)
def no_workers():
    """Decode without worker processes, except in scripts that are killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(track_readers, "ordered_map", in_this_process)
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """Return a folder with five tracks of 3 to 4 s and a file that is not audio."""
    folder = tmp_path_factory.mktemp("original")
    for number in range(TRACKS):
        (folder / f"{number}.wav").write_bytes(wav(clip(3.0 + number / 8, first=2.0 * number)))
    (folder / BAD).write_bytes(b"no music")
    return folder


@pytest.fixture
def music(original, tmp_path) -> Path:
    """Return a copy of the folder that a test may change; the files keep their times."""
    return shutil.copytree(original, tmp_path / "music")


@pytest.fixture(scope="module")
def uninterrupted(original, no_workers, tmp_path_factory) -> Path:
    """Return the feature file of an uninterrupted extraction."""
    out = tmp_path_factory.mktemp("uninterrupted") / "out.h5"
    run_in_process(*command(original, out))
    return out


def command(folder: Path, out: Path, *more, weights: str = "mfcc") -> tuple:
    return "extract_features.py", weights, folder, "--out", out, "--workers", 1, *more


def stop(number: int, *arguments) -> None:
    """Run a command in this process until it has stored a number of tracks."""
    write_all, written = feature_journal.write_all, []

    def counting_write(file, line):
        write_all(file, line)
        written.append(line)
        if len(written) == number + 1:  # the first line of the journal contains the inputs
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_journal, "write_all", counting_write)
        assert error_in_process(*arguments).startswith("error: stopped; run the same command")


def mark_features(path: Path) -> None:
    """Add `MARK` to the features in a file."""
    with h5py.File(path, "r+") as file:
        file["features"][...] += np.float32(MARK)


def marked(path: Path) -> list[str]:
    """Return the tracks whose features have the mark."""
    content = feature_file.read_features(path)
    return list(content.track_id[content.features[:, 1] > MARK / 2])


# ---------------------------------------------------------------- stopped


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_extraction_continues_after_a_stop_and_the_file_is_identical(
    signal_, music, uninterrupted, tmp_path
):
    out = tmp_path / "out.h5"
    process = start_script("-c", STOPPED, 3, int(signal_), *command(music, out))
    _, err = process.communicate()
    status = process.returncode
    if signal_ == signal.SIGINT:
        assert (status, without_progress(err)) == (
            1,
            "error: stopped; run the same command again to finish\n",
        )
    else:
        assert status == -signal_
    assert not out.exists() and len(read_journal(out)) == 3
    lines = run_in_process(*command(music, out)).lines
    assert lines[0] == f"{out}: 2 of {TRACKS} tracks are already complete"
    assert lines[-1].startswith(f"{out}: mfcc, 5 tracks; 1 failed")
    assert out.read_bytes() == uninterrupted.read_bytes()
    assert not Path(f"{out}.making").exists()


def read_journal(out: Path) -> list:
    return [json.loads(line) for line in Path(f"{out}.making/journal").read_text().splitlines()]


def entry(track: str, stamp: str, text: str) -> list:
    return [track, stamp, text, feature_journal.checksum(track, stamp, text)]


def test_stored_tracks_are_not_computed_again_after_repeated_stops(music, tmp_path):
    out = tmp_path / "out.h5"
    journal = tmp_path / "out.h5.making/journal"
    stop(2, *command(music, out))
    lines = journal.read_text().splitlines(keepends=True)
    text = json.loads(lines[1])[2]
    swapped = [entry(track, stamp, text) for track, stamp, *_ in read_journal(out)[1:]]
    # A line that was being written is computed again.
    torn = lines[2][:40]
    journal.write_text(lines[0] + "".join(json.dumps(line) + "\n" for line in swapped) + torn)
    (music / "0.wav").touch()  # a changed track is computed again, too
    stop(1, *command(music, out))
    run_in_process(*command(music, out))
    features = feature_file.read_features(out)
    assert list(features.track_id) == ["0.wav", "1.wav", "2.wav", "4.wav", "5.wav"]
    np.testing.assert_array_equal(features.features[1], features.features[0])  # the swapped vector
    assert len(np.unique(features.features, axis=0)) == 4


def test_unfinished_extraction_refuses_other_settings_and_a_second_process(music, tmp_path):
    out = tmp_path / "out.h5"
    stop(2, *command(music, out))
    message = error_in_process(*command(music, out, "--normalise", "peak"))
    assert f"{out}.making: already there" in message and "normalise" in message
    assert "weights.model" in error_in_process(*command(music, out, weights="untrained"))
    with exclusive_folder(f"{out}.making"):
        assert "another process" in error_in_process(*command(music, out))
    assert len(read_journal(out)) == 3
    journal = Path(f"{out}.making/journal")
    lines = journal.read_text().splitlines(keepends=True)
    track, stamp, *_ = json.loads(lines[1])
    journal.write_text(lines[0] + json.dumps(entry(track, stamp, "AACAPw==")) + "\n")  # one float
    assert f"{out}.making: is damaged; delete it" in error_in_process(*command(music, out))


def test_full_disk_is_reported_with_the_file_and_then_continues(music, uninterrupted, tmp_path):
    out, script = tmp_path / "out.h5", tmp_path / "limited.py"
    script.write_text(
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "sys.argv.pop(0)\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    process = start_script(script, *command(music, out), PYTHONPATH=str(ROOT))
    assert without_progress(process.communicate()[1]) == (
        f"error: {out}.making/journal: the disk is full; free some space and run the same command "
        "again\n"
    )
    run_in_process(*command(music, out))
    assert out.read_bytes() == uninterrupted.read_bytes()


def test_tracks_after_a_damaged_line_are_computed_again(music, uninterrupted, tmp_path):
    out = tmp_path / "out.h5"
    stop(3, *command(music, out))
    journal = Path(f"{out}.making/journal")
    lines = read_journal(out)
    lines[3][2] = lines[2][2]  # a vector, but another one
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert f"2 of {TRACKS} tracks are already" in run_in_process(*command(music, out)).out
    assert out.read_bytes() == uninterrupted.read_bytes()


def test_damaged_journal_is_started_again(music, uninterrupted, tmp_path):
    out = tmp_path / "out.h5"
    folder = tmp_path / "out.h5.making"
    folder.mkdir()
    for content in (b"", b"{", b"[1]\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n"):
        (folder / "journal").write_bytes(content)
        assert "already complete" not in run_in_process(*command(music, out)).out
        assert out.read_bytes() == uninterrupted.read_bytes() and not folder.exists()
        out.unlink()
        folder.mkdir()


def test_extraction_leaves_nothing_if_no_track_is_usable(tmp_path):
    folder, out = tmp_path / "music", tmp_path / "out.h5"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"no music")
    assert "none of the 1 tracks" in error_in_process(*command(folder, out))
    assert {path.name for path in tmp_path.iterdir()} == {"music", "out.failures.csv"}


# ---------------------------------------------------------------- changed folders


def test_added_changed_and_removed_files_update_the_feature_file(music, uninterrupted, tmp_path):
    out = tmp_path / "out.h5"
    os.replace(music / "5.wav", tmp_path / "5.wav")
    os.replace(music / "1.wav", tmp_path / "1.wav")
    run_in_process(*command(music, out))
    mark_features(out)

    os.replace(tmp_path / "5.wav", music / "5.wav")  # added after the others
    os.replace(tmp_path / "1.wav", music / "1.wav")  # added between them
    (music / "2.wav").touch()
    lines = run_in_process(*command(music, out)).lines
    assert lines[0] == f"{out}: 2 of {TRACKS} tracks are already complete"
    assert marked(out) == ["0.wav", "4.wav"]
    ours, expected = map(feature_file.read_features, (out, uninterrupted))
    assert list(ours.track_id) == list(expected.track_id)
    new = ["1.wav", "2.wav", "5.wav"]
    np.testing.assert_array_equal(ours.select(new, out), expected.select(new, uninterrupted))

    (music / "0.wav").unlink()
    lines = run_in_process(*command(music, out)).lines
    assert lines[0] == f"{out}: 1 tracks removed, which are no longer in {music}"
    assert marked(out) == ["4.wav"]
    assert list(feature_file.read_features(out).track_id) == ["1.wav", "2.wav", "4.wav", "5.wav"]
    again = run_in_process(*command(music, out))
    assert again.lines[-1].startswith(f"{out}: already complete, 4 tracks; 1 failed")


def test_repaired_file_is_tried_again_and_leaves_the_list_of_failures(music, original, tmp_path):
    out = tmp_path / "out.h5"
    run_in_process(*command(music, out))
    assert Path(tmp_path / "out.failures.csv").exists()
    shutil.copy(original / "0.wav", music / BAD)
    assert run_in_process(*command(music, out)).lines[-1] == f"{out}: mfcc, 6 tracks"
    assert not Path(tmp_path / "out.failures.csv").exists()
    features = feature_file.read_features(out)
    np.testing.assert_array_equal(features.features[3], features.features[0])


def test_stop_while_a_file_is_updated_keeps_the_previous_one(music, uninterrupted, tmp_path):
    out = tmp_path / "out.h5"
    for name in ("4.wav", "5.wav"):
        os.replace(music / name, tmp_path / name)
    run_in_process(*command(music, out))
    before = out.read_bytes()
    for name in ("4.wav", "5.wav"):
        os.replace(tmp_path / name, music / name)
    stop(1, *command(music, out))
    assert out.read_bytes() == before and len(read_journal(out)) == 2
    assert f"4 of {TRACKS} tracks are already complete" in run_in_process(*command(music, out)).out
    assert out.read_bytes() == uninterrupted.read_bytes()


def test_list_of_files_may_grow_but_another_list_is_refused(music, tmp_path):
    out = tmp_path / "out.h5"
    files = [music / f"{number}.wav" for number in range(3)]

    def arguments(*inputs) -> tuple:
        return "extract_features.py", "mfcc", *inputs, "--out", out, "--workers", 1

    run_in_process(*arguments(*files[:2]))
    assert run_in_process(*arguments(*files)).lines[0].startswith(f"{out}: 2 of 3 tracks")
    before = out.read_bytes()
    assert "input.files" in error_in_process(*arguments(*files[1:]))
    assert out.read_bytes() == before


def test_other_folder_settings_or_weights_are_refused(music, tmp_path):
    """A folder none of whose files are in the feature file is taken for another folder."""
    out, other = tmp_path / "out.h5", tmp_path / "other"
    run_in_process(*command(music, out))
    before = out.read_bytes()
    shutil.copytree(music, other)
    for path in other.iterdir():
        os.utime(path)  # files with the same names, but at another time
    (music / "2.wav").touch()
    for arguments, difference in (
        (command(other, out), "input.files"),
        (command(music, out, "--normalise", "peak"), "normalise"),
        (command(music, out, weights="untrained"), "weights.model"),
    ):
        message = error_in_process(*arguments)
        assert f"{out}: already there" in message and difference in message
    assert out.read_bytes() == before


def test_file_of_an_earlier_version_without_stamps_is_refused_if_files_changed(music, tmp_path):
    out = tmp_path / "out.h5"
    run_in_process(*command(music, out))
    with h5py.File(out, "r+") as file:
        del file["stamp"]
    assert "already complete" in run_in_process(*command(music, out)).out
    (music / "0.wav").touch()
    assert "input.files" in error_in_process(*command(music, out))


def test_extract_several_files_names_them_relative_to_their_folder(music, tmp_path):
    (music / "live").mkdir()
    shutil.copy(music / "0.wav", music / "live/0.wav")
    out = tmp_path / "files.h5"
    files = (music / "1.wav", music / "live/0.wav", music / "1.wav")
    result = run_in_process("extract_features.py", "mfcc", *files, "--out", out)
    assert result.lines[-1] == f"{out}: mfcc, 2 tracks"
    assert feature_file.read_features(out).track_id.tolist() == ["1.wav", "live/0.wav"]
    for other in (music / "live", tmp_path / "cache.h5"):
        other.is_dir() or shutil.copy(out, other)
        error = error_in_process("extract_features.py", "mfcc", *files, other, "--out", out)
        assert error == f"error: {other}: is not an audio file; give it as the only input\n"
