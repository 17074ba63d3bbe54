"""Tests of rendering with sidplayfp, or with programs that stand in for one that misbehaves."""

import os
import shutil
import tempfile

import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from data_prep import mel_cache_writer, sidplayfp, split_csv
from data_prep.audio import load_audio
from data_prep.decoding import AudioError
from data_prep.mel import FrontEnd, log_mel_of_file
from data_prep.mel_cache import MelCache
from tests.conftest import error_in_process, run_in_process
from tests.data_prep.files import in_this_process, tone, wav
from tests.data_prep.tunes import HERTZ, needs_sidplayfp, tune

RATE = 22_050
CACHE, EXTRACT = "data_prep/2_cache_mels.py", "extract_features.py"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.sid"
    path.write_bytes(tune())
    return path


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Return a function that puts a shell script in the place of sidplayfp."""

    def install(script):
        program = tmp_path / "bin" / "sidplayfp"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script.format(folder=tmp_path)}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        (tmp_path / "header").write_bytes(wav(np.zeros(0), sidplayfp.RATE))

    return install


# ---------------------------------------------------------------- sidplayfp itself


@needs_sidplayfp
@pytest.mark.parametrize("start", [1, 2])
def test_default_song_is_rendered_at_its_pitch(path, start):
    path.write_bytes(tune(start=start))
    samples = load_audio(path, 2.0)
    assert len(samples) == 2 * RATE
    spectrum = np.abs(np.fft.rfft(samples[RATE:] * np.hanning(RATE)))  # one second: bins of 1 Hz
    assert abs(int(spectrum.argmax()) - HERTZ[start - 1]) <= 1


@needs_sidplayfp
def test_every_rendering_gives_the_same_bytes(path):
    first, second = (sidplayfp.render(path, 3.2, "natural") for _ in range(2))
    assert first.tobytes() == second.tobytes() and len(first) >= 4 * sidplayfp.RATE


@needs_sidplayfp
@pytest.mark.parametrize(
    ("flags", "natural"), [(0x14, "6581"), (0x24, "8580"), (0x04, "6581"), (0x34, "6581")]
)
def test_chip_is_that_of_the_tune_or_forced(path, flags, natural):
    path.write_bytes(tune(flags=flags))
    samples = {model: sidplayfp.render(path, 1, model).tobytes() for model in sidplayfp.MODELS}
    assert samples["6581"] != samples["8580"] and samples["natural"] == samples[natural]


@needs_sidplayfp
def test_settings_of_the_user_do_not_change_the_sound(path, tmp_path, monkeypatch):
    before = sidplayfp.render(path, 1, "natural")
    settings = tmp_path / "sidplayfp" / "sidplayfp.ini"
    settings.parent.mkdir()
    settings.write_text("[Emulation]\nSidModel = MOS8580\nForceSidModel = true\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HVSC_BASE", str(tmp_path))
    assert np.array_equal(sidplayfp.render(path, 1, "natural"), before)


@needs_sidplayfp
def test_names_that_look_like_options_are_files(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    path.rename("-t0 ü.sid")
    assert len(load_audio("-t0 ü.sid", 1.0)) == RATE


@needs_sidplayfp
def test_cache_counts_tunes_that_cannot_be_rendered(path, tmp_path, monkeypatch):
    monkeypatch.setattr(mel_cache_writer, "ordered_map", in_this_process)
    (tmp_path / "b.sid").write_bytes(tune(offset=9999))
    (tmp_path / "c.wav").write_bytes(wav(tone(4.0)))
    names = ["a.sid", "b.sid", "c.wav"]
    table = pd.DataFrame({"track_id": names, "path": names, "artist": "x", "subset": "train"})
    split, out = tmp_path / "split.csv", tmp_path / "natural.h5"
    split_csv.write_split(table, split, {"inputs": {}})
    command = CACHE, split, "--audio", tmp_path, "--out"
    assert "2 tracks; 1 failed, see" in run_in_process(*command, out).out
    natural = MelCache(out)
    assert natural["a.sid"].shape == (1291, 128)
    assert "its music data start at byte 9999" in natural.failed["b.sid"]
    assert "sid_model" not in natural.made_from["inputs"]["front_end"]  # as in older caches
    assert "already complete" in run_in_process(*command, out).out
    refusal = error_in_process(*command, out, "--sid-model", "8580")
    assert 'front_end.sid_model: null -> "8580"' in refusal
    forced = tmp_path / "forced.h5"
    run_in_process(*command, forced, "--sid-model", "8580")
    cache = MelCache(forced)
    assert cache.made_from["inputs"]["front_end"]["sid_model"] == "8580"
    assert not np.array_equal(cache["a.sid"], natural["a.sid"])
    assert np.array_equal(cache["c.wav"], natural["c.wav"])
    cache.require_front_end(FrontEnd())


def test_forced_chip_is_refused_for_a_cache(tmp_path):
    (tmp_path / "a.h5").touch()
    command = EXTRACT, "mfcc", tmp_path / "a.h5", "--out", tmp_path / "b.h5", "--sid-model", "6581"
    assert "--sid-model: a cache is fixed" in run_in_process(*command, status=2).err


# ---------------------------------------------------------------- what goes wrong


def test_missing_sidplayfp_is_the_reason(path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(AudioError, match="needs sidplayfp for its format; install sidplayfp, or"):
        load_audio(path, 1.0)


def test_tunes_have_no_end(path, stand_in):
    stand_in("exit 1")
    with pytest.raises(AudioError, match="is a tune without an end; leave out --whole-tracks"):
        log_mel_of_file(path, FrontEnd(max_frames=None))


def test_damaged_tunes_are_not_passed_to_sidplayfp(path, stand_in):
    stand_in("touch {folder}/started; exit 1")
    path.write_bytes(tune(songs=0))
    with pytest.raises(AudioError, match="is damaged: it declares 0 songs"):
        load_audio(path, 1.0)
    assert not (path.parent / "started").exists()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Option Error: --delay=0' >&2; echo help >&2; exit 1", "Option Error: --delay=0"),
        ("exit 3", "sidplayfp: without a message"),
        ("echo no WAV", "sidplayfp: without a message"),
        ("cat {folder}/header; exit 1", "sidplayfp: without a message"),
        ("cat {folder}/header", "is rendered to 0.0 of 2 s"),
        ("cat {folder}/header; head -c 88201 /dev/zero", "is rendered to 1.0 of 2 s"),
        ("cat {folder}/header; exec cat /dev/zero", "makes sidplayfp write more than 2 s"),
        ("kill -9 $$", "sidplayfp: without a message"),
    ],
)
def test_rendering_that_fails_is_the_reason(path, stand_in, script, reason):
    """Test stand-ins for another version, and for renderings that stop early or never."""
    stand_in(script)
    with pytest.raises(AudioError, match=reason) as caught:
        load_audio(path, 2.0)
    assert caught.value.reason.endswith("; leave it out") and "\n" not in caught.value.reason


def test_rendering_that_takes_too_long_is_ended(path, stand_in, tmp_path, monkeypatch):
    stand_in("echo $$ > {folder}/pid; cat {folder}/header; exec sleep 60")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(sidplayfp, "_TIMEOUT", 0.5)
    with pytest.raises(AudioError, match=r"is not rendered within 0 s; leave it out"):
        load_audio(path, 2.0)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert not list((tmp_path / "temporary").iterdir())


def test_unknown_chip_is_rejected():
    with pytest.raises(InputError, match="sid_model: '6582' is unknown; use natural or 6581 or"):
        FrontEnd.of(False, sid_model="6582")
