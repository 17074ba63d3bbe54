"""Compare MAP and k-NN on 100,000 tracks with equivalent scikit-learn code.

    python bench/retrieval.py [--tracks 100000]

The features are synthetic: 12 genres, 256 dimensions, float32. This package computes MAP with
every track as a query, and k-NN (k = 20) for 5,000 test tracks. The plain loop handles one query
at a time: `cosine_similarity` with all tracks, `argsort`, `average_precision_score`. The second
loop normalises all tracks once instead of once per query. Both loops run on 64 queries, half of
them before this package computes MAP and half afterwards. k-NN is compared with scikit-learn's
`KNeighborsClassifier`, with brute-force search by cosine, on 1,000 of the test tracks. Prints the
largest difference in average precision between the loops and this package (scikit-learn compares
cosines in float32, this package in float64) and the following lines:

    map_ms_a_query X      MAP time divided by the number of tracks
    map_seconds X         MAP time for all queries
    map_gb X              peak memory of the process up to the end of MAP, including libraries
    knn_ms_a_query X      k-NN time divided by the number of test tracks
    knn_gb X              peak memory of the process up to the end of k-NN
    knn_vs_sklearn X      scikit-learn's k-NN time per query, relative to this package
    vs_unit_rows X        median time per query of the second loop, relative to this package
    vs_sklearn X          median time per query of the plain loop, relative to this package
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize

from bench.resources import peak_memory, timed
from evaluation import classification, retrieval

GENRES, DIMENSIONS, SPREAD, K = 12, 256, 4, 20
SAMPLE, TESTS, SKLEARN_TESTS = 64, 5000, 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracks", type=int, default=100_000)
    features, genres = make_features(parser.parse_args().tracks)
    sample = np.random.default_rng(1).permutation(len(features))[:SAMPLE]
    loops = plain_loop(features), unit_rows_loop(features)
    timings = [time_query(loops, genres, query) for query in sample[: SAMPLE // 2]]

    own_precisions, seconds = timed(lambda: retrieval.average_precisions(features, genres))
    ms = 1000 * seconds / len(features)
    print(
        f"map_ms_a_query {ms:.2f}\nmap_seconds {seconds:.1f}\nmap_gb {peak_memory():.2f}",
        flush=True,
    )

    timings += [time_query(loops, genres, query) for query in sample[SAMPLE // 2 :]]
    precisions, plain_ms, unit_ms = np.transpose(timings)
    difference = np.abs(precisions - own_precisions[sample]).max()
    print(f"average precisions differ by at most {difference:.1e}")
    knn(features, genres)
    print(f"vs_unit_rows {statistics.median(unit_ms) / ms:.1f}")
    print(f"vs_sklearn {statistics.median(plain_ms) / ms:.1f}")


def make_features(tracks: int) -> tuple[np.ndarray, np.ndarray]:
    """Return non-negative float32 features (n, d), clustered by genre, and the genres."""
    random = np.random.default_rng(0)
    sizes = np.arange(1, GENRES + 1)
    genres = random.choice(GENRES, tracks, p=sizes / sizes.sum())
    centres = random.standard_normal((GENRES, DIMENSIONS), np.float32)
    noise = random.standard_normal((tracks, DIMENSIONS), np.float32)
    return np.maximum(centres[genres] + SPREAD * noise, 0), genres


def plain_loop(features: np.ndarray) -> Callable[[int], np.ndarray]:
    return lambda query: cosine_similarity(features[query : query + 1], features)[0]


def unit_rows_loop(features: np.ndarray) -> Callable[[int], np.ndarray]:
    rows = normalize(features)
    return lambda query: rows @ rows[query]


def time_query(loops: tuple[Callable, ...], genres: np.ndarray, query: int) -> tuple[float, ...]:
    """Return a query's average precision from the first loop, and both loops' times in ms."""

    def average_precision(cosines: Callable[[int], np.ndarray]) -> float:
        scores = cosines(query)
        order = np.argsort(-scores)
        order = order[order != query]
        return average_precision_score(genres[order] == genres[query], scores[order])

    results = [timed(lambda loop=loop: average_precision(loop)) for loop in loops]
    return results[0][0], *(1000 * seconds for _, seconds in results)


def knn(features: np.ndarray, genres: np.ndarray) -> None:
    train, test = slice(None, -TESTS), slice(-TESTS, None)
    predicted, seconds = timed(
        lambda: classification.knn_predict(features[train], genres[train], features[test], K)
    )
    print(f"knn_ms_a_query {1000 * seconds / TESTS:.2f}\nknn_gb {peak_memory():.2f}", flush=True)
    classifier = KNeighborsClassifier(K, metric="cosine", algorithm="brute")
    classifier.fit(features[train], genres[train])
    expected, sklearn_seconds = timed(lambda: classifier.predict(features[test][:SKLEARN_TESTS]))
    same = np.mean(expected == predicted[:SKLEARN_TESTS])
    print(f"k-NN agrees on {100 * same:.1f} % of the labels (ties are broken differently)")
    print(f"knn_vs_sklearn {sklearn_seconds / SKLEARN_TESTS / (seconds / TESTS):.1f}")


if __name__ == "__main__":
    main()
