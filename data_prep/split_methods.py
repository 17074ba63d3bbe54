"""Splitting tracks by artist or by genre into subsets, and checking artist names.

By artist (ismir2018, section 4.1): from each artist with at least 20 tracks, exactly 20 tracks
are used, spread over the artist's albums and divided 15/3/2 into train, valid and test. A smaller
set of artists is always the beginning of a larger one. By genre (agf2018): 85 % of each genre's
tracks are assigned to train and 15 % to test, and an artist may have tracks in both. Disjoint: all
tracks by an artist are in the same subset, for labels that an artist's style would give away.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import InputError
from data_prep import artist_names, split_csv

TRACKS_PER_ARTIST = 20
SUBSET_SIZES = (15, 3, 2)  # tracks per artist in train, valid and test
TEST_FRACTION = 0.15
DISJOINT_FRACTIONS = (0.5, 0.2)  # of the artists, in train and valid; the others are in test
_FEWEST_DISJOINT = 4  # artists, so that each subset has one
_SMALLEST = 4  # tracks per artist: siamese training needs two, and the other subsets one each
_EXAMPLES = 5  # similar names in a note
_PLACEHOLDERS = 20  # names that are no artists in a note


def split_by_artist(
    table: pd.DataFrame,
    *,
    by: str = "artist",
    max_groups: int | None = None,
    tracks_per_group: int = TRACKS_PER_ARTIST,
    subset_sizes: tuple[int, int, int] = SUBSET_SIZES,
    seed: int = 0,
    exclude: frozenset[str] = frozenset(),
) -> tuple[pd.DataFrame, list[str]]:
    """Draw equally many tracks from each artist (or genre) for train, valid and test.

    Artists with at least `tracks_per_group` tracks qualify, and are put in random order.
    For each artist, one track is drawn from every album, then a second track from every
    album that has one, and so on, visiting the albums in a new random order each round.
    The result depends only on the tracks and the seed: row order does not matter, a
    smaller `max_groups` yields the first rows of a larger one, and excluding artists does
    not change which tracks are drawn for the others.

    Parameters
    ----------
    table
        One row per track with `track_id`, `path`, `artist`, the column `by`, and `album` if
        known. If several tracks have the same path, only the first by `track_id` is used.
        An artist's tracks without an album count as one album.
    by
        Name of the column that groups the tracks.
    max_groups
        Number of groups; None uses all groups that qualify.
    tracks_per_group, subset_sizes
        Number of tracks per group, and in each of its subsets train, valid and test.
    seed
        Random seed.
    exclude
        Artists whose tracks are left out; names are compared by `artist_names.artist_key`.

    Returns
    -------
    table : DataFrame
        The rows that are used, with their `subset`, sorted by the random order of the groups
        and then by `track_id`.
    notes : list of str
        How many groups are used, and what is left out and why.

    Examples
    --------
    >>> split, notes = split_by_artist(table, max_groups=500, seed=1)
    """
    if sum(subset_sizes) != tracks_per_group:
        train, valid, test = subset_sizes
        raise InputError(
            f"--train {train} --valid {valid} --test {test} sum to {sum(subset_sizes)}, not to "
            f"--tracks-per-artist {tracks_per_group}; change one of them"
        )
    _require_label(table, by)
    table = table.iloc[np.argsort(table["track_id"].to_numpy(dtype=object), kind="stable")]
    group, names = _factorize(table[by])
    is_excluded, excluded_artists = _match_artists(table, exclude)
    has_group, repeated = group >= 0, _find_repeated_files(table)
    rows = np.flatnonzero(has_group & ~repeated & ~is_excluded)
    counts = np.bincount(group[rows], minlength=len(names))

    # Random orders are drawn for all groups and tracks, so that neither `max_groups` nor
    # `exclude` changes which tracks are drawn for the remaining groups.
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    within_album, among_albums, for_subsets = (rng.permutation(len(table)) for _ in range(3))

    qualified = order[counts[order] >= tracks_per_group]
    requested = max_groups or 1
    if len(qualified) < requested:
        without = f", without the {excluded_artists} excluded artists" if excluded_artists else ""
        raise InputError(
            f"{len(qualified)} of {len(names)} values of {by!r} have {tracks_per_group} tracks or "
            f"more{without}, but {requested} are needed; {_suggest_size(counts, requested)}"
        )
    used = qualified[:max_groups]
    notes = [f"{by}: {len(names)} in all, {len(qualified)} qualify, {len(used)} used"]
    too_small = len(names) - len(qualified) - (excluded_artists if by == "artist" else 0)
    left_out = {
        f"with fewer than {tracks_per_group} tracks": too_small,
        "excluded artists": excluded_artists,
        f"tracks with no {by}": (~has_group).sum(),
        "tracks that share a file with another track": repeated.sum(),
    }
    if any(left_out.values()):
        parts = [f"{count} {what}" for what, count in left_out.items() if count]
        notes.append("left out: " + ", ".join(parts))

    rank = np.full(len(names), -1)  # position of each group in the random order; -1 if unused
    rank[used] = np.arange(len(used))
    rows = rows[rank[group[rows]] >= 0]
    tracks = pd.DataFrame(
        {
            "row": rows,
            "group": rank[group[rows]],
            "album": _factorize(table["album"])[0][rows] if "album" in table.columns else 0,
            "within_album": within_album[rows],
            "among_albums": among_albums[rows],
            "for_subsets": for_subsets[rows],
        }
    ).sort_values("within_album")
    tracks["round"] = tracks.groupby(["group", "album"]).cumcount()
    tracks = tracks.sort_values(["group", "round", "among_albums"])
    tracks = tracks.groupby("group").head(tracks_per_group)
    tracks = tracks.sort_values(["group", "for_subsets"])
    tracks["subset"] = np.tile(np.repeat(split_csv.SUBSETS, subset_sizes), len(used))
    tracks = tracks.sort_values(["group", "row"])
    split = table.iloc[tracks["row"]].reset_index(drop=True)
    return split.assign(subset=tracks["subset"].to_numpy()), notes


def _suggest_size(counts: np.ndarray, requested: int) -> str:
    """Return the options that would use the most tracks, from the number of tracks per group."""
    sizes = np.arange(_SMALLEST, max(counts, default=0) + 1)
    groups = np.array([(counts >= size).sum() for size in sizes])
    enough = groups >= max(requested, 2)  # one artist cannot be told from others
    if not enough.any():
        return "add tracks, or artists" + ", or lower --max-artists" * (requested > 1)
    best = int(np.argmax(sizes * groups * enough))
    size = int(sizes[best])
    valid, test = (max(1, size * part // sum(SUBSET_SIZES)) for part in SUBSET_SIZES[1:])
    return (
        f"{groups[best]} have {size} or more: try --tracks-per-artist {size} "
        f"--train {size - valid - test} --valid {valid} --test {test}"
    )


def describe_untrainable(split: pd.DataFrame, source: str | Path) -> list[str]:
    """Return a note if training on the artists of a split would be refused, hours later."""
    without_artists = _is_blank(split["artist"]).all()  # such as GTZAN
    if without_artists or split["subset"].eq("test").all():  # only for evaluation
        return []
    from data_prep.batches import TrackSampler  # slow to import

    scripts = "train_basic.py and train_siamese.py"
    try:
        train, _ = (split_csv.subset_mask(split, name, source) for name in ("train", "valid"))
        split_csv.artist_classes(split, source)
        scripts = "train_siamese.py"
        artists = split["artist"].to_numpy(object)
        TrackSampler.from_artists(artists, np.flatnonzero(train), 0, source)
    except InputError as error:
        return [f"{scripts} would refuse to train on these artists: {error}"]
    return []


def split_by_genre(
    table: pd.DataFrame,
    *,
    by: str = "genre",
    test_fraction: float = TEST_FRACTION,
    seed: int = 0,
    exclude: frozenset[str] = frozenset(),
) -> tuple[pd.DataFrame, list[str]]:
    """Assign a fraction of each genre's tracks to test and the rest to train; also return notes.

    The number of test tracks is rounded per genre, in such a way that every genre with at
    least two tracks has tracks in both subsets; a genre's only track is a training track.
    The result depends only on the tracks and the seed; the row order of the input is kept.
    Tracks without a value of `by` are left out, as are the tracks of the artists in `exclude`.
    """
    _require_label(table, by)
    table, notes = drop_artists(table.reset_index(drop=True), exclude)
    genre = table[by].fillna("").str.strip().to_numpy(object)
    repeated = _find_repeated_files(table)
    if (genre == "").any():
        notes.append(f"left out: {(genre == '').sum()} tracks with no {by}")
    if repeated.any():
        notes.append(f"left out: {repeated.sum()} tracks that share a file with another track")
    used = (genre != "") & ~repeated
    if not used.any():
        raise InputError(f"--by {by}: no track has a value; choose another label")
    table, genre = table[used].reset_index(drop=True), genre[used]

    # Random positions are assigned in track id order, so that the row order does not matter.
    by_id = np.argsort(table["track_id"].to_numpy(object), kind="stable")
    random_order = np.empty(len(table), np.int64)
    random_order[by_id] = np.random.default_rng(seed).permutation(len(table))
    is_test, single_tracks = np.zeros(len(table), bool), 0
    for name in np.unique(genre):
        rows = np.flatnonzero(genre == name)
        single_tracks += len(rows) == 1
        count = min(max(round(test_fraction * len(rows)), bool(test_fraction)), len(rows) - 1)
        is_test[rows[np.argsort(random_order[rows])[:count]]] = True
    if single_tracks:
        notes.append(f"{single_tracks} {by}s have one track, which is used for training")
    return table.assign(subset=np.where(is_test, "test", "train")), notes


def split_disjoint(
    table: pd.DataFrame, *, seed: int = 0, exclude: frozenset[str] = frozenset()
) -> tuple[pd.DataFrame, list[str]]:
    """Assign all tracks by an artist to the same subset; also return notes.

    A random half of the artists are in train, a fifth in valid and the others in test. The result
    depends only on the tracks and the seed; the row order of the input is kept. Tracks without an
    artist are left out, as are those by the artists in `exclude`.
    """
    table, notes = drop_artists(table.reset_index(drop=True), exclude)
    has_artist = ~_is_blank(table["artist"])
    if not has_artist.all():
        notes.append(f"left out: {(~has_artist).sum()} tracks with no artist")
    table = table[has_artist].reset_index(drop=True)
    artist, names = _factorize(table["artist"])
    if len(names) < _FEWEST_DISJOINT:
        raise InputError(
            f"--split disjoint: {len(names)} artists, but at least {_FEWEST_DISJOINT} are needed; "
            "add tracks by others"
        )
    rank = np.random.default_rng(seed).permutation(len(names))
    ends = np.round(np.cumsum(DISJOINT_FRACTIONS) * len(names))
    subset = np.array(split_csv.SUBSETS)[np.searchsorted(ends, rank[artist], side="right")]
    notes.append(f"artist: {len(names)}, each with all tracks in the same subset")
    return table.assign(subset=subset), notes


def check_artists(table: pd.DataFrame, source: str | Path) -> list[str]:
    """Check a catalog's table, in which `subset` is optional, and return notes for the user.

    The notes count the tracks without a value in a label column, and artists with almost
    identical names.
    """
    required = [name for name in split_csv.COLUMNS if name != "subset" or name in table.columns]
    split_csv.check_split(table, source, required)
    blank = {}
    for name in table.columns.drop([column for column in required if column != "artist"]):
        count = int(_is_blank(table[name]).sum())
        # A dataset such as GTZAN has no artists at all.
        if count and (name != "artist" or count < len(table)):
            blank[name] = f"{count} have no {name}"
    notes = [f"{source}: of {len(table)} tracks, {', '.join(blank.values())}"] if blank else []
    similar = artist_names.find_similar_names(table["artist"].dropna())
    if similar:
        examples = "; ".join(" = ".join(map(repr, names)) for names in similar[:_EXAMPLES])
        notes.append(
            f"{source}: {len(similar)} artists may be named in several ways, which are kept apart: "
            f"{examples}{'; …' if len(similar) > _EXAMPLES else ''}"
        )
    return notes


def clear_not_artists(
    table: pd.DataFrame, path: str | Path = artist_names.NOT_ARTISTS
) -> tuple[pd.DataFrame, list[str]]:
    """Clear names that stand for no artist, listed in a file; return a note that counts them."""
    names = artist_names.read_not_artists(path)
    artists, counts = artist_names.clear_not_artists(table["artist"].fillna(""), names)
    if not counts:
        return table, []
    listed = ", ".join(f"{name!r} ({counts[name]})" for name in list(counts)[:_PLACEHOLDERS])
    listed += ", …" if len(counts) > _PLACEHOLDERS else ""
    note = (
        f"{sum(counts.values())} of {len(table)} tracks have no artist but a placeholder: {listed}"
    )
    return table.assign(artist=artists), [note]


def read_artists(split_path: str | Path) -> frozenset[str]:
    """Return the artists in all subsets of a split CSV, or raise `InputError` if it has none."""
    names = split_csv.read_split(split_path)["artist"].unique()
    artists = frozenset(name for name in names if artist_names.artist_key(name))
    if not artists:
        raise InputError(
            f"{split_path}: has no artist that could be excluded; give a split with artists"
        )
    return artists


def drop_artists(table: pd.DataFrame, exclude: frozenset[str]) -> tuple[pd.DataFrame, list[str]]:
    """Drop all tracks by the artists in `exclude`, and return a note of how many were dropped."""
    is_excluded, artists = _match_artists(table, exclude)
    if not is_excluded.any():
        return table, []
    if is_excluded.all():
        raise InputError("--exclude-artists-of: no tracks remain; give another split")
    note = f"left out: {is_excluded.sum()} tracks of {artists} excluded artists"
    return table[~is_excluded].reset_index(drop=True), [note]


def _require_label(table: pd.DataFrame, name: str) -> None:
    if name not in table.columns:
        raise InputError(f"--by {name}: no such label; choose from {', '.join(table.columns)}")


def _find_repeated_files(table: pd.DataFrame) -> np.ndarray:
    """Return a (tracks,) bool mask of tracks whose file also belongs to a smaller `track_id`."""
    paths = split_csv.normalise_paths(table.sort_values("track_id", kind="stable")["path"])
    return paths.duplicated().reindex(table.index).to_numpy()


def _is_blank(values: pd.Series) -> np.ndarray:
    """Return a (rows,) bool mask of values that are missing, empty or only white space."""
    return values.astype("str").fillna("").str.strip().eq("").to_numpy()


def _factorize(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's index into the sorted distinct names (-1 if blank), and the names."""
    return pd.factorize(values.mask(_is_blank(values)).to_numpy(dtype=object), sort=True)


def _match_artists(table: pd.DataFrame, exclude: frozenset[str]) -> tuple[np.ndarray, int]:
    """Return a (rows,) bool mask of tracks by artists in `exclude`, and how many artists match."""
    keys = {artist_names.artist_key(name) for name in exclude} - {""}
    if not keys:
        return np.zeros(len(table), dtype=bool), 0
    artist, names = _factorize(table["artist"])
    # The extra last value is for tracks without an artist, which have index -1.
    matches = np.array([artist_names.artist_key(name) in keys for name in names] + [False])
    return matches[artist], int(matches.sum())
