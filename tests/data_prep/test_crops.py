"""Batches: where crops lie, who is drawn, and that the same comes again."""

import json

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from common import provenance
from common.errors import InputError
from data_prep.crops import (
    Crops,
    LabelledBatches,
    SiameseBatches,
    SongSampler,
    _anchors,
    _rng,
    _shuffle,
)
from data_prep.mel import FrontEnd
from data_prep.mel_cache import FORMAT, MelCache

LENGTHS = np.array([129, 130, 400, 131, 1291, 129, 200])
HYPOTHESIS = {"deadline": None, "derandomize": True, "max_examples": 60}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache whose frames say where they are from: band 0 the track, band 1 the frame."""
    path = tmp_path_factory.mktemp("crops") / "c.h5"
    frames = np.zeros((LENGTHS.sum(), 128), np.float16)
    start = np.cumsum(LENGTHS) - LENGTHS
    for track, (first, length) in enumerate(zip(start, LENGTHS, strict=True)):
        frames[first : first + length, 0] = track
        frames[first : first + length, 1] = np.arange(length)
    with h5py.File(path, "w") as file:
        file["frames"], file["start"], file["length"] = frames, start, LENGTHS
        file["track_id"] = [f"t{number}" for number in range(len(LENGTHS))]
        for name in ("failed_track_id", "failed_reason"):
            file.create_dataset(name, (0,), h5py.string_dtype())
        file.attrs["format"], file.attrs["mean"], file.attrs["std"] = FORMAT, 0.0, 1.0
        file.attrs["front_end"] = json.dumps(FrontEnd().to_dict())
        file.attrs["made_from"] = provenance.to_json(provenance.record({}))
    return MelCache(path)


@pytest.fixture(scope="module")
def crops(cache):
    return Crops(cache, cache.track_id)


def test_crops_are_runs_of_their_own_track(cache):
    # Another order than the cache's: positions are those of the list that was given.
    order = np.array([4, 1, 6, 2, 0])
    crops = Crops(cache, cache.track_id[order])
    tracks = np.tile(np.arange(5), (400, 1))
    drawn = crops.gather(tracks, np.random.default_rng(0))
    assert drawn.shape == (400, 5, 129, 128) and drawn.dtype == np.float16
    assert (drawn[..., 0] == order[None, :, None]).all()
    assert (np.diff(drawn[..., 1], axis=-1) == 1).all()
    first = drawn[..., 0, 1]
    assert (first >= 0).all() and (first + 129 <= LENGTHS[order]).all()
    assert set(first[:, 1]) == {0, 1} and set(first[:, 4]) == {0}
    assert chisquare(np.bincount(first[:, 2].astype(int), minlength=72)).pvalue > 0.001


def test_crops_are_copies_and_the_cache_stays_as_it_is(cache, crops):
    before = cache.frames.tobytes()
    crops.gather(np.array([0, 4]), np.random.default_rng(0))[:] = 99
    assert cache.frames.tobytes() == before


def test_short_and_absent_tracks_are_refused(tmp_path, cache, monkeypatch):
    with pytest.raises(InputError, match="lacks 1 of 2 tracks, the first 'x'"):
        Crops(cache, np.array(["t0", "x"]))
    monkeypatch.setattr(cache, "length", np.where(LENGTHS == 130, 128, LENGTHS))
    with pytest.raises(InputError, match=r"c.h5: 't1' is shorter than 129 frames"):
        Crops(cache, cache.track_id)


@pytest.mark.parametrize("batch", [1, 3, 7, 50])
def test_each_track_is_an_anchor_once_an_epoch(crops, batch):
    labels = np.arange(len(LENGTHS))[:, None] * 10
    batches = LabelledBatches(crops, labels, batch=batch, seed=5)
    for epoch in range(3):
        seen = []
        for number in range(len(batches)):
            x, y = batches[epoch, number]
            assert x.shape[1:] == (129, 128) and 1 <= len(x) <= batch
            assert (x[:, 0, 0] * 10 == y[:, 0]).all()
            seen += list(y[:, 0] // 10)
        assert sorted(seen) == list(range(len(LENGTHS)))


def test_what_is_drawn_depends_on_seed_epoch_and_number_only(crops):
    labels = np.arange(len(LENGTHS))
    batches = LabelledBatches(crops, labels, batch=2, seed=1)
    forward = [batches[e, n] for e in range(2) for n in range(4)]
    again = LabelledBatches(crops, labels, batch=2, seed=1)
    backward = [again[e, n] for e in (1, 0) for n in (3, 2, 1, 0)][::-1]
    for (x, y), (x_again, y_again) in zip(forward, backward, strict=True):
        assert np.array_equal(x, x_again) and np.array_equal(y, y_again)
    other = LabelledBatches(crops, labels, batch=7, seed=2)
    whole = LabelledBatches(crops, labels, batch=7, seed=1)
    orders = [tuple(b[e, 0][1]) for b in (whole, other) for e in range(3)]
    assert len(set(orders)) == 6


def test_crops_and_shuffle_are_drawn_independently():
    """NumPy pads seeds with zeros: [1, 2] and [1, 2, 0] are the same seed to it."""
    shuffle = np.random.default_rng([1, 2])
    assert np.array_equal(_shuffle(50, 1, 2), shuffle.permutation(50))
    first = [_rng(1, 2, number).integers(2**60) for number in range(3)]
    assert np.random.default_rng([1, 2]).integers(2**60) not in first and len(set(first)) == 3


@st.composite
def songs_of_artists(draw):
    """Songs' artists in any order, at least two each, and a number of negatives there is."""
    counts = draw(st.lists(st.integers(2, 6), min_size=2, max_size=6))
    artists = draw(st.permutations(np.repeat(np.arange(len(counts)), counts).tolist()))
    negatives = draw(st.integers(0, sum(counts) - max(counts)))
    return np.array([f"artist {number}" for number in artists], object), negatives


