"""Test agf2018 runs (output files, resuming, rejected settings) and the genre classifier."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from artist_groups import classifier, network_file, training
from artist_groups.classifier import Segments
from artist_groups.group_networks import build_mlp, count_parameters
from artist_groups.task_sets import (
    KINDS,
    GroupTrainingConfig,
    TaskSet,
    group_targets,
    list_runs,
    list_task_sets,
)
from artist_groups.topics import ArtistGroups, GroupsFile
from artist_groups.training import Experiment
from common import feature_file
from common.errors import InputError
from extract_features import feature_extractor
from models.keras_backend import keras
from tests.training import fixtures
from training.checkpoints import TrainingRun
from training.devices import Devices

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # raised in get_weights
CONFIG = GroupTrainingConfig(
    epochs=2,
    mtn_epochs=10,
    mlp_epochs=3,
    batch_size=8,
    data="stream",
    steps_per_call=fixtures.STEPS,
)
NAMES = ["artist 0", "artist 1", "artist 2", "artist 3"]
RUNS = list_runs(KINDS, list_task_sets("gs"))
MTN = TaskSet("mtn", "gs")


def training_tracks() -> pd.DataFrame:
    """Return the cache's first 30 tracks, by five artists in three genres; one has no genre."""
    numbers = np.arange(30)
    table = pd.DataFrame(
        {
            "track_id": [f"t{number}" for number in numbers],
            "path": [f"{number}.wav" for number in numbers],
            "subset": "train",
            "artist": [f"artist {number % 5}" for number in numbers],
            "genre": np.array(["jazz", "polka", "rock"], object)[numbers % 3],
        }
    )
    table.loc[4, "genre"] = ""
    return table


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return fixtures.write_cache(tmp_path_factory.mktemp("cache") / "made_up.h5")


def make_experiment(cache, out, **changes) -> Experiment:
    """Return an experiment in which four artists have groups and the fifth artist has none."""
    proportions = np.random.default_rng(0).dirichlet(np.ones(4), 4)
    found = ArtistGroups(np.array(NAMES, object), proportions, np.full((4, 2), 0.5))
    mean, std = np.full(128, -10.0), np.full(128, 8.0)
    groups = GroupsFile(mean, std, {"s": found}, ["a", "b"], {"x": 1})
    tracks = training_tracks()
    genres, targets = group_targets(tracks, groups.groups, "split.csv")
    config = replace(CONFIG, **changes)
    return Experiment(out, tracks, genres, targets, cache, groups, config, Devices())


@pytest.fixture(scope="module")
def trained(cache, tmp_path_factory) -> Experiment:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX compiles so many networks for minutes; one MTN is trained by each backend")
    experiment = make_experiment(cache, tmp_path_factory.mktemp("agf"))
    experiment.train(RUNS)
    return experiment


def load_last(folder) -> network_file.GroupNetworks:
    return network_file.load_networks(folder / "networks" / "last.h5")


def assert_same_weights(one, other):
    for ours, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(np.array(ours), np.array(theirs))


@pytest.mark.slow
@pytest.mark.backend
def test_mtn_can_be_trained_with_any_backend(cache, tmp_path):
    make_experiment(cache, tmp_path, mtn_epochs=5).train([MTN])
    features = feature_file.read_features(tmp_path / "mtn_gs_0" / "features.h5")
    assert features.features.shape == (fixtures.TRACKS, 512)
    assert features.probabilities.shape == (fixtures.TRACKS, 3)
    assert len(pd.read_csv(tmp_path / "mtn_gs_0" / "networks" / "log.csv")) == 5


def test_each_run_writes_its_own_folder(trained):
    names = {path.name for path in trained.out.iterdir()}
    assert names == {"stn_g_0", "stn_s_0", "stn_gs_0", "mtn_gs_0", "wstn_2_0"}
    for name in names:
        files = {path.name for path in (trained.out / name).iterdir()}
        own = set() if name == "stn_gs_0" else {"networks"}
        assert files == {"model.h5", "features.h5"} | own


def test_multi_task_stn_run_reuses_the_single_task_networks(trained):
    together = network_file.load_networks(trained.out / "stn_gs_0" / "model.h5").networks
    for task in "gs":
        assert_same_weights(together[task], load_last(trained.out / f"stn_{task}_0").networks[task])


def test_mtn_shares_its_first_block_and_trains_one_task_per_epoch(trained):
    g, s = load_last(trained.out / "mtn_gs_0").networks.values()
    assert_same_weights(g.get_layer("first"), s.get_layer("first"))
    kernels = [np.array(network.get_layer("conv2").kernel) for network in (g, s)]
    assert (kernels[0] != kernels[1]).any()
    log = pd.read_csv(trained.out / "mtn_gs_0" / "networks" / "log.csv")
    assert len(log) == 10 and set(log["network"]) == {0, 1}


def test_wstn_has_as_many_weights_as_the_stns_of_its_task_set(trained):
    wide = load_last(trained.out / "wstn_2_0")
    wanted = count_parameters(3) + count_parameters(4)
    assert list(wide.networks) == ["g"] and 1 < wide.width < 2
    assert wide.networks["g"].count_params() == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("name", ["stn_gs_0", "wstn_2_0"])
def test_run_features_match_the_output_of_the_model_file(name, trained, cache):
    features = feature_file.read_features(trained.out / name / "features.h5")
    function, origin, trained_on, classes = feature_extractor(
        str(trained.out / name / "model.h5"), mirror=None, seed=0, mean_and_std=None
    )
    expected = np.stack(list(function(cache[track] for track in cache.track_id)))
    both = np.concatenate([features.features, features.probabilities], axis=1)
    np.testing.assert_allclose(both, expected, atol=2e-4)
    assert list(features.classes) == list(classes) == ["jazz", "polka", "rock"]
    assert features.inputs == {"weights": origin, "input": {"cache": {"made": "up"}}}
    assert list(features.trained_on) == list(trained_on) == [*NAMES, "artist 4"]
    assert list(features.track_id) == list(cache.track_id)


