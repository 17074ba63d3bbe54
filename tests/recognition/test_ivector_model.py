"""Test that i-vector models match the formulas, round-trip through files and reject damage."""

import h5py
import numpy as np
import pytest

from common.errors import InputError
from data_prep.mel import FrontEnd
from data_prep.mfcc import MfccSettings
from extract_features import feature_extractor
from recognition import ivector_model
from recognition.gmm_ubm import DiagonalGMM
from recognition.ivector import TotalVariability, Whitening
from recognition.ivector_model import IVectorModel, load_ivector_model, save_ivector_model
from tests.damage import assert_damage_is_refused
from tests.recognition.formulas import posteriors, random_gmm

C, D, R = 3, 5, 2


@pytest.fixture
def model() -> IVectorModel:
    random = np.random.default_rng(0)
    ubm = random_gmm(C, D)
    ubm = DiagonalGMM(ubm.weights, 10 * ubm.means, 60 * ubm.variances)
    return IVectorModel(
        MfccSettings(D, level_range=30.0),
        FrontEnd(),
        ubm,
        TotalVariability(random.normal(size=(C, D, R)), ubm),
        Whitening(random.normal(size=R), random.normal(size=(R, R))),
        np.array(["Ärzte", "b"], object),
        {"name": "run", "model": "ivector", "artists": 2},
    )


@pytest.fixture
def path(model, tmp_path):
    path = tmp_path / "ivector.h5"
    save_ivector_model(path, model)
    return path


def make_mels(count: int) -> list[np.ndarray]:
    """Return noise tracks that differ in bandwidth and length."""
    random = np.random.default_rng(1)
    mels = [random.random((40 + n, 128), np.float32) for n in range(count)]
    for n, mel in enumerate(mels):
        mel[:, 7 * n % 128 :] *= 0.3
    return mels


def expected_ivector(model: IVectorModel, mel: np.ndarray) -> np.ndarray:
    """Compute the posterior mean of w from the formulas, whitened and scaled to unit length."""
    frames = model.extract_frames(mel).astype(np.float64)
    posterior = posteriors(model.ubm, frames)
    n, ubm, t = posterior.sum(axis=0), model.ubm, model.total_variability.matrix
    weighted = t / ubm.variances[..., None]
    precision = np.eye(R) + np.einsum("c,cdr,cds->rs", n, weighted, t)
    b = np.einsum("cdr,cd->r", weighted, posterior.T @ frames - n[:, None] * ubm.means)
    vector = model.whitening.matrix.T @ (np.linalg.inv(precision) @ b - model.whitening.mean)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("batch", [1, 256])
def test_extract_ivectors_matches_formulas_and_yields_none_for_silent_tracks(
    model, monkeypatch, batch
):
    monkeypatch.setattr(ivector_model, "_TRACKS", batch)
    mels, silent = make_mels(3), np.zeros((50, 128), np.float32)
    ivectors = list(model.extract_ivectors([silent, mels[0], mels[1], silent, silent, mels[2]]))
    assert [vector is None for vector in ivectors] == [True, False, False, True, True, False]
    loud = np.stack([vector for vector in ivectors if vector is not None])
    assert loud.dtype == np.float32
    np.testing.assert_allclose(loud, [expected_ivector(model, mel) for mel in mels], atol=1e-6)
    assert list(model.extract_ivectors([])) == []


def test_ivector_model_file_round_trip(model, path):
    loaded, mels = load_ivector_model(path), make_mels(2)
    ivectors = list(model.extract_ivectors(mels))
    np.testing.assert_array_equal(list(loaded.extract_ivectors(mels)), ivectors)
    assert loaded.mfcc == model.mfcc and loaded.front_end == model.front_end
    assert loaded.inputs == model.inputs and list(loaded.trained_on) == ["Ärzte", "b"]
    extractor = feature_extractor(str(path), mirror=None, seed=0, mean_and_std=None)
    np.testing.assert_array_equal(list(extractor.function(mels)), ivectors)
    description = ivector_model.describe_ivector_model(path, loaded)
    assert {"name": "run", "model": "ivector", "artists": 2}.items() <= description.items()
    assert len(description["sha256"]) == 64 and description == extractor.origin


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ubm/weights", np.ones(C)),
        ("ubm/means", np.full((C, D), np.nan)),
        ("total_variability", np.ones((C, D + 1, R))),
        ("whitening/mean", np.ones(R + 1)),
        ("whitening/matrix", np.ones((R, R + 1))),
        ("whitening/matrix", "text"),
        ("trained_on", np.ones(3)),
        ("whitening/mean", np.full(R, np.nan)),
        ("total_variability", np.full((C, D, R), np.inf)),
    ],
)
def test_load_rejects_damaged_datasets(path, name, value):
    assert_damage_is_refused(path, name, value, load_ivector_model)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("mfcc", '{"coefficients": 7}'),
        ("mfcc", '{"coefficients": 5, "level_range": "loud"}'),
        ("front_end", '{"sample_rate": 22050, "dtype": 1}'),
        ("front_end", '{"gain": null}'),
        ("made_from", "{}"),
        ("format", "another"),
    ],
)
def test_load_rejects_damaged_attributes(path, attribute, value):
    with h5py.File(path, "a") as file:
        file.attrs[attribute] = value
    with pytest.raises(InputError, match=str(path)):
        load_ivector_model(path)
