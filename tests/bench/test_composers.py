"""Tests of rendering a folder of pieces by composers."""

import argparse

import numpy as np
import pandas as pd
import pytest
import soundfile

from bench import composers
from common.errors import InputError
from tests.data_prep.midi import FONT, midi, needs_fluidsynth


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pieces"
    for composer, notes in (("Bach", range(50, 50 + composers.PIECES)), ("Ravel", (60, 64))):
        (folder / composer).mkdir(parents=True)
        for number, note in enumerate(notes):
            (folder / f"{composer}/{number}.mid").write_bytes(midi(note))
    return folder


def write_list(folder, *rows):
    (folder / composers.LIST).write_text("\n".join(rows) + "\n", encoding="utf-8")


def render(folder, out):
    return composers.render_pieces(folder, out, fonts=[FONT], instruments=False)


def test_fonts_are_drawn_equally_often_per_composer():
    pieces = pd.Series(["Bach", "Ravel"] * 20)
    fonts = composers.draw_fonts(pieces, 3)
    counts = pd.crosstab(pieces, fonts)
    assert counts.to_numpy().min() == 6 and counts.to_numpy().max() == 7
    assert np.array_equal(fonts, composers.draw_fonts(pieces, 3))
    assert not np.array_equal(fonts, composers.draw_fonts(pieces, 3, seed=1))


@needs_fluidsynth
def test_pieces_are_rendered_once_at_one_level(folder, tmp_path, capsys):
    (folder / "Bach/bad.mid").write_bytes(b"no music")
    pieces = [*(f"Bach/{number}.mid" for number in range(composers.PIECES)), "Bach/bad.mid"]
    few = ["Ravel/0.mid,Ravel,r", "Ravel/1.mid,Ravel,../../outside"]
    rows = [*(f"{path},Bach,{number}" for number, path in enumerate(pieces)), *few]
    write_list(folder, "path,composer,track_id", *rows)
    out = tmp_path / "out"
    listed = render(folder, out)
    printed = capsys.readouterr().out
    assert f"1 of {len(rows)} pieces are left out, such as" in printed
    assert "1 of 2 composers have fewer than 20 pieces: left out, such as 'Ravel'" in printed
    table = pd.read_csv(listed)
    assert [*table["path"]] == [f"{path}.flac" for path in pieces[:-1]]
    assert {*table["artist"]} == {"Bach"} and {*table["font"]} == {FONT.stem}
    files = sorted(tmp_path.rglob("*.flac"))
    assert {file.relative_to(out).as_posix() for file in files} == {
        *table["path"],
        "Ravel/0.mid.flac",
        "Ravel/1.mid.flac",
    }
    for file in files:
        waveform, rate = soundfile.read(file)
        assert rate == 22_050 and np.sqrt(np.mean(waveform**2)) == pytest.approx(0.05, rel=0.01)
    times = [file.stat().st_mtime_ns for file in (*files, listed)]
    render(folder, out)
    assert [file.stat().st_mtime_ns for file in (*files, listed)] == times
    (folder / "Bach/0.mid").write_bytes(midi(90))
    with pytest.raises(InputError, match="made from other pieces or fonts; use a new --out"):
        render(folder, out)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (("path,artist", "Bach/0.mid,Bach"), "has no column composer"),
        (("composer,seconds", "Bach,30"), "has no column path"),
        (("path,composer", "../0.mid,Bach"), r"row 2: .*'\.\./0\.mid'"),
        (("path,composer", "/etc/0.mid,Bach"), "row 2: .*'/etc/0.mid'"),
        (("path,composer", "Bach/70.mid,Bach"), "1 of 1 tracks are missing, such as 'Bach/70.mid'"),
        (("path,composer", "Bach/0.mid,"), "1 of 1 tracks are without a composer"),
        (("path,composer", "Bach/0.mid,Anonymous"), "1 of 1 tracks are without a composer"),
    ],
)
def test_list_with_an_error_is_rejected(folder, rows, reason):
    write_list(folder, *rows)
    with pytest.raises(InputError, match=reason):
        composers.read_pieces(folder)


