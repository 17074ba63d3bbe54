"""Encoders written as ONNX models, which other programs can run without this package.

The graph is built from the arrays of a weights file, so it does not depend on the Keras backend.
"""

import json
import tomllib
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from data_prep.mel import SEGMENT, FrontEnd, window_and_filters
from models import architecture
from models.architecture import BANDS, EMBEDDING
from models.onnx_encoder import EMBEDDINGS, FORMAT, SEGMENTS, WAVEFORMS
from models.pretrained import Weights

_OPSET, _IR_VERSION = 18, 8  # of 2022, so that older runtimes read the files as well
_PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def build_onnx_model(weights: Weights, *, waveforms: bool = False) -> ModelProto:
    """Return a trained encoder, including its input normalisation, as an ONNX model.

    The model maps `segments`, log-mels (n, 129, 128) float32, to `embeddings` (n, 256). With
    `waveforms`, it instead maps `waveforms` (n, samples) float32, mono at 22,050 Hz, to the
    embeddings of whole tracks, by the papers' front end: the mean over the segments of their first
    30 s. At least one segment, 65,536 samples, is needed.

    Its metadata states the front end, the normalisation, the licence and the weights.

    Examples
    --------
    >>> model = build_onnx_model(load_weights("siamese_5000"))  # doctest: +SKIP
    >>> Path("siamese_5000.onnx").write_bytes(model.SerializeToString())  # doctest: +SKIP
    """
    graph = _Graph()
    shape: list[str | int]
    if waveforms:
        name, shape = WAVEFORMS, ["tracks", "samples"]
        content = "mono at 22,050 Hz, nominally in [-1, 1], at least 65,536 samples (3 s)"
        result = "mean over the segments of the first 30 s of each track"
        _average_segments(graph, _log_mels(graph, name), weights)
    else:
        name, shape = SEGMENTS, ["segments", SEGMENT, BANDS]
        content = "log-mels, not normalised, as the front end computes them"
        result = "one per segment; the embedding of a track is their mean"
        _embed_segments(graph, name, weights)
    graph.nodes[-1].output[:] = [EMBEDDINGS]
    model = helper.make_model(
        graph.finish(name, shape, [shape[0], EMBEDDING]),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="artist-labels",
        producer_version=_package_version(),
        doc_string="Representation learning of music using artist labels (ISMIR 2018): encoder",
    )
    properties = {
        "format": FORMAT,
        "input": f"{name} {_describe(shape)} float32: {content}",
        "output": f"{EMBEDDINGS} {_describe([shape[0], EMBEDDING])} float32: {result}",
        "front_end": json.dumps(FrontEnd().to_dict()),
        "mean": repr(weights.mean),
        "std": repr(weights.std),
        "licence": weights.licence or "not stated in the weights file",
        "weights": json.dumps(weights.provenance, ensure_ascii=False),
        "trained_on": json.dumps(list(weights.trained_on), ensure_ascii=False),
    }
    helper.set_model_props(model, properties)
    return model


