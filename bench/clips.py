"""A mel cache of synthetic clips, on which a benchmark runs in a process of its own."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from common.parallel import available_cores
from data_prep import mel_cache_writer, synthetic_corpus


def run_on_clips(script: str, clips: int, arguments: Iterable[object]) -> None:
    """Make a cache of 30-second clips, and run a script with `--folder`, which contains `cache.h5`.

    In a separate process, the memory of making the cache is not counted.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, workers = Path(name), available_cores()
        table = synthetic_corpus.corpus_table(target_artists=0)[:clips].assign(subset="train")
        synthetic_corpus.write_corpus(folder, table, workers=workers)
        mel_cache_writer.make_mel_cache(table, folder, folder / "cache.h5", workers=workers)
        command = [sys.executable, script, "--folder", name, *map(str, arguments)]
        subprocess.run(command, check=True)
