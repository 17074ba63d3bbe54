#!/usr/bin/env bash
# pretty_midi scales what it renders to a peak of 1, so a very soft piece comes out as loud as a very
# loud one. Embeddings that depend on the level then compare levels that nobody played.
#
# Met with: pretty_midi 0.2.11.post0, pyfluidsynth 1.4.0, FluidSynth 2.3.1 of Debian 12
#           (libfluidsynth3), with the sound font of pretty_midi.
# Seen:     velocities of 10 and of 127 both have a peak of 1.000, by fluidsynth and by synthesize,
#           and their root mean squares differ by less than 10 %; FluidSynth itself renders them more
#           than 20 dB apart
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q pretty_midi==0.2.11.post0 pyfluidsynth==1.4.0 'setuptools<80' 'numpy<2.5'
cat > find.py <<'PYTHON'
from pathlib import Path

import fluidsynth
import numpy as np
import pretty_midi


def piece(velocity):
    notes = [pretty_midi.Note(velocity, 60 + k, k / 2, k / 2 + 0.4) for k in range(4)]
    midi, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(program=0)
    piano.notes += notes
    midi.instruments.append(piano)
    return midi


def level(velocity):
    """Return the root mean square of one chord by FluidSynth alone."""
    synth = fluidsynth.Synth(samplerate=22050)
    font = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"
    synth.program_select(0, synth.sfload(str(font)), 0, 0)
    for key in (60, 64, 67):
        synth.noteon(0, key, velocity)
    return np.std(synth.get_samples(22050).astype(float))


soft, loud = (piece(velocity).fluidsynth(22050) for velocity in (10, 127))
peaks = [float(np.abs(piece(velocity).synthesize(22050)).max()) for velocity in (10, 127)]
decibels = 20 * np.log10(level(127) / level(10))
print(f"pretty_midi {pretty_midi.__version__}")
print(f"peaks {np.abs(soft).max():.3f} and {np.abs(loud).max():.3f}, by synthesize {peaks}")
print(f"rms {soft.std():.3f} and {loud.std():.3f}; FluidSynth alone: {decibels:.0f} dB apart")
assert np.abs(soft).max() == np.abs(loud).max() == 1.0 and peaks == [1.0, 1.0]
assert abs(soft.std() / loud.std() - 1) < 0.1 and decibels > 20
PYTHON
env/bin/python -W ignore find.py
