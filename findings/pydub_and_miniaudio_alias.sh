#!/usr/bin/env bash
# When they lower the sample rate, pydub does not remove what the new rate cannot hold, and miniaudio does
# not remove enough. What is above 11,025 Hz, such as cymbals, is mirrored into the band below. pydub's
# set_frame_rate interpolates linearly between samples, so from 44,100 to 22,050 Hz it keeps every other
# sample: a tone of 15 kHz becomes one of 7,050 Hz at the same level. miniaudio interpolates too, after a
# low-pass filter of the fourth order, which leaves the tone at -21 dB and one of 12 kHz at -6 dB. soxr,
# with which librosa resamples, leaves only the rounding to 16 bits.
#
# Met with: pydub 0.25.1 (with audioop of Python 3.11), miniaudio 1.61, soxr 0.5.0.post1, numpy 2.2.6.
# Seen:     12 kHz: pydub 0.0, miniaudio -6.1, soxr -95.2 dB
#           15 kHz: pydub 0.0, miniaudio -20.9, soxr -96.3 dB
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q pydub==0.25.1 miniaudio==1.61 soxr==0.5.0.post1 numpy==2.2.6 \
    'audioop-lts==0.2.1; python_version >= "3.13"'
cat > find.py <<'PYTHON'
import miniaudio
import numpy as np
import soxr
from pydub import AudioSegment

RATE, NEW_RATE, AMPLITUDE = 44_100, 22_050, 16_384
levels = {}
for frequency in (12_000, 15_000):
    tone = AMPLITUDE * np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE)
    pcm = np.round(tone).astype("<i2")
    segment = AudioSegment(pcm.tobytes(), frame_rate=RATE, sample_width=2, channels=1)
    segment.export("tone.wav", format="wav")
    float32 = {"output_format": miniaudio.SampleFormat.FLOAT32, "nchannels": 1}
    decoded = miniaudio.decode_file("tone.wav", sample_rate=NEW_RATE, **float32)
    copies = {
        "pydub": np.array(segment.set_frame_rate(NEW_RATE).get_array_of_samples()),
        "miniaudio": np.array(decoded.samples) * 32_768,
        "soxr": soxr.resample(pcm / 1.0, RATE, NEW_RATE),
    }
    for name, copy in copies.items():
        power = np.mean(copy[2000:-2000] ** 2.0) / (AMPLITUDE**2 / 2)
        levels[name, frequency] = 10 * np.log10(power + 1e-20)
        print(frequency, "Hz", name, f"{levels[name, frequency]:.1f} dB")
    spectrum = np.abs(np.fft.rfft(copies["pydub"]))
    assert np.argmax(spectrum) * NEW_RATE / len(copies["pydub"]) == NEW_RATE - frequency

for frequency, left in ((12_000, -6.1), (15_000, -20.9)):
    assert abs(levels["pydub", frequency]) < 0.1
    assert abs(levels["miniaudio", frequency] - left) < 0.5
    assert levels["soxr", frequency] < -90
PYTHON
env/bin/python find.py
