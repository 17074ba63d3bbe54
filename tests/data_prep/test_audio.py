"""Tests of audio decoding and of the reasons given for unusable files."""

import os
import pickle
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from common.errors import InputError
from data_prep import audio, decoding
from data_prep.audio import SAMPLE_RATE, AudioError
from tests.conftest import ROOT
from tests.data_prep.files import au, clip, tone, wav, write_bad

CASES = [
    (suffix, rate, channels)
    for suffix in ("wav", "au", "flac", "ogg", "mp3")
    for rate in (8_000, 22_050, 44_100, 192_000)
    for channels in (1, 2, 8)
    if suffix != "mp3" or (rate <= 48_000 and channels < 3)
]


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def scale_channels(mono, channels):
    """Return channels with different levels that average to `mono`."""
    levels = np.linspace(0.2, 1.0, channels) if channels > 1 else np.ones(1)
    return mono[:, None] * (levels / levels.mean()).astype(np.float32)


@pytest.mark.parametrize(("suffix", "rate", "channels"), CASES)
def test_load_audio_reads_a_tone_in_every_format(tmp_path, suffix, rate, channels):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, scale_channels(tone(1.5, rate, 1000.0, 0.4), channels), rate)
    samples = audio.load_audio(path)
    assert samples.dtype == np.float32 and samples.ndim == 1
    # A lossy codec may add up to two codec frames.
    assert 0 <= len(samples) - 1.5 * SAMPLE_RATE <= (6000 if suffix == "mp3" else 1)
    middle = samples[SAMPLE_RATE // 4 : SAMPLE_RATE // 4 + 22_050 * 4 // 5]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * SAMPLE_RATE / len(middle) == pytest.approx(1000, abs=1.5)
    # The authors' resampler gains 0.4 % at 96 kHz and 1.2 % at 192 kHz.
    tolerance = {"ogg": 0.05, "mp3": 0.1}.get(suffix, 0.015 if rate > 48_000 else 0.002)
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.4, rel=tolerance)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_load_audio_preserves_the_level_in_every_sample_format(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", tone(1.0), SAMPLE_RATE, subtype=subtype)
    assert audio.load_audio(tmp_path / "a.wav") == pytest.approx(tone(1.0), abs=0.01)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_load_audio_does_not_depend_on_the_block_size(tmp_path, monkeypatch, channels):
    music = scale_channels(clip(4.0), channels)
    soundfile.write(tmp_path / "a.wav", music, SAMPLE_RATE, subtype="FLOAT")
    whole = audio.load_audio(tmp_path / "a.wav")
    assert whole == pytest.approx(music.mean(axis=1), abs=1e-6)
    monkeypatch.setattr(decoding, "_BLOCK", 1000)
    assert np.array_equal(audio.load_audio(tmp_path / "a.wav"), whole)


def test_load_audio_reads_only_the_requested_seconds(tmp_path):
    music = clip(4.0)
    soundfile.write(tmp_path / "a.wav", music, SAMPLE_RATE, subtype="FLOAT")
    assert np.array_equal(
        audio.load_audio(tmp_path / "a.wav", 1.5), music[: int(1.5 * SAMPLE_RATE)]
    )
    assert len(audio.load_audio(tmp_path / "a.wav", 9.0)) == len(music)
    # The end of the file may be missing if only its beginning is read.
    (tmp_path / "cut.wav").write_bytes(wav(music)[: len(music)])
    assert len(audio.load_audio(tmp_path / "cut.wav", 1.5)) == int(1.5 * SAMPLE_RATE)


@pytest.mark.parametrize("name", ["a 'b' \"c\" $(d).wav", "日本 ñ.wav", "two\nlines.wav", "-i.wav"])
def test_load_audio_accepts_any_file_name(tmp_path, name):
    (tmp_path / name).write_bytes(wav(tone(1.0)))
    assert len(audio.load_audio(tmp_path / name)) == SAMPLE_RATE
    with pytest.raises(AudioError):
        audio.load_audio(tmp_path / f"no {name}")


def test_load_audio_gives_a_reason_for_every_bad_file(tmp_path):
    reasons = {}
    expected = write_bad(tmp_path / "bad")
    for name in expected:
        try:
            audio.load_audio(tmp_path / "bad" / name)
            reasons[name] = ""
        except AudioError as error:
            reasons[name] = error.reason
            assert str(error) == f"{tmp_path / 'bad' / name}: {error.reason}"
            assert "\n" not in error.reason
    long_enough = {name for name, why in expected.items() if "one segment" in why}
    assert {name for name, reason in reasons.items() if not reason} == long_enough
    for name in expected.keys() - long_enough:
        assert expected[name] in reasons[name], name


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_rejects_unreadable_files_and_folders(tmp_path):
    touch(tmp_path, "a.wav", "locked/b.wav")
    (tmp_path / "a.wav").chmod(0)
    with pytest.raises(AudioError, match="Permission denied"):
        audio.load_audio(tmp_path / "a.wav")
    (tmp_path / "locked").chmod(0)
    with pytest.raises(PermissionError):
        audio.list_audio_files(tmp_path)
    (tmp_path / "locked").chmod(0o700)


@pytest.mark.parametrize(
    ("make", "declared"),
    [(wav, 0xFFFFFFFF), (wav, 0x7FFFFFFF), (wav, 0x7FFFF000), (au, 0xFFFFFFFF), (au, 0x7FFFF000)],
)
def test_load_audio_accepts_streams_of_unknown_size(tmp_path, make, declared):
    """Test the maximum sizes that ffmpeg and sox declare if they cannot rewrite the header."""
    (tmp_path / "a.x").write_bytes(make(tone(1.0), declared=declared))
    assert audio.load_audio(tmp_path / "a.x") == pytest.approx(tone(1.0), abs=1e-4)


def test_load_audio_accepts_slightly_truncated_files(tmp_path):
    music = tone(2.0)
    (tmp_path / "a.wav").write_bytes(wav(music)[:-100])
    assert len(audio.load_audio(tmp_path / "a.wav")) == len(music) - 50


def test_load_audio_does_not_allocate_declared_sizes(tmp_path):
    """Test that a FLAC header declaring hours of audio needs no more memory than 10 minutes."""
    soundfile.write(tmp_path / "a.flac", clip(4.0), SAMPLE_RATE)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    # STREAMINFO stores the sample count in the low 36 bits of the file's bytes 18 to 25.
    content[21] |= 0x0F
    content[22:26] = b"\xff\xff\xff\xff"
    (tmp_path / "a.flac").write_bytes(content)
    with soundfile.SoundFile(tmp_path / "a.flac") as file:
        assert file.frames == 2**36 - 1
    program = (
        "import sys, resource; from data_prep import audio\n"
        "resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)\n"
        "try: audio.load_audio(sys.argv[1])\n"
        "except audio.AudioError as error: print(error.reason)\n"
    )
    now = "import resource; from data_prep import audio; print(open('/proc/self/statm').read())"
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("the size of a process is read from /proc")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def output(*words):
        made = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)
        assert not made.stderr
        return made.stdout

    pages = int(output(sys.executable, "-c", now).split()[0])
    limit = pages * resource.getpagesize() + 10 * 60 * SAMPLE_RATE * 4
    reason = output(sys.executable, "-c", program, tmp_path / "a.flac", str(limit))
    assert "truncated" in reason


