"""Evaluate the released weights on real music clips.

    python bench/real_clips.py FOLDER --mirror RELEASED_WEIGHTS [--out FILE.csv]

FOLDER contains clips named GENRE.NUMBER.wav, at least ten per genre. Retrieval uses all of
them; k-NN and linear softmax are averaged over ten random splits into 6 training, 2 validation
and 2 test clips per genre. For equal error rate and identification accuracy, each genre is
treated as an artist with 7 enrolment clips and 3 test clips, and scores are averaged over ten
random draws. Prints a Markdown table.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import pandas as pd

from common.parallel import available_cores
from data_prep import mel_cache, mel_cache_writer, split_csv
from data_prep.datasets import Request, folder
from data_prep.split_methods import split_by_artist
from evaluation import classification, retrieval
from extract_features import feature_extractor
from recognition import systems, verification
from report.formatting import to_markdown

WEIGHTS = (
    "siamese_1000_59",
    "siamese_5000",
    "siamese_10000_149",
    "siamese_10000_399",
    "siamese_10000_final",
    "mfcc",
    "untrained",
)
SPLITS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mirror", type=Path)
    parser.add_argument("--out", type=Path, help="output CSV file for the table")
    args = parser.parse_args()
    table = folder.read_folder_paths(Request(root=args.folder, pattern="{genre}.{}")).table
    table["subset"] = "train"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "cache.h5"
        mel_cache_writer.make_mel_cache(table, args.folder, out, workers=available_cores())
        cache = mel_cache.MelCache(out)
        rows = [evaluate(name, table, cache, args.mirror) for name in WEIGHTS]
    scores = pd.DataFrame(rows)
    if args.out:
        scores.round(6).to_csv(args.out, index=False)
    print(to_markdown(scores))


def evaluate(
    name: str, table: pd.DataFrame, cache: mel_cache.MelCache, mirror: Path | None
) -> dict:
    """Return the scores of the named feature extractor on all clips."""
    function, *_ = feature_extractor(
        name, mirror=mirror, seed=0, mean_and_std=(cache.mean, cache.std)
    )
    vectors = np.stack(list(function(cache[track] for track in table["track_id"])))
    row_of = dict(zip(table["track_id"], vectors, strict=True))
    scorer = systems.cosine_scorer(vectors)
    nearest, linear = [], []
    for seed in range(SPLITS):
        split, _ = split_by_artist(
            table, by="genre", tracks_per_group=10, subset_sizes=(6, 2, 2), seed=seed
        )
        parts = {
            subset: (np.stack([row_of[t] for t in part["track_id"]]), part["genre"].to_numpy())
            for subset, part in split.groupby("subset")
        }
        train, valid, test = (parts[subset] for subset in split_csv.SUBSETS)
        predicted = classification.knn_predict(*train, test[0])
        nearest.append(np.mean(predicted == test[1]))
        linear.append(classification.linear_softmax(train, valid, test).accuracies.mean())
    draws = [verification.draw_enrolment(table["genre"], 7, 3, seed=seed) for seed in range(SPLITS)]
    protocols = ("verification", "identification")
    evaluations = systems.evaluate_recognition(protocols, scorer, draws, one_shot=False)
    recognised = {protocol: np.mean(each.values) for protocol, each in evaluations.items()}
    return {
        "features": name,
        "MAP": retrieval.mean_average_precision(vectors, table["genre"]),
        "k-NN": np.mean(nearest),
        "k-NN spread": np.std(nearest),
        "linear": np.mean(linear),
        "linear spread": np.std(linear),
        "EER": recognised["verification"],
        "identified": recognised["identification"],
    }


if __name__ == "__main__":
    main()
