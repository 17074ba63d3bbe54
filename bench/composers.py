"""Compare the recipe "best" with the papers' models and MFCCs on classical music in MIDI files.

    python bench/composers.py FOLDER [--unseen FOLDER | --folds N] [--seeds 0 1 2]

FOLDER contains MIDI files and their list, `pieces.csv`, with the columns path and composer. The
first 30 s of each piece are rendered by FluidSynth. A generator draws the sound font of each piece,
equally often within each composer, and all channels are played as a piano, without the drums
(unless --instruments is given), so that no composer is identified by the sound. Composers of fewer
than 20 pieces are left out, and at least four must be unseen. Trains each model with each seed on
20 pieces per composer, and evaluates it on all pieces by the other composers, or by those of
--unseen. With --folds, the composers are divided into folds; models are trained once per fold, on
all others, so that every composer is unseen once. The scores are those of retrieval by composer
(MAP), artist recognition by cosine and by PLDA (with 15 tracks to enrol and 5 to test), and
clustering by composer (adjusted Rand index). Prints the mean and the standard deviation over the
seeds, and the difference between the recipe and each other model with its 95 % interval. The column
"font" is the accuracy of a linear softmax layer that recognises the sound font, on pieces by
composers that the layer was not trained on. Completed steps are skipped.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import pandas as pd
import soundfile

from bench import comparison
from bench.comparison import MODELS, Tracks
from common import cli
from common.errors import InputError
from common.files import atomic_write, file_sha256
from common.parallel import map_in_threads
from data_prep import fluidsynth
from data_prep.artist_names import artist_key, clear_not_artists, read_not_artists
from data_prep.audio import SAMPLE_RATE
from data_prep.datasets import Request, csv_list
from data_prep.datasets.catalog import drop_tracks
from data_prep.rendering import RenderingError
from data_prep.resampling import resample
from recognition import ENROL_TRACKS, TEST_TRACKS

LIST = "pieces.csv"
PLAN = "plan.csv"  # the pieces to render, each with its font and what determines the sound
PIECES = ENROL_TRACKS + TEST_TRACKS  # minimum number of pieces per composer
UNSEEN = 4  # minimum number of unseen composers, on whose pieces the sound font is recognised
SECONDS = 30.0
LEVEL = 0.05  # root mean square of each rendering, unless a peak would be clipped
# From fluid-soundfont-gm, timgm6mb-soundfont, opl3-soundfont, csound-soundfont and
# musescore-general-soundfont-lossless.
FONTS = ("FluidR3_GM", "TimGM6mb", "OPL-3_FM_128M", "sf_GMbank", "MuseScore_General_Full")
FONT_FOLDER = Path("/usr/share/sounds/sf2")  # Debian's
COLUMNS = ("MAP", *comparison.RECOGNITION, "font")


class Fold(NamedTuple):
    """The tracks to train and evaluate models on, by different composers, and the output folder."""

    training: Tracks
    unseen: Tracks
    out: Path


def main() -> None:
    """Render the pieces, train and evaluate the models, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of pieces")
    text = "folder of pieces to evaluate on; all composers of FOLDER are then for training"
    unseen = parser.add_mutually_exclusive_group()
    unseen.add_argument("--unseen", type=Path, metavar="FOLDER", help=text)
    text = "number of folds of a cross-validation over composers"
    cli.add_count(unseen, "--folds", None, text)
    fonts = [FONT_FOLDER / f"{name}.sf2" for name in FONTS]
    text = "sound fonts to draw from (default: five of Debian's)"
    parser.add_argument("--fonts", type=Path, nargs="+", default=fonts, metavar="FONT", help=text)
    text = "play the instruments that the files name"
    parser.add_argument("--instruments", action="store_true", help=text)
    text = "number of composers to train on (default: 40, or all with --unseen), without --folds"
    cli.add_count(parser, "--composers", None, text)
    cli.add_count(parser, "--epochs", 60, "number of epochs (default: 60)")
    cli.add_seeds(parser, [0, 1, 2])
    text = "names of the models to train"
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help=text)
    text = "output folder"
    parser.add_argument("--out", type=Path, default=Path("results/composers"), help=text)
    args = parser.parse_args()
    if not fluidsynth.is_installed():
        raise InputError("fluidsynth: not found; install it, for it renders the pieces")
    if args.folds == 1:
        parser.error("--folds: needs two folds or more")
    if args.folds and args.composers:
        parser.error("--composers: --folds determines the composers to train on; give one of them")
    check_fonts(args.fonts)
    files: dict[tuple[str, str], list[Path]] = {}  # by model and column; per fold, one per seed
    models = {model: MODELS[model] for model in args.models}
    folds = prepare(args)
    for fold in folds:
        trained = comparison.train_all(models, fold.training, fold.out, args.epochs, args.seeds)
        for model, name, weights in trained:
            for column, path in evaluate(weights, name, fold).items():
                files.setdefault((model, column), []).append(path)
    sizes = [len(read_composers(fold.unseen.split)) for fold in folds]
    comparison.print_table(files, COLUMNS, sizes)
    if "best" in models:
        comparison.print_differences(files, comparison.COMPARED)


