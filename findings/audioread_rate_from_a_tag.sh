#!/usr/bin/env bash
# audioread, through which librosa reads m4a, finds the sample rate by searching what ffmpeg prints, and
# takes it from the first line that looks like one: a description tag. A track with such a tag is
# loaded at a wrong rate, that is at a wrong pitch and length, without an error.
#
# Met with: librosa 0.11.0, audioread 3.1.0, ffmpeg 7.0.2 of imageio-ffmpeg 0.6.0, Linux x86-64.
# Seen:     rate 96000 Hz instead of 44100 Hz
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q librosa==0.11.0 audioread==3.1.0 imageio-ffmpeg==0.6.0 numpy==2.2.6
cat > find.py <<'PYTHON'
import os
import subprocess
import warnings
from importlib.metadata import version

import imageio_ffmpeg
import librosa

os.symlink(imageio_ffmpeg.get_ffmpeg_exe(), "ffmpeg")
os.environ["PATH"] = os.getcwd() + os.pathsep + os.environ["PATH"]
tag = "comment=Transferred from tape, audio: 96000 Hz, stereo, then reduced"
source = ["-f", "lavfi", "-i", "sine=440:d=4:r=44100"]
subprocess.run(["ffmpeg", "-v", "error", *source, "-metadata", tag, "a.m4a"], check=True)
warnings.simplefilter("ignore")
samples, rate = librosa.load("a.m4a", sr=None)
print("librosa", librosa.__version__, "audioread", version("audioread"))
print(f"{len(samples) / rate:.2f} s at {rate} Hz, encoded as 4 s at 44100 Hz")
assert rate == 96_000
PYTHON
env/bin/python find.py 2>&1 | tail -2