def test_complete_runs_are_skipped(trained, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    for name in ("fit", "train_mlp"):
        monkeypatch.setattr(training, name, lambda *_, **__: pytest.fail("trained again"))
    trained.train(RUNS)
    assert len(caplog.messages) == 5
    assert all(line.endswith(": already complete") for line in caplog.messages)


def test_missing_feature_file_is_recreated_from_existing_networks(trained):
    path = trained.out / "stn_gs_0" / "features.h5"
    before = feature_file.read_features(path)
    path.unlink()
    trained.train([TaskSet("stn", "gs")])
    after = feature_file.read_features(path)
    np.testing.assert_array_equal(after.features, before.features)
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=1e-6)


class Killed(Exception):
    """Exception that ends a training run in the way a kill would."""


@pytest.mark.slow
def test_resumed_mtn_is_bit_identical(trained, cache, tmp_path, monkeypatch):
    """Test that a resumed run restores the task order and the moments of each optimizer."""
    write_epoch = TrainingRun.write_epoch

    def write_and_die(run, models, state, *, best):
        write_epoch(run, models, state, best=best)
        if state.epochs in (3, 4):
            raise Killed

    experiment = make_experiment(cache, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "write_epoch", write_and_die)
        for _ in range(2):
            with pytest.raises(Exception, match=r"Killed|^$"):
                experiment.train([MTN])
    experiment.train([MTN])
    ours, theirs = (load_last(each.out / "mtn_gs_0").networks for each in (experiment, trained))
    for task in "gs":
        assert_same_weights(ours[task], theirs[task])


def test_existing_runs_with_different_settings_are_rejected(trained, cache):
    stn = [TaskSet("stn", "g")]
    with pytest.raises(InputError, match=r"stn_g_0.*settings\.rate: 0\.001 -> 0\.1"):
        make_experiment(cache, trained.out, learning_rate=0.1).train(stn)
    with pytest.raises(InputError, match=r"model\.h5: already there.*mlp_epochs: 3 -> 4"):
        make_experiment(cache, trained.out, mlp_epochs=4).train(stn)
    assert (trained.out / "stn_g_0" / "features.h5").exists()


# ---------------------------------------------------------------- classifier


def make_parts() -> list[Segments]:
    """Return features of four tracks from two networks; each row encodes its track and segment."""
    start = np.array([0, 3, 4, 6, 11])
    tracks = np.repeat(np.arange(4), np.diff(start))
    rows = np.tile((100 * tracks + np.arange(11) - start[tracks])[:, None], (1, 256))
    return [Segments(rows.astype(np.float32) + shift, start) for shift in (0, 1000)]


def test_draw_segments_yields_one_random_segment_per_track_and_epoch():
    tracks, targets = np.array([3, 0, 2]), np.eye(3, dtype=np.float32)
    batches = list(
        classifier.draw_segments(make_parts(), tracks, targets, epochs=200, batch_size=2, seed=0)
    )
    assert [len(x) for x, _ in batches] == [2, 1] * 200
    x, y = (np.concatenate(each) for each in zip(*batches, strict=True))
    np.testing.assert_array_equal(x[:, 256:], x[:, :256] + 1000)
    track, segment = np.divmod(x[:, 0].astype(int), 100)
    np.testing.assert_array_equal(track, tracks[y.argmax(axis=1)])
    assert (track.reshape(200, 3).sum(axis=1) == 5).all(), "each track once per epoch"
    for number, count in ((3, 5), (0, 3), (2, 2)):
        drawn = np.bincount(segment[track == number], minlength=count)
        assert len(drawn) == count and drawn.min() > 0.6 * 200 / count
    assert len({tuple(of_epoch) for of_epoch in track.reshape(200, 3)}) == 6, "shuffled"


@pytest.mark.parametrize("tracks_per_batch", [1, 3, 256])
def test_predict_tracks_averages_over_segments(monkeypatch, tracks_per_batch):
    monkeypatch.setattr(classifier, "_TRACKS", tracks_per_batch)
    mlp, parts = build_mlp(512, 3), make_parts()
    rows = np.concatenate([part.rows for part in parts], axis=1)
    predicted = keras.ops.convert_to_numpy(mlp(rows))
    features, probabilities = classifier.predict_tracks(parts, mlp)
    for track, (first, stop) in enumerate(((0, 3), (3, 4), (4, 6), (6, 11))):
        np.testing.assert_allclose(features[track], rows[first:stop].mean(axis=0))
        expected = predicted[first:stop].mean(axis=0)
        np.testing.assert_allclose(probabilities[track], expected, atol=1e-5)


@pytest.mark.backend
def test_train_mlp_learns_separable_classes():
    random = np.random.default_rng(0)
    start, classes = np.arange(0, 61, 3), np.arange(20) % 2
    rows = random.normal(size=(60, 256)).astype(np.float32) + 2 * np.repeat(classes, 3)[:, None]
    parts = [Segments(rows, start)]
    mlp, loss = classifier.train_mlp(
        parts,
        np.arange(20),
        np.eye(2, dtype=np.float32)[classes],
        epochs=30,
        batch_size=8,
        learning_rate=1e-3,
        seed=0,
        name="test",
    )
    assert loss < 0.1
    _, probabilities = classifier.predict_tracks(parts, mlp)
    assert (probabilities.argmax(axis=1) == classes).all()
