"""Tests of batches: crop positions, sampled tracks and reproducibility."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from common.errors import InputError
from data_prep.batches import (
    ArtistBatches,
    Crops,
    LabelledBatches,
    SiameseBatches,
    TrackSampler,
)
from tests.data_prep.files import write_mel_cache

LENGTHS = np.array([129, 130, 400, 131, 1291, 129, 200])
TRACKS = len(LENGTHS)
STARTS = np.cumsum(LENGTHS) - LENGTHS
ARTISTS = np.array(list("aabbbcc"))
HYPOTHESIS = {"deadline": None, "derandomize": True, "max_examples": 60}


def numbered_frames():
    """Return frames with the track number in band 0 and the frame number in band 1."""
    frames = np.zeros((LENGTHS.sum(), 128), np.float16)
    frames[:, 0] = np.repeat(np.arange(TRACKS), LENGTHS)
    frames[:, 1] = np.concatenate([np.arange(length) for length in LENGTHS])
    return frames


def write_cache(path, frames, front_end=None):
    return write_mel_cache(path, frames, STARTS, LENGTHS, mean=0.0, std=1.0, front_end=front_end)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return write_cache(tmp_path_factory.mktemp("crops") / "c.h5", numbered_frames())


@pytest.fixture(scope="module")
def crops(cache):
    return Crops(cache, cache.track_id)


def labelled(crops, count=TRACKS, **settings):
    """Return batches of `count` anchors, labelled with their own numbers."""
    anchors = np.arange(count) % TRACKS
    settings = {"batch_size": 3, "seed": 0} | settings
    return LabelledBatches(crops, anchors, labels=np.arange(count), **settings)


def siamese(crops, tracks=range(TRACKS), **settings):
    """Return batches of anchors 6, 0 and 3, with two negatives each."""
    sampler = TrackSampler.from_artists(ARTISTS, np.array(tracks), 2)
    settings = {"batch_size": 2, "seed": 0} | settings
    return SiameseBatches(crops, np.array([6, 0, 3]), sampler=sampler, negatives=2, **settings)


def test_crops_are_consecutive_frames_from_one_track(cache):
    # Positions refer to the order of the given tracks, not to the cache order.
    order = np.array([4, 1, 6, 2, 0])
    crops = Crops(cache, cache.track_id[order])
    assert len(crops) == 5
    before = cache.frames.tobytes()
    places = crops.places(np.tile(np.arange(5), (400, 1)), np.random.default_rng(0))
    assert places.shape == (400, 5) and places.dtype == np.int64
    drawn = crops.gather(places)
    assert drawn.shape == (400, 5, 129, 128) and drawn.dtype == np.float16
    assert (drawn[..., 0] == order[None, :, None]).all()
    assert (np.diff(drawn[..., 1], axis=-1) == 1).all()
    first = drawn[..., 0, 1]
    assert (first == places - STARTS[order]).all()
    assert (first >= 0).all() and (first + 129 <= LENGTHS[order]).all()
    drawn[:] = 99
    assert cache.frames.tobytes() == before, "a crop is a view of the cache"


def test_crop_positions_are_uniform_across_epochs(crops):
    batches = labelled(crops)
    drawn = [batches.places(epoch, number) for epoch in range(4000) for number in range(3)]
    places, anchors = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    for track in (1, 2, 6):
        counts = np.bincount(places[anchors == track] - STARTS[track])
        assert len(counts) == LENGTHS[track] - 128
        assert counts.sum() == 4000 and chisquare(counts).pvalue > 0.001


def test_rejects_short_and_missing_tracks(cache, monkeypatch):
    with pytest.raises(InputError, match=r"1 of 2 tracks.* 'x'"):
        Crops(cache, np.array(["t0", "x"]))
    monkeypatch.setattr(cache, "length", np.where(LENGTHS == 130, 128, LENGTHS))
    with pytest.raises(InputError, match=r"c.h5: 't1' is shorter than 129 frames"):
        Crops(cache, cache.track_id)


@given(tracks=st.permutations(range(TRACKS)), count=st.integers(1, TRACKS))
@settings(**HYPOTHESIS)
def test_spans_cover_exactly_the_given_tracks(cache, tracks, count):
    tracks = tracks[:count]
    spans = Crops(cache, cache.track_id[tracks]).spans()
    assert spans.dtype == np.int64 and (spans[:, 0] < spans[:, 1]).all()
    assert (spans[1:, 0] > spans[:-1, 1]).all(), "not sorted, or not disjoint"
    expected, covered = (np.zeros(LENGTHS.sum(), int) for _ in range(2))
    for track in tracks:
        expected[STARTS[track] : STARTS[track] + LENGTHS[track]] = 1
    for first, stop in spans:
        covered[first:stop] += 1
    assert np.array_equal(covered, expected)


def test_spans_of_nested_tracks_are_merged(cache, monkeypatch):
    start = STARTS.copy()
    start[1] = STARTS[4] + 100
    monkeypatch.setattr(cache, "start", start)
    assert Crops(cache, cache.track_id[[1, 4]]).spans().tolist() == [[790, 2081]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_require_finite_names_the_track_of_the_first_bad_crop(tmp_path, value):
    frames = numbered_frames()
    frames[STARTS[2] + 300, 77] = frames[STARTS[4] + 5, 0] = value
    cache = write_cache(tmp_path / "c.h5", frames)
    crops = Crops(cache, cache.track_id[[4, 3, 2]])
    last_before, first_with, last_with = STARTS[2] + 300 - np.array([129, 128, 0])
    good = np.array([STARTS[3], last_before, STARTS[4] + 6])

    def named_track(places) -> str:
        with pytest.raises(InputError, match="contains NaN or infinite values; delete") as caught:
            crops.require_finite(crops.gather(places), places)
        return str(caught.value).split("'")[1]

    crops.require_finite(crops.gather(good), good)
    crops.require_finite(-crops.gather(good), good)
    assert named_track(np.append(good, first_with)) == "t2"
    assert named_track(np.append(good, last_with)) == "t2"
    assert named_track(np.array([[STARTS[3], STARTS[4]], [first_with, STARTS[3]]])) == "t4"
    assert named_track(np.array([[STARTS[3], first_with], [STARTS[4], STARTS[3]]])) == "t2"


def test_readers_gather_the_same_crops(cache, crops):
    """Test more crops than one thread copies at a time, with several axes."""
    places = np.random.default_rng(0).integers(len(cache.frames) - 129, size=(50, 3, 2))
    expected = np.stack([cache.frames[place : place + 129] for place in places.ravel()])
    with ThreadPoolExecutor(3) as readers:
        for gathered in (crops.gather(places), crops.gather(places, readers=readers)):
            assert gathered.shape == (50, 3, 2, 129, 128) and gathered.dtype == np.float16
            np.testing.assert_array_equal(gathered.reshape(-1, 129, 128), expected)


@given(count=st.integers(1, 300), size=st.integers(1, 40), multiple=st.integers(1, 9))
@settings(**HYPOTHESIS)
def test_epoch_contains_each_anchor_once_in_batches_of_similar_size(crops, count, size, multiple):
    assume(multiple <= min(count, size))
    batches = labelled(crops, count, batch_size=size, multiple=multiple)
    parts = [batches.places(3, number)[1] for number in range(len(batches))]
    sizes = np.array([len(part) for part in parts])
    assert (sizes > 0).all() and (sizes <= size).all() and (sizes % multiple == 0).all()
    assert set(sizes[: batches.larger]) <= {sizes[-1] + multiple}
    assert (sizes[batches.larger :] == sizes[-1]).all()
    assert sizes.sum() == batches.in_epoch and 0 <= count - batches.in_epoch < multiple
    drawn = np.concatenate(parts)
    assert len(set(drawn)) == len(drawn) and set(drawn) <= set(range(count))


def test_anchors_are_left_out_equally_often(crops):
    count, epochs = 23, 1000
    batches = labelled(crops, count, batch_size=10, multiple=5)
    used = np.zeros(count, int)
    for epoch in range(epochs):
        drawn = np.concatenate([batches.places(epoch, n)[1] for n in range(len(batches))])
        assert len(drawn) == batches.in_epoch == 20
        used[drawn] += 1
    assert chisquare(epochs - used).pvalue > 0.001


def test_labels_match_their_crops(crops):
    anchors = np.array([5, 2, 6, 0])
    batches = LabelledBatches(crops, anchors, batch_size=3, seed=5, labels=anchors[:, None] * 10)
    for epoch, number in ((0, 0), (0, 1), (7, 1)):
        x, y = batches[epoch, number]
        assert x.shape[1:] == (129, 128) and (x[:, 0, 0] * 10 == y[:, 0]).all()
        ids = batches.anchor_ids(epoch, number)
        assert ids.tolist() == [f"t{label // 10}" for label in y[:, 0]]


@pytest.mark.parametrize("make", [labelled, siamese])
def test_batches_depend_only_on_seed_epoch_and_number(crops, make):
    keys = [(epoch, number) for epoch in range(3) for number in range(2)]
    batches, again = make(crops, seed=1), make(crops, seed=1)
    forward = [batches.places(*key) for key in keys]
    backward = [again[key] for key in keys[::-1]][::-1]
    for (places, y), (x, y_again) in zip(forward, backward, strict=True):
        assert places.dtype == np.int64 and np.array_equal(y, y_again)
        assert np.array_equal(crops.gather(places), x)
    other = make(crops, seed=2)
    drawn = [tuple(one.places(*key)[0].ravel()) for one in (batches, other) for key in keys]
    assert len(set(drawn)) == 12


@st.composite
def tracks_of_artists(draw):
    """Draw (artist at each position, positions to sample from, feasible number of negatives).

    Each artist that is sampled from has at least two tracks. The remaining positions belong
    partly to these artists and partly to others.
    """
    counts = draw(st.lists(st.integers(2, 6), min_size=2, max_size=6))
    others = draw(st.lists(st.integers(0, len(counts) + 1), max_size=5))
    drawn_from = np.repeat(np.arange(len(counts)), counts).tolist()
    used, unused = (
        [(a, flag) for a in some] for some, flag in ((drawn_from, True), (others, False))
    )
    all_tracks = draw(st.permutations([*used, *unused]))
    artists = np.array([f"artist {number}" for number, _ in all_tracks], object)
    tracks = draw(st.permutations([place for place, (_, used) in enumerate(all_tracks) if used]))
    negatives = draw(st.integers(0, sum(counts) - max(counts)))
    return artists, np.array(tracks), negatives


@given(tracks_of_artists(), st.integers(0, 2**32))
@settings(**HYPOTHESIS)
def test_positives_share_the_anchor_artist_and_negatives_do_not(given_tracks, seed):
    artists, tracks, negatives = given_tracks
    anchors = np.random.default_rng(seed).permutation(tracks).repeat(2)
    sampler = TrackSampler.from_artists(artists, tracks, negatives)
    drawn = sampler.draw(anchors, negatives, np.random.default_rng(seed))
    assert drawn.shape == (len(anchors), 2 + negatives)
    assert np.isin(drawn, tracks).all()
    assert np.array_equal(drawn[:, 0], anchors)
    assert (artists[drawn[:, 1]] == artists[anchors]).all() and (drawn[:, 1] != anchors).all()
    assert (artists[drawn[:, 2:]] != artists[anchors][:, None]).all()
    assert all(len(set(row)) == negatives for row in drawn[:, 2:])


@pytest.mark.parametrize(
    ("artists", "tracks"),
    [
        pytest.param("abacabbacca", np.arange(11), id="all"),  # 5 tracks by a, 3 by b, 3 by c
        pytest.param("xabxacabbaccdaa", np.array([1, 2, *range(4, 12), 13]), id="some"),
    ],
)
@pytest.mark.parametrize("nth", [0, 4, 10])
def test_positives_and_negatives_are_uniform(artists, tracks, nth):
    artists, anchor = np.array(list(artists)), tracks[nth]
    sampler = TrackSampler.from_artists(artists, tracks, 4)
    drawn = sampler.draw(np.full(20_000, anchor), 4, np.random.default_rng(nth))
    places = np.arange(len(artists))
    own = np.isin(places, tracks) & (artists == artists[anchor]) & (places != anchor)
    positives = np.bincount(drawn[:, 1], minlength=len(artists))
    assert positives[~own].sum() == 0 and chisquare(positives[own]).pvalue > 0.001
    others = np.isin(places, tracks) & (artists != artists[anchor])
    for column in drawn[:, 2:].T:
        negatives = np.bincount(column, minlength=len(artists))
        assert negatives[~others].sum() == 0 and chisquare(negatives[others]).pvalue > 0.001
    pairs = np.sort(drawn[:, 2:4], axis=1)
    counts = np.unique(pairs, axis=0, return_counts=True)[1]
    assert len(counts) == others.sum() * (others.sum() - 1) // 2
    assert chisquare(counts).pvalue > 0.001


@given(tracks_of_artists(), st.integers(1, 4), st.integers(0, 2**32))
@settings(**HYPOTHESIS)
def test_several_positives_are_distinct_and_come_from_other_albums(given_tracks, positives, seed):
    artists, tracks, _ = given_tracks
    _, counts = np.unique(artists[tracks], return_counts=True)
    assume(counts.min() > positives)
    rng = np.random.default_rng(seed)
    albums = rng.choice(["", "x", "y", "z"], size=len(artists)).astype(object)
    anchors = rng.permutation(tracks).repeat(2)
    sampler = TrackSampler.from_artists(artists, tracks, 1, positives=positives, albums=albums)
    drawn = sampler.draw_positives(anchors, positives, rng)
    assert drawn.shape == (len(anchors), 1 + positives) and np.isin(drawn, tracks).all()
    assert np.array_equal(drawn[:, 0], anchors)
    assert (artists[drawn] == artists[anchors][:, None]).all()
    assert all(len(set(row)) == 1 + positives for row in drawn)
    for row in drawn:
        # A track without an album is on none that another track is on.
        same = (artists == artists[row[0]]) & np.isin(np.arange(len(artists)), tracks)
        elsewhere = same & ((albums != albums[row[0]]) | (albums == ""))
        elsewhere[row[0]] = False
        if elsewhere.sum() >= positives:
            assert elsewhere[row[1:]].all()


def test_positives_from_other_albums_are_uniform():
    artists, tracks = np.array(list("aaaaaabbb")), np.arange(9)
    albums = np.array(list("xxyyzzuvw"), object)
    sampler = TrackSampler.from_artists(artists, tracks, 1, positives=2, albums=albums)
    drawn = sampler.draw_positives(np.zeros(20_000, int), 2, np.random.default_rng(0))[:, 1:]
    for column in drawn.T:
        counts = np.bincount(column, minlength=9)
        assert counts[[0, 1, 6, 7, 8]].sum() == 0 and chisquare(counts[2:6]).pvalue > 0.001


def test_negatives_of_the_same_genre_are_drawn_with_the_given_probability():
    artists = np.array(list("aabbccddeeff"))
    # Artist b is of genre x by two of three tracks' labels; e and f are of y.
    genres = np.array(list("xxxxxyyyyyyy"), object)
    artists[4] = "b"  # b has three tracks, and c one, which is not sampled from
    tracks = np.array([0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11])
    sampler = TrackSampler.from_artists(artists, tracks, 2, genres=genres, same_genre=0.7)
    drawn = sampler.draw(np.full(20_000, 6), 2, np.random.default_rng(0))[:, 2:]
    assert not np.isin(drawn, [6, 7]).any() and (drawn[:, 0] != drawn[:, 1]).all()
    of_genre = np.isin(drawn, [8, 9, 10, 11]).all(axis=1).mean()
    # Drawn from all 9 tracks of other artists, two are of the genre by chance as well.
    assert of_genre == pytest.approx(0.7 + 0.3 * (4 * 3) / (9 * 8), abs=0.015)
    # Artist b's only rivals of its genre are the two tracks of a.
    drawn = sampler.draw(np.full(20_000, 2), 2, np.random.default_rng(0))[:, 2:]
    of_genre = np.isin(drawn, [0, 1]).all(axis=1).mean()
    assert of_genre == pytest.approx(0.7 + 0.3 * 2 / (8 * 7), abs=0.015)
    # Other artists have three tracks of a's genre, two of b's, and four of that of d, e and f.
    assert [sampler.count_same_genre(count) for count in (2, 3, 4, 5)] == [11, 8, 6, 0]
    one = TrackSampler.from_artists(artists, tracks, 2, genres=np.full(12, "x"), same_genre=0.7)
    assert one.count_same_genre(1) == 0


def test_artists_without_a_genre_share_none():
    artists = np.array(list("aaabbcc"))
    genres = np.array(["", "", "x", "", "", "x", "x"], object)  # that of b is unknown
    sampler = TrackSampler.from_artists(artists, np.arange(7), 2, genres=genres, same_genre=1.0)
    drawn = sampler.draw(np.array([0] * 200 + [3] * 200), 2, np.random.default_rng(0))[:, 2:]
    assert np.isin(drawn[:200], [5, 6]).all()
    assert set(drawn[200:].ravel()) == {0, 1, 2, 5, 6}


def test_genres_with_too_few_other_tracks_do_not_limit_the_negatives():
    artists, genres = np.array(list("aabbcc")), np.array(list("xxyyyy"), object)
    sampler = TrackSampler.from_artists(artists, np.arange(6), 3, genres=genres, same_genre=1.0)
    drawn = sampler.draw(np.arange(6), 3, np.random.default_rng(0))[:, 2:]
    assert all(len(set(row)) == 3 for row in drawn)


def test_artist_batches_contain_the_anchors_artists(crops):
    sampler = TrackSampler.from_artists(ARTISTS, np.arange(TRACKS), 1)
    anchors, numbers = np.array([6, 0, 3]), np.array([2, 0, 1], np.int32)
    settings = {"sampler": sampler, "positives": 1, "artists": numbers}
    batches = ArtistBatches(crops, anchors, 2, 0, **settings)
    x, y = (np.concatenate(parts) for parts in zip(batches[0, 0], batches[0, 1], strict=True))
    assert x.shape == (3, 2, 129, 128) and y.dtype == np.int32
    drawn = x[:, :, 0, 0].astype(int)
    assert (np.unique(ARTISTS, return_inverse=True)[1][drawn] == y[:, None]).all()
    assert (drawn[:, 0] != drawn[:, 1]).all() and batches.crops_per_anchor == 2


@pytest.mark.parametrize(
    ("artists", "tracks", "negatives", "problem"),
    [
        ("aabc", [0, 1, 2, 3], 1, r"artist 'b' has one track.*\(2 such artists\)"),
        ("aabb", [1, 2, 3], 1, r"artist 'a' has one track.*\(1 such artists\)"),
        ("aabb", [0, 1, 2, 3], 3, "too few tracks of other artists for 3 negatives"),
        ("aabbcc", [0, 1, 2, 3], 3, "too few tracks of other artists for 3 negatives"),
    ],
)
def test_sampler_rejects_too_few_tracks(artists, tracks, negatives, problem):
    with pytest.raises(InputError, match=problem):
        TrackSampler.from_artists(np.array(list(artists)), np.array(tracks), negatives)


def test_sampler_rejects_artists_with_too_few_positives():
    with pytest.raises(
        InputError, match=r"'b' has 2 tracks.*but --positives 2 needs 3.*\(1 such artists"
    ):
        TrackSampler.from_artists(np.array(list("aaabb")), np.arange(5), 1, positives=2)


def test_siamese_batches_draw_from_more_tracks_than_their_anchors(crops):
    tracks = [6, 5, 3, 4, 1, 0]
    batches = siamese(crops, tracks)
    assert len(batches) == 2
    for epoch in range(20):
        parts = [batches[epoch, number] for number in range(2)]
        x = np.concatenate([part[0] for part in parts])
        assert x.shape == (3, 4, 129, 128) and [len(y) for _, y in parts] == [2, 1]
        drawn = x[:, :, 0, 0].astype(int)
        assert np.isin(drawn, tracks).all() and sorted(drawn[:, 0]) == [0, 3, 6]
        for row in drawn:
            assert ARTISTS[row[1]] == ARTISTS[row[0]] and row[1] != row[0]
            assert ARTISTS[row[0]] not in ARTISTS[row[2:]] and row[2] != row[3]