def test_piece_whose_file_is_missing_is_left_out(folder, capsys):
    write_list(folder, "path,composer", "Bach/0.mid,Bach", "Bach/70.mid,Bach")
    assert [*composers.read_pieces(folder)["path"]] == ["Bach/0.mid"]
    assert "1 of 2 tracks are missing, such as 'Bach/70.mid': left out" in capsys.readouterr().out


def test_fonts_that_are_missing_or_alike_are_rejected(tmp_path):
    font = tmp_path / "a.sf2"
    with pytest.raises(InputError, match=r"a\.sf2: no such sound font"):
        composers.check_fonts([font, font])
    font.touch()
    with pytest.raises(InputError, match="two fonts have the same name"):
        composers.check_fonts([font, font])
    with pytest.raises(InputError, match="only one font"):
        composers.check_fonts([font])


@pytest.mark.parametrize(
    ("given", "unseen", "count", "problem"),
    [
        (None, True, 3, ""),
        (2, True, 2, ""),
        (None, False, 40, "only 3 composers have 20 pieces or more; use a lower --composers"),
        (4, True, 4, "only 3 composers"),
        (2, False, 2, "1 composers with 20 pieces or more are not for training"),
    ],
)
def test_composers_for_training_are_counted(given, unseen, count, problem, tmp_path, monkeypatch):
    """The first `count` composers are for training, and four others have to be unseen."""
    names = {"old": "ABC", "new": "CDEFG"}
    drawn = []

    def render_pieces(folder, out, **_):
        path = tmp_path / f"{folder.name}.csv"
        path.write_text("\n".join(["artist", *names[folder.name]]) + "\n")
        return path

    def prepare_tracks(name, tracks, out, *options):
        split = tmp_path / f"{name}_split.csv"
        if name == "training":
            drawn.append(options[-1])
            split.write_text("\n".join(tracks.read_text().split("\n")[: 1 + options[-1]]) + "\n")
        return composers.Tracks(split, tmp_path / "cache.h5")

    monkeypatch.setattr(composers, "render_pieces", render_pieces)
    monkeypatch.setattr(composers, "prepare_tracks", prepare_tracks)
    args = argparse.Namespace(
        folder=tmp_path / "old",
        unseen=tmp_path / "new" if unseen else None,
        folds=None,
        composers=given,
        out=tmp_path,
        fonts=[FONT],
        instruments=False,
    )
    if problem:
        with pytest.raises(InputError, match=problem):
            composers.prepare(args)
    else:
        composers.prepare(args)
        assert drawn == [count]


def test_folds_have_every_composer_unseen_once(tmp_path, monkeypatch):
    pieces = tmp_path / "pieces.csv"
    names = [*"ABCDEFGHI", "a"]  # of nine composers
    pieces.write_text("\n".join(["path,artist", *(f"{i},{name}" for i, name in enumerate(names))]))
    monkeypatch.setattr(
        composers,
        "prepare_tracks",
        lambda name, tracks, out, *options: composers.Tracks(tracks, out / f"{name}.h5"),
    )
    folds = composers.prepare_folds(pieces, 2, tmp_path)
    sets = [tuple(map(composers.read_composers, (fold[0].split, fold[1].split))) for fold in folds]
    assert [(len(training), len(unseen)) for training, unseen in sets] == [(4, 5), (5, 4)]
    for training, unseen in sets:
        assert training | unseen == set(map(composers.artist_key, "ABCDEFGHI"))
        assert not training & unseen
    assert not sets[0][1] & sets[1][1]
    assert [fold.out.relative_to(tmp_path).as_posix() for fold in folds] == [
        "2_folds/1",
        "2_folds/2",
    ]
    with pytest.raises(InputError, match="9 composers have 20 pieces or more, but 3 folds need 4"):
        composers.prepare_folds(pieces, 3, tmp_path)
