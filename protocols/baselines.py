"""Features that are not computed from the audio, for comparison with those that are."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from common import cli, feature_file, provenance
from common.errors import InputError
from data_prep import split_csv
from data_prep.datasets.sid import HEADER_FIELDS
from protocols import SPLIT, Command, add_files


def add_arguments(parser: argparse.ArgumentParser, name: str) -> Command:
    """Add the arguments of the command `name` to its parser."""
    add_files(parser, split=SPLIT)
    text = "feature file to write"
    parser.add_argument("--out", type=cli.output_file(".h5"), required=True, help=text)
    return write_header_features, "splits/sid_unseen.csv --out features/header.h5"


def write_header_features(split: Path, *, out: Path) -> None:
    """Write the header fields of all tracks in a split as one-hot features."""
    table = split_csv.read_split(split)
    fields = [field for field in HEADER_FIELDS if field in table.columns]
    if not fields:
        raise InputError(f"{split}: has none of the columns {', '.join(HEADER_FIELDS)}; add one")
    track_id = table["track_id"].to_numpy(object)
    inputs = {
        "weights": {"name": "header", "model": "header", "artists": None},
        "fields": fields,
        "input": provenance.digest_rows(table[["track_id", *fields]].itertuples(index=False)),
    }
    if out.exists():
        provenance.require_same(out, feature_file.read_features(out).inputs, inputs)
        print(f"{out}: already complete")
        return
    # An unknown value is a value too, so that every track has as many ones.
    features = pd.get_dummies(table[fields]).to_numpy(np.float32)
    feature_file.write_features(out, feature_file.Features(features, track_id, inputs=inputs))
    print(f"{out}: {len(table)} tracks by {', '.join(fields)}, {features.shape[1]} values")
