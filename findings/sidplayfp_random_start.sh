#!/usr/bin/env bash
# sidplayfp renders one tune to a different WAV file each time: it starts each tune after a random
# delay, as if a C64 had been switched on a while ago. The option --delay, which only --help-debug
# lists, fixes the delay; with --delay=0, all files are the same.
#
# Met with: sidplayfp 2.4.0 (libsidplayfp 2.4.2) of Debian 12, x86-64, on a system with its libraries
#           libasound2, libgcrypt20 and libpulse0.
# Seen:     8 renderings: 6 different files (this number varies); with --delay=0: 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root sidplayfp=2.4.0-1 libsidplayfp6=2.4.2-1
for package in *.deb; do
    dpkg-deb -x "$package" root
done
cat > find.py <<'PYTHON'
import os
import struct
import subprocess

# A program that sets volume, sustain, pitch and waveform of one voice, and one that does nothing.
registers = {24: 15, 6: 0xF0, 1: 0x1D, 4: 0x11}
program = b"".join(bytes([0xA9, v, 0x8D, n, 0xD4]) for n, v in registers.items()) + b"\x60\x60"
numbers = struct.pack(">7HI", 2, 0x7C, 0x1000, 0x1000, 0x1000 + len(program) - 1, 1, 1, 0)
with open("a.sid", "wb") as file:
    file.write(b"PSID" + numbers + bytes(96) + struct.pack(">HI", 0x14, 0) + program)

folder = os.path.abspath("root/usr/lib/x86_64-linux-gnu")
environment = os.environ | {"LD_LIBRARY_PATH": folder, "HOME": os.path.abspath(".")}


def render(*options):
    command = ["root/usr/bin/sidplayfp", "-q2", "-t2", "-wa.wav", *options, "a.sid"]
    run = {"stdin": subprocess.DEVNULL, "capture_output": True, "check": True}
    subprocess.run(command, env=environment, timeout=60, **run)
    with open("a.wav", "rb") as file:
        return file.read()


by_default = {render() for _ in range(8)}
without_delay = {render("--delay=0") for _ in range(8)}
print(f"8 renderings: {len(by_default)} different files; with --delay=0: {len(without_delay)}")
assert len(by_default) > 1 and len(without_delay) == 1
assert len({len(content) for content in by_default}) == 1
PYTHON
python3 find.py
