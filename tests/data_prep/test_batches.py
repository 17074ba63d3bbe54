"""Batches: where crops lie, who is drawn, and that the same comes again."""

import json

import h5py
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from common import provenance
from common.errors import InputError
from data_prep.batches import Crops, LabelledBatches, SiameseBatches, TrackSampler, _rng, _shuffle
from data_prep.mel import FrontEnd
from data_prep.mel_cache import FORMAT, MelCache

LENGTHS = np.array([129, 130, 400, 131, 1291, 129, 200])
TRACKS = len(LENGTHS)
STARTS = np.cumsum(LENGTHS) - LENGTHS
ARTISTS = np.array(list("aabbbcc"))
HYPOTHESIS = {"deadline": None, "derandomize": True, "max_examples": 60}


def numbered_frames():
    """Frames that say where they are from: band 0 the track, band 1 the frame."""
    frames = np.zeros((LENGTHS.sum(), 128), np.float16)
    for track, (first, length) in enumerate(zip(STARTS, LENGTHS, strict=True)):
        frames[first : first + length, 0] = track
        frames[first : first + length, 1] = np.arange(length)
    return frames


def write_cache(path, frames, front_end):
    with h5py.File(path, "w") as file:
        file["frames"], file["start"], file["length"] = frames, STARTS, LENGTHS
        file["track_id"] = [f"t{number}" for number in range(TRACKS)]
        for name in ("failed_track_id", "failed_reason"):
            file.create_dataset(name, (0,), h5py.string_dtype())
        file.attrs["format"], file.attrs["mean"], file.attrs["std"] = FORMAT, 0.0, 1.0
        file.attrs["front_end"] = json.dumps(front_end.to_dict())
        file.attrs["made_from"] = provenance.to_json(provenance.make_record({}))
    return MelCache(path)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp("crops") / "c.h5"
    return write_cache(path, numbered_frames(), FrontEnd())


@pytest.fixture(scope="module")
def crops(cache):
    return Crops(cache, cache.track_id)


def labelled(crops, count=TRACKS, **settings):
    """Batches of `count` anchors, whose labels are their numbers."""
    anchors = np.arange(count) % TRACKS
    settings = {"batch_size": 3, "seed": 0} | settings
    return LabelledBatches(crops, anchors, labels=np.arange(count), **settings)


def siamese(crops, songs=range(TRACKS), **settings):
    """Batches of the anchors 6, 0 and 3, each with two negatives."""
    sampler = TrackSampler.from_artists(ARTISTS, np.array(songs), 2)
    settings = {"batch_size": 2, "seed": 0} | settings
    return SiameseBatches(crops, np.array([6, 0, 3]), sampler=sampler, negatives=2, **settings)


# ---------------------------------------------------------------- crops


def test_crops_are_runs_of_their_own_track(cache):
    # Another order than the cache's: positions are those of the list that was given.
    order = np.array([4, 1, 6, 2, 0])
    crops = Crops(cache, cache.track_id[order])
    assert len(crops) == 5
    tracks = np.tile(np.arange(5), (400, 1))
    places = crops.places(tracks, np.random.default_rng(0))
    assert places.shape == (400, 5) and places.dtype == np.int64
    drawn = crops.gather(places)
    assert drawn.shape == (400, 5, 129, 128) and drawn.dtype == np.float16
    assert (drawn[..., 0] == order[None, :, None]).all()
    assert (np.diff(drawn[..., 1], axis=-1) == 1).all()
    first = drawn[..., 0, 1]
    assert (first == places - STARTS[order]).all()
    assert (first >= 0).all() and (first + 129 <= LENGTHS[order]).all()


@pytest.mark.parametrize("track", range(TRACKS))
def test_crops_are_uniform_over_the_places_of_a_track(crops, track):
    drawn = crops.places(np.full(40_000, track), np.random.default_rng(track)) - STARTS[track]
    counts = np.bincount(drawn, minlength=LENGTHS[track] - 128)
    assert len(counts) == LENGTHS[track] - 128
    assert len(counts) == 1 or chisquare(counts).pvalue > 0.001


def test_crops_are_uniform_over_the_epochs(crops):
    """A song has one crop an epoch, from another generator each time."""
    batches = labelled(crops)
    drawn = [batches.places(epoch, number) for epoch in range(4000) for number in range(3)]
    places, anchors = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    for track in (1, 2, 6):
        found = places[anchors == track] - STARTS[track]
        counts = np.bincount(found, minlength=LENGTHS[track] - 128)
        assert counts.sum() == 4000 and chisquare(counts).pvalue > 0.001


