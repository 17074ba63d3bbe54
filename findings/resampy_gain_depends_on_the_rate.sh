#!/usr/bin/env bash
# resampy changes the level of audio at some sample rates. It steps through its tabulated filter in
# whole entries, so that a ratio such as 22,050 / 48,000 shortens the filter but not its scale. From 44.1,
# 88.2 and 176.4 kHz the gain is 1, but with `kaiser_fast`, 96 kHz audio becomes 0.4 % louder and 192 kHz
# audio 1.2 %; with `kaiser_best`, 0.03 % and 0.08 %. The same recording at two rates differs in level.
#
# Met with: resampy 0.4.3, numpy 2.2.6, numba 0.61.2.
# Seen:     gains at 44.1, 96 and 192 kHz: kaiser_fast 1.0000, 1.0041, 1.0124; kaiser_best 1.0000, 1.0003,
#           1.0008
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q resampy==0.4.3 numpy==2.2.6 numba==0.61.2
cat > find.py <<'PYTHON'
import numpy as np
import resampy

gains = {}
for name in ("kaiser_fast", "kaiser_best"):
    for rate in (44_100, 96_000, 192_000):
        tone = np.sin(2 * np.pi * 441 * np.arange(rate) / rate)
        resampled = resampy.resample(tone, rate, 22_050, filter=name)[2000:-2000]
        gains[name, rate] = np.sqrt(2 * np.mean(resampled**2))
        print(name, rate, f"{gains[name, rate]:.4f}")
for rate, fast, best in ((44_100, 1, 1), (96_000, 1.0041, 1.0003), (192_000, 1.0124, 1.0008)):
    assert abs(gains["kaiser_fast", rate] - fast) < 1e-4
    assert abs(gains["kaiser_best", rate] - best) < 1e-4
PYTHON
env/bin/python find.py
