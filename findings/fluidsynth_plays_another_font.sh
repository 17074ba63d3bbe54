#!/usr/bin/env bash
# FluidSynth plays the default sound font where the named one does not exist, and succeeds: a mistyped path
# yields music with other instruments, and exit status 0. So does a font that it cannot read.
#
# Met with: fluidsynth 2.3.1 (Debian 12), x86-64, on a system with its libraries (apt install fluidsynth).
# Seen:     the same bytes from a missing font as from the default one, exit status 0, and on standard
#           error: Parameter 'Steinway.sf2' not a SoundFont or MIDI file or error occurred identifying it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root \
    fluidsynth=2.3.1-2 libfluidsynth3=2.3.1-2 timgm6mb-soundfont=1.3-5
for package in *.deb; do
    dpkg-deb -x "$package" unpacked
done
default=unpacked/usr/share/sounds/sf2/TimGM6mb.sf2
# One note of a second on middle C.
printf 'MThd\0\0\0\6\0\0\0\1\0\140MTrk\0\0\0\15\0\220\74\144\201\100\200\74\100\0\377\57\0' >note.mid

render() { # FONT OUTPUT
    LD_LIBRARY_PATH="$folder/unpacked/usr/lib/x86_64-linux-gnu" HOME="$folder" unpacked/usr/bin/fluidsynth -niq \
        -o "synth.default-soundfont=$default" -r 44100 -T raw -F "$2" "$1" note.mid 2>"$2.err"
}
render "$default" default.raw
render Steinway.sf2 missing.raw
echo "exit status 0; $(stat -c %s missing.raw) bytes"
cat missing.raw.err
cmp default.raw missing.raw
test "$(tr -d '\0' <missing.raw | wc -c)" -gt 10000 # not silence
grep -q "'Steinway.sf2' not a SoundFont" missing.raw.err