def test_crops_are_copies_and_the_cache_stays_as_it_is(cache, crops):
    before = cache.frames.tobytes()
    crops.gather(STARTS[[0, 4]])[:] = 99
    assert cache.frames.tobytes() == before


def test_short_and_absent_tracks_are_refused(cache, monkeypatch):
    with pytest.raises(InputError, match="lacks 1 of 2 tracks, the first 'x'"):
        Crops(cache, np.array(["t0", "x"]))
    monkeypatch.setattr(cache, "length", np.where(LENGTHS == 130, 128, LENGTHS))
    with pytest.raises(InputError, match=r"c.h5: 't1' is shorter than 129 frames"):
        Crops(cache, cache.track_id)


def test_a_cache_of_another_front_end_is_refused(tmp_path):
    cache = write_cache(tmp_path / "c.h5", numbered_frames(), FrontEnd(hop=256, gain=1.0))
    with pytest.raises(InputError) as caught:
        Crops(cache, cache.track_id)
    assert str(caught.value) == (
        f"{tmp_path / 'c.h5'}: made with another front end than the networks' "
        "(front_end.gain: 1.0 -> 10.0; front_end.hop: 256 -> 512); "
        "make the cache again with data_prep/2_cache_mels.py"
    )


def test_a_cache_of_whole_tracks_will_do(tmp_path):
    cache = write_cache(tmp_path / "c.h5", numbered_frames(), FrontEnd(max_frames=None))
    assert len(Crops(cache, cache.track_id)) == TRACKS


# ---------------------------------------------------------------- what the tracks occupy


@given(tracks=st.permutations(range(TRACKS)), count=st.integers(1, TRACKS))
@settings(**HYPOTHESIS)
def test_spans_cover_the_tracks_and_nothing_else(cache, tracks, count):
    tracks = np.array(tracks[:count])
    spans = Crops(cache, cache.track_id[tracks]).spans()
    assert spans.shape == (len(spans), 2) and spans.dtype == np.int64
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (spans[1:, 0] > spans[:-1, 1]).all(), "not sorted, or not apart from each other"
    wanted, covered = (np.zeros(LENGTHS.sum(), int) for _ in range(2))
    for track in tracks:
        wanted[STARTS[track] : STARTS[track] + LENGTHS[track]] = 1
    for first, after in spans:
        covered[first:after] += 1
    assert np.array_equal(covered, wanted)


def test_tracks_that_follow_each_other_share_a_span(cache, crops):
    assert crops.spans().tolist() == [[0, LENGTHS.sum()]]
    some = Crops(cache, cache.track_id[[6, 1, 0, 3]])  # in the order of the cache 0 1, 3, 6
    assert some.spans().tolist() == [[0, 259], [659, 790], [2210, 2410]]


def test_tracks_of_the_same_frames_share_a_span(cache, monkeypatch):
    """One inside another: what it occupies ends with the longer one."""
    start = STARTS.copy()
    start[1] = STARTS[4] + 100
    monkeypatch.setattr(cache, "start", start)
    assert Crops(cache, cache.track_id[[1, 4]]).spans().tolist() == [[790, 2081]]


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_damaged_names_the_track_of_the_first_bad_crop(tmp_path, value):
    frames = numbered_frames()
    frames[STARTS[2] + 300, 77] = frames[STARTS[4] + 5, 0] = value
    cache = write_cache(tmp_path / "c.h5", frames, FrontEnd())
    crops = Crops(cache, cache.track_id[[4, 3, 2]])
    last_before, first_with, last_with = STARTS[2] + 300 - np.array([129, 128, 0])
    sound = np.array([STARTS[3], last_before, STARTS[4] + 6])

    def named(places) -> str:
        with pytest.raises(InputError, match="values that are no numbers; delete") as caught:
            crops.require_finite(crops.gather(places), places)
        return str(caught.value).split("'")[1]

    crops.require_finite(crops.gather(sound), sound)
    assert named(np.append(sound, first_with)) == "t2"
    assert named(np.append(sound, last_with)) == "t2"
    assert named(np.array([[STARTS[3], STARTS[4]], [first_with, STARTS[3]]])) == "t4"
    assert named(np.array([[STARTS[3], first_with], [STARTS[4], STARTS[3]]])) == "t2"


