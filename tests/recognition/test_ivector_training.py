"""The training of an i-vector extractor: what it makes, how it goes on, and what it refuses."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from common.files import exclusive_folder
from data_prep.mfcc import MfccSettings, TrackFrames
from recognition import gmm_ubm, ivector, ivector_model
from recognition.ivector_training import IVectorRun, IVectorSchedule, train_ivector_model
from tests.training import fixtures

SCHEDULE = IVectorSchedule(4, "kmeans", 4, 3, 3, seed=0)
TRACKS = np.array([f"t{number}" for number in range(12)], object)
ARTISTS = np.array([f"artist {number % 3}" for number in range(12)], object)
INPUTS = {"name": "run", "model": "ivector", "artists": 3, "settings": {"seed": 0}}
MFCC = MfccSettings(5)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return fixtures.cache(tmp_path_factory.mktemp("cache") / "cache.h5", spoilt=20)


@pytest.fixture(scope="module")
def undisturbed(cache, tmp_path_factory) -> IVectorRun:
    run = IVectorRun(tmp_path_factory.mktemp("runs") / "run", INPUTS)
    train_ivector_model(run, cache, TRACKS, ARTISTS, MFCC, SCHEDULE)
    return run


def test_it_is_made_of_the_three_trainings(undisturbed, cache, tmp_path):
    found = ivector_model.load_ivector_model(undisturbed.out)
    songs = TrackFrames.from_cache(cache, TRACKS, MFCC, tmp_path)
    ubm, likelihoods = gmm_ubm.fit_gmm(lambda: [songs.frames], 4, iterations=4, seed=0)
    np.testing.assert_array_equal(found.ubm.means, ubm.means)
    zeroth, first = (np.float32(each) for each in zip(*map(ubm.statistics, songs), strict=True))
    model, gains = ivector.fit_total_variability(
        zeroth, first, ubm.means, ubm.variances, dimensions=3, iterations=3, seed=0
    )
    np.testing.assert_array_equal(found.total_variability.matrix, model.matrix)
    vectors = found.whitening.transform(model.transform(zeroth, first))
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(np.cov(vectors.T, bias=True), np.eye(3), atol=1e-6)
    assert list(found.trained_on) == ["artist 0", "artist 1", "artist 2"]
    assert found.inputs == INPUTS
    log = pd.read_csv(undisturbed.folder / "ivector.csv")
    assert log["iteration"].tolist() == [1, 2, 3, 4, 1, 2, 3]
    np.testing.assert_allclose(log["log_likelihood"], [*likelihoods, *gains])
    assert {path.name for path in undisturbed.folder.iterdir()} == {"ivector.h5", "ivector.csv"}


def test_killed_after_any_iteration_it_comes_to_the_same_end(
    undisturbed, cache, tmp_path, monkeypatch
):
    """The kill comes as each iteration's state is whole, the next time an iteration later."""
    keep, run, kills = IVectorRun.keep, IVectorRun(tmp_path / "run", INPUTS), 0

    def killed_after(self, *state):
        keep(self, *state)
        raise KeyboardInterrupt

    monkeypatch.setattr(IVectorRun, "keep", killed_after)
    while not run.out.exists():
        try:
            train_ivector_model(run, cache, TRACKS, ARTISTS, MFCC, SCHEDULE)
        except KeyboardInterrupt:
            kills += 1
            assert {path.name for path in run.folder.iterdir()} == {"ivector_state.h5"}
    assert kills == 7
    assert run.out.read_bytes() == undisturbed.out.read_bytes()
    log = (run.folder / "ivector.csv").read_bytes()
    assert log == (undisturbed.folder / "ivector.csv").read_bytes()
    assert {path.name for path in run.folder.iterdir()} == {"ivector.h5", "ivector.csv"}


