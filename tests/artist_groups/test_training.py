"""Test agf2018 runs by the script train_agf.py, and the genre classifier."""

import h5py
import numpy as np
import pandas as pd
import pytest

from artist_groups import classifier, group_networks, network_file
from artist_groups.classifier import Segments
from artist_groups.group_networks import build_mlp, count_parameters
from artist_groups.task_sets import GroupTrainingConfig
from common import feature_file
from data_prep import split_csv
from models.keras_backend import keras
from tests.conftest import error_in_process, run_in_process
from training.checkpoints import TrainingRun

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # raised in get_weights
MTN = ("--kinds", "mtn", "--tasks", "gs")
FEW = ("--epochs", 1, "--mtn-epochs", 5, "--mlp-epochs", 2, "--batch-size", 9)


@pytest.fixture(scope="module", autouse=True)
def shallow_networks():
    """Use three of the seven convolutional layers, because compiling all of them is slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_networks, "REST", group_networks.REST[::5])
        yield


@pytest.fixture(scope="module")
def corpus(small_corpus, tmp_path_factory):
    """Return (split, cache, groups); one artist has no sub-genres, and another no genre."""
    split, _, cache = small_corpus
    folder = tmp_path_factory.mktemp("agf")
    table = split_csv.read_split(split)
    numbers = pd.factorize(table["artist"])[0]
    table["subgenres"] = np.array(["dub|roots", "dub", "swing|ballad", ""], object)[numbers]
    table.loc[:2, "genre"] = ""
    split, groups = folder / "small.csv", folder / "groups.h5"
    split_csv.write_split(table, split, {"inputs": {}})
    options = ("--words", "s", "--subgenres", "subgenres", "--groups", 3)
    run_in_process("data_prep/2b_artist_groups.py", split, cache, "--out", groups, *options)
    return split, cache, groups


def train(corpus, out, *options, run=run_in_process):
    return run("train_agf.py", *corpus, "--out", out, *FEW, "--steps-per-call", 1, *options)


@pytest.fixture(scope="module")
def trained(corpus):
    """Train an STN, an MTN and a wSTN, and return the folder of the runs."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX compiles so many networks for minutes; one MTN is trained by each backend")
    out = corpus[0].parent / "runs"
    lines = train(corpus, out, "--tasks", "gs").lines
    assert lines[0].endswith("small.csv: 3 training tracks without genre: not in the task g")
    assert lines[1].endswith("3 training tracks without artist groups: not in the task s")
    return out


def load_last(folder) -> network_file.GroupNetworks:
    return network_file.load_networks(folder / "networks" / "last.h5")


def assert_same_weights(one, other):
    for ours, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(np.array(ours), np.array(theirs))


@pytest.mark.slow
@pytest.mark.backend
def test_mtn_can_be_trained_with_any_backend(corpus, tmp_path):
    train(corpus, tmp_path, *MTN)
    features = feature_file.read_features(tmp_path / "mtn_gs_0" / "features.h5")
    assert features.features.shape == (24, 512) and features.probabilities.shape == (24, 2)
    assert len(pd.read_csv(tmp_path / "mtn_gs_0" / "networks" / "log.csv")) == 5


def test_complete_runs_have_their_own_folders_and_are_skipped(trained, corpus):
    files = {path.name: {file.name for file in path.iterdir()} for path in trained.iterdir()}
    outputs, networks = {"model.h5", "features.h5"}, {"networks"}
    assert files == {
        **{"stn_g_0": networks, "stn_s_0": networks, "stn_gs_0": outputs},
        **{"mtn_gs_0": outputs | networks, "wstn_2_0": outputs | networks},
    }
    lines = train(corpus, trained, "--tasks", "gs").lines[2:]
    names = ("stn_gs_0", "mtn_gs_0", "wstn_2_0")
    assert lines == [f"{trained / name}: already complete" for name in names]


