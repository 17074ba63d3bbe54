"""Step 4: extract one feature vector per track, using released weights, your own, or a baseline.

WEIGHTS is a released model (siamese_5000), an .h5 or .keras file, an .onnx file from export.py
(extraction then needs no TensorFlow), an i-vector model (ivector.h5 from train_ivector.py), agf2018
networks (model.h5 from train_agf.py), or a baseline: `mfcc`, or `untrained` (the encoder with
random weights). INPUT is a mel cache (.h5), a folder of audio files, or one or more audio files.
After a stop, the same command continues. If files were added to the folder, changed or removed, it
updates the feature file.
"""

import functools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

# This checks that the dependencies are installed, before any is imported.
from common import cli, feature_file, feature_journal, hdf5, provenance

# isort: split
import numpy as np

from common.errors import InputError
from common.files import make_folder
from common.parallel import available_cores
from data_prep import failures
from data_prep.audio import NORMALISATIONS, describe_quiet
from data_prep.decoding import SID_MODELS
from data_prep.mel import FrontEnd
from data_prep.resampling import RESAMPLERS
from data_prep.track_readers import AudioTracks, CachedTracks


def main() -> int:
    """Extract the features of all input tracks and write them to a file."""
    parser = cli.make_parser(
        __doc__, "python extract_features.py siamese_5000 my_music --out features/my_music.h5"
    )
    parser.add_argument("weights", metavar="WEIGHTS", help="model or baseline (see above)")
    text = "input tracks (see above)"
    parser.add_argument("input", metavar="INPUT", type=Path, nargs="+", help=text)
    text = "feature file to write, features/NAME.h5"
    parser.add_argument("--out", type=cli.output_file(".h5"), required=True, help=text)
    parser.add_argument("--mirror", type=Path, help="folder that contains the released weights")
    text = "split whose training tracks are extracted (default: all tracks in the mel cache)"
    parser.add_argument("--split", type=Path, metavar="SPLIT.csv", help=text)
    text = "number of artists whose tracks are extracted, in the order of --split (default: all)"
    cli.add_count(parser, "--max-artists", None, text)
    cli.add_count(parser, "--workers", available_cores(), "number of audio decoding processes")
    cli.add_front_end(parser, RESAMPLERS, NORMALISATIONS, SID_MODELS)
    cli.add_strict(parser)
    cli.add_seed(parser)
    args = parser.parse_args()
    is_cache = len(args.input) == 1 and args.input[0].suffix == ".h5"
    if is_cache:
        for name in ("whole_tracks", "resampler", "normalise", "sid_model"):
            if getattr(args, name):
                option = name.replace("_", "-")
                parser.error(f"--{option}: a cache is fixed; give the option to step 2")
    elif args.split:
        parser.error("--split needs a mel cache as input")
    if args.max_artists and not args.split:
        parser.error("--max-artists needs --split")
    if args.out.is_dir():  # checked now because extraction may take hours
        raise InputError(f"{args.out}: is a folder; name a file in it, {args.out / 'NAME.h5'}")
    make_folder(args.out.parent)

    source: AudioTracks | CachedTracks
    if is_cache:
        source = CachedTracks(args.input[0])
        if args.split:
            source.select(_training_tracks(args.split, args.max_artists, source))
    else:
        options = args.whole_tracks, args.resampler, args.normalise, args.sid_model
        front_end = FrontEnd.of(*options)
        source = AudioTracks(args.input, front_end, args.workers)
    extractor = feature_extractor(
        args.weights, mirror=args.mirror, seed=args.seed, mean_and_std=source.mean_and_std
    )

    inputs = {"weights": extractor.origin, "input": source.inputs}
    # A replaced audio file is noticed; the mel cache is not made again.
    retry = {} if is_cache else {"retry": "to try them again, replace them or delete {out}"}
    kept: dict[str, np.ndarray] = {}
    if args.out.exists():
        existing = feature_file.read_features(args.out)
        kept = existing.unchanged_vectors(source.stamps)
        removed = len(set(existing.track_id) - set(source.track_id))
        if removed and not source.path.is_dir():
            kept = {}  # a list of other files is another input
        if not kept or not provenance.list_differences(existing.inputs, inputs):
            provenance.require_same(args.out, existing.inputs, inputs)
            shutil.rmtree(feature_journal.journal_folder(args.out), ignore_errors=True)
            missing = set(source.track_id).difference(existing.track_id, existing.failed)
            if is_cache and missing:
                count, total = len(missing), len(source.track_id)
                raise InputError(
                    f"{args.out}: {count} of {total} tracks are missing; use a new --out"
                )
            failed = {t: why for t, why in existing.failed.items() if t not in source.failed_before}
            return failures.report_failures(
                args.out, len(existing.track_id), failed, args.strict, "already complete", **retry
            )
        provenance.require_same(args.out, _without_files(existing.inputs), _without_files(inputs))
        if removed:
            print(f"{args.out}: {removed} tracks removed, which are no longer in {source.path}")
    tracks = extract_features(args.out, source, extractor, kept)
    name = extractor.origin["name"]
    return failures.report_failures(args.out, tracks, source.failed, args.strict, name, **retry)


def _training_tracks(split: Path, max_artists: int | None, source: CachedTracks) -> list[str]:
    """Return the ids of the training tracks by the first artists in a split."""
    from data_prep import split_csv

    tracks = split_csv.read_usable_tracks(split, source.failed_before, source.path, max_artists)
    return tracks["track_id"][split_csv.subset_mask(tracks, "train", split)].tolist()


