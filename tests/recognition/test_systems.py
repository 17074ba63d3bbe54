"""Test recognition systems: scorers and fusion against formulas, and systems loaded from files."""

import numpy as np
import pytest

from common.errors import InputError
from data_prep.mel import FrontEnd
from data_prep.mfcc import MfccSettings, mfcc_frames
from evaluation.projection import fit_lda
from recognition import gmm_ubm, systems
from recognition import verification as v
from recognition.ivector_model import IVectorModel
from recognition.plda import PLDA
from recognition.verification import draw_enrolment
from tests.evaluation import feature_files
from tests.recognition.formulas import expected_llr


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def unseen():
    table, features = feature_files.make_artists("abc", spread=1.0)
    return features, draw_enrolment(table["artist"], 3, 2, seed=0)


@pytest.fixture(scope="module")
def train():
    table, features = feature_files.make_artists("uvwxyz", spread=1.0)
    return features, table["artist"].to_numpy(object)


def test_cosine_scorer_uses_the_mean_of_enrolment_tracks(unseen):
    features, enrolment = unseen
    means = np.stack([features[rows].mean(axis=0) for rows in enrolment.enrol_rows])
    expected = unit(means) @ unit(features[enrolment.test_rows]).T
    scores = systems.cosine_scorer(features)(enrolment)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_cosine_scores_round_to_ties_and_are_zero_for_zero_vectors():
    models = np.random.default_rng(0).normal(size=(1, 7)) * np.array([[1], [1 / 3], [1e9]])
    scores = systems.cosine_scores(models, np.random.default_rng(1).normal(size=(5, 7)))
    assert (scores == scores[0]).all()
    assert systems.cosine_scores([[0, 0], [1, 1]], [[1, 0]]).T.tolist() == [[0, 0.7071067812]]


def test_cosine_scorer_rejects_nan():
    enrolment = draw_enrolment(list("aabb"), 1, 1, seed=0)
    with pytest.raises(InputError, match="NaN or infinite values"):
        systems.cosine_scorer(np.full((4, 2), np.nan))(enrolment)


@pytest.mark.parametrize(("lda", "tracks"), [(None, 3), (3, 1)])
def test_plda_scorer_uses_whitened_vectors_and_the_number_of_tracks(unseen, train, lda, tracks):
    features, enrolment = unseen[0].astype(np.float64), unseen[1].truncate(tracks)
    x, artists = train[0].astype(np.float64), train[1]
    if lda:
        projection = fit_lda(x, artists, lda)
        features, x = projection.apply(features), projection.apply(x)
    mean, covariance = x.mean(axis=0), np.cov(x.T, bias=True)
    values, axes = np.linalg.eigh(covariance)
    matrix = axes @ np.diag(values**-0.5) @ axes.T
    features, x = (unit((each - mean) @ matrix) for each in (features, x))
    means = np.stack([features[rows].mean(axis=0) for rows in enrolment.enrol_rows])
    expected = PLDA.fit(x, artists).score(means, tracks, features[enrolment.test_rows])
    scores = systems.plda_scorer(unseen[0], *train, lda)(enrolment)
    np.testing.assert_allclose(scores, expected, atol=1e-8)


def test_plda_scorer_rejects_constant_training_features(unseen, train):
    constant = train[0] * [1, 0, 1, 1]
    with pytest.raises(InputError, match=r"PLDA, whitening: 36 vectors .* span only 3.*--lda"):
        systems.plda_scorer(unseen[0], constant, train[1], None)


@pytest.fixture(scope="module")
def background():
    """Return an i-vector model with only a UBM, and log-mels of tracks by three artists."""
    tilt = [np.linspace(a, b, 128) for a, b in ((1, 0.2), (0.2, 1), (0.7, 0.6))]
    noise = np.random.default_rng(0).random((18, 60, 128))
    mels = list((noise * np.repeat(tilt, 6, axis=0)[:, None]).astype(np.float32))
    mfcc = MfccSettings(6)
    frames = np.concatenate([mfcc_frames(mel, settings=mfcc) for mel in mels])
    ubm, _ = gmm_ubm.fit_gmm(frames, 2, seed=0)
    return IVectorModel(mfcc, FrontEnd(), ubm, None, None, np.array([]), {}), mels


