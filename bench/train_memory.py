"""Measure training memory at the paper's largest scale, excluding the memory-mapped cache.

Trains the siamese model for a few steps on 10,000 artists with 20 tracks each. The 66 GB cache is
sparse on disk and reads as silence. The last line printed is the peak memory of the process,
excluding its memory-mapped files: `gib_besides_the_cache X`. Runs on Linux only.
"""

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import h5py
import numpy as np
import pandas as pd

from common import provenance
from data_prep import split_csv
from data_prep.mel import FrontEnd
from data_prep.mel_cache import FORMAT

ARTISTS, SUBSETS = 10_000, ["train"] * 17 + ["valid"] + ["test"] * 2
FRAMES = 1291
SECONDS = 120  # time after which training is stopped, as a full epoch would take hours


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_split(folder / "s.csv")
        write_cache(folder / "c.h5", ARTISTS * len(SUBSETS))
        print(f"cache: {(folder / 'c.h5').stat().st_size / 1e9:.1f} GB", flush=True)
        command = ["train_siamese.py", folder / "s.csv", folder / "c.h5", "--out", folder / "run"]
        training = subprocess.Popen([sys.executable, *map(str, command)])
        threading.Timer(SECONDS, training.terminate).start()
        peak = 0
        while training.poll() is None:
            status = Path(f"/proc/{training.pid}/status").read_text()
            peak = max([peak, *map(int, re.findall(r"RssAnon:\s+(\d+) kB", status))])
            time.sleep(0.2)
    print(f"gib_besides_the_cache {peak / 2**20:.2f}")


def write_split(path: Path) -> None:
    """Write a split with ARTISTS artists, each with one track per entry in SUBSETS."""
    tracks = len(SUBSETS)
    ids = [f"{number}" for number in range(ARTISTS * tracks)]
    table = pd.DataFrame({"track_id": ids, "path": ids, "subset": SUBSETS * ARTISTS})
    table["artist"] = [f"artist {number // tracks}" for number in range(len(ids))]
    split_csv.write_split(table, path, {"inputs": {}})


def write_cache(path: Path, tracks: int) -> None:
    """Write a mel cache whose frames are allocated but never written."""
    with h5py.File(path, "w") as file:
        early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((tracks * FRAMES, 128))
        h5py.h5d.create(file.id, b"frames", h5py.h5t.IEEE_F16LE, space, early)
        file["start"] = np.arange(tracks) * FRAMES
        file["length"] = np.full(tracks, FRAMES)
        file["track_id"] = [f"{number}" for number in range(tracks)]
        for name in ("failed_track_id", "failed_reason"):
            file.create_dataset(name, (0,), h5py.string_dtype())
        file.attrs["format"], file.attrs["mean"], file.attrs["std"] = FORMAT, 0.2, 0.25
        file.attrs["front_end"] = json.dumps(FrontEnd().to_dict())
        file.attrs["made_from"] = provenance.to_json(provenance.make_record({"seed": 0}))


if __name__ == "__main__":
    main()
