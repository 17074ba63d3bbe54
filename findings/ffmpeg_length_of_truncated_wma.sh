#!/usr/bin/env bash
# ffmpeg states the length of a truncated WMA file as if it were whole: it reports what is there, not
# what the file's header declares. Who compares what was decoded with ffmpeg's duration, as one does
# for m4a and webm, takes half a download for a whole track. mutagen reads the declared length.
#
# Met with: ffmpeg 7.0.2 of imageio-ffmpeg 0.6.0, mutagen 1.47.0, Linux x86-64.
# Seen:     first half of 17 s of WMA: ffmpeg 9.2 s, mutagen 17.0 s; of m4a: ffmpeg 17.0 s
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q imageio-ffmpeg==0.6.0 mutagen==1.47.0
cat > find.py <<'PYTHON'
import re
import subprocess

import imageio_ffmpeg
import mutagen

ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()


def duration(path):
    text = subprocess.run([ffmpeg, "-i", path], capture_output=True, text=True).stderr
    hours, minutes, seconds = re.search(r"Duration: (\d+):(\d+):([\d.]+)", text).groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


for suffix, options in (("wma", []), ("m4a", ["-movflags", "+faststart"])):
    source = ["-f", "lavfi", "-i", "anoisesrc=d=17:r=44100:a=0.3:s=1"]
    subprocess.run([ffmpeg, "-v", "error", *source, *options, f"a.{suffix}"], check=True)
    content = open(f"a.{suffix}", "rb").read()
    open(f"half.{suffix}", "wb").write(content[: len(content) // 2])

print(imageio_ffmpeg.get_ffmpeg_version(), "mutagen", mutagen.version_string)
wma, m4a = duration("half.wma"), duration("half.m4a")
declared = mutagen.File("half.wma").info.length
print(f"half of 17 s: wma {wma:.1f} s, declared {declared:.1f} s; m4a {m4a:.1f} s")
assert wma < 11 and 16.5 < declared < 17.5 and 16.5 < m4a < 17.5
PYTHON
env/bin/python find.py