def test_audio_error_can_be_pickled():
    error = pickle.loads(pickle.dumps(AudioError("a.wav", "is silent")))
    assert (error.path, error.reason, str(error)) == ("a.wav", "is silent", "a.wav: is silent")


def test_load_audio_decodes_m4a_with_ffmpeg(tmp_path):
    path = tmp_path / "a.m4a"
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(1000))
        with pytest.raises(
            AudioError, match="needs ffmpeg for its format; install ffmpeg, or convert"
        ):
            audio.load_audio(path)
        return
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(1000))
    with pytest.raises(AudioError, match="is damaged or truncated: it has no index"):
        audio.load_audio(path)
    path.unlink()
    (tmp_path / "a.wav").write_bytes(wav(tone(2.0)))
    subprocess.run([ffmpeg, "-v", "error", "-i", tmp_path / "a.wav", path], check=True)
    samples = audio.load_audio(path)
    assert np.sqrt(2 * np.mean(samples[4000:20_000] ** 2)) == pytest.approx(0.5, rel=0.05)


def test_load_audio_does_not_pass_playlists_to_ffmpeg(tmp_path):
    """Test that playlists are rejected, as they may refer to other files or to the network."""
    for name in ("list.m3u8", "list.wav", "list"):
        (tmp_path / name).write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n")
        with pytest.raises(AudioError, match="is not in an audio format that this package reads"):
            audio.load_audio(tmp_path / name)


def test_list_audio_files_returns_sorted_paths(tmp_path):
    good = [
        "B.WAV",
        "a/b/c.mp3",
        "a/ü 日.flac",
        "a/x.m4a",
        "z.au",
        "z.ogg",
        "z.opus",
        "z.sid",
        "z.tar.aif",
    ]
    touch(tmp_path, *good, "notes.txt", "a/cover.jpg", "wav", ".hidden.wav", ".git/x.wav", "a.raw")
    (tmp_path / "a" / "circle").symlink_to(tmp_path)
    assert audio.list_audio_files(tmp_path) == sorted(good)
    assert audio.list_audio_files(str(tmp_path / "a")) == ["b/c.mp3", "x.m4a", "ü 日.flac"]


def test_list_audio_files_rejects_folders_without_audio(tmp_path):
    touch(tmp_path, "notes.txt")
    with pytest.raises(InputError, match=r"contains no audio files \(.*\.flac.*\.wav"):
        audio.list_audio_files(tmp_path)
    with pytest.raises(InputError, match=r"notes.txt: no such folder"):
        audio.list_audio_files(tmp_path / "notes.txt")


def test_list_audio_files_rejects_names_that_are_not_utf8(tmp_path):
    touch(tmp_path, "good.wav")
    try:
        with open(os.fsencode(tmp_path) + b"/caf\xe9.wav", "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(InputError, match=r"'caf\\udce9.wav' is not UTF-8; rename it"):
        audio.list_audio_files(tmp_path)


def test_digest_files_depends_on_names_sizes_and_times(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    before = audio.digest_files(tmp_path, ["a.wav", "b.wav"])
    assert audio.digest_files(tmp_path, ["a.wav", "b.wav"]) == before
    assert audio.digest_files(tmp_path, ["a.wav"]) != before
    os.utime(tmp_path / "a.wav", ns=(1, 1))
    changed = audio.digest_files(tmp_path, ["a.wav", "b.wav"])
    assert changed != before
    (tmp_path / "a.wav").unlink()
    assert audio.digest_files(tmp_path, ["a.wav", "b.wav"]) not in (before, changed)
