"""Step 4: one vector a song, by released weights, your own, or a baseline.

WEIGHTS is a released model (siamese_5000), an .h5 or .keras file, or a
baseline: `mfcc`, or `untrained` (the encoder with random weights). INPUT is a
mel cache (.h5), an audio file, or a folder of audio files.
"""

import contextlib
from functools import partial
from pathlib import Path

import numpy as np

from common import cli, feature_file, provenance
from common.errors import InputError
from common.parallel import ordered_map, usable_cores
from data_prep import failures, folder
from data_prep.mel import FrontEnd, log_mel_of_file
from data_prep.mel_cache import MelCache


def main() -> int:
    parser = cli.parser(
        __doc__, "python extract_features.py siamese_5000 my_music --out features/my_music.h5"
    )
    parser.add_argument("weights", metavar="WEIGHTS")
    parser.add_argument("input", metavar="INPUT", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the features, features/NAME.h5")
    parser.add_argument("--mirror", type=Path, help="folder that holds the released weights")
    parser.add_argument("--workers", type=cli.positive, default=usable_cores(), help="decoders")
    parser.add_argument(
        "--whole-tracks", action="store_true", help="use all of a track, not its first 30 s"
    )
    parser.add_argument(
        "--allow-failures", action="store_true", help="exit with 0 though some tracks failed"
    )
    cli.add_seed(parser)
    args = parser.parse_args()
    from models import features  # imports Keras, which neither --help nor the decoders need

    source = _Cache(args) if args.input.suffix == ".h5" else _Audio(args)
    function, origin = features.named(
        args.weights, mirror=args.mirror, seed=args.seed, mean_and_std=source.mean_and_std
    )
    inputs = {"weights": origin, "input": source.inputs}
    if args.out.exists():
        provenance.require_same(args.out, feature_file.read(args.out).inputs, inputs)
        print(f"{args.out}: complete already")
        return 0

    with cli.progress(source.mels(), total=len(source.track_id), unit="track") as mels:
        rows = list(function(mels))
    kept = [track for track in source.track_id if track not in source.failed]
    failures.write(args.out, source.failed)
    if not rows:
        raise InputError(
            f"{args.input}: no track could be used; {next(iter(source.failed.items()))}"
        )
    feature_file.write(args.out, np.stack(rows), kept, inputs)
    return failures.close(args.out, len(kept), source.failed, args.allow_failures, origin["name"])


class _Cache:
    """Tracks of a mel cache."""

    def __init__(self, args):
        if args.whole_tracks:
            raise InputError("--whole-tracks: a cache was cut when it was made; give it to step 2")
        self._cache = MelCache(args.input)
        self.track_id, self.failed = list(self._cache.track_id), {}
        self.mean_and_std = self._cache.mean, self._cache.std
        self.inputs = {"cache": self._cache.made_from["inputs"]}

    def mels(self):
        return (self._cache[track] for track in self.track_id)


class _Audio:
    """One audio file, or those of a folder; in `failed` what could not be used."""

    mean_and_std = None

    def __init__(self, args):
        one = not args.input.is_dir()
        self._root = args.input.parent if one else args.input
        self.track_id = [args.input.name] if one else folder.tracks(args.input)
        self.failed: dict[str, str] = {}
        self._front_end = FrontEnd(max_frames=None) if args.whole_tracks else FrontEnd()
        self._workers = min(args.workers, len(self.track_id))
        files = folder.digest(self._root, self.track_id)
        self.inputs = {"files": files, "front_end": self._front_end.to_dict()}

    def mels(self):
        decode = partial(log_mel_of_file, front_end=self._front_end)
        paths = [str(self._root / track) for track in self.track_id]
        with contextlib.closing(ordered_map(decode, paths, workers=self._workers)) as outcomes:
            for track, outcome in zip(self.track_id, outcomes, strict=True):
                if outcome.error is None:
                    yield outcome.result
                else:
                    self.failed[track] = failures.reason(outcome.error)


if __name__ == "__main__":
    cli.run(main)
