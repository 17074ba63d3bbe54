#!/usr/bin/env bash
# mutagen finds no tags in a WAV file whose artist and title stand in a LIST INFO chunk, where ffmpeg
# and most audio editors write them: it reads ID3 chunks in WAV only.
#
# Met with: mutagen 1.47.0, ffmpeg 7.0.2 of imageio-ffmpeg 0.6.0.
# Seen:     tags None, though the file contains INFO IART
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q mutagen==1.47.0 imageio-ffmpeg==0.6.0
cat > find.py <<'PYTHON'
import subprocess

import imageio_ffmpeg
import mutagen

tags = ["-metadata", "artist=Some Artist", "-metadata", "title=Some Title"]
source = ["-f", "lavfi", "-i", "sine=440:d=1"]
ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
subprocess.run([ffmpeg, "-v", "error", *source, *tags, "a.wav"], check=True)
content = open("a.wav", "rb").read()
found = mutagen.File("a.wav").tags
print("mutagen", mutagen.version_string, "tags:", found)
assert b"INFO" in content and b"IART" in content and not found
PYTHON
env/bin/python find.py