class _Graph:
    """Nodes and arrays of an ONNX graph, in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self._arrays: list[TensorProto] = []

    def add(self, operator: str, *inputs: str | np.ndarray | np.generic, **attributes) -> str:
        """Add a node whose inputs are names or constants; return the name of its output."""
        output = f"{operator.lower()}{len(self.nodes)}"
        names = []
        for value in inputs:
            if not isinstance(value, str):
                name = f"array{len(self._arrays)}"
                self._arrays.append(numpy_helper.from_array(np.asarray(value), name))
                value = name
            names.append(value)
        self.nodes.append(helper.make_node(operator, names, [output], name=output, **attributes))
        return output

    def finish(self, name: str, shape: list, output_shape: list) -> GraphProto:
        """Return the graph, given the name and shape of its input and the shape of its output."""
        inputs, outputs = (
            [helper.make_tensor_value_info(end, TensorProto.FLOAT, size)]
            for end, size in ((name, shape), (EMBEDDINGS, output_shape))
        )
        return helper.make_graph(self.nodes, "encoder", inputs, outputs, self._arrays)


def _embed_segments(graph: _Graph, segments: str, weights: Weights) -> str:
    """Add what `models.encoder.log_mel_model` computes: (n, 129, 128) to (n, 256)."""
    x = _equalise_level(graph, segments) if weights.equal_level else segments
    x = graph.add("Mul", x, np.float32(1.0 / weights.std))
    x = graph.add("Add", x, np.float32(-weights.mean / weights.std))
    x = graph.add("Transpose", x, perm=[0, 2, 1])  # ONNX convolves over the last axis
    for number, (_, width, pool) in enumerate(architecture.ENCODERS[weights.encoder]):
        kernel, bias, *norm = weights.encoder_arrays[6 * number : 6 * number + 6]
        # Keras pads an even width by one more frame after the segment than before it.
        pads = [(width - 1) // 2, width // 2]
        x = graph.add("Conv", x, kernel.transpose(2, 1, 0), bias, pads=pads)
        x = graph.add("BatchNormalization", x, *norm, epsilon=architecture.NORM_EPSILON)
        x = graph.add("Relu", x)
        if pool:
            x = graph.add("MaxPool", x, kernel_shape=[pool], strides=[pool])
    if weights.encoder == "paper":
        return graph.add("Flatten", graph.add("GlobalAveragePool", x))
    *norm, kernel, bias = weights.encoder_arrays[-6:]
    x = graph.add("Concat", *_mean_and_deviation(graph, x), axis=1)
    x = graph.add("BatchNormalization", x, *norm, epsilon=architecture.NORM_EPSILON)
    return graph.add("Gemm", x, kernel, bias)


def _mean_and_deviation(graph: _Graph, x: str) -> tuple[str, str]:
    """Add what `models.encoder.MeanAndDeviation` computes: (n, 256, frames) to two (n, 256)."""
    mean = graph.add("ReduceMean", x, _integers(2), keepdims=1)
    difference = graph.add("Sub", x, mean)
    square = graph.add("Mul", difference, difference)
    variance = graph.add("ReduceMean", square, _integers(2), keepdims=0)
    positive = graph.add("Add", variance, np.float32(architecture.VARIANCE_EPSILON))
    return graph.add("Squeeze", mean, _integers(2)), graph.add("Sqrt", positive)


def _equalise_level(graph: _Graph, segments: str) -> str:
    """Add what `models.encoder.EqualLevel` computes."""
    ln10, one = np.float32(np.log(10)), np.float32(1)
    scaled = graph.add("Sub", graph.add("Exp", graph.add("Mul", segments, ln10)), one)
    level = graph.add("ReduceMean", scaled, _integers(1, 2), keepdims=1)
    x = graph.add("Div", scaled, graph.add("Add", level, np.float32(architecture.SILENT_LEVEL)))
    x = graph.add("Mul", x, np.float32(architecture.EQUAL_LEVEL))
    return graph.add("Div", graph.add("Log", graph.add("Add", x, one)), ln10)


def _log_mels(graph: _Graph, waveforms: str) -> str:
    """Add what `data_prep.mel.log_mel` computes: (n, samples) to (n, frames, 128)."""
    front_end = FrontEnd()
    window, filters = window_and_filters(front_end)
    half = front_end.n_fft // 2
    x = graph.add("Pad", waveforms, _integers(0, half, 0, half), mode=front_end.pad_mode)
    x = graph.add("Unsqueeze", x, _integers(2))
    x = graph.add("STFT", x, np.int64(front_end.hop), window, np.int64(front_end.n_fft))
    x = graph.add("ReduceL2", x, _integers(3), keepdims=0)
    x = graph.add("MatMul", x, filters.T)
    x = graph.add("Add", graph.add("Mul", x, np.float32(front_end.gain)), np.float32(1))
    return graph.add("Div", graph.add("Log", x), np.float32(np.log(10)))


def _average_segments(graph: _Graph, mels: str, weights: Weights) -> str:
    """Add the mean embedding over the whole segments of each track's first 30 s."""
    frames = graph.add("Shape", mels, start=1, end=2)
    frames = graph.add("Min", frames, _integers(FrontEnd.max_frames))
    count = graph.add("Div", frames, _integers(SEGMENT))
    end = graph.add("Mul", count, _integers(SEGMENT))
    x = graph.add("Slice", mels, _integers(0), end, _integers(1))
    x = graph.add("Reshape", x, _integers(-1, SEGMENT, BANDS))
    x = _embed_segments(graph, x, weights)
    tracks = graph.add("Shape", mels, start=0, end=1)
    x = graph.add("Reshape", x, graph.add("Concat", tracks, count, _integers(EMBEDDING), axis=0))
    return graph.add("ReduceMean", x, _integers(1), keepdims=0)


def _integers(*values: int | None) -> np.ndarray:
    return np.array(values, np.int64)


def _describe(shape: list) -> str:
    return f"({', '.join(map(str, shape))})"


def _package_version() -> str:
    return tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]["version"]
