"""Measure how much the embeddings of models change with the level and coding of tracks.

For each model, prints the median over the tracks of the cosine between a track's embedding and that
of the same track at -6, -12 and -20 dB, after MP3 at 64 kbit/s, and after resampling to 16 kHz,
which removes frequencies above 8 kHz. Lines that end in `_5th` contain the 5th percentile. Tracks
are scaled to a peak of 1 first. Needs ffmpeg.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common import cli
from common.errors import InputError
from data_prep import ffmpeg, synthetic_corpus
from data_prep.audio import SAMPLE_RATE, list_audio_files, load_audio
from data_prep.mel import log_mel
from evaluation.retrieval import unit_rows
from models.embeddings import load_extractor

LEVELS = (-6, -12, -20)  # dB
# Arguments of ffmpeg that make a coded file of a track, by the name that is printed.
CODED = {
    "mp3_64": ("track.mp3", ("-codec:a", "libmp3lame", "-b:a", "64k")),
    "16_khz": ("track_16.wav", ("-ar", "16000", "-codec:a", "pcm_f32le")),
}


def main() -> None:
    """Print `name value` lines for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="names of released models, or weight files")
    text = "folder of audio files (default: tracks of the synthetic corpus)"
    parser.add_argument("--audio", type=Path, help=text)
    cli.add_count(parser, "--tracks", 20, "maximum number of tracks")
    parser.add_argument("--mirror", type=Path, help="folder with the released weights")
    args = parser.parse_args()
    if not ffmpeg.is_installed():
        raise InputError("ffmpeg: not found; install it")
    mels = [
        make_mels(waveform)
        for waveform in cli.progress_bar(
            read_tracks(args.audio, args.tracks), desc="tracks", unit="track"
        )
    ]
    for model in args.models:
        extractor = load_extractor(model, args.mirror)
        if len(args.models) > 1:
            print(f"model {model}")
        features = {
            name: unit_rows(np.array(list(extractor.function([one[name] for one in mels]))))
            for name in mels[0]
        }
        for name in list(features)[1:]:
            cosines = (features["original"] * features[name]).sum(axis=1)
            print(f"{name} {np.median(cosines):.3f}")
            print(f"{name}_5th {np.percentile(cosines, 5):.3f}")


def read_tracks(folder: Path | None, count: int) -> Iterator[np.ndarray]:
    """Yield the first 30 s of tracks of a folder, or of the synthetic corpus, evenly chosen."""
    if folder:
        paths = list_audio_files(folder)
    else:
        paths = synthetic_corpus.corpus_table(target_artists=0)["path"].tolist()
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int))
    for path in (paths[number] for number in chosen):
        if folder:
            waveform = load_audio(folder / path, 30.0)
        else:
            waveform = synthetic_corpus.render_track(path)
        yield waveform / np.abs(waveform).max()


def make_mels(waveform: np.ndarray) -> dict[str, np.ndarray]:
    """Return the log-mels of a track and of its changed copies."""
    waveforms = {"original": waveform}
    waveforms |= {f"level_{level}": waveform * 10 ** (level / 20) for level in LEVELS}
    with tempfile.TemporaryDirectory() as name:
        original = Path(name) / "track.wav"
        soundfile.write(original, waveform, SAMPLE_RATE, "FLOAT")
        for change, (file, options) in CODED.items():
            path = original.with_name(file)
            command = ["ffmpeg", "-v", "error", "-i", original, *options, path]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            waveforms[change] = load_audio(path)
    return {name: log_mel(each.astype(np.float32)) for name, each in waveforms.items()}


if __name__ == "__main__":
    cli.run_script(main)
