"""The i-vector extractor: its features from the formulas, its file, and what is no such file."""

import h5py
import numpy as np
import pytest

from common import hdf5
from common.errors import InputError
from data_prep.mel import FrontEnd
from data_prep.mfcc import MfccSettings
from extract_features import feature_extractor
from recognition import ivector_model
from recognition.gmm_ubm import DiagonalGMM
from recognition.ivector import TotalVariability, Whitening
from recognition.ivector_model import IVectorModel, load_ivector_model, save_ivector_model
from tests.damage import assert_damage_is_refused

K, D, R = 3, 5, 2


@pytest.fixture
def made() -> IVectorModel:
    random = np.random.default_rng(0)
    ubm = DiagonalGMM(
        random.dirichlet(np.ones(K)),
        random.normal(scale=20, size=(K, D)),
        random.uniform(50, 90, (K, D)),
    )
    return IVectorModel(
        MfccSettings(D, level_range=30.0),
        FrontEnd(),
        ubm,
        TotalVariability(random.normal(size=(K, D, R)), ubm.means, ubm.variances),
        Whitening(random.normal(size=R), random.normal(size=(R, R))),
        np.array(["Ärzte", "b"], object),
        {"name": "run", "model": "ivector", "artists": 2},
    )


def songs(count: int) -> list[np.ndarray]:
    """Noise of different bands and lengths."""
    random = np.random.default_rng(1)
    mels = [random.random((40 + n, 128), np.float32) for n in range(count)]
    for n, mel in enumerate(mels):
        mel[:, 7 * n % 128 :] *= 0.3
    return mels


def by_the_book(made: IVectorModel, mel: np.ndarray) -> np.ndarray:
    """The posterior mean of w with all sums written out; whitened, at length 1."""
    frames = made.mfcc.frames(mel, made.front_end).astype(np.float64)
    ubm, t = made.ubm, made.total_variability.matrix
    away = (frames[:, None] - ubm.means) ** 2 / ubm.variances
    joint = np.log(ubm.weights) - 0.5 * (np.log(2 * np.pi * ubm.variances) + away).sum(axis=2)
    posterior = np.exp(joint - joint.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    precision, b = np.eye(R), np.zeros(R)
    for c in range(K):
        n = posterior[:, c].sum()
        first = posterior[:, c] @ frames
        precision += n * t[c].T @ np.diag(1 / ubm.variances[c]) @ t[c]
        b += t[c].T @ ((first - n * ubm.means[c]) / ubm.variances[c])
    vector = made.whitening.matrix.T @ (np.linalg.inv(precision) @ b - made.whitening.mean)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("at_a_time", [1, 3, 256])
def test_features_are_those_by_the_book(made, monkeypatch, at_a_time):
    monkeypatch.setattr(ivector_model, "_SONGS", at_a_time)
    mels = songs(7)
    found = np.stack(list(made.extract_ivectors(iter(mels))))
    assert found.dtype == np.float32 and found.shape == (7, R)
    np.testing.assert_allclose(found, [by_the_book(made, mel) for mel in mels], atol=1e-6)


@pytest.mark.parametrize("at_a_time", [1, 2, 256])
def test_a_silent_song_has_no_feature_and_the_others_keep_theirs(made, monkeypatch, at_a_time):
    monkeypatch.setattr(ivector_model, "_SONGS", at_a_time)
    mels, silent = songs(3), np.zeros((50, 128), np.float32)
    found = list(made.extract_ivectors([silent, mels[0], mels[1], silent, silent, mels[2]]))
    assert [row is None for row in found] == [True, False, False, True, True, False]
    kept = [row for row in found if row is not None]
    np.testing.assert_array_equal(kept, list(made.extract_ivectors(mels)))
    assert list(made.extract_ivectors([])) == []


def test_an_extractor_comes_back_from_its_file(made, tmp_path):
    path = tmp_path / "ivector.h5"
    save_ivector_model(path, made)
    found = load_ivector_model(path)
    np.testing.assert_array_equal(
        list(found.extract_ivectors(songs(2))), list(made.extract_ivectors(songs(2)))
    )
    assert (found.mfcc, found.front_end, found.inputs) == (made.mfcc, made.front_end, made.inputs)
    assert list(found.trained_on) == ["Ärzte", "b"]
    function, origin, trained_on, _ = feature_extractor(
        str(path), mirror=None, seed=0, mean_and_std=None
    )
    np.testing.assert_array_equal(list(function(songs(2))), list(made.extract_ivectors(songs(2))))
    assert (origin["name"], origin["model"], origin["artists"]) == ("run", "ivector", 2)
    assert len(origin["sha256"]) == 64 and list(trained_on) == ["Ärzte", "b"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ubm/weights", np.ones(K)),
        ("ubm/variances", np.zeros((K, D))),
        ("ubm/means", np.full((K, D), np.nan)),
        ("total_variability", np.ones((K, D + 1, R))),
        ("total_variability", np.full((K, D, R), np.inf)),
        ("total_variability", np.float64(1)),
        ("whitening/mean", np.ones(R + 1)),
        ("whitening/matrix", np.ones((R, R + 1))),
        ("whitening/matrix", "text"),
        ("trained_on", np.ones(3)),
    ],
)
def test_damaged_files_are_refused(made, tmp_path, name, value):
    path = tmp_path / "ivector.h5"
    save_ivector_model(path, made)
    assert_damage_is_refused(path, name, value, load_ivector_model)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("mfcc", '{"coefficients": 7}'),
        ("mfcc", '{"exec": 1}'),
        ("mfcc", "[]"),
        ("front_end", '{"sample_rate": 22050, "dtype": 1}'),
        ("made_from", "{}"),
    ],
)
def test_damaged_attributes_are_refused(made, tmp_path, attribute, value):
    path = tmp_path / "ivector.h5"
    save_ivector_model(path, made)
    with h5py.File(path, "a") as file:
        file.attrs[attribute] = value
    with pytest.raises(InputError, match=str(path)):
        load_ivector_model(path)


def test_files_of_something_else_are_none(tmp_path):
    other, text = tmp_path / "other.h5", tmp_path / "text.h5"
    with hdf5.create_file(other) as file:
        file["features"] = np.ones(3)
    text.write_text("no HDF5")
    for path in (other, text, tmp_path / "none.h5", tmp_path):
        assert hdf5.read_format(path) is None
        with pytest.raises(InputError, match=str(path)):
            load_ivector_model(path)