@given(songs_of_artists(), st.integers(0, 2**32))
@settings(**HYPOTHESIS)
def test_positives_and_negatives_keep_the_rules(songs, seed):
    """Also where all songs of other artists are needed, which drawing again would never find."""
    artists, negatives = songs
    anchors = np.random.default_rng(seed).permutation(len(artists)).repeat(2)
    drawn = SongSampler.of(artists, negatives).draw(anchors, negatives, np.random.default_rng(seed))
    assert drawn.shape == (len(anchors), 2 + negatives)
    assert np.array_equal(drawn[:, 0], anchors)
    assert (artists[drawn[:, 1]] == artists[anchors]).all() and (drawn[:, 1] != anchors).all()
    assert (artists[drawn[:, 2:]] != artists[anchors][:, None]).all()
    assert all(len(set(row)) == negatives for row in drawn[:, 2:])


@given(count=st.integers(1, 300), batch=st.integers(1, 40))
@settings(**HYPOTHESIS)
def test_batches_differ_by_one_track_at_most(count, batch):
    numbers = range(-(-count // batch))
    parts = [_anchors(count, batch, 0, 0, number) for number in numbers]
    sizes = [len(part) for part in parts]
    assert max(sizes) <= batch and max(sizes) - min(sizes) <= 1
    assert sorted(np.concatenate(parts)) == list(range(count))


def test_negatives_that_are_hardly_enough_do_not_hang():
    artists = np.repeat(["a", "b"], 40)
    drawn = SongSampler.of(artists, 40).draw(np.arange(80), 40, np.random.default_rng(0))
    assert (np.sort(drawn[:40, 2:]) == np.arange(40, 80)).all()


@pytest.mark.parametrize("anchor", [0, 4, 10])
def test_positives_and_negatives_are_uniform(anchor):
    artists = np.array(list("abacabbacca"))  # 5 a, 3 b, 3 c, mixed
    sampler = SongSampler.of(artists, 4)
    drawn = sampler.draw(np.full(20_000, anchor), 4, np.random.default_rng(anchor))
    own = (artists == artists[anchor]) & (np.arange(11) != anchor)
    positives = np.bincount(drawn[:, 1], minlength=11)
    assert positives[~own].sum() == 0 and chisquare(positives[own]).pvalue > 0.001
    others = artists != artists[anchor]
    for column in (drawn[:, 2], drawn[:, 5]):
        negatives = np.bincount(column, minlength=11)
        assert negatives[~others].sum() == 0 and chisquare(negatives[others]).pvalue > 0.001
    pairs = np.sort(drawn[:, 2:4], axis=1)
    counts = np.unique(pairs, axis=0, return_counts=True)[1]
    assert len(counts) == others.sum() * (others.sum() - 1) // 2
    assert chisquare(counts).pvalue > 0.001


def test_songs_that_cannot_be_sampled_are_refused():
    with pytest.raises(InputError, match=r"artist 'b' has one song.*\(2 such artists\)"):
        SongSampler.of(np.array(["a", "a", "b", "c"], object), 1)
    with pytest.raises(InputError, match="too few songs of other artists for 3 negatives"):
        SongSampler.of(np.array(["a", "a", "b", "b"], object), 3)


def test_siamese_batches(crops):
    artists = np.array(list("aabbbcc"))
    anchors = np.array([6, 0, 3])
    sampler = SongSampler.of(artists, 2)
    batches = SiameseBatches(crops, sampler, anchors, negatives=2, batch=2, seed=0)
    assert len(batches) == 2
    for epoch in range(5):
        parts = [batches[epoch, number] for number in range(2)]
        x = np.concatenate([part[0] for part in parts])
        assert x.shape == (3, 4, 129, 128) and [len(y) for _, y in parts] == [1, 2]
        tracks = x[:, :, 0, 0].astype(int)
        assert sorted(tracks[:, 0]) == [0, 3, 6]
        for row in tracks:
            assert artists[row[1]] == artists[row[0]] and row[1] != row[0]
            assert not set(artists[row[2:]]) & {artists[row[0]]}
        again, _ = batches[epoch, 1]
        assert np.array_equal(again, parts[1][0])