def test_complete_already_and_other_inputs_refused(undisturbed, cache, capsys):
    before = undisturbed.out.read_bytes()
    train_ivector_model(undisturbed, cache, TRACKS, ARTISTS, MFCC, SCHEDULE)
    assert capsys.readouterr().out == f"{undisturbed.out}: complete already\n"
    other = replace(undisturbed, inputs={**INPUTS, "settings": {"seed": 1}})
    with pytest.raises(InputError, match=r"settings\.seed: 0 -> 1"):
        train_ivector_model(other, cache, TRACKS, ARTISTS, MFCC, SCHEDULE)
    assert undisturbed.out.read_bytes() == before


def test_an_unfinished_training_is_not_spoilt(cache, tmp_path):
    run = IVectorRun(tmp_path / "run", INPUTS)
    gmm = gmm_ubm.DiagonalGMM(np.ones(1), np.zeros((1, 5)), np.ones((1, 5)))
    run.keep((gmm, np.array([-1.0])), None)
    other = replace(run, inputs={**INPUTS, "model": "x"})
    with pytest.raises(InputError, match="model: "):
        train_ivector_model(other, cache, TRACKS, ARTISTS, MFCC, SCHEDULE)
    with exclusive_folder(run.folder), pytest.raises(InputError, match="another process"):
        train_ivector_model(run, cache, TRACKS, ARTISTS, MFCC, SCHEDULE)
    (run.folder / "ivector_state.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match=r"_state\.h5: damaged \(.*not an HDF5 file"):
        train_ivector_model(run, cache, TRACKS, ARTISTS, MFCC, SCHEDULE)


def test_a_state_whose_mixture_is_none_is_refused(cache, tmp_path):
    run = IVectorRun(tmp_path / "run", INPUTS)
    gmm = gmm_ubm.DiagonalGMM(np.ones(1), np.zeros((1, 5)), np.ones((1, 5)))
    object.__setattr__(gmm, "variances", np.zeros((1, 5)))
    run.keep((gmm, np.array([-1.0])), None)
    with pytest.raises(InputError, match=r"_state\.h5: damaged \(.*not all positive\); delete"):
        train_ivector_model(run, cache, TRACKS, ARTISTS, MFCC, SCHEDULE)


def test_silent_songs_are_left_out_and_counted(cache, tmp_path, capsys):
    silent = fixtures.cache(tmp_path / "silent.h5")
    silent.frames = np.array(silent.frames)
    silent.frames[silent.start[0] :][: silent.length[0]] = 0
    run = IVectorRun(tmp_path / "run", INPUTS)
    alone = np.array(["silent artist", *ARTISTS[1:]], object)
    train_ivector_model(run, silent, TRACKS, alone, MfccSettings(5, level_range=40.0), SCHEDULE)
    assert "1 tracks without a loud frame left out" in capsys.readouterr().out
    assert "silent artist" not in ivector_model.load_ivector_model(run.out).trained_on


def test_what_cannot_be_trained_is_refused(cache, tmp_path):
    run = IVectorRun(tmp_path / "run", INPUTS)

    def refusal(tracks=TRACKS, mfcc=MFCC, **changes):
        with pytest.raises(InputError) as caught:
            train_ivector_model(run, cache, tracks, ARTISTS, mfcc, replace(SCHEDULE, **changes))
        return str(caught.value)

    assert "--dimensions 12: i-vectors of 12 songs" in refusal(dimensions=12)
    assert "for 99999 mixtures; take fewer --mixtures" in refusal(mixtures=99999)
    assert "--dimensions 6: 1 mixtures of 5 coefficients have 5" in refusal(
        mixtures=1, dimensions=6
    )
    assert "--coefficients 129: of 128 mel bands" in refusal(mfcc=MfccSettings(129))
    assert list(tmp_path.iterdir()) == [] or not any(run.folder.iterdir())
    assert "'t20': log-mel: holds NaN" in refusal(tracks=np.append(TRACKS[1:], "t20"))
