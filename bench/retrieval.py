"""How much faster is MAP over 100,000 songs than a plain loop over scikit-learn's functions?

    python bench/retrieval.py [--songs 100000]

Made-up features of 12 genres, 256 dimensions, float32. Ours is MAP with every song as a
query, and k-NN (k = 20) of 5,000 test songs. The plain loop takes a query at a time:
`cosine_similarity` with all songs, `argsort`, `average_precision_score`; the second loop is
kinder to it, and brings all songs to length 1 once, in the place of once a query. Both get
64 queries, half of them before ours and half after. k-NN stands beside scikit-learn's
`KNeighborsClassifier`, by brute force and cosine, on 1,000 of the test songs.
Prints how far apart the average precisions of those queries are (scikit-learn compares
cosines in float32, as the features are, and MAP in float64), and

    map_ms_a_query X      all of MAP by the number of songs
    map_seconds X
    map_gb X              the largest size of the process until then, libraries included
    knn_ms_a_query X
    knn_gb X
    knn_vs_sklearn X      ratio of the times of a query
    vs_unit_rows X        median time of a query of the kinder loop, by ours
    vs_sklearn X          median time of a query of the plain loop, by ours
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize

from evaluation import classification, retrieval

GENRES, DIMENSIONS, SPREAD, K = 12, 256, 4, 20
SAMPLE, TESTS, THEIR_TESTS = 64, 5000, 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--songs", type=int, default=100_000)
    songs, genres = corpus(parser.parse_args().songs)
    sample = np.random.default_rng(1).permutation(len(songs))[:SAMPLE]
    loops = plain_loop(songs), unit_rows_loop(songs)
    theirs = [timed(loops, genres, query) for query in sample[: SAMPLE // 2]]

    aps, seconds = clocked(lambda: retrieval.average_precisions(songs, genres))
    ms = 1000 * seconds / len(songs)
    print(f"map_ms_a_query {ms:.2f}\nmap_seconds {seconds:.1f}\nmap_gb {peak():.2f}", flush=True)

    theirs += [timed(loops, genres, query) for query in sample[SAMPLE // 2 :]]
    found, plain_ms, unit_ms = np.transpose(theirs)
    print(f"average precisions differ by {np.abs(found - aps[sample]).max():.1e} at the most")
    knn(songs, genres)
    print(f"vs_unit_rows {statistics.median(unit_ms) / ms:.1f}")
    print(f"vs_sklearn {statistics.median(plain_ms) / ms:.1f}")


def corpus(songs: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) float32 of ReLUs, a cloud a genre, and the genres, of unlike sizes."""
    random = np.random.default_rng(0)
    sizes = np.arange(1, GENRES + 1)
    genres = random.choice(GENRES, songs, p=sizes / sizes.sum())
    centres = random.standard_normal((GENRES, DIMENSIONS), np.float32)
    noise = random.standard_normal((songs, DIMENSIONS), np.float32)
    return np.maximum(centres[genres] + SPREAD * noise, 0), genres


def plain_loop(songs: np.ndarray) -> Callable[[int], np.ndarray]:
    return lambda query: cosine_similarity(songs[query : query + 1], songs)[0]


def unit_rows_loop(songs: np.ndarray) -> Callable[[int], np.ndarray]:
    rows = normalize(songs)
    return lambda query: rows @ rows[query]


def timed(loops: tuple[Callable, ...], genres: np.ndarray, query: int) -> tuple[float, ...]:
    """Average precision of one query by the first loop, and the milliseconds of each."""

    def average_precision(cosines: Callable[[int], np.ndarray]) -> float:
        scores = cosines(query)
        order = np.argsort(-scores)
        order = order[order != query]
        return average_precision_score(genres[order] == genres[query], scores[order])

    both = [clocked(lambda loop=loop: average_precision(loop)) for loop in loops]
    return both[0][0], *(1000 * seconds for _, seconds in both)


def knn(songs: np.ndarray, genres: np.ndarray) -> None:
    train, test = slice(None, -TESTS), slice(-TESTS, None)
    predicted, seconds = clocked(
        lambda: classification.knn_predict(songs[train], genres[train], songs[test], K)
    )
    print(f"knn_ms_a_query {1000 * seconds / TESTS:.2f}\nknn_gb {peak():.2f}", flush=True)
    theirs = KNeighborsClassifier(K, metric="cosine", algorithm="brute")
    theirs.fit(songs[train], genres[train])
    found, their_seconds = clocked(lambda: theirs.predict(songs[test][:THEIR_TESTS]))
    same = np.mean(found == predicted[:THEIR_TESTS])
    print(f"k-NN finds the same label for {100 * same:.1f} % (even votes are counted otherwise)")
    print(f"knn_vs_sklearn {their_seconds / THEIR_TESTS / (seconds / TESTS):.1f}")


def clocked(work: Callable) -> tuple:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def peak() -> float:
    """Largest size of this process so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


if __name__ == "__main__":
    main()