def extract_features(
    out: Path,
    source: AudioTracks | CachedTracks,
    extractor: "FeatureExtractor",
    kept: dict[str, np.ndarray],
) -> int:
    """Extract the features of all tracks except those in `kept`; write both to the file `out`.

    Features that an interrupted call has computed are not computed again. Returns the number of
    tracks in the file.
    """
    inputs = {"weights": extractor.origin, "input": source.inputs}
    journal = feature_journal.open_journal(out, _without_files(inputs), source.stamps)
    with journal as (stored, store):
        vectors = kept | stored
        remaining = [track for track in source.track_id if track not in vectors]
        total, done = len(source.track_id), len(vectors)
        if done:
            print(f"{out}: {done} of {total} tracks are already complete")
        mels = source.mels(remaining)
        with cli.progress_bar(mels, total=total, initial=done, unit="track") as bar:
            # zip must fetch the vector first, so that `failed` already lists all earlier failures.
            decoded = (track for track in remaining if track not in source.failed)
            for vector, track in zip(extractor.function(bar), decoded, strict=False):
                if vector is None:
                    source.failed[track] = failures.SILENT
                else:
                    store(track, vector)
        failures.write_failures(out, source.failed)
        if source.quiet:
            counted = remaining if isinstance(source, AudioTracks) else source.track_id
            print(describe_quiet(source.quiet, len(counted)))
        vectors |= stored
        if not vectors:
            track, reason = next(iter(source.failed.items()))
            raise InputError(
                f"{source.path}: none of the {total} tracks could be used; the first, "
                f"{track}: {reason}"
            )
        track_ids = [track for track in source.track_id if track in vectors]
        if len({len(vectors[track]) for track in track_ids}) > 1:
            folder = feature_journal.journal_folder(out)
            raise InputError(f"{folder}: is damaged; delete it and {out} to extract from scratch")
        rows = np.stack([vectors[track] for track in track_ids])
        classes = extractor.classes
        features, probabilities = np.split(rows, [rows.shape[1] - len(classes)], axis=1)
        content = feature_file.Features(
            features,
            np.array(track_ids, object),
            {**source.failed_before, **source.failed},
            inputs,
            extractor.trained_on,
            classes,
            probabilities if classes else None,
            [source.stamps[track] for track in track_ids if source.stamps[track]],
        )
        feature_file.write_features(out, content)
    return len(track_ids)


def _without_files(inputs: dict) -> dict:
    """Return the inputs without the digest of the audio files, of which some may change."""
    return {**inputs, "input": {k: v for k, v in inputs["input"].items() if k != "files"}}


class FeatureExtractor(NamedTuple):
    """A feature function, and the details that feature files record about it."""

    # Maps log-mels to vectors (d,), float32, or None for a track without features.
    function: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray | None]]
    origin: dict  # provenance of the model or baseline
    trained_on: Sequence[str] = ()  # names of the training artists
    classes: Sequence[str] = ()  # classes whose probabilities are appended to each vector


def feature_extractor(
    name: str, *, mirror: str | Path | None, seed: int, mean_and_std: tuple[float, float] | None
) -> FeatureExtractor:
    """Return the feature extractor for WEIGHTS, a model or baseline (see above).

    The seed is that of the untrained encoder, whose input is normalised with `mean_and_std` or, if
    it is None, with those of the released weights.
    """
    if name == "mfcc":
        return FeatureExtractor(mfcc_features, {"name": "mfcc", "model": "mfcc", "artists": None})
    # The packages of the other papers, and Keras, are imported only for their own files, so that
    # the other extractors start without delay.
    file_format = hdf5.read_format(name)
    if file_format:
        from recognition import ivector_model

        if file_format == ivector_model.FORMAT:
            ivectors = ivector_model.load_ivector_model(name)
            origin = ivector_model.describe_ivector_model(name, ivectors)
            return FeatureExtractor(ivectors.extract_ivectors, origin, list(ivectors.trained_on))

    from models.embeddings import iter_embeddings, load_extractor

    if file_format:
        from artist_groups import network_file

        if file_format == network_file.FORMAT:
            networks = network_file.load_networks(name)
            function = functools.partial(iter_embeddings, networks.model)
            origin = network_file.describe_networks(name)
            classes = networks.genres if networks.mlp else ()
            return FeatureExtractor(function, origin, networks.trained_on, classes)
    if name != "untrained":
        return FeatureExtractor(*load_extractor(name, mirror))

    from models.encoder import build_encoder, log_mel_model
    from models.keras_backend import keras
    from models.pretrained import RELEASED_MEAN, RELEASED_STD

    keras.utils.set_random_seed(seed)
    mean, std = mean_and_std or (RELEASED_MEAN, RELEASED_STD)
    network = log_mel_model(build_encoder(), mean, std)
    origin = {"name": "untrained", "model": "untrained", "artists": None, "seed": seed}
    return FeatureExtractor(functools.partial(iter_embeddings, network), origin)


def mfcc_features(mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the means and standard deviations of 20 MFCCs, (40,) float32, for each track."""
    from data_prep.mfcc import mfcc_frames

    for mel in mels:
        coefficients = mfcc_frames(mel)
        yield np.concatenate([coefficients.mean(axis=0), coefficients.std(axis=0)])


if __name__ == "__main__":
    cli.run_script(main)