def test_values_below_zero_are_no_damage(tmp_path):
    cache = write_cache(tmp_path / "c.h5", -numbered_frames(), FrontEnd())
    crops, places = Crops(cache, cache.track_id), STARTS[:3]
    crops.require_finite(crops.gather(places), places)


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize("batch", [1, 2, 4, 50])
def test_each_anchor_is_in_an_epoch_once(crops, batch):
    anchors = np.array([5, 2, 6, 0])
    labels = anchors[:, None] * 10
    batches = LabelledBatches(crops, anchors, batch_size=batch, seed=5, labels=labels)
    assert batches.in_epoch == 4
    for epoch in range(3):
        seen = []
        for number in range(len(batches)):
            x, y = batches[epoch, number]
            assert x.shape[1:] == (129, 128) and 1 <= len(x) <= batch
            assert (x[:, 0, 0] * 10 == y[:, 0]).all()
            seen += list(y[:, 0] // 10)
        assert sorted(seen) == sorted(anchors)


@given(count=st.integers(1, 300), batch=st.integers(1, 40), multiple=st.integers(1, 9))
@settings(**HYPOTHESIS)
def test_batches_are_shared_alike(crops, count, batch, multiple):
    """Each is a multiple, none much smaller than another, and fewer than a multiple sit out."""
    assume(multiple <= min(count, batch))
    batches = labelled(crops, count, batch_size=batch, multiple=multiple)
    parts = [batches.places(3, number)[1] for number in range(len(batches))]
    sizes = np.array([len(part) for part in parts])
    assert (sizes > 0).all() and (sizes <= batch).all() and (sizes % multiple == 0).all()
    assert sizes.max() - sizes.min() <= multiple
    assert sizes.sum() == batches.in_epoch and 0 <= count - batches.in_epoch < multiple
    seen = np.concatenate(parts)
    assert len(set(seen)) == len(seen) and set(seen) <= set(range(count))


def test_all_sit_out_equally_often(crops):
    count, epochs = 23, 1000
    batches = labelled(crops, count, batch_size=10, multiple=5)
    there = np.zeros(count, int)
    for epoch in range(epochs):
        seen = np.concatenate([batches.places(epoch, n)[1] for n in range(len(batches))])
        assert len(seen) == batches.in_epoch == 20
        there[seen] += 1
    assert chisquare(epochs - there).pvalue > 0.001


def test_places_and_gather_are_what_indexing_gives(crops):
    for batches, shape in (
        (labelled(crops), (129, 128)),
        (siamese(crops), (4, 129, 128)),
    ):
        for epoch, number in ((0, 0), (0, 1), (7, 1)):
            (places, y), (x, y_again) = batches.places(epoch, number), batches[epoch, number]
            assert x.shape == (len(y), *shape) and places.dtype == np.int64
            assert np.array_equal(crops.gather(places), x) and np.array_equal(y, y_again)


@pytest.mark.parametrize("make", [labelled, siamese])
def test_what_is_drawn_depends_on_seed_epoch_and_number_only(crops, make):
    keys = [(epoch, number) for epoch in range(3) for number in range(2)]
    batches, again = make(crops, seed=1), make(crops, seed=1)
    forward = [batches.places(*key) for key in keys]
    backward = [again.places(*key) for key in keys[::-1]][::-1]
    for (places, y), (places_again, y_again) in zip(forward, backward, strict=True):
        assert np.array_equal(places, places_again) and np.array_equal(y, y_again)
    other = make(crops, seed=2)
    drawn = [tuple(one.places(*key)[0].ravel()) for one in (batches, other) for key in keys]
    assert len(set(drawn)) == 12


def test_crops_and_shuffle_are_drawn_independently():
    """NumPy pads seeds with zeros: [1, 2] and [1, 2, 0] are the same seed to it."""
    shuffle = np.random.default_rng([1, 2])
    assert np.array_equal(_shuffle(50, 1, 2), shuffle.permutation(50))
    first = [_rng(1, 2, number).integers(2**60) for number in range(3)]
    assert np.random.default_rng([1, 2]).integers(2**60) not in first and len(set(first)) == 3


# ---------------------------------------------------------------- positives and negatives


@st.composite
def songs_of_artists(draw):
    """Positions' artists, those that are drawn from in any order, and negatives that there are.

    The artists that are drawn from have at least two songs each; of the other
    positions, some are by the same artists and some by others.
    """
    counts = draw(st.lists(st.integers(2, 6), min_size=2, max_size=6))
    others = draw(st.lists(st.integers(0, len(counts) + 1), max_size=5))
    drawn_from = np.repeat(np.arange(len(counts)), counts).tolist()
    whole = draw(st.permutations([(a, True) for a in drawn_from] + [(a, False) for a in others]))
    artists = np.array([f"artist {number}" for number, _ in whole], object)
    songs = draw(st.permutations([place for place, (_, used) in enumerate(whole) if used]))
    negatives = draw(st.integers(0, sum(counts) - max(counts)))
    return artists, np.array(songs), negatives


@given(songs_of_artists(), st.integers(0, 2**32))
@settings(**HYPOTHESIS)
def test_positives_and_negatives_keep_the_rules(given_songs, seed):
    """Also where all songs of other artists are needed, which drawing again would never find."""
    artists, songs, negatives = given_songs
    anchors = np.random.default_rng(seed).permutation(songs).repeat(2)
    sampler = TrackSampler.from_artists(artists, songs, negatives)
    drawn = sampler.draw(anchors, negatives, np.random.default_rng(seed))
    assert drawn.shape == (len(anchors), 2 + negatives)
    assert np.isin(drawn, songs).all()
    assert np.array_equal(drawn[:, 0], anchors)
    assert (artists[drawn[:, 1]] == artists[anchors]).all() and (drawn[:, 1] != anchors).all()
    assert (artists[drawn[:, 2:]] != artists[anchors][:, None]).all()
    assert all(len(set(row)) == negatives for row in drawn[:, 2:])


def test_negatives_that_are_hardly_enough_do_not_hang():
    sampler = TrackSampler.from_artists(np.repeat(["a", "b"], 40), np.arange(80), 40)
    drawn = sampler.draw(np.arange(80), 40, np.random.default_rng(0))
    assert (np.sort(drawn[:40, 2:]) == np.arange(40, 80)).all()


@pytest.mark.parametrize(
    ("artists", "songs"),
    [
        pytest.param("abacabbacca", np.arange(11), id="all"),  # 5 a, 3 b, 3 c, mixed
        pytest.param("xabxacabbaccdaa", np.array([1, 2, *range(4, 12), 13]), id="some"),
    ],
)
@pytest.mark.parametrize("nth", [0, 4, 10])
def test_positives_and_negatives_are_uniform(artists, songs, nth):
    artists, anchor = np.array(list(artists)), songs[nth]
    sampler = TrackSampler.from_artists(artists, songs, 4)
    drawn = sampler.draw(np.full(20_000, anchor), 4, np.random.default_rng(nth))
    places = np.arange(len(artists))
    own = np.isin(places, songs) & (artists == artists[anchor]) & (places != anchor)
    positives = np.bincount(drawn[:, 1], minlength=len(artists))
    assert positives[~own].sum() == 0 and chisquare(positives[own]).pvalue > 0.001
    others = np.isin(places, songs) & (artists != artists[anchor])
    for column in drawn[:, 2:].T:
        negatives = np.bincount(column, minlength=len(artists))
        assert negatives[~others].sum() == 0 and chisquare(negatives[others]).pvalue > 0.001
    pairs = np.sort(drawn[:, 2:4], axis=1)
    counts = np.unique(pairs, axis=0, return_counts=True)[1]
    assert len(counts) == others.sum() * (others.sum() - 1) // 2
    assert chisquare(counts).pvalue > 0.001


def test_songs_that_cannot_be_sampled_are_refused():
    lonely = np.array(["a", "a", "b", "c"], object)
    with pytest.raises(InputError, match=r"artist 'b' has one song.*\(2 such artists\)"):
        TrackSampler.from_artists(lonely, np.arange(4), 1)
    with pytest.raises(InputError, match=r"artist 'a' has one song.*\(1 such artists\)"):
        TrackSampler.from_artists(np.array(["a", "a", "b", "b"], object), np.array([1, 2, 3]), 1)
    with pytest.raises(InputError, match="too few songs of other artists for 3 negatives"):
        TrackSampler.from_artists(np.array(["a", "a", "b", "b"], object), np.arange(4), 3)
    with pytest.raises(InputError, match="too few songs of other artists for 3 negatives"):
        TrackSampler.from_artists(np.array(list("aabbcc")), np.array([0, 1, 2, 3]), 3)


def test_siamese_batches(crops):
    """Where the anchors are some songs, and the songs that are drawn from some more."""
    songs = [6, 5, 3, 4, 1, 0]
    batches = siamese(crops, songs)
    assert len(batches) == 2
    for epoch in range(20):
        parts = [batches[epoch, number] for number in range(2)]
        x = np.concatenate([part[0] for part in parts])
        assert x.shape == (3, 4, 129, 128) and [len(y) for _, y in parts] == [1, 2]
        tracks = x[:, :, 0, 0].astype(int)
        assert np.isin(tracks, songs).all() and sorted(tracks[:, 0]) == [0, 3, 6]
        for row in tracks:
            assert ARTISTS[row[1]] == ARTISTS[row[0]] and row[1] != row[0]
            assert ARTISTS[row[0]] not in ARTISTS[row[2:]] and row[2] != row[3]
