"""Tests of rendering MIDI files with FluidSynth."""

import numpy as np
import pytest

from common.errors import InputError
from data_prep import fluidsynth
from data_prep.rendering import RenderingError
from tests.data_prep.midi import FONT, midi, needs_fluidsynth

A4, A5 = 69, 81  # 440 and 880 Hz
RATE = fluidsynth.RATE


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "-t ü.mid"  # a name that looks like an option
    path.write_bytes(midi(A4, A5, program=24))
    return path


@needs_fluidsynth
def test_notes_are_rendered_at_their_pitch(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    waveform = fluidsynth.render(path.name, FONT, 2.0)
    assert waveform.shape == (2 * RATE,) and waveform.dtype == np.float32
    for second, hertz in enumerate((440, 880)):
        part = waveform[second * RATE : (second + 1) * RATE]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(RATE)))
        assert abs(int(spectrum.argmax()) - hertz) <= 3


@needs_fluidsynth
def test_instruments_are_a_piano_unless_wanted(path):
    guitar = [fluidsynth.render(path, FONT, 1.0, instruments=wanted) for wanted in (False, True)]
    path.write_bytes(midi(A4, A5))
    piano = [fluidsynth.render(path, FONT, 1.0, instruments=wanted) for wanted in (False, True)]
    assert np.array_equal(guitar[0], piano[0]) and np.array_equal(piano[0], piano[1])
    assert not np.array_equal(guitar[0], guitar[1])


@needs_fluidsynth
@pytest.mark.parametrize("channel", [8, 10])
def test_channels_beside_the_drums_are_a_piano(channel, path):
    piano = fluidsynth.render(path, FONT, 1.0)
    path.write_bytes(midi(A4, A5, program=24, channel=channel))
    assert np.array_equal(fluidsynth.render(path, FONT, 1.0), piano)


@needs_fluidsynth
def test_commands_of_the_user_do_not_change_the_sound(path, tmp_path, monkeypatch):
    before = fluidsynth.render(path, FONT, 1.0)
    (tmp_path / ".fluidsynth").write_text("gain 5\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert np.array_equal(fluidsynth.render(path, FONT, 1.0), before)


@needs_fluidsynth
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "error"),
        (b"hello", "error"),
        (midi(A4)[:20], "silent for the first 0 s"),
        (midi(A4, start=3), "silent for the first 2 s"),
        (midi(A4, channel=9), "silent for the first"),  # drums, which no piano can play
    ],
)
def test_file_that_is_not_rendered_is_an_error(path, content, reason):
    path.write_bytes(content)
    with pytest.raises(
        RenderingError, match=f"cannot be rendered .fluidsynth: .*{reason}"
    ) as caught:
        fluidsynth.render(path, FONT, 2.0)
    assert str(caught.value).endswith("; leave it out")


@needs_fluidsynth
@pytest.mark.parametrize("size", [100, 200_000])
def test_damaged_font_is_not_replaced_by_the_default_one(size, path, tmp_path):
    font = tmp_path / "damaged.sf2"
    with open(FONT, "rb") as file:
        font.write_bytes(file.read(size))
    with pytest.raises(InputError, match=r"damaged\.sf2: cannot be read .* replace it"):
        fluidsynth.render(path, font, 1.0)
