#!/usr/bin/env bash
# libsndfile takes the length of an MP3 file without an Info header from the bit rate of its first
# frames, and stops there: of 17 s with a variable bit rate, half is read, without an error.
# Through a pipe, which has no length, the same library decodes the same bytes to the end.
#
# Met with: soundfile 0.13.1 (libsndfile 1.2.2), ffmpeg of imageio-ffmpeg 0.6.0, Linux x86-64.
# Seen:     declared and read 9.17 s; through a pipe 17.03 s
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q soundfile==0.13.1 imageio-ffmpeg==0.6.0 numpy==2.2.6
cat > find.py <<'PYTHON'
import os
import subprocess
import threading

import imageio_ffmpeg
import numpy as np
import soundfile

rate = 44_100
time = np.arange(17 * rate) / rate
# Quiet at the end and full of overtones at the start, so that the first frames are large.
tones = sum(np.sin(2 * np.pi * hertz * time) for hertz in range(200, 15_000, 400)) / 50
samples = tones * np.where(time < 3, 1.0, 0.002)
soundfile.write("a.wav", samples, rate)
ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
subprocess.run(
    [ffmpeg, "-v", "error", "-i", "a.wav", "-q:a", "3", "-write_xing", "0", "a.mp3"], check=True
)

with soundfile.SoundFile("a.mp3") as file:
    declared = file.frames / rate
    read = len(file.read()) / rate

reading, writing = os.pipe()


def write():
    with open(writing, "wb") as pipe:
        pipe.write(open("a.mp3", "rb").read())


threading.Thread(target=write).start()
with soundfile.SoundFile(reading) as file:
    through_pipe = 0
    while len(block := file.read(100_000)):
        through_pipe += len(block) / rate

print("soundfile", soundfile.__version__, soundfile.__libsndfile_version__)
print(f"declared {declared:.2f} s, read {read:.2f} s; through a pipe {through_pipe:.2f} s")
assert read < 0.9 * 17 and abs(through_pipe - 17) < 0.1
PYTHON
env/bin/python find.py
