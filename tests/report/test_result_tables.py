"""Tests of result tables and of the sentences that describe them."""

import pytest

from papers.paper_tables import compare_with_paper
from report.result_tables import (
    describe_coverage,
    describe_gains,
    make_comparison_tables,
    make_paper_tables,
    separate_released,
    tabulate_by_artists,
    tabulate_by_label,
    tabulate_features,
    tabulate_recognition,
)
from tests.evaluation.result_files import KNN, LINEAR, result_writer


@pytest.fixture
def write(tmp_path):
    return result_writer(tmp_path)


def test_coverage_counts_only_results_on_as_many_tracks_as_the_paper(write):
    results = write({}, KNN | {"n_songs": 4}, {"dataset": "mine"})
    assert describe_coverage(compare_with_paper(results), "ismir2018") == (
        "ismir2018: 1 of 31 numbers, and 1 on fewer tracks than in the paper, and 1 on other data"
    )


def test_paper_tables_refer_to_missing_inputs_by_number(write):
    tables = make_paper_tables(compare_with_paper(write({"n_songs": 93})), "ismir2018")
    (marker,) = tables[0].table.dropna(subset="ours")["needs"]
    needs = {note.partition(" ")[0]: note for note in tables[-1].notes}
    assert "93 of 930" in needs[marker]
    assert len(needs) == len(tables[-1].notes)
    assert all(not table.notes for table in tables[:-1])


def test_features_are_sorted_by_map(write):
    demo = {"dataset": "demo_target"}
    results = write(
        demo | {"features": "low", "value": 0.2},
        demo | {"features": "high", "value": 0.9},
        demo | LINEAR | {"features": "low", "value": 0.3},
        demo | KNN | {"features": "unranked", "value": 0.99},
    )
    table = tabulate_features(results)
    assert list(table.columns) == ["dataset", "label", "features", "MAP", "k-NN", "linear"]
    assert list(table["features"]) == ["high", "low", "unranked"]
    assert table.loc[1, ["MAP", "linear"]].to_list() == [0.2, 0.3]
    assert table.loc[2, "k-NN"] == 0.99
    assert table[["MAP", "k-NN", "linear"]].isna().sum().sum() == 5


def test_gains_compare_trained_features_with_each_baseline(write):
    results = write(
        {"features": "siamese", "value": 0.5},
        LINEAR | {"features": "siamese", "value": 0.75},
        {"features": "mfcc", "model": "mfcc", "value": 0.625},
        {"features": "untrained", "model": "untrained", "value": 0.25},
        LINEAR | {"features": "untrained", "model": "untrained", "value": 0.5},
        KNN | {"features": "k-NN only", "model": "untrained"},
    )
    assert describe_gains(results) == [
        "gtzan, genre: siamese compared with mfcc: -0.125 MAP",
        "gtzan, genre: siamese compared with untrained: +0.250 MAP, +0.250 linear",
    ]


def verification(model, artists, value, **more):
    about = {"model": model, "artists": artists, "value": value, "seed": 0, **more}
    protocol = {"protocol": "verification", "metric": "eer", "dataset": "unseen", "label": "artist"}
    return {**protocol, "features": " ".join(map(str, about.values())), **about}


def test_tabulate_by_artists_lists_systems_in_paper_order(write):
    results = write(
        verification("late fusion + PLDA", 100, 0.05),
        verification("my system", 100, 0.5),
        verification("GMM-UBM", 1000, 0.2, spread=0.03, trials=3),
        verification("GMM-UBM", 100, 0.3),
        verification("i-vector + PLDA", 100, 0.1, seed=0, spread=0.5, trials=3),
        verification("i-vector + PLDA", 100, 0.2, seed=1, spread=0.5, trials=3),
    )
    assert tabulate_by_artists(results).to_dict("list") == {
        "dataset": ["unseen"] * 4,
        "label": ["artist"] * 4,
        "system": ["GMM-UBM", "i-vector + PLDA", "late fusion + PLDA", "my system"],
        "100 artists": ["0.3000", "0.1500 ± 0.0500", "0.0500", "0.5000"],
        "1000 artists": ["0.2000 ± 0.0300", "", "", ""],
    }