@pytest.mark.parametrize("tracks", [1, 3])
def test_llr_scorer_uses_each_artists_adapted_mixture(background, tracks):
    model, mels = background
    artists = np.repeat(list("abc"), feature_files.SONGS)
    enrolment = draw_enrolment(artists, 3, 2, seed=1).truncate(tracks)
    frames = [model.extract_frames(mel) for mel in mels]
    ubm, expected = model.ubm, np.empty((3, len(enrolment.test_rows)))
    for artist, rows in enumerate(enrolment.enrol_rows):
        statistics = ubm.statistics(np.concatenate([frames[row] for row in rows]))
        adapted = gmm_ubm.adapt_means(ubm, *statistics, 8.0)
        for number, row in enumerate(enrolment.test_rows):
            expected[artist, number] = expected_llr(adapted, ubm, frames[row])
    scores = systems.llr_scorer(model, dict(enumerate(mels)), range(18), 8.0)(enrolment)
    np.testing.assert_allclose(scores, expected, atol=1e-3 * np.ptp(expected))
    assert v.identification_accuracy(scores, enrolment.truth) > 0.5


def test_llr_scorer_error_names_a_silent_track(background):
    model, mels = background
    loud = IVectorModel(**{**vars(model), "mfcc": MfccSettings(6, level_range=40.0)})
    with_silence = [*mels[:4], np.zeros((50, 128), np.float32)]
    with pytest.raises(InputError, match="'e' has no frame that is loud enough"):
        systems.llr_scorer(loud, dict(zip("abcde", with_silence, strict=True)), list("abcde"), 16.0)


def test_early_fusion_weights_all_parts_equally():
    random = np.random.default_rng(0)
    parts = random.normal(size=(8, 3)), 1000 * random.normal(size=(8, 5))
    fused = systems.concatenate_features(parts)
    assert fused.shape == (8, 8)
    cosines = [systems.cosine_scores(part, part) for part in (*parts, fused)]
    np.testing.assert_allclose(cosines[2], (cosines[0] + cosines[1]) / 2, atol=1e-9)


def test_late_fusion_averages_normalised_scores(unseen, train):
    features, enrolment = unseen
    scorers = systems.cosine_scorer(features), systems.plda_scorer(features, *train, None)
    scores = [scorer(enrolment) for scorer in scorers]
    expected = np.mean([(each - each.mean()) / each.std() for each in scores], axis=0)
    rescaled = systems.fuse_scores([scores[0], 50 * scores[1] - 300])
    np.testing.assert_allclose(rescaled, expected, atol=1e-9)
    with pytest.raises(InputError, match="every score of system 2 is 1; leave"):
        systems.fuse_scores([np.eye(2), np.ones((2, 2))])


def test_evaluation_averages_smaller_enrolments_over_draws(unseen):
    artists = np.repeat(list("abc"), feature_files.SONGS)
    draws = [draw_enrolment(artists, 4, 2, seed=seed) for seed in (0, 1)]
    scorer = systems.cosine_scorer(unseen[0])

    def eer(draw):
        return v.equal_error_rate(*v.split_trials(scorer(draw), draw.truth))

    protocols = ("verification", "identification")
    result, other = systems.evaluate_recognition(protocols, scorer, draws, one_shot=True).values()
    expected = [eer(draw) for draw in draws]
    assert (result.metric, result.values, result.n_tracks) == ("eer", expected, 18)
    assert result.details["target trials"] == 6 and result.details["impostor trials"] == 12
    by_size = result.details["by enrolment songs"]
    assert list(by_size) == ["1", "2", "4"] and by_size["4"] == np.mean(expected)
    assert by_size["2"] == pytest.approx(np.mean([eer(draw.truncate(2)) for draw in draws]))
    curve = result.details["DET"]
    assert len(curve["miss"]) == len(curve["false alarm"]) <= 200
    accuracies = [v.identification_accuracy(scorer(draw), draw.truth) for draw in draws]
    assert other.details["by enrolment songs"]["4"] == np.mean(accuracies)
    alone = systems.evaluate_recognition(protocols[1:], scorer, draws, one_shot=False)
    result = alone["identification"]
    assert (result.metric, result.values) == ("accuracy", accuracies)
    assert set(result.details) == {"top-3 accuracy", "artists", "per track"}
    assert (result.details["top-3 accuracy"], result.details["artists"]) == (1, 3)


