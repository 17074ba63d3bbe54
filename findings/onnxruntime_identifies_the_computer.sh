#!/usr/bin/env bash
# The Linux wheels of onnxruntime have telemetry that is on by default: starting a session creates a
# permanent identifier of the computer and a database of events for Microsoft, as Privacy.md in the
# wheel says. The environment variable ORT_DISABLE_TELEMETRY=1 prevents both. models/onnx_encoder.py
# sets it.
#
# Met with: onnxruntime 1.32.0, onnx 1.23.2.
# Seen:     deviceid and onnxruntime.db below the cache folder; nothing with the variable
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q onnxruntime==1.32.0 onnx==1.23.2
cat > start.py <<'PYTHON'
import onnx
import onnxruntime

ends = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
node = onnx.helper.make_node("Relu", ["x"], ["y"])
model = onnx.helper.make_model(
    onnx.helper.make_graph([node], "g", ends[:1], ends[1:]),
    ir_version=8,
    opset_imports=[onnx.helper.make_opsetid("", 18)],
)
onnxruntime.InferenceSession(model.SerializeToString())
PYTHON
mkdir default disabled
HOME=$PWD/default XDG_CACHE_HOME=$PWD/default env/bin/python start.py
ORT_DISABLE_TELEMETRY=1 HOME=$PWD/disabled XDG_CACHE_HOME=$PWD/disabled env/bin/python start.py
find default disabled -type f
test -n "$(find default -name deviceid)" && test -z "$(find disabled -type f)"