def test_tabulate_recognition_compares_systems_by_three_scores(write):
    identification = {"protocol": "identification", "metric": "accuracy"}
    retrieval = {"dataset": "unseen", "label": "artist", "artists": 100, "model": "basic"}
    results = write(
        verification("siamese + cosine", 100, 0.25),
        verification("DeepArtistID + cosine", 100, 0.1, seed=0),
        verification("DeepArtistID + cosine", 100, 0.3, seed=1),
        verification("DeepArtistID + cosine", 100, 0.5, seed=0) | identification,
        verification("mfcc + cosine", None, 0.4, seed=None, spread=0.01, trials=2),
        retrieval | {"features": "basic_100_0", "seed": 0, "value": 0.25},
    )
    table = tabulate_recognition(results)
    assert table.to_dict("list") == {
        "system": ["DeepArtistID + cosine", "siamese + cosine", "mfcc + cosine"],
        "artists": [100, 100, ""],
        "EER": ["0.2000 ± 0.1000", "0.2500", "0.4000 ± 0.0100"],
        "accuracy": ["0.5000", "", ""],
        "MAP": ["0.2500", "", ""],
    }
    names = [one.name for one in make_comparison_tables(results)]
    assert "systems_unseen_artist" in names
    assert not len(tabulate_recognition(results[results["protocol"].eq("retrieval")]))


def test_released_weights_are_separated_from_models_trained_here(write):
    own = {"features": "siamese_500_0", "artists": 500, "seed": 0}
    released = {"features": "siamese_5000", "artists": 5000}
    other = {"features": "siamese_5000", "dataset": "other", "artists": 5000}
    table = separate_released(write(own, released, other))
    assert table["model"].tolist() == ["siamese", "released siamese", "siamese"]
    assert table["artists"].fillna(0).tolist() == [500, 0, 5000]


def test_results_that_differ_in_more_than_the_seed_are_listed_separately(write):
    released = [{"features": f"siamese_{n}", "value": n / 10, "seed": None} for n in (1, 2)]
    own = [{"features": f"own {n}", "model": "own", "seed": n, "value": n / 4} for n in (0, 1)]
    variant = own[0] | {"variant": "enrol=2", "features": "own 2", "value": 1}
    mfcc = {"features": "mfcc", "model": "mfcc", "artists": None}
    table = tabulate_by_artists(write(*released, *own, variant, mfcc)).set_index("system")
    assert table["5000 artists"].to_dict() == {
        "mfcc": "",
        "own": "0.1250 ± 0.1250",
        "own enrol=2": "1.0000",
        "siamese": "0.1000, 0.2000",
    }
    assert table["no number"].to_dict() == dict.fromkeys(table.index, "") | {"mfcc": "0.5432"}


def test_labels_are_compared_at_the_largest_artist_count_of_both_models(write):
    def result(model, artists, seed, **accuracies):
        about = {"model": model, "artists": artists, "features": f"{model}_{artists}_{seed}"}
        return LINEAR | about | {"details": {"accuracy of each genre": accuracies}}

    results = write(
        result("basic", 1000, 0, rock=0.1),
        result("basic", 5000, 0, rock=0.2, folk=0.4),
        result("siamese", 5000, 0, rock=0.5, ska=0.25),
        result("siamese", 5000, 1, rock=0.7, ska=0.75),
        result("siamese", 10000, 0, rock=1.0),
        result("tag", 9000, 0, rock=0.9),
        LINEAR | {"model": "basic", "artists": 10000, "features": "without details"},
    )
    table = tabulate_by_label(results)
    siamese = "siamese, 5,000 artists, mean of 2"
    assert list(table) == ["genre", "basic, 5,000 artists", siamese]
    assert table["genre"].tolist() == ["folk", "rock", "ska"]
    assert table.iloc[1].tolist() == ["rock", 0.2, pytest.approx(0.6)]
    assert table.isna().to_numpy().sum() == 2
    variants = results[results["artists"].eq(5000)].iloc[1:].assign(variant=["", "k=1"])
    names = ["genre", "siamese, 5,000 artists", "siamese k=1, 5,000 artists"]
    assert list(tabulate_by_label(variants)) == names
    names = ["genre", "basic, 1,000 artists", "siamese, 10,000 artists"]
    assert list(tabulate_by_label(results[results["artists"].ne(5000)])) == names
    assert tabulate_by_label(results[results["model"].eq("tag")]).empty


def test_fine_tuned_weights_are_no_number_of_artists_and_name_their_start(write):
    """They fill no cell of the papers' tables, either."""
    start = {"name": "siamese_5000", "sha256": "ab12"}
    weights = {"name": "tuned", "start_from": start}
    tuned = {"features": "tuned", "model": "siamese fine-tuned", "artists": None}
    results = write({}, {**tuned, "made_from": {"inputs": {"weights": weights}}})
    table = tabulate_by_artists(results)
    assert list(table["system"]) == ["siamese", "siamese fine-tuned"]
    assert list(table["5000 artists"]) == ["0.5432", ""]
    assert list(table["no number"]) == ["", "0.5432"]
    assert list(compare_with_paper(results)["ours"].dropna()) == [0.5432]
    summary = next(make_comparison_tables(results))
    assert "tuned: fine-tuned from siamese_5000 (SHA-256 ab12)" in summary.notes
