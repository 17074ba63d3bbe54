"""Tables of results side by side."""

import pytest

from report.result_tables import SYSTEMS, by_artists, by_features, by_label, margins
from tests.evaluation.result_files import KNN, LINEAR, result_writer


@pytest.fixture
def write(tmp_path):
    return result_writer(tmp_path)


def test_features_side_by_side_are_sorted_by_map(write):
    demo = {"dataset": "demo_target"}
    table = by_features(
        write(
            demo | {"features": "low", "value": 0.2},
            demo | {"features": "high", "value": 0.9},
            demo | LINEAR | {"features": "low", "value": 0.3},
            demo | KNN | {"features": "unranked", "value": 0.99},
        )
    )
    assert list(table.columns) == ["dataset", "label", "features", "MAP", "k-NN", "linear"]
    assert list(table["features"]) == ["high", "low", "unranked"]
    assert table.loc[1, ["MAP", "linear"]].to_list() == [0.2, 0.3]
    assert table.loc[2, "k-NN"] == 0.99
    assert table[["MAP", "k-NN", "linear"]].isna().sum().sum() == 5


def test_margins_say_how_far_trained_features_are_above_each_baseline(write):
    lines = margins(
        write(
            {"features": "siamese", "value": 0.5},
            LINEAR | {"features": "siamese", "value": 0.75},
            {"features": "mfcc", "model": "mfcc", "value": 0.625},
            {"features": "untrained", "model": "untrained", "value": 0.25},
            LINEAR | {"features": "untrained", "model": "untrained", "value": 0.5},
            KNN | {"features": "of nothing else", "model": "untrained"},
        )
    )
    assert lines == [
        "gtzan, genre: siamese against mfcc: -0.125 MAP",
        "gtzan, genre: siamese against untrained: +0.250 MAP, +0.250 linear",
    ]


# ---------------------------------------------------------------- artist recognition


EER = {"protocol": "verification", "metric": "eer", "label": "artist", "dataset": "unseen"}


def recognised(model, artists, value, **more):
    told = {"model": model, "artists": artists, "value": value, "seed": 0, **more}
    return {**EER, "features": " ".join(map(str, told.values())), **told}


def test_systems_stand_in_the_papers_order_against_the_number_of_artists(write):
    results = write(
        recognised("late fusion + PLDA", 100, 0.05),
        recognised("my system", 100, 0.5),
        recognised("GMM-UBM", 1000, 0.2, spread=0.03, trials=3),
        recognised("GMM-UBM", 100, 0.3),
        recognised("i-vector + PLDA", 100, 0.1, seed=0, spread=0.5, trials=3),
        recognised("i-vector + PLDA", 100, 0.2, seed=1, spread=0.5, trials=3),
    )
    table = by_artists(results)
    assert table.to_dict("list") == {
        "dataset": ["unseen"] * 4,
        "label": ["artist"] * 4,
        "system": ["GMM-UBM", "i-vector + PLDA", "late fusion + PLDA", "my system"],
        "100 artists": ["0.3000", "0.1500 ± 0.0500", "0.0500", "0.5000"],
        "1000 artists": ["0.2000 ± 0.0300", "", "", ""],
    }
    assert len(SYSTEMS) == 7
    others = by_artists(write(recognised("a", 5, 0.1), recognised("a", 5, 0.3, label="genre")))
    assert others["5 artists"].tolist()[-2:] == ["0.1000", "0.3000"]


def test_what_differs_in_more_than_its_seed_is_told_one_by_one(write):
    released = [{"features": f"siamese_{n}", "value": n / 10, "seed": None} for n in (1, 2)]
    few = [{"features": f"own {n}", "model": "own", "seed": n, "value": n / 4} for n in (0, 1)]
    few += [one | {"variant": "enrol=2", "features": "own 2", "value": 1} for one in few[:1]]
    table = by_artists(
        write(*released, *few, {"features": "mfcc", "model": "mfcc", "artists": None})
    )
    told = table.set_index("system")
    assert told["5000 artists"].to_dict() == {
        "mfcc": "",
        "own": "0.1250 ± 0.1250",
        "own enrol=2": "1.0000",
        "siamese": "0.1000, 0.2000",
    }
    assert told["no number"].to_dict() == {name: "" for name in told.index} | {"mfcc": "0.5432"}


# ---------------------------------------------------------------- ismir2018's figures


def each(**accuracies):
    return {"details": {"accuracy of each genre": accuracies}}


def test_genres_are_compared_at_the_most_artists_that_both_models_have(write):
    def of(model, artists, seed, **accuracies):
        features = f"{model}_{artists}_{seed}"
        about = {"model": model, "artists": artists, "features": features}
        return LINEAR | about | each(**accuracies)

    results = write(
        of("basic", 1000, 0, rock=0.1),
        of("basic", 5000, 0, rock=0.2, folk=0.4),
        of("siamese", 5000, 0, rock=0.5, ska=0.25),
        of("siamese", 5000, 1, rock=0.7, ska=0.75),
        of("siamese", 10000, 0, rock=1.0),
        of("tag", 9000, 0, rock=0.9),
        LINEAR | {"model": "basic", "artists": 10000, "features": "of another kind"},
    )
    table = by_label(results)
    siamese = "siamese, 5,000 artists, mean of 2"
    assert list(table) == ["genre", "basic, 5,000 artists", siamese]
    assert table["genre"].tolist() == ["folk", "rock", "ska"]
    assert table.iloc[1].tolist() == ["rock", 0.2, pytest.approx(0.6)]
    assert table.isna().to_numpy().sum() == 2
    alike = results[results["artists"].eq(5000)].iloc[1:].assign(variant=["", "k=1"])
    assert list(by_label(alike)) == [
        "genre",
        "siamese, 5,000 artists",
        "siamese k=1, 5,000 artists",
    ]
    apart = by_label(results[results["artists"].ne(5000)])
    assert list(apart) == ["genre", "basic, 1,000 artists", "siamese, 10,000 artists"]
    assert not len(by_label(results[results["model"].eq("tag")]))
    assert not len(by_label(results.iloc[:0]))
