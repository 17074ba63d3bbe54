"""Test export.py, and feature extraction with what it writes, as in a light installation."""

import importlib.metadata
import json
import re
import shutil

import numpy as np
import pytest
from packaging.requirements import Requirement

from common import feature_file
from models import pretrained
from models.siamese import build_siamese
from tests.conftest import ROOT, error_in_process, error_of, run_in_process, run_script
from tests.models.conftest import encoder

pytest.importorskip("onnxruntime", reason="needs requirements-onnx.txt")

__all__ = ["encoder"]
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # warning from Keras itself
# Makes a Python process, and the workers that it starts, unable to import some modules.
SITE = """
import sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {modules}:
            raise ModuleNotFoundError(f"{{name}} is not installed here", name=name)
sys.meta_path.insert(0, Finder)
"""


@pytest.fixture(scope="module")
def weights(encoder, tmp_path_factory):
    """Return a weights file of a training run on two artists."""
    path = tmp_path_factory.mktemp("export") / "best.h5"
    model = build_siamese(encoder, 4, mean=0.2, std=0.25)
    record = {"inputs": {"name": "run", "model": "siamese", "artists": 2, "settings": {"seed": 3}}}
    settings = {"made_from": record, "trained_on": ["Björk", "a, b"]}
    pretrained.save_weights(path, model, mean=0.2, std=0.25, **settings)
    return path


@pytest.fixture(scope="module")
def exported(weights):
    out = weights.with_name("run.onnx")
    assert run_in_process("export.py", weights, "--out", out).out == f"{out}: run, 1.1 MB\n"
    return out


@pytest.fixture(scope="module")
def music(small_corpus, tmp_path_factory):
    """Return a folder of two tracks."""
    folder = tmp_path_factory.mktemp("music")
    for track in sorted(path for path in small_corpus[1].rglob("*") if path.is_file())[:2]:
        shutil.copy(track, folder / f"{len(list(folder.iterdir()))}{track.suffix}")
    return folder


# ---------------------------------------------------------------- export


def test_export_writes_the_same_file_each_time(weights, exported, tmp_path):
    run_in_process("export.py", weights, "--out", tmp_path / "new/again.onnx")
    assert (tmp_path / "new/again.onnx").read_bytes() == exported.read_bytes()


def test_complete_export_is_recognised_and_other_options_are_refused(weights, exported):
    before, command = exported.read_bytes(), ("export.py", weights, "--out", exported)
    assert run_in_process(*command).out == f"{exported}: already complete\n"
    assert f"{exported}: already there" in error_in_process(*command, "--waveform")
    assert exported.read_bytes() == before


def test_export_rejects_unusable_inputs(weights, small_corpus, tmp_path):
    out = tmp_path / "a.onnx"
    (tmp_path / "folder.onnx").mkdir()
    for case, expected in {
        (weights, "--out", tmp_path / "folder.onnx"): "folder.onnx: is a folder",
        ("mfcc", "--out", out): "mfcc: neither an .h5 or .keras file nor a released model",
        ("untrained", "--out", out): "untrained: neither",
        (small_corpus[2], "--out", out): "small.h5: contains no encoder, .* mel-cache-1",
        (tmp_path / "absent.h5", "--out", out): "absent.h5: no such weights file",
        (ROOT / "README.md", "--out", out): "README.md: neither",
    }.items():
        message = error_in_process("export.py", *case)
        assert re.search(expected, message), message
    assert not out.exists()


# ---------------------------------------------------------------- extraction


def extract(model, source, out, *options) -> feature_file.Features:
    command = ("extract_features.py", model, source, "--out", out, *options)
    assert run_in_process(*command).lines[-1].startswith(f"{out}: run, ")
    return feature_file.read_features(out)


def test_features_equal_those_of_the_exported_weights(weights, exported, small_corpus, tmp_path):
    out = tmp_path / "onnx.h5"
    ours = extract(exported, small_corpus[2], out)
    expected = extract(weights, small_corpus[2], tmp_path / "keras.h5")
    scale = np.abs(expected.features).max()
    np.testing.assert_allclose(ours.features, expected.features, atol=1e-5 * scale)
    assert list(ours.track_id) == list(expected.track_id)
    assert list(ours.trained_on) == list(expected.trained_on) == ["Björk", "a, b"]
    record = dict(ours.inputs["weights"])
    assert len(record.pop("onnx_sha256")) == 64
    assert record == expected.inputs["weights"] and record["name"] == "run"
    assert ours.inputs["input"] == expected.inputs["input"]
    command = ("extract_features.py", exported, small_corpus[2], "--out", out)
    assert run_in_process(*command).out == f"{out}: already complete, 24 tracks\n"
    assert "onnx_sha256" in error_in_process("extract_features.py", weights, *command[2:])