def test_multi_task_stn_run_reuses_the_single_task_networks(trained):
    together = network_file.load_networks(trained / "stn_gs_0" / "model.h5").networks
    for task in "gs":
        assert_same_weights(together[task], load_last(trained / f"stn_{task}_0").networks[task])


def test_mtn_shares_its_first_block_and_trains_one_task_per_epoch(trained):
    g, s = load_last(trained / "mtn_gs_0").networks.values()
    assert_same_weights(g.get_layer("first"), s.get_layer("first"))
    kernels = [np.array(network.get_layer("conv2").kernel) for network in (g, s)]
    assert (kernels[0] != kernels[1]).any()
    log = pd.read_csv(trained / "mtn_gs_0" / "networks" / "log.csv")
    assert len(log) == 5 and set(log["network"]) == {0, 1}


def test_wstn_has_as_many_weights_as_the_stns_of_its_task_set(trained):
    wide = load_last(trained / "wstn_2_0")
    wanted = count_parameters(2) + count_parameters(3)
    assert list(wide.networks) == ["g"] and 1 < wide.width < 2
    assert wide.networks["g"].count_params() == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("run", ["stn_gs_0", pytest.param("wstn_2_0", marks=pytest.mark.slow)])
def test_extract_features_reproduces_the_features_of_a_run(run, trained, corpus, tmp_path):
    out = tmp_path / "again.h5"
    run_in_process("extract_features.py", trained / run / "model.h5", corpus[1], "--out", out)
    again, before = map(feature_file.read_features, (out, trained / run / "features.h5"))
    np.testing.assert_allclose(again.features, before.features, atol=1e-4)
    np.testing.assert_allclose(again.probabilities, before.probabilities, atol=1e-4)
    assert again.inputs == before.inputs and list(again.trained_on) == list(before.trained_on)
    assert list(again.classes) == list(before.classes) and len(before.classes) == 2


def test_run_features_can_be_evaluated_and_tabulated(trained, corpus, tmp_path):
    features, json = trained / "mtn_gs_0" / "features.h5", tmp_path / "mtn_gs_0.json"
    genre = run_in_process("evaluate.py", "genre", features, corpus[0], "--json", json)
    name, value = genre.lines[-1].split()
    assert name == "log_loss" and 0 < float(value) < 20
    tables = run_in_process("evaluate.py", "tables", "--results", tmp_path)
    row = next(line for line in tables.lines if line.startswith("| gs |"))
    assert f"{float(value):.4f}" in row


@pytest.mark.slow
def test_missing_feature_file_is_recreated_from_existing_networks(trained, corpus):
    path = trained / "stn_gs_0" / "features.h5"
    before = feature_file.read_features(path)
    path.unlink()
    train(corpus, trained, "--kinds", "stn", "--tasks", "gs")
    after = feature_file.read_features(path)
    np.testing.assert_array_equal(after.features, before.features)
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=1e-6)


class Killed(Exception):
    """Exception that ends a training run in the way a kill would."""


@pytest.mark.slow
def test_resumed_mtn_is_bit_identical(trained, corpus, tmp_path, monkeypatch):
    """Test that a resumed run restores the task order and the moments of each optimizer."""
    write_epoch = TrainingRun.write_epoch

    def write_and_die(run, models, state, *, best):
        write_epoch(run, models, state, best=best)
        if state.epochs in (3, 4):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "write_epoch", write_and_die)
        for _ in range(2):
            with pytest.raises(Exception, match=r"Killed|^$"):
                train(corpus, tmp_path, *MTN)
    train(corpus, tmp_path, *MTN)
    ours, theirs = (load_last(out / "mtn_gs_0").networks for out in (tmp_path, trained))
    for task in "gs":
        assert_same_weights(ours[task], theirs[task])


