"""The runs of agf2018: which there are, what each makes, how they go on, what they refuse."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from artist_groups.groups_file import GroupsFile
from artist_groups.targets import group_targets

from artist_groups import classifier, group_networks, network_file, training
from artist_groups.classifier import Segments
from artist_groups.task_sets import KINDS, TaskSet, list_runs, list_task_sets
from artist_groups.topics import ArtistGroups
from artist_groups.training import Experiment, GroupTrainingConfig
from common import feature_file
from common.errors import InputError
from extract_features import feature_extractor
from models.keras_backend import keras
from tests.training import fixtures
from training.checkpoints import TrainingRun
from training.devices import Devices

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # in Keras' own get_weights
SETTINGS = GroupTrainingConfig(epochs=2, mtn_epochs=10, mlp_epochs=3, batch=8, rate=1e-3, seed=0)
NAMES = ["artist 0", "artist 1", "artist 2", "artist 3"]
RUNS = list_runs(KINDS, list_task_sets("gs"))


def split() -> pd.DataFrame:
    """Of the made-up cache: genre by class, the last six tracks to test, one without genre."""
    numbers = np.arange(fixtures.TRACKS)
    table = pd.DataFrame(
        {
            "track_id": [f"t{number}" for number in numbers],
            "path": [f"{number}.wav" for number in numbers],
            "subset": np.where(numbers < 30, "train", "test"),
            "artist": [f"artist {number % 5}" for number in numbers],
            "genre": np.array(["jazz", "polka", "rock"], object)[numbers % 3],
        }
    )
    table.loc[4, "genre"] = ""
    return table


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return fixtures.cache(tmp_path_factory.mktemp("cache") / "made_up.h5")


def experiment(cache, out, **changed) -> Experiment:
    """Groups of four artists; the fifth has none, and one track no genre."""
    random = np.random.default_rng(0)
    groups = ArtistGroups(
        np.array(NAMES, object), random.dirichlet(np.ones(4), 4), np.full((4, 2), 0.5)
    )
    prepared = GroupsFile(
        np.full(128, -10.0), np.full(128, 8.0), {"s": groups}, ["a", "b"], {"x": 1}
    )
    steps = fixtures.STEPS
    settings = replace(SETTINGS, **changed)
    train = split()[split()["subset"].eq("train")].reset_index(drop=True)
    genres, targets = group_targets(train, prepared.groups, "split.csv")
    given = train, genres, targets, cache, prepared
    return Experiment(out, *given, settings, Devices(), "stream", steps)


@pytest.fixture(scope="module")
def made(cache, tmp_path_factory) -> Experiment:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX compiles so many networks for minutes; one MTN is made with each backend")
    made = experiment(cache, tmp_path_factory.mktemp("agf"))
    made.make(RUNS)
    return made


def test_an_mtn_is_made_with_any_backend(cache, tmp_path):
    again = experiment(cache, tmp_path, mtn_epochs=5)
    again.make([TaskSet("mtn", "gs")])
    found = feature_file.read_features(tmp_path / "mtn_gs_0" / "features.h5")
    assert found.features.shape == (fixtures.TRACKS, 512) and found.probabilities.shape[1] == 3
    assert len(pd.read_csv(tmp_path / "mtn_gs_0" / "networks" / "log.csv")) == 5


def networks(folder) -> network_file.GroupNetworks:
    return network_file.load_networks(folder / "networks" / "last.h5")


def arrays(network) -> list[np.ndarray]:
    return [np.array(weight) for weight in network.weights]


def same(one, other) -> bool:
    pairs = zip(arrays(one), arrays(other), strict=True)
    return all(np.array_equal(ours, theirs) for ours, theirs in pairs)


def test_runs_of_the_paper():
    tasks = list_task_sets("gsedm")
    assert len(tasks) == 31 and tasks[:6] == ["g", "s", "e", "d", "m", "gs"]
    runs = list_runs(KINDS, tasks)
    kinds = [run.kind for run in runs]
    # An MTN of one task would be the STN of it.
    assert [kinds.count(kind) for kind in KINDS] == [31, 26, 4]
    assert runs[-1] == TaskSet("wstn", "gsedm") and runs[-1].name == "wstn_5"
    assert TaskSet("mtn", "gd").model == "mtn gd" and TaskSet("wstn", "gs").model == "wstn N=2"
    assert TaskSet("stn", "gd").of_networks == [
        TaskSet("stn", "g"),
        TaskSet("stn", "d"),
    ]
    assert list_runs(["wstn"], ["ged", "gsd", "g"]) == [TaskSet("wstn", "ged")]


def test_each_run_has_its_folder(made):
    found = {path.name for path in made.out.iterdir()}
    assert found == {"stn_g_0", "stn_s_0", "stn_gs_0", "mtn_gs_0", "wstn_2_0"}
    for name in found:
        files = {path.name for path in (made.out / name).iterdir()}
        own = set() if name == "stn_gs_0" else {"networks"}
        assert files == {"model.h5", "features.h5"} | own


def test_an_stn_of_several_tasks_takes_the_networks_of_the_single_ones(made):
    together = network_file.load_networks(made.out / "stn_gs_0" / "model.h5").networks
    for task in "gs":
        alone = networks(made.out / f"stn_{task}_0").networks[task]
        assert same(together[task], alone)


def test_an_mtn_shares_its_first_block_and_trains_one_task_an_epoch(made):
    both = networks(made.out / "mtn_gs_0").networks
    first = {task: arrays(network.get_layer("first")) for task, network in both.items()}
    for ours, theirs in zip(first["g"], first["s"], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    kernels = [np.array(network.get_layer("conv2").kernel) for network in both.values()]
    assert (kernels[0] != kernels[1]).any()
    log = pd.read_csv(made.out / "mtn_gs_0" / "networks" / "log.csv")
    assert len(log) == 10 and set(log["network"]) == {0, 1}


def test_a_wide_network_has_the_weights_of_the_set(made):
    wide = networks(made.out / "wstn_2_0")
    wanted = group_networks.count_parameters(3) + group_networks.count_parameters(4)
    assert list(wide.networks) == ["g"]
    assert wide.networks["g"].count_params() == pytest.approx(wanted, rel=0.01)
    assert 1 < wide.width < 2


@pytest.mark.parametrize("name", ["stn_gs_0", "wstn_2_0"])
def test_features_are_those_that_the_networks_give(name, made, cache):
    found = feature_file.read_features(made.out / name / "features.h5")
    function, origin, trained_on, classes = feature_extractor(
        str(made.out / name / "model.h5"), mirror=None, seed=0, mean_and_std=None
    )
    expected = np.stack(list(function(cache[track] for track in cache.track_id)))
    both = np.concatenate([found.features, found.probabilities], axis=1)
    np.testing.assert_allclose(both, expected, atol=2e-4)
    assert list(found.classes) == list(classes) == ["jazz", "polka", "rock"]
    assert found.inputs == {"weights": origin, "input": {"cache": {"made": "up"}}}
    assert list(found.trained_on) == list(trained_on) == [*NAMES, "artist 4"]
    assert list(found.track_id) == list(cache.track_id)


def test_what_is_complete_is_passed_over(made, monkeypatch, capsys):
    for name in ("fit", "train_mlp"):
        monkeypatch.setattr(training, name, lambda *_, **__: pytest.fail("made again"))
    made.make(RUNS)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 5 and all(line.endswith(": complete already") for line in said)


def test_killed_before_its_features_are_whole_it_makes_the_same(made, monkeypatch):
    path = made.out / "stn_gs_0" / "features.h5"
    before = feature_file.read_features(path)
    path.unlink()
    made.make([TaskSet("stn", "gs")])
    after = feature_file.read_features(path)
    np.testing.assert_array_equal(after.features, before.features)
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=1e-6)


class Killed(Exception):
    """Ends a training as a kill would."""


def test_an_mtn_killed_between_epochs_comes_to_the_same_end(made, cache, tmp_path, monkeypatch):
    """What a kill would lose: which task's turn it is, and each one's own moments."""
    keep = TrainingRun.keep

    def dies(run, models, state, *, best):
        keep(run, models, state, best=best)
        if state.epochs in (3, 4):
            raise Killed

    again = experiment(cache, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "keep", dies)
        for _ in range(2):
            with pytest.raises(Exception, match=r"Killed|^$"):
                again.make([TaskSet("mtn", "gs")])
    again.make([TaskSet("mtn", "gs")])
    ours, theirs = (networks(each.out / "mtn_gs_0").networks for each in (again, made))
    for task in "gs":
        assert same(ours[task], theirs[task])


def test_other_settings_are_refused_but_not_those_of_the_classifier_alone(made, cache):
    with pytest.raises(InputError, match=r"stn_g_0.*settings\.rate: 0\.001 -> 0\.1"):
        experiment(cache, made.out, rate=0.1).make([TaskSet("stn", "g")])
    with pytest.raises(InputError, match=r"model\.h5: already there.*mlp_epochs: 3 -> 4"):
        experiment(cache, made.out, mlp_epochs=4).make([TaskSet("stn", "g")])
    assert (made.out / "stn_g_0" / "features.h5").exists()


# ---------------------------------------------------------------- the classifier


def parts() -> list[Segments]:
    """Two networks' features of four tracks; a row tells its track and segment."""
    start = np.array([0, 3, 4, 6, 11])
    tracks = np.repeat(np.arange(4), np.diff(start))
    rows = np.tile((100 * tracks + np.arange(11) - start[tracks])[:, None], (1, 256))
    return [Segments(rows.astype(np.float32) + shift, start) for shift in (0, 1000)]


