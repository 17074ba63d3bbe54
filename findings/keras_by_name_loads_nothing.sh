#!/usr/bin/env bash
# Keras 3 loads nothing from an HDF5 file with by_name=True if no layer has the name that the file
# gives it, and says nothing. Names of unnamed layers are counted up within a process, so a second
# model of the same code already differs; files of other people, such as published weights, always do.
#
# Met with: keras 3.12.0, tensorflow-cpu 2.20.0.
# Seen:     no array changes; no error, no warning
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q tensorflow-cpu==2.20.0 keras==3.12.0
cat > find.py <<'PYTHON'
import os
import warnings

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np


def build():
    return keras.Sequential([keras.Input((129, 128)), keras.layers.Conv1D(8, 4), keras.layers.Dense(2)])


build().save("saved.h5")
model = build()
before = [array.copy() for array in model.get_weights()]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model.load_weights("saved.h5", by_name=True)
unchanged = all(map(np.array_equal, before, model.get_weights()))
print("keras", keras.__version__)
print(f"unchanged: {unchanged}, warnings: {len(caught)}")
assert unchanged and not caught
PYTHON
env/bin/python find.py 2>/dev/null
