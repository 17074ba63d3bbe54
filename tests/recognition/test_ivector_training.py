"""Test i-vector training: its components, resuming and invalid inputs."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from common.files import exclusive_folder
from data_prep.mfcc import MfccSettings, TrackFrames
from recognition import gmm_ubm, ivector, ivector_model
from recognition.gmm_ubm import DiagonalGMM
from recognition.ivector_training import IVectorRun, IVectorSchedule, train_ivector_model
from tests.training import fixtures

SCHEDULE = IVectorSchedule(4, "kmeans", 4, 3, 3, seed=0)
TRACKS = np.array([f"t{number}" for number in range(12)], object)
ARTISTS = np.array([f"artist {number % 3}" for number in range(12)], object)
INPUTS = {"name": "run", "model": "ivector", "artists": 3, "settings": {"seed": 0}}
MFCC = MfccSettings(5)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return fixtures.write_cache(tmp_path_factory.mktemp("cache") / "cache.h5", nan_track=20)


@pytest.fixture(scope="module")
def complete_run(cache, tmp_path_factory) -> IVectorRun:
    run = IVectorRun(tmp_path_factory.mktemp("runs") / "run", INPUTS)
    train_ivector_model(run, cache, TRACKS, ARTISTS, MFCC, SCHEDULE)
    return run


@pytest.fixture
def new_run(tmp_path) -> IVectorRun:
    return IVectorRun(tmp_path / "run", INPUTS)


@pytest.fixture
def train(cache):
    """Return a function that trains with this module's settings and given schedule changes."""

    def train(run, tracks=TRACKS, mfcc=MFCC, **changes):
        train_ivector_model(run, cache, tracks, ARTISTS, mfcc, replace(SCHEDULE, **changes))

    return train


def list_files(run):
    return {path.name for path in run.folder.iterdir()}


def test_train_ivector_model_combines_the_separately_trained_parts(complete_run, cache, tmp_path):
    model = ivector_model.load_ivector_model(complete_run.model_path)
    tracks = TrackFrames.from_cache(cache, TRACKS, MFCC, tmp_path)
    ubm, likelihoods = gmm_ubm.fit_gmm(tracks.frames, 4, iterations=4, seed=0)
    np.testing.assert_array_equal(model.ubm.means, ubm.means)
    statistics = gmm_ubm.collect_statistics(ubm, tracks, 12)
    total_variability, gains = ivector.fit_total_variability(
        *statistics, ubm, dimensions=3, iterations=3, seed=0
    )
    np.testing.assert_array_equal(model.total_variability.matrix, total_variability.matrix)
    vectors = model.whitening.transform(total_variability.transform(*statistics))
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(np.cov(vectors.T, bias=True), np.eye(3), atol=1e-6)
    assert list(model.trained_on) == ["artist 0", "artist 1", "artist 2"]
    assert model.inputs == INPUTS
    log = pd.read_csv(complete_run.folder / "ivector.csv")
    assert log["iteration"].tolist() == [1, 2, 3, 4, 1, 2, 3]
    np.testing.assert_allclose(log["log_likelihood"], [*likelihoods, *gains])
    assert list_files(complete_run) == {"ivector.h5", "ivector.csv"}


def test_resume_after_repeated_interrupts_is_bit_identical(
    complete_run, new_run, train, monkeypatch
):
    save_state, interrupts = IVectorRun.save_state, 0

    def save_and_interrupt(self, *state):
        save_state(self, *state)
        raise KeyboardInterrupt

    monkeypatch.setattr(IVectorRun, "save_state", save_and_interrupt)
    while not new_run.model_path.exists():
        try:
            train(new_run)
        except KeyboardInterrupt:
            interrupts += 1
            assert list_files(new_run) == {"ivector_state.h5"}
    assert interrupts == 7
    for name in ("ivector.h5", "ivector.csv"):
        expected = (complete_run.folder / name).read_bytes()
        assert (new_run.folder / name).read_bytes() == expected
    assert list_files(new_run) == {"ivector.h5", "ivector.csv"}


def test_complete_run_is_skipped_and_changed_inputs_are_rejected(complete_run, train, caplog):
    before = complete_run.model_path.read_bytes()
    with caplog.at_level(logging.INFO):
        train(complete_run)
    assert caplog.messages == [f"{complete_run.model_path}: already complete"]
    other = IVectorRun(complete_run.folder, {**INPUTS, "settings": {"seed": 1}})
    with pytest.raises(InputError, match=r"settings\.seed: 0 -> 1"):
        train(other)
    assert complete_run.model_path.read_bytes() == before


def test_incompatible_locked_and_damaged_states_are_rejected(new_run, train):
    gmm = DiagonalGMM(np.ones(1), np.zeros((1, 5)), np.ones((1, 5)))
    new_run.save_state((gmm, np.array([-1.0])))
    with pytest.raises(InputError, match="model: "):
        train(IVectorRun(new_run.folder, {**INPUTS, "model": "x"}))
    with exclusive_folder(new_run.folder), pytest.raises(InputError, match="another process"):
        train(new_run)
    for damaged in (np.array([np.nan]), np.array(-1.0)):
        new_run.save_state((gmm, damaged))
        with pytest.raises(InputError, match=r"_state\.h5: damaged \(its log-likelihoods\); del"):
            train(new_run)
    gmm.variances = np.zeros((1, 5))
    new_run.save_state((gmm, np.array([-1.0])))
    with pytest.raises(InputError, match=r"_state\.h5: damaged \(.*Gaussian mixture\); delete"):
        train(new_run)
    (new_run.folder / "ivector_state.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match=r"_state\.h5: damaged \(.*not an HDF5 file"):
        train(new_run)


def test_silent_tracks_are_skipped_and_their_number_is_logged(new_run, tmp_path, caplog):
    cache = fixtures.write_cache(tmp_path / "silent.h5")
    cache.frames = np.array(cache.frames)
    cache.frames[cache.start[0] :][: cache.length[0]] = 0
    artists = np.array(["silent artist", *ARTISTS[1:]], object)
    mfcc = MfccSettings(5, level_range=40.0)
    with caplog.at_level(logging.INFO):
        train_ivector_model(new_run, cache, TRACKS, artists, mfcc, SCHEDULE)
    assert "skipped 1 tracks without a loud frame" in caplog.text
    trained_on = ivector_model.load_ivector_model(new_run.model_path).trained_on
    assert "silent artist" not in trained_on


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimensions": 12}, "--dimensions 12: too many .* 12 tracks"),
        ({"mixtures": 99999}, "for 99999 components; use fewer --components"),
        ({"mixtures": 1, "dimensions": 6}, "--dimensions 6: more than the 5 means of 1 comp"),
        ({"mfcc": MfccSettings(129)}, "--coefficients 129: use at most the 128 mel bands"),
        ({"tracks": np.append(TRACKS[1:], "t20")}, "'t20': log-mel: .*NaN"),
    ],
)
def test_training_rejects_infeasible_settings(new_run, train, options, message):
    with pytest.raises(InputError, match=message):
        train(new_run, **options)
    assert not new_run.folder.exists() or not any(new_run.folder.iterdir())