@pytest.fixture
def files(tmp_path):
    """Write feature files and splits of several models; return {name: (features, split)}."""

    def write(name, artists, seed, d, **options):
        table, features = feature_files.make_artists(artists, seed, d=d)
        return feature_files.write_files(tmp_path, name, table, features, **options)

    ivector = {"seed": 1, "d": 3, "model": "ivector"}
    return {
        "cnn": write("cnn", "abc", 0, 4, trained_on=tuple("uvwxyz")),
        "cnn_train": write("cnn_train", "uvwxyz", 0, 4),
        "ivector": write("ivector", "abc", failed=("b4",), **ivector),
        "ivector_train": write("ivector_train", "uvwxyz", failed=("u0", "u3"), **ivector),
        "siamese": write("siamese", "abc", 2, 4, model="siamese"),
        "other": write("other", "mno", 0, 4, model="ivector"),
    }


def load(files, first="cnn", scorer="cosine", **options):
    return systems.load_feature_system(*files[first], "artist", scorer=scorer, **options)


def score(system):
    return system.make_scorer()(draw(system))


def draw(system):
    return draw_enrolment(system.artists, 3, 2, seed=0)


def training_rows(table, artists):
    return table["artist"].isin(list(artists)) & table["subset"].eq("train")


def test_cosine_system_matches_cosine_scorer(files):
    system = load(files)
    table, features = feature_files.make_artists("abc")
    assert list(system.artists) == list(table["artist"])
    names = {"features": "basic_run cosine", "model": "DeepArtistID + cosine"}
    assert system.description == {**names, "artists": 3, "seed": None}
    expected = systems.cosine_scorer(features)(draw(system))
    np.testing.assert_array_equal(score(system), expected)
    # A fusion that is not in the paper is named after its features.
    fused = load(files, fusion="late", other_features=[files["siamese"][0]])
    assert fused.description["model"] == "late fusion of DeepArtistID and siamese + cosine"


def test_plda_system_trains_on_the_first_artists(files):
    table, features = feature_files.make_artists("uvwxyz")
    rows = training_rows(table, "uvwx").to_numpy()
    system = load(files, scorer="plda", train=files["cnn_train"], max_train_artists=4)
    artists = table["artist"].to_numpy(object)[rows]
    unseen = feature_files.make_artists("abc")[1]
    expected = systems.plda_scorer(unseen, features[rows], artists, None)(draw(system))
    np.testing.assert_array_equal(score(system), expected)
    assert system.description["model"] == "DeepArtistID + PLDA"
    other = load(files, scorer="plda", train=files["cnn_train"], max_train_artists=5)
    assert other.inputs != system.inputs


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_fusion_system_uses_only_tracks_with_both_features(files, fusion):
    others = [files["ivector"][0], files["ivector_train"][0]]
    options = {"train": files["cnn_train"], "fusion": fusion, "other_features": others}
    system = load(files, scorer="plda", **options)
    assert system.description["model"] == f"{fusion} fusion + PLDA"
    assert system.description["features"] == f"basic_run and ivector_run {fusion} plda"
    table, train = (feature_files.make_artists(names)[0] for names in ("abc", "uvwxyz"))
    rows = table["track_id"].ne("b4").to_numpy()
    train_rows = (training_rows(train, "uvwxyz") & train["track_id"].ne("u0")).to_numpy()
    assert len(system.artists) == rows.sum() == 17
    parts = [
        (
            feature_files.make_artists("abc", seed, d=d)[1][rows],
            feature_files.make_artists("uvwxyz", seed, d=d)[1][train_rows],
        )
        for seed, d in ((0, 4), (1, 3))
    ]
    if fusion == "early":
        parts = [[np.hstack([unit(x) for x in pair]) for pair in zip(*parts, strict=True)]]
    artists = train["artist"].to_numpy(object)[train_rows]
    scores = [systems.plda_scorer(*part, artists, None)(draw(system)) for part in parts]
    expected = systems.fuse_scores(scores) if fusion == "late" else scores[0]
    np.testing.assert_allclose(score(system), expected, atol=1e-5)


def test_plda_training_artists_must_differ_from_the_artists_to_recognise(files):
    with pytest.raises(InputError, match="trained on 3 of 3 artists, the first 'a'"):
        load(files, scorer="plda", train=files["cnn"])


def test_incompatible_files_are_rejected(files):
    message = r"cnn\.h5 was made by basic_run, .*by ivector_run; extract"
    with pytest.raises(InputError, match=message):
        load(files, scorer="plda", train=files["ivector_train"])
    with pytest.raises(InputError, match=r"other\.h5: 18 of 18 tracks are missing, the first 'a0'"):
        load(files, fusion="late", other_features=[files["other"][0]])
