#!/usr/bin/env bash
# Keras writes a nested model into its HDF5 format with all trainable arrays first. If some layers are
# frozen when the model is saved, and not when it is loaded, arrays of equal shape change places: the
# weights of one layer end up in another, without an error.
#
# Met with: keras 3.12.0, tensorflow-cpu 2.20.0.
# Seen:     after loading, the first layer holds the second layer's kernel
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q tensorflow-cpu==2.20.0 keras==3.12.0
cat > find.py <<'PYTHON'
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np


def build():
    layers = [keras.Input((8, 4)), keras.layers.Dense(4, name="first"), keras.layers.Dense(4, name="second")]
    inner = keras.Sequential(layers, name="inner")
    return keras.Sequential([keras.Input((8, 4)), inner]), inner


model, inner = build()
inner.get_layer("first").trainable = False
kernels = {layer.name: layer.get_weights()[0] for layer in inner.layers}
model.save("frozen.h5")
again, inner = build()
again.load_weights("frozen.h5")
first = inner.get_layer("first").get_weights()[0]
print("keras", keras.__version__)
print("first layer holds the first kernel:", np.array_equal(first, kernels["first"]))
print("first layer holds the second kernel:", np.array_equal(first, kernels["second"]))
assert np.array_equal(first, kernels["second"])
PYTHON
env/bin/python find.py 2>/dev/null