@pytest.mark.slow
def test_mtn_with_more_epochs_equals_one_from_scratch(trained, corpus, tmp_path):
    """The classifier and the features of the run with fewer epochs are made again."""
    command = (corpus, tmp_path, *MTN, "--mtn-epochs")
    train(*command, 2)
    lines = train(*command, 5).lines
    run = tmp_path / "mtn_gs_0"
    assert f"{run / 'networks'}: resuming after epoch 2 of 5" in lines
    ours, theirs = (load_last(folder) for folder in (run, trained / "mtn_gs_0"))
    for task in "gs":
        assert_same_weights(ours.networks[task], theirs.networks[task])
    features, expected = (
        feature_file.read_features(folder / "mtn_gs_0/features.h5").features
        for folder in (tmp_path, trained)
    )
    np.testing.assert_array_equal(features, expected)
    assert train(*command, 5).lines[-1] == f"{run}: already complete"
    options = ("train_agf.py", *corpus, "--out", tmp_path, *FEW, *MTN, "--mtn-epochs", 4)
    assert "contains 5 epochs of training, more than the 4 requested" in error_in_process(*options)


def test_existing_runs_with_different_settings_are_rejected(trained, corpus):
    options = ("--kinds", "stn", "--tasks", "gs")
    message = train(corpus, trained, *options, "--learning-rate", 0.1, run=error_in_process)
    assert "stn_g_0" in message and "settings.rate: 0.001 -> 0.1" in message
    message = train(corpus, trained, *options, "--mlp-epochs", 4, run=error_in_process)
    assert "model.h5: already there" in message and "mlp_epochs: 2 -> 4" in message


def test_train_agf_rejects_incompatible_inputs(corpus, small_corpus, tmp_path):
    def error(*files, options=()):
        return error_in_process("train_agf.py", *files, "--out", tmp_path / "runs", *options)

    for tasks in ("sg", "gx", "ge", "gg"):
        message = error(*corpus, options=("--tasks", tasks))
        assert (
            f"--tasks {tasks}: not a set of gs," in message and "has the vocabularies s" in message
        )
    message = error(*corpus, options=("--kinds", "mtn", "--tasks", "g"))
    assert "an mtn or wstn has two or more tasks" in message
    split, _, cache = small_corpus
    message = error(split, cache, corpus[2])
    assert "groups.h5" in message and "other inputs (split: " in message
    message = error(*corpus[:2], cache)
    assert "not a file of artist groups; make one with data_prep/2b_artist_groups.py" in message
    damaged = tmp_path / "damaged.h5"
    with h5py.File(damaged, "w") as file, h5py.File(corpus[2]) as whole:
        file.attrs.update(whole.attrs)
    assert "damaged.h5" in error(*corpus[:2], damaged)
    assert not (tmp_path / "runs").exists()


# ---------------------------------------------------------------- classifier


def make_parts() -> list[Segments]:
    """Return features of four tracks from two networks; each row encodes its track and segment."""
    start = np.array([0, 3, 4, 6, 11])
    tracks = np.repeat(np.arange(4), np.diff(start))
    rows = np.tile((100 * tracks + np.arange(11) - start[tracks])[:, None], (1, 256))
    return [Segments(rows.astype(np.float32) + shift, start) for shift in (0, 1000)]


def test_draw_segments_yields_one_random_segment_per_track_and_epoch():
    tracks, targets = np.array([3, 0, 2]), np.eye(3, dtype=np.float32)
    config = GroupTrainingConfig(mlp_epochs=200, batch_size=2)
    batches = list(classifier.draw_segments(make_parts(), tracks, targets, config))
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
    parts, targets = [Segments(rows, start)], np.eye(2, dtype=np.float32)[classes]
    config = GroupTrainingConfig(mlp_epochs=30, batch_size=10)
    mlp, loss = classifier.train_mlp(parts, np.arange(20), targets, config, "test")
    assert loss < 0.1
    _, probabilities = classifier.predict_tracks(parts, mlp)
    assert (probabilities.argmax(axis=1) == classes).all()