def test_results_of_onnx_features_belong_to_the_same_model(exported, small_corpus, tmp_path):
    extract(exported, small_corpus[2], tmp_path / "run.h5")
    command = ("evaluate.py", "retrieval", tmp_path / "run.h5", small_corpus[0])
    run_in_process(*command, "--json", tmp_path / "results/a.json")
    result = json.loads((tmp_path / "results/a.json").read_text(encoding="utf-8"))
    assert (result["model"], result["artists"], result["seed"]) == ("siamese", 2, 3)


def test_front_end_options_apply_to_onnx_encoders(weights, exported, music, tmp_path):
    options = ("--normalise", "peak", "--workers", 1)
    ours = extract(exported, music, tmp_path / "onnx.h5", *options)
    expected = extract(weights, music, tmp_path / "keras.h5", *options)
    scale = np.abs(expected.features).max()
    np.testing.assert_allclose(ours.features, expected.features, atol=1e-5 * scale)
    assert ours.inputs["input"]["front_end"]["normalise"] == "peak"


def test_extraction_rejects_waveform_models(weights, music, tmp_path):
    model = tmp_path / "waveform.onnx"
    run_in_process("export.py", weights, "--out", model, "--waveform")
    command = ("extract_features.py", model, music, "--out", tmp_path / "a.h5")
    assert f"{model}: takes waveforms" in error_in_process(*command)


# ---------------------------------------------------------------- light installation


def normalise(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


def light_distributions() -> set[str]:
    """Return the names of the packages in requirements-onnx.txt and of all that they require."""
    lines = (ROOT / "requirements-onnx.txt").read_text(encoding="utf-8").splitlines()
    found, pending = set(), [line for line in lines if not line.startswith(("#", "-"))]
    while pending:
        requirement = Requirement(pending.pop())
        name = normalise(requirement.name)
        if name not in found and (not requirement.marker or requirement.marker.evaluate()):
            found.add(name)
            pending += importlib.metadata.requires(name) or []
    return found


@pytest.fixture
def installation(tmp_path):
    """Return a function that gives an environment in which some distributions do not exist."""

    def path_without(distributions: set[str]) -> dict[str, str]:
        distributions = distributions - {"artist-labels"}  # this package, if it is installed
        modules = importlib.metadata.packages_distributions()
        names = {module: {normalise(name) for name in modules[module]} for module in modules}
        absent = {module for module in modules if not names[module] - distributions}
        (tmp_path / "sitecustomize.py").write_text(SITE.format(modules=absent))
        return {"PYTHONPATH": str(tmp_path)}

    return path_without


def test_extraction_needs_only_the_light_requirements(exported, music, tmp_path, installation):
    """Pandas is among them, but would double the time until the first features."""
    installed = {normalise(one.metadata["Name"]) for one in importlib.metadata.distributions()}
    variables = installation(installed - light_distributions() | {"pandas"})
    missing = run_script("-c", "import keras", status=1, **variables)
    assert "keras is not installed here" in missing.err
    out = tmp_path / "light.h5"
    result = run_script("extract_features.py", exported, music, "--out", out, **variables)
    assert result.out == f"{out}: run, 2 tracks\n"
    expected = extract(exported, music, tmp_path / "full.h5", "--workers", 1)
    np.testing.assert_array_equal(feature_file.read_features(out).features, expected.features)


def test_export_and_library_need_only_the_light_requirements(
    weights, exported, music, tmp_path, installation
):
    installed = {normalise(one.metadata["Name"]) for one in importlib.metadata.distributions()}
    variables = installation(installed - light_distributions())
    run_script("export.py", weights, "--out", tmp_path / "light.onnx", **variables)
    assert (tmp_path / "light.onnx").read_bytes() == exported.read_bytes()
    code = f"from artist_labels import embed_files; print(len(embed_files({str(music)!r}, weights="
    result = run_script("-c", f"{code}{str(exported)!r}).features))", **variables)
    assert result.out == "2\n"


def test_missing_onnxruntime_is_explained(exported, music, tmp_path, installation):
    command = ("extract_features.py", exported, music, "--out", tmp_path / "a.h5")
    message = error_of(*command, **installation({"onnxruntime"}))
    assert message.endswith("(onnxruntime is not installed here); run make install-light\n")


def test_missing_keras_is_explained(weights, music, tmp_path, installation):
    command = ("extract_features.py", weights, music, "--out", tmp_path / "a.h5")
    message = error_of(*command, **installation({"keras"}))
    assert "Keras is not installed; run make install, or use an .onnx file" in message
