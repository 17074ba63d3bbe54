"""The recognition systems on arrays: each scorer against the same thing written out."""

import numpy as np
import pytest

from common.errors import InputError
from data_prep.mel import FrontEnd
from data_prep.mfcc import MfccSettings
from evaluation.projection import fit_lda
from recognition import gmm_ubm, systems, verification
from recognition.ivector import Whitening
from recognition.ivector_model import IVectorModel
from recognition.plda import PLDA
from tests.evaluation import feature_files


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def unseen():
    table, features = feature_files.make_artists("abc", spread=1.0)
    who = verification.draw_enrolment(table["artist"], 3, 2, seed=0)
    return features, who


@pytest.fixture(scope="module")
def train():
    table, features = feature_files.make_artists("uvwxyz", spread=1.0)
    return features, table["artist"].to_numpy(object)


def test_cosine_is_of_the_mean_of_the_enrolment_songs(unseen):
    features, who = unseen
    means = np.stack([features[songs].mean(axis=0) for songs in who.enrolment])
    expected = unit(means) @ unit(features[who.test]).T
    np.testing.assert_allclose(systems.cosine_scorer(features)(who), expected, atol=1e-6)


@pytest.mark.parametrize("lda", [None, 3])
@pytest.mark.parametrize("songs", [1, 3])
def test_plda_is_of_whitened_unit_vectors_with_the_number_of_songs(unseen, train, lda, songs):
    features, who = unseen[0].astype(np.float64), unseen[1].truncate(songs)
    x, artists = train[0].astype(np.float64), train[1]
    if lda:
        projection = fit_lda(x, artists, lda)
        features, x = projection.apply(features), projection.apply(x)
    mean, covariance = x.mean(axis=0), np.cov(x.T, bias=True)
    values, axes = np.linalg.eigh(covariance)
    matrix = axes @ np.diag(values**-0.5) @ axes.T
    features, x = (unit((each - mean) @ matrix) for each in (features, x))
    means = np.stack([features[rows].mean(axis=0) for rows in who.enrolment])
    expected = PLDA.fit(x, artists).score(means, songs, features[who.test])
    found = systems.plda_scorer(unseen[0], *train, lda)(who)
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_plda_that_cannot_be_learnt_is_refused(unseen, train):
    features, artists = train
    with pytest.raises(InputError, match="of 4 dimensions, trained on those of 3"):
        systems.plda_scorer(unseen[0], features[:, :3], artists, None)
    with pytest.raises(InputError, match="each of the 36 artists has one song"):
        systems.plda_scorer(unseen[0], features, np.arange(36), None)
    flat = features.copy()
    flat[:, 1] = 7
    with pytest.raises(InputError, match=r"PLDA, whitening: 36 vectors .* span only 3.*--lda"):
        systems.plda_scorer(unseen[0], flat, artists, None)
    with pytest.raises(InputError, match="LDA: 6 dimensions from 6 artists"):
        systems.plda_scorer(unseen[0], features, artists, 6)


@pytest.fixture(scope="module")
def background():
    """An extractor of which the UBM alone is of use, and log-mels of three artists' songs."""
    random = np.random.default_rng(0)
    tilt = [np.linspace(a, b, 128) for a, b in ((1, 0.2), (0.2, 1), (0.7, 0.6))]
    mels = [
        (random.random((60, 128)) * tilt[artist]).astype(np.float32)
        for artist in range(3)
        for _ in range(feature_files.SONGS)
    ]
    mfcc = MfccSettings(6)
    frames = np.concatenate([mfcc.frames(mel, FrontEnd()) for mel in mels])
    ubm, _ = gmm_ubm.fit_gmm(lambda: [frames], 2, seed=0)
    made = IVectorModel(mfcc, FrontEnd(), ubm, None, Whitening(None, None), np.array([]), {})
    return made, mels


@pytest.mark.parametrize("songs", [1, 3])
def test_llr_is_that_of_each_artists_adapted_mixture(background, songs):
    made, mels = background
    who = verification.draw_enrolment(
        np.repeat(list("abc"), feature_files.SONGS), 3, 2, seed=1
    ).truncate(songs)
    frames = [made.frames(mel) for mel in mels]
    expected = np.empty((3, len(who.test)))
    for artist, rows in enumerate(who.enrolment):
        together = np.concatenate([frames[row] for row in rows])
        model = gmm_ubm.adapt_means(made.ubm, together, 8.0)
        for number, test in enumerate(who.test):
            expected[artist, number] = gmm_ubm.log_likelihood_ratio(model, made.ubm, frames[test])
    found = systems.llr_scorer(made, dict(enumerate(mels)), range(18), 8.0)(who)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.ptp(expected))
    assert verification.identification_accuracy(found, who.truth, (1,))[1] > 0.5


def test_a_silent_song_is_named(background):
    made, mels = background
    loud = IVectorModel(**{**vars(made), "mfcc": MfccSettings(6, level_range=40.0)})
    silent = [*mels[:4], np.zeros((50, 128), np.float32)]
    with pytest.raises(InputError, match="'e' has no frame that is loud enough"):
        systems.llr_scorer(loud, dict(zip("abcde", silent, strict=True)), list("abcde"), 16.0)


def test_late_fusion_is_of_the_systems_scores(unseen, train):
    features, who = unseen
    one, other = systems.cosine_scorer(features), systems.plda_scorer(features, *train, None)
    expected = systems.fuse_scores([one(who), other(who)])
    np.testing.assert_array_equal(systems.fuse_scorers([one, other])(who), expected)


def test_judged_over_draws_and_by_fewer_songs(unseen):
    features, _ = unseen
    names = np.repeat(list("abc"), feature_files.SONGS)
    draws = [verification.draw_enrolment(names, 4, 2, seed=seed) for seed in (0, 1)]
    scorer = systems.cosine_scorer(features)
    found = systems.evaluate_recognition("verification", scorer, draws, one_shot=True)
    each = [
        verification.equal_error_rate(*verification.split_trials(scorer(who), who.truth))
        for who in draws
    ]
    assert (found.metric, found.values, found.n_tracks) == ("eer", each, 18)
    assert found.details["target trials"] == 6 and found.details["impostor trials"] == 12
    by = found.details["by enrolment songs"]
    assert list(by) == ["1", "2", "4"]
    assert by["4"] == np.mean(found.values)
    fewer = [who.truncate(2) for who in draws]
    each = [
        verification.equal_error_rate(*verification.split_trials(scorer(who), who.truth))
        for who in fewer
    ]
    assert by["2"] == pytest.approx(np.mean(each))
    curve = found.details["DET"]
    assert len(curve["miss"]) == len(curve["false alarm"]) <= 200
    found = systems.evaluate_recognition("identification", scorer, draws, one_shot=False)
    top = [verification.identification_accuracy(scorer(who), who.truth, (1,))[1] for who in draws]
    assert (found.metric, found.values) == ("accuracy", top)
    assert found.details == {"top-3 accuracy": 1.0, "artists": 3}