def test_the_classifier_draws_a_segment_of_each_track_an_epoch():
    tracks, shares = np.array([3, 0, 2]), np.eye(3, dtype=np.float32)
    given = classifier.draw_segments(parts(), tracks, shares, epochs=200, batch=2, seed=0)
    batches = list(given)
    assert [len(x) for x, _ in batches] == [2, 1] * 200
    x, y = (np.concatenate(each) for each in zip(*batches, strict=True))
    np.testing.assert_array_equal(x[:, 256:], x[:, :256] + 1000)
    track, segment = np.divmod(x[:, 0].astype(int), 100)
    np.testing.assert_array_equal(track, tracks[y.argmax(axis=1)])
    assert (track.reshape(200, 3).sum(axis=1) == 5).all(), "each track once an epoch"
    for one, count in ((3, 5), (0, 3), (2, 2)):
        drawn = np.bincount(segment[track == one], minlength=count)
        assert len(drawn) == count and drawn.min() > 0.6 * 200 / count
    assert len({tuple(of_epoch) for of_epoch in track.reshape(200, 3)}) == 6, "shuffled"


def test_tracks_are_judged_by_the_mean_of_their_segments(monkeypatch):
    mlp = group_networks.build_mlp(512, 3)
    both = np.concatenate([part.rows for part in parts()], axis=1)
    of_segments = keras.ops.convert_to_numpy(mlp(both))
    for at_a_time in (1, 3, 256):
        monkeypatch.setattr(classifier, "_TRACKS", at_a_time)
        features, probabilities = classifier.predict_tracks(parts(), mlp)
        for track, (first, after) in enumerate(((0, 3), (3, 4), (4, 6), (6, 11))):
            np.testing.assert_allclose(features[track], both[first:after].mean(axis=0))
            expected = of_segments[first:after].mean(axis=0)
            np.testing.assert_allclose(probabilities[track], expected, atol=1e-5)


def test_a_classifier_learns_what_features_tell():
    random = np.random.default_rng(0)
    start = np.arange(0, 61, 3)
    classes = np.repeat(np.arange(20) % 2, 3)
    rows = random.normal(size=(60, 256)).astype(np.float32) + 2 * classes[:, None]
    mlp, loss = classifier.train_mlp(
        [Segments(rows, start)],
        np.arange(20),
        np.eye(2, dtype=np.float32)[classes[::3]],
        epochs=30,
        batch=8,
        rate=1e-3,
        seed=0,
        name="test",
    )
    assert loss < 0.1
    _, probabilities = classifier.predict_tracks([Segments(rows, start)], mlp)
    assert (probabilities.argmax(axis=1) == np.arange(20) % 2).all()
