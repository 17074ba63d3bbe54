"""The recognition systems out of files: what fits together, and what is refused."""

import numpy as np
import pytest

from common.errors import InputError
from recognition import systems, verification
from tests.evaluation import feature_files


@pytest.fixture
def files(tmp_path):
    """{name: (features, split)} of the CNN and of i-vectors, of unseen and of training songs."""
    unseen, train = feature_files.make_artists("abc"), feature_files.make_artists("uvwxyz")
    found = {
        "cnn": feature_files.write_files(tmp_path, "cnn", *unseen, trained_on=tuple("uvwxyz")),
        "cnn_train": feature_files.write_files(tmp_path, "cnn_train", *train),
    }
    other, other_train = (
        feature_files.make_artists("abc", 1, d=3),
        feature_files.make_artists("uvwxyz", 1, d=3),
    )
    failed = {"model": "ivector", "failed": ("b4",)}
    found["ivector"] = feature_files.write_files(tmp_path, "ivector", *other, **failed)
    failed = {"model": "ivector", "failed": ("u0", "u3")}
    found["ivector_train"] = feature_files.write_files(
        tmp_path, "ivector_train", *other_train, **failed
    )
    return found


def system(files, first="cnn", scorer="cosine", **more):
    return systems.load_feature_system(*files[first], "artist", scorer=scorer, **more)


def rows(split, *names):
    """Which songs of some artists are in the training subset."""
    return split["artist"].isin(names) & split["subset"].eq("train")


def test_cosine_of_one_file(files):
    found = system(files)
    assert list(found.artists) == list(feature_files.make_artists("abc")[0]["artist"])
    assert found.description == {
        "features": "basic_run cosine",
        "model": "DeepArtistID + cosine",
        "artists": 3,
        "seed": None,
    }
    who = verification.draw_enrolment(found.artists, 3, 2, seed=0)
    expected = systems.cosine_scorer(feature_files.make_artists("abc")[1])(who)
    np.testing.assert_array_equal(found.make_scorer()(who), expected)


def test_plda_learns_from_the_training_songs_of_the_first_artists(files):
    table, features = feature_files.make_artists("uvwxyz")
    used = rows(table, *"uvwx").to_numpy()
    found = system(files, scorer="plda", train=files["cnn_train"], max_train_artists=4)
    who = verification.draw_enrolment(found.artists, 3, 2, seed=0)
    artists = table["artist"].to_numpy(object)[used]
    expected = systems.plda_scorer(
        feature_files.make_artists("abc")[1], features[used], artists, None
    )
    np.testing.assert_array_equal(found.make_scorer()(who), expected(who))
    assert found.description["model"] == "DeepArtistID + PLDA"
    fewer = system(files, scorer="plda", train=files["cnn_train"], max_train_artists=5)
    assert fewer.inputs != found.inputs  # so that a result is not taken for another


@pytest.mark.parametrize("fuse", ["early", "late"])
def test_fusion_is_of_the_songs_that_both_have(files, fuse, capsys):
    other = [files["ivector"][0], files["ivector_train"][0]]
    given = {"train": files["cnn_train"], "fusion": fuse, "other_features": other}
    found = system(files, scorer="plda", **given)
    assert len(found.artists) == 17 and "1 tracks left out" in capsys.readouterr().out
    assert found.description["model"] == f"{fuse} fusion + PLDA"
    assert found.description["features"] == f"basic_run and ivector_run {fuse} plda"
    table, _ = feature_files.make_artists("abc")
    train, _ = feature_files.make_artists("uvwxyz")
    kept = ~table["track_id"].eq("b4").to_numpy()
    used = (rows(train, *"uvwxyz") & ~train["track_id"].eq("u0")).to_numpy()
    parts = [
        (
            feature_files.make_artists("abc", seed, d=d)[1][kept],
            feature_files.make_artists("uvwxyz", seed, d=d)[1][used],
        )
        for seed, d in ((0, 4), (1, 3))
    ]
    who = verification.draw_enrolment(found.artists, 3, 2, seed=0)
    artists = train["artist"].to_numpy(object)[used]
    if fuse == "late":
        each = [systems.plda_scorer(*part, artists, None)(who) for part in parts]
        expected = systems.fuse_scores(each)
    else:
        x, y = (
            np.concatenate([p / np.linalg.norm(p, axis=1, keepdims=True) for p in both], axis=1)
            for both in zip(*parts, strict=True)
        )
        expected = systems.plda_scorer(x, y, artists, None)(who)
    np.testing.assert_allclose(found.make_scorer()(who), expected, atol=1e-5)


def test_a_fusion_that_the_paper_has_not_says_of_what(files, tmp_path):
    other = feature_files.write_files(
        tmp_path, "siamese", *feature_files.make_artists("abc"), model="siamese"
    )
    found = system(files, fusion="late", other_features=[other[0]])
    assert found.description["model"] == "late fusion of DeepArtistID and siamese + cosine"


def test_early_fusion_by_cosine_is_the_mean_cosine(files):
    found = system(files, fusion="early", other_features=[files["ivector"][0]])
    one, other = (feature_files.make_artists("abc", seed, d=d)[1] for seed, d in ((0, 4), (1, 3)))
    who = verification.draw_enrolment(found.artists, 1, 1, seed=0)
    kept = np.flatnonzero(~feature_files.make_artists("abc")[0]["track_id"].eq("b4"))
    expected = sum(systems.cosine_scorer(part[kept])(who) for part in (one, other)) / 2
    np.testing.assert_allclose(found.make_scorer()(who), expected, atol=1e-6)


def test_artists_that_were_trained_on_are_refused(files, tmp_path):
    seen = feature_files.write_files(
        tmp_path, "seen", *feature_files.make_artists("abc"), trained_on=("B", "z")
    )
    with pytest.raises(InputError, match="trained on 1 of 3 artists, the first 'b'"):
        systems.load_feature_system(*seen, "artist", scorer="cosine")
    systems.load_feature_system(*seen, "genre", scorer="cosine")  # no names of artists
    # What PLDA learns from counts too, though the weights were trained on others.
    with pytest.raises(InputError, match="trained on 3 of 3 artists, the first 'a'"):
        system(files, scorer="plda", train=(files["cnn"][0], files["cnn"][1]))


def test_files_that_do_not_fit_are_refused(files, tmp_path):
    with pytest.raises(InputError, match=r"cnn\.h5 is by basic_run, .*by ivector_run; extract"):
        system(files, scorer="plda", train=files["ivector_train"])
    other = feature_files.write_files(
        tmp_path, "other", *feature_files.make_artists("mno"), model="ivector"
    )
    with pytest.raises(InputError, match=r"other\.h5: lacks 18 of 18 tracks, the first 'a0'"):
        system(files, fusion="late", other_features=[other[0]])
    with pytest.raises(InputError, match="has 6 artists, not 7"):
        system(files, scorer="plda", train=files["cnn_train"], max_train_artists=7)
    with pytest.raises(InputError, match="not an i-vector extractor"):
        systems.load_gmm_ubm_system(*files["cnn"], "artist", tmp_path / "cache.h5", 16.0)