def check_fonts(fonts: list[Path]) -> None:
    """Reject a single sound font, and sound fonts that are missing or share a name."""
    if len(fonts) < 2:
        raise InputError(
            "--fonts: only one font, but the column font tells several apart; give more"
        )
    for font in fonts:
        if not font.is_file():
            raise InputError(f"{font}: no such sound font; install its package, or give --fonts")
    if len({font.stem for font in fonts}) < len(fonts):
        raise InputError("--fonts: two fonts have the same name; rename one, or give it once")


def prepare(args: argparse.Namespace) -> list[Fold]:
    """Render the pieces; return the tracks to train on and those of other composers."""
    render = partial(render_pieces, fonts=args.fonts, instruments=args.instruments)
    first = render(args.folder, args.out / "pieces")
    if args.folds:
        return prepare_folds(first, args.folds, args.out)
    name = f"unseen_{args.unseen.resolve().name}" if args.unseen else "unseen"
    second = render(args.unseen, args.out / name) if args.unseen else first
    composers = read_composers(first)
    if not composers:
        raise InputError(f"{args.folder}: no composer has {PIECES} pieces; add pieces")
    count = args.composers or (len(composers) if args.unseen else 40)
    if count > len(composers):
        raise InputError(
            f"{args.folder}: only {len(composers)} composers have {PIECES} pieces or more; use a "
            f"lower --composers than {count}"
        )
    training = prepare_tracks(
        "training", first, args.out, "--split", "artists", "--max-artists", count
    )
    unseen = read_composers(second) - read_composers(training.split)
    if len(unseen) < UNSEEN:
        raise InputError(
            f"{args.unseen or args.folder}: {len(unseen)} composers with {PIECES} pieces or more "
            f"are not for training, but {UNSEEN} are needed; use a lower --composers, or --unseen "
            "with others"
        )
    return [Fold(training, prepare_unseen(name, second, args.out, training), args.out)]


def prepare_folds(tracks: Path, folds: int, out: Path) -> list[Fold]:
    """Return folds in which every composer is unseen once."""
    table = pd.read_csv(tracks, dtype=str, keep_default_na=False)
    composers = pd.factorize(table["artist"].map(artist_key), sort=True)[0]
    count = composers.max(initial=-1) + 1
    if count < folds * UNSEEN:
        raise InputError(
            f"{tracks}: {count} composers have {PIECES} pieces or more, but {folds} folds need "
            f"{UNSEEN} each; use fewer folds, or add pieces"
        )
    prepared = []
    for fold in range(folds):
        is_unseen, folder = composers % folds == fold, out / f"{folds}_folds/{fold + 1}"
        lists = []
        for kind, rows in (("training", ~is_unseen), ("unseen", is_unseen)):
            lists.append(tracks.parent / f"{kind}_{fold + 1}_of_{folds}.csv")
            write_text(lists[-1], table[rows].to_csv(index=False))
        training = prepare_tracks("training", lists[0], folder, "--split", "artists")
        unseen = prepare_unseen("unseen", lists[1], folder, training)
        prepared.append(Fold(training, unseen, folder))
    return prepared


def prepare_unseen(name: str, tracks: Path, out: Path, training: Tracks) -> Tracks:
    """Make the split and the mel cache of the pieces by composers that are not for training."""
    # Most protocols use all of its tracks. The sound font is recognised in the test subset.
    disjoint = ("--split", "disjoint", "--exclude-artists-of", training.split)
    return prepare_tracks(name, tracks, out, *disjoint)


def read_composers(tracks: Path) -> set[str]:
    """Return the composers in a list or split, as `artist_key` writes them."""
    return set(map(artist_key, pd.read_csv(tracks, dtype=str, keep_default_na=False)["artist"]))


def read_pieces(folder: Path) -> pd.DataFrame:
    """Return the pieces in a folder's list whose files exist, with the column composer."""
    path = folder / LIST
    if not path.is_file():
        raise InputError(f"{path}: no such list; it names the pieces, with path and composer")
    found = csv_list.read_csv_list(Request(folder, path))
    if "composer" not in found.table.columns:
        raise InputError(f"{path}: has no column composer; add it")
    composer, _ = clear_not_artists(found.table["composer"], read_not_artists())
    named = composer.ne("")
    remedy = "name each piece's composer"
    table, notes = drop_tracks(
        found.table, named, path, "without a composer", name="path", remedy=remedy
    )
    for note in (*found.notes, *notes):
        print(note, flush=True)
    return table


