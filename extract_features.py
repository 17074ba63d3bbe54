"""Step 4: extract one feature vector per track with released weights, your own, or a baseline.

WEIGHTS is a released model (siamese_5000), an .h5 or .keras file, an i-vector model
(ivector.h5 of train_ivector.py), networks of agf2018 (model.h5 of train_agf.py), or a
baseline: `mfcc`, or `untrained` (the encoder with random weights). INPUT is a mel cache
(.h5), an audio file, or a folder of audio files.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import cli, feature_file, hdf5, provenance
from common.errors import InputError
from common.files import make_folder
from common.parallel import available_cores
from data_prep import failures
from data_prep.mel import FrontEnd
from data_prep.mfcc import SILENT, mfcc_frames
from data_prep.track_readers import AudioTracks, CachedTracks
from recognition import ivector_model


def main() -> int:
    """Extract the features of all tracks."""
    parser = cli.make_parser(
        __doc__, "python extract_features.py siamese_5000 my_music --out features/my_music.h5"
    )
    parser.add_argument("weights", metavar="WEIGHTS", help="model or baseline, see above")
    parser.add_argument("input", metavar="INPUT", type=Path, help="tracks, see above")
    parser.add_argument("--out", type=Path, required=True, help="feature file, features/NAME.h5")
    parser.add_argument("--mirror", type=Path, help="folder that contains the released weights")
    cli.add_count(parser, "--workers", available_cores(), "number of audio decoders")
    parser.add_argument(
        "--whole-tracks", action="store_true", help="features of whole tracks, not the first 30 s"
    )
    parser.add_argument(
        "--allow-failures", action="store_true", help="exit status 0 even if some tracks failed"
    )
    cli.add_seed(parser)
    args = parser.parse_args()
    if args.input.suffix == ".h5" and args.whole_tracks:
        parser.error("--whole-tracks: a cache has a fixed length; give the option to step 2")
    if args.out.is_dir():  # before the hours that the extraction may take
        raise InputError(f"{args.out}: is a folder; name a file in it, {args.out / 'NAME.h5'}")
    make_folder(args.out.parent)

    source: AudioTracks | CachedTracks
    if args.input.suffix == ".h5":
        source = CachedTracks(args.input)
    else:
        front_end = FrontEnd(max_frames=None) if args.whole_tracks else FrontEnd()
        source = AudioTracks(args.input, front_end, args.workers)
    extractor = feature_extractor(
        args.weights, mirror=args.mirror, seed=args.seed, mean_and_std=source.mean_and_std
    )

    inputs = {"weights": extractor.origin, "input": source.inputs}
    if args.out.exists():
        existing = feature_file.read_features(args.out)
        provenance.require_same(args.out, existing.inputs, inputs)
        failed = {t: why for t, why in existing.failed.items() if t not in source.failed_before}
        return failures.report_failures(
            args.out, len(existing.track_id), failed, args.allow_failures, "complete already"
        )

    track_ids, vectors = [], []
    with cli.progress_bar(source.mels(), total=len(source.track_id), unit="track") as mels:
        # The vector first: once it is there, `failed` has all tracks that failed before it.
        decoded = (track for track in source.track_id if track not in source.failed)
        for vector, track in zip(extractor.function(mels), decoded, strict=False):
            if vector is None:
                source.failed[track] = SILENT
            else:
                track_ids.append(track)
                vectors.append(vector)
    failures.write_failures(args.out, source.failed)
    if not vectors:
        track, reason = next(iter(source.failed.items()))
        raise InputError(
            f"{args.input}: none of the {len(source.failed)} tracks could be used; the first, "
            f"{track}: {reason}"
        )
    classes = extractor.classes
    features, probabilities = np.split(np.stack(vectors), [len(vectors[0]) - len(classes)], axis=1)
    feature_file.write_features(
        args.out,
        feature_file.Features(
            features,
            np.array(track_ids, object),
            {**source.failed_before, **source.failed},
            inputs,
            extractor.trained_on,
            classes,
            probabilities if classes else None,
        ),
    )
    return failures.report_failures(
        args.out, len(track_ids), source.failed, args.allow_failures, extractor.origin["name"]
    )


class FeatureExtractor(NamedTuple):
    """A feature function and what a feature file records of it.

    Attributes
    ----------
    function
        From an iterable of log-mels to an iterator of vectors (d,), float32, or None for a
        track without features.
    origin
        Provenance of the model or baseline.
    trained_on
        Names of the artists that the model was trained on.
    classes
        Classes whose probabilities are the last values of a vector, if any.
    """

    function: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray | None]]
    origin: dict
    trained_on: Sequence[str] = ()
    classes: Sequence[str] = ()


def feature_extractor(
    name: str, *, mirror: str | Path | None, seed: int, mean_and_std: tuple[float, float] | None
) -> FeatureExtractor:
    """Return the feature extractor of a model or a baseline.

    Parameters
    ----------
    name
        `mfcc` or `untrained` for the baselines, the file of an i-vector model or of networks
        of agf2018, else a name or path for `models.pretrained.load_weights`.
    mirror
        Folder that contains the released weights.
    seed, mean_and_std
        Random seed of the untrained encoder, and the mean and standard deviation that
        normalise its input; None takes those of the released weights.
    """
    if name == "mfcc":
        return FeatureExtractor(mfcc_features, {"name": "mfcc", "model": "mfcc", "artists": None})
    file_format = hdf5.read_format(name)
    if file_format == ivector_model.FORMAT:
        ivectors = ivector_model.load_ivector_model(name)
        origin = ivector_model.describe_ivector_model(name, ivectors)
        return FeatureExtractor(ivectors.extract_ivectors, origin, list(ivectors.trained_on))

    # Keras is imported for networks only; the other extractors do not wait for it.
    from artist_groups import network_file
    from models import pretrained
    from models.embeddings import iter_embeddings
    from models.encoder import build_encoder, log_mel_model
    from models.keras_backend import keras

    if file_format == network_file.FORMAT:
        networks = network_file.load_networks(name)
        return FeatureExtractor(
            functools.partial(iter_embeddings, networks.model),
            network_file.describe_networks(name),
            networks.trained_on,
            networks.genres if networks.mlp else (),
        )
    if name == "untrained":
        keras.utils.set_random_seed(seed)
        mean, std = mean_and_std or (pretrained.RELEASED_MEAN, pretrained.RELEASED_STD)
        network = log_mel_model(build_encoder(), mean, std)
        origin = {"name": "untrained", "model": "untrained", "artists": None, "seed": seed}
        return FeatureExtractor(functools.partial(iter_embeddings, network), origin)
    weights = pretrained.load_weights(name, mirror)
    network = log_mel_model(pretrained.encoder_from(weights), weights.mean, weights.std)
    return FeatureExtractor(
        functools.partial(iter_embeddings, network), weights.provenance, weights.trained_on
    )


def mfcc_features(mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the mean and standard deviation of 20 MFCCs per track, (40,) float32 each."""
    for mel in mels:
        coefficients = mfcc_frames(mel)
        yield np.concatenate([coefficients.mean(axis=0), coefficients.std(axis=0)])


if __name__ == "__main__":
    cli.run_script(main)
