"""Encoders in ONNX files, which run without Keras; `models.onnx_export` writes them."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common import provenance
from common.errors import InputError
from common.files import file_sha256
from data_prep.mel import SEGMENT, cut_segments
from models.architecture import BANDS, EMBEDDING

# Otherwise, onnxruntime reports its use to its makers, with an identifier of this computer.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
try:
    import onnx
    import onnxruntime
    from google.protobuf.message import DecodeError
except ImportError as error:
    raise InputError(f"ONNX: cannot be used ({error}); run make install-light") from error

FORMAT = "artist-labels-encoder-1"
SEGMENTS, WAVEFORMS, EMBEDDINGS = "segments", "waveforms", "embeddings"

# What computes the embeddings of segments. Loops, conditions and extensions are not among it.
_OPERATORS = {
    *("Add", "BatchNormalization", "Conv", "Flatten", "GlobalAveragePool"),
    *("MaxPool", "Mul", "Relu", "Transpose"),
    *("Div", "Exp", "Log", "ReduceMean", "Sub"),  # of an equal level
    *("Concat", "Gemm", "Sqrt", "Squeeze"),  # of the mean and deviation over time
}
_MAX_BYTES = 1 << 28
_MAX_SEGMENTS = 256  # per run of the network, to limit its memory
_KINDS = onnx.AttributeProto
_PLAIN = {_KINDS.INT, _KINDS.INTS, _KINDS.FLOAT, _KINDS.STRING}


@dataclass(frozen=True)
class OnnxEncoder:
    """An encoder with its input normalisation, and the details that feature files record."""

    session: onnxruntime.InferenceSession
    provenance: dict
    trained_on: list[str]  # names of the training artists; empty if unknown

    def iter_embeddings(self, mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield one embedding (256,) float32 per log-mel (frames, 128), float16 or float32."""
        for mel in mels:
            segments = cut_segments(mel).astype(np.float32, copy=False)
            parts = np.split(segments, range(_MAX_SEGMENTS, len(segments), _MAX_SEGMENTS))
            rows = [self.session.run([EMBEDDINGS], {SEGMENTS: part})[0] for part in parts]
            yield np.concatenate(rows).mean(axis=0)


def load_onnx_encoder(path: str | Path) -> OnnxEncoder:
    """Read an encoder from a file of export.py, without reading any other file.

    Parameters
    ----------
    path
        File that maps segments to embeddings. A file that maps waveforms is not accepted, since it
        contains a front end of its own.

    Raises
    ------
    InputError
        If the file is missing, damaged or of another kind, or refers to other files.

    Examples
    --------
    >>> encoder = load_onnx_encoder("siamese_5000.onnx")  # doctest: +SKIP
    >>> next(encoder.iter_embeddings([np.zeros((1291, 128))])).shape  # doctest: +SKIP
    (256,)
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path}: larger than an encoder can be; choose another file")
    content = path.read_bytes()
    properties = _check_model(path, content)
    record, artists = (_parse(properties.get(name)) for name in ("weights", "trained_on"))
    if not (
        provenance.is_model_record(record)
        and isinstance(artists, list)
        and all(isinstance(artist, str) for artist in artists)
    ):
        raise InputError(f"{path}: its metadata is damaged; export it again")
    record["onnx_sha256"] = file_sha256(path)
    return OnnxEncoder(_start_session(path, content), record, artists)


def _check_model(path: Path, content: bytes) -> dict[str, str]:
    """Return the metadata of a model, or raise `InputError` if export.py did not write it."""
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise InputError(
            f"{path}: not an ONNX file, or truncated; export or copy it again"
        ) from error
    graph = model.graph
    properties = {entry.key: entry.value for entry in model.metadata_props}
    if properties.get("format") != FORMAT:
        raise InputError(f"{path}: not a file of export.py, or truncated; export the weights again")
    shapes = {
        end.name: [size.dim_value for size in end.type.tensor_type.shape.dim]
        for end in (*graph.input, *graph.output)
    }
    if WAVEFORMS in shapes:
        raise InputError(f"{path}: takes waveforms; export the weights without --waveform")
    if list(shapes.items()) != [(SEGMENTS, [0, SEGMENT, BANDS]), (EMBEDDINGS, [0, EMBEDDING])]:
        raise InputError(f"{path}: has other inputs or outputs than an encoder; export it again")
    if any(map(onnx.external_data_helper.uses_external_data, graph.initializer)):
        raise InputError(f"{path}: its arrays are stored in another file; export it again")
    if (
        model.functions
        or graph.sparse_initializer
        or any(node.domain or node.op_type not in _OPERATORS for node in graph.node)
        or any(entry.type not in _PLAIN for node in graph.node for entry in node.attribute)
    ):
        raise InputError(f"{path}: contains other operators than an encoder; export it again")
    try:
        is_finite = all(np.isfinite(onnx.numpy_helper.to_array(x)).all() for x in graph.initializer)
    except (KeyError, TypeError, ValueError):  # raised for incomplete arrays
        is_finite = False
    if not is_finite:
        raise InputError(f"{path}: its arrays are damaged; export it again")
    return properties


def _start_session(path: Path, content: bytes) -> onnxruntime.InferenceSession:
    """Return a session that computes embeddings of the expected shape."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as well
    # By default, idle threads wait actively, which slows down the workers that decode audio.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    trial = np.zeros((2, SEGMENT, BANDS), np.float32)
    try:
        session = onnxruntime.InferenceSession(
            content,
            options,
            ["CPUExecutionProvider"],
            enable_fallback=False,  # it prints errors, and tries the same again
        )
        [rows] = session.run([EMBEDDINGS], {SEGMENTS: trial})
    except Exception as error:  # onnxruntime's exceptions have no base class of their own
        raise InputError(f"{path}: onnxruntime cannot run it; export it again") from error
    if rows.shape != (2, EMBEDDING) or not np.isfinite(rows).all():
        raise InputError(f"{path}: has other outputs than an encoder; export it again")
    return session


def _parse(text: str | None) -> Any:
    try:
        value = json.loads(text or "null")
        json.dumps(value, ensure_ascii=False).encode()  # rejects text that no file can store
        return value
    except (RecursionError, ValueError):
        return None
