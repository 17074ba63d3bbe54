"""Step 4: one vector a song, by released weights, your own, or a baseline.

WEIGHTS is a released model (siamese_5000), an .h5 or .keras file, an i-vector
extractor (ivector.h5 of train_ivector.py), networks of agf2018 (model.h5 of
train_agf.py), or a baseline: `mfcc`, or `untrained` (the encoder with random
weights). INPUT is a mel cache (.h5), an audio file, or a folder of audio files.
"""

from pathlib import Path

import numpy as np

from common import cli, feature_file, provenance
from common.errors import InputError
from common.files import make_folder
from common.parallel import available_cores
from data_prep import failures
from data_prep.mel import FrontEnd
from data_prep.mfcc import SILENT
from data_prep.track_readers import AudioTracks, CachedTracks


def main() -> int:
    parser = cli.make_parser(
        __doc__, "python extract_features.py siamese_5000 my_music --out features/my_music.h5"
    )
    parser.add_argument("weights", metavar="WEIGHTS")
    parser.add_argument("input", metavar="INPUT", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the features, features/NAME.h5")
    parser.add_argument("--mirror", type=Path, help="folder that holds the released weights")
    parser.add_argument("--workers", type=cli.positive, default=available_cores(), help="decoders")
    parser.add_argument(
        "--whole-tracks", action="store_true", help="use all of a track, not its first 30 s"
    )
    parser.add_argument(
        "--allow-failures", action="store_true", help="exit with 0 though some tracks failed"
    )
    cli.add_seed(parser)
    args = parser.parse_args()
    if args.input.suffix == ".h5" and args.whole_tracks:
        parser.error("--whole-tracks: a cache was cut when it was made; give it to step 2")

    # What cannot come to a good end is refused now, not after the hours that it may take.
    if args.out.is_dir():
        raise InputError(f"{args.out}: is a folder; name a file in it, {args.out / 'NAME.h5'}")
    make_folder(args.out.parent)
    if args.input.suffix == ".h5":
        source = CachedTracks(args.input)
    else:
        front_end = FrontEnd(max_frames=None) if args.whole_tracks else FrontEnd()
        source = AudioTracks(args.input, front_end, args.workers)

    from feature_extractors import feature_extractor  # which --help does not wait for

    function, origin, trained_on, classes = feature_extractor(
        args.weights, mirror=args.mirror, seed=args.seed, mean_and_std=source.mean_and_std
    )
    inputs = {"weights": origin, "input": source.inputs}
    if args.out.exists():
        found = feature_file.read_features(args.out)
        provenance.require_same(args.out, found.inputs, inputs)
        failed = {t: why for t, why in found.failed.items() if t not in source.failed_before}
        return failures.report_failures(
            args.out, len(found.track_id), failed, args.allow_failures, "complete already"
        )

    kept, rows = [], []
    with cli.progress_bar(source.mels(), total=len(source.track_id), unit="track") as mels:
        # The row first: by the time that it is there, `failed` has all that failed before it.
        decoded = (track for track in source.track_id if track not in source.failed)
        for row, track in zip(function(mels), decoded, strict=False):
            if row is None:
                source.failed[track] = SILENT
            else:
                kept.append(track)
                rows.append(row)
    failures.write_failures(args.out, source.failed)
    if not rows:
        track, reason = next(iter(source.failed.items()))
        raise InputError(
            f"{args.input}: none of the {len(source.failed)} tracks could be used; the first, "
            f"{track}: {reason}"
        )
    failed = {**source.failed_before, **source.failed}
    width = len(rows[0]) - len(classes)
    features, probabilities = np.split(np.stack(rows), [width], axis=1)
    made = feature_file.Features(
        features, kept, failed, inputs, trained_on, classes, probabilities if classes else None
    )
    feature_file.write_features(args.out, made)
    return failures.report_failures(
        args.out, len(kept), source.failed, args.allow_failures, origin["name"]
    )


if __name__ == "__main__":
    cli.run_script(main)
