#!/usr/bin/env bash
# By default, sidplayfp renders C64 tunes without their treble, and the more so the higher the sample rate:
# at 44.1 kHz, it attenuates 10.6 kHz by 9 dB and 14 kHz by more than 30 dB, and at 96 kHz, hardly anything
# above 5 kHz is left. The cause is the resampling of its default emulation. With another emulation,
# --resid, or another resampling, -ri, the treble remains.
#
# Met with: sidplayfp 2.4.0 (libsidplayfp 2.4.2) of Debian 12, x86-64, on a system with its libraries
#           libasound2, libgcrypt20 and libpulse0.
# Seen:     levels of a sawtooth's harmonics at 5.9, 10.6 and 14.1 kHz, without the slope of a sawtooth:
#           44,100 Hz: 0.1, -9.2, -34.3 dB; 96,000 Hz: -33.3, -78.3, -73.3 dB
#           44,100 Hz --resid: -0.6, -1.7, -2.2 dB; 44,100 Hz -ri: -0.7, -2.0, -2.7 dB
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root sidplayfp=2.4.0-1 libsidplayfp6=2.4.2-1
for package in *.deb; do
    dpkg-deb -x "$package" root
done
python3 -m venv env
env/bin/pip install -q numpy==2.2.6
cat > find.py <<'PYTHON'
import os
import struct
import subprocess
import wave

import numpy as np

# A program that sets volume, sustain, pitch and a sawtooth of one voice, and one that does nothing.
NUMBER, CLOCK = 20_000, 985_248  # the register's value, and the clock of a European C64 in Hz
registers = {24: 15, 6: 0xF0, 0: NUMBER & 255, 1: NUMBER >> 8, 4: 0x21}
program = b"".join(bytes([0xA9, v, 0x8D, n, 0xD4]) for n, v in registers.items()) + b"\x60\x60"
numbers = struct.pack(">7HI", 2, 0x7C, 0x1000, 0x1000, 0x1000 + len(program) - 1, 1, 1, 0)
with open("a.sid", "wb") as file:
    file.write(b"PSID" + numbers + bytes(96) + struct.pack(">HI", 0x14, 0) + program)

folder = os.path.abspath("root/usr/lib/x86_64-linux-gnu")
environment = os.environ | {"LD_LIBRARY_PATH": folder, "HOME": os.path.abspath(".")}


def harmonics(rate, *options):
    """Return the levels of harmonics 5, 9 and 12 in dB, relative to those of a sawtooth."""
    command = ["root/usr/bin/sidplayfp", "-q2", "-t4", "-m", "--delay=0", f"-f{rate}", *options]
    run = {"stdin": subprocess.DEVNULL, "capture_output": True, "check": True}
    subprocess.run([*command, "-wa.wav", "a.sid"], env=environment, timeout=60, **run)
    with wave.open("a.wav") as file:
        assert (file.getframerate(), file.getnchannels()) == (rate, 1)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")[rate : 3 * rate]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    peaks = {}
    for number in (1, 5, 9, 12):
        centre = round(2 * number * NUMBER * CLOCK / 2**24)  # a bin is 0.5 Hz wide
        peaks[number] = number * spectrum[centre - 3 : centre + 4].max()
    levels = [20 * np.log10(peaks[number] / peaks[1]) for number in (5, 9, 12)]
    print(rate, "Hz", *options, " ".join(f"{level:.1f}" for level in levels))
    return levels


default, higher = harmonics(44_100), harmonics(96_000)
others = [harmonics(44_100, option) for option in ("--resid", "-ri")]
assert default[0] > -1 and default[1] < -8 and default[2] < -30
assert max(higher) < -30
assert all(min(levels) > -4 for levels in others)
PYTHON
env/bin/python find.py