def draw_fonts(composers: pd.Series, count: int, seed: int = 0) -> np.ndarray:
    """Return the number of a font for each piece, each font equally often within a composer."""
    generator, fonts = np.random.default_rng(seed), np.empty(len(composers), int)
    for rows in composers.reset_index(drop=True).groupby(composers.to_numpy()).groups.values():
        first = generator.integers(count)
        fonts[generator.permutation(rows)] = (first + np.arange(len(rows))) % count
    return fonts


def render_pieces(folder: Path, out: Path, *, fonts: list[Path], instruments: bool) -> Path:
    """Render the pieces in a folder that are not there yet, and return the list of the tracks."""
    pieces = read_pieces(folder)
    drawn = draw_fonts(pieces["composer"], len(fonts))
    digests = [file_sha256(font) for font in fonts]
    table = pd.DataFrame(
        {
            "path": pieces["path"] + ".flac",
            "artist": pieces["composer"],
            "font": [fonts[number].stem for number in drawn],
            "instruments": "named" if instruments else "piano",
        }
    )
    sources = [folder / name for name in pieces["path"]]
    plan = table.assign(
        piece=[file_sha256(source) for source in sources],
        font_digest=[digests[number] for number in drawn],
    )
    path, text = out / PLAN, plan.to_csv(index=False)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise InputError(f"{path}: made from other pieces or fonts; use a new --out")
    write_text(path, text)
    outputs = [out / name for name in table["path"]]
    jobs = zip(sources, outputs, (fonts[number] for number in drawn), strict=True)
    reasons = map_in_threads(lambda job: render_piece(*job, instruments), jobs)
    progress = cli.progress_bar(reasons, desc="pieces", unit="piece", total=len(table))
    failed = [reason for reason in progress if reason]
    if failed:
        count = f"{len(failed)} of {len(table)} pieces are"
        print(f"{folder}: {count} left out, such as {failed[0]}", flush=True)
    rendered = table[[output.exists() for output in outputs]]
    few = rendered.groupby("artist")["path"].transform("size") < PIECES
    if few.any():
        names = rendered.loc[few, "artist"].unique()
        count = f"{len(names)} of {rendered['artist'].nunique()} composers have"
        print(f"{folder}: {count} fewer than {PIECES} pieces: left out, such as {names[0]!r}")
    write_text(out / LIST, rendered[~few].to_csv(index=False))
    return out / LIST


def write_text(path: Path, text: str) -> None:
    """Write a file, unless it has this text already; then, what is made from it stays valid."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with atomic_write(path) as partial_file:
            partial_file.write_text(text, encoding="utf-8")


def render_piece(source: Path, out: Path, font: Path, instruments: bool) -> str:
    """Render a piece unless it exists; return the reason if that is not possible."""
    if out.exists():
        return ""
    try:
        waveform = fluidsynth.render(source, font, SECONDS, instruments=instruments)
    except RenderingError as error:
        return f"{source}: {error}"
    waveform = resample(waveform, fluidsynth.RATE, SAMPLE_RATE)
    level, peak = np.sqrt(np.mean(waveform**2)), np.abs(waveform).max()
    waveform *= min(LEVEL / level, 0.99 / peak)
    with atomic_write(out) as file:
        soundfile.write(file, waveform, SAMPLE_RATE, "PCM_16", format="FLAC")
    return ""


def prepare_tracks(name: str, tracks: Path, out: Path, *options: object) -> Tracks:
    """Make the split and the mel cache of rendered pieces."""
    made = Tracks(out / f"splits/{name}.csv", out / f"cache/{name}.h5")
    listed = ("--root", tracks.parent, "--metadata", tracks)
    make_splits = ("data_prep/1_make_splits.py", "csv", *listed, *options, "--out", made.split)
    cache_mels = ("data_prep/2_cache_mels.py", made.split, "--audio", tracks.parent)
    for command in (make_splits, (*cache_mels, "--out", made.cache)):
        print(comparison.run(*command), end="", flush=True)
    return made


def evaluate(weights: Path | str, name: str, fold: Fold) -> dict[str, Path]:
    """Evaluate features on unseen composers; return the result file of each column."""
    training, unseen, out = fold
    of_train, of_unseen = (
        comparison.extract(weights, name, tracks, out) for tracks in (training, unseen)
    )
    name = f"{name}_{unseen.split.stem}"
    tracks = (name, of_unseen, unseen.split)
    files = comparison.recognise(*tracks, (of_train, training.split), out)
    files |= comparison.evaluate("retrieval", "MAP", *tracks, out, "--label", "artist")
    return files | comparison.evaluate("linear", "font", *tracks, out, "--label", "font")


if __name__ == "__main__":
    cli.run_script(main)
