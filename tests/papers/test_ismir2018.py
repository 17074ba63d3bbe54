from pathlib import Path

import pytest

from common.errors import InputError
from models import released_weights
from papers import ismir2018
from tests.papers.plans import count_scripts, plan

DEMO = ("--train", "demo", "--tags", "demo", "--targets", "demo_target")


def test_ismir2018_plans_all_commands_in_order(place):
    commands, left_out = plan(ismir2018, *DEMO, "--artists", 20, 60, "--epochs", 3)
    assert left_out == []
    features = 2 + 2 + 2 + 1  # two baselines, two basic models, two siamese models, one tag model
    assert count_scripts(commands) == {
        "data_prep/1_make_splits.py": 2,
        "data_prep/2_cache_mels.py": 2,
        "train_basic.py": 3,
        "train_siamese.py": 2,
        "extract_features.py": features,
        **dict.fromkeys(("retrieval", "knn", "linear"), features),
        "tsne": 2,
        "explore": 1,
        "report": 1,
    }
    order = ("1_make_splits", "2_cache_mels", "train_", "extract_", "evaluate.py retrieval")
    first = [next(n for n, line in enumerate(commands) if name in line) for name in order]
    assert first == sorted(first) and commands[-1] == "evaluate.py report --results o"
    start = "train_siamese.py splits/demo.csv cache/demo.h5 --out o/runs/siamese_60_0 "
    [training] = [line for line in commands if line.startswith(start)]
    assert "artists 60 --epochs 3 --seed 0 " in training and training.endswith("rate 0.1")
    shown = [line for line in commands if "tsne" in line]
    assert shown[1] == (
        "evaluate.py tsne o/features/siamese_60_0_demo_target.h5 splits/demo_target.csv --label "
        "artist --max-labels 22 --json o/tsne_artist_siamese_60_0_demo_target.json"
    )
    page = next(line for line in commands if "explore" in line)
    assert "--compare-with o/features/basic_60_0_demo_target.h5 --audio data --out o/songs_" in page


def test_ismir2018_accepts_former_option_names(place):
    commands, _ = plan(ismir2018, *DEMO, "--artists", 5, "--siamese-rate", 0.03)
    assert commands == plan(ismir2018, *DEMO, "--artists", 5, "--siamese-learning-rate", 0.03)[0]
    assert sum(line.endswith("rate 0.03") for line in commands) == 1


def test_ismir2018_plans_training_runs_for_each_seed(place):
    commands, _ = plan(ismir2018, *DEMO, "--artists", 5, "--seeds", 3, 4)
    runs = [line.split("--out ")[1].split()[0] for line in commands if line.startswith("train_")]
    assert runs == [
        f"o/runs/{name}_{seed}" for seed in (3, 4) for name in ("basic_5", "siamese_5", "tag")
    ]


def test_ismir2018_evaluates_released_weights_if_training_data_is_missing(place):
    for name in ("gtzan", "fma_small", "fma_metadata"):
        (place / "data" / name).mkdir()
    commands, left_out = plan(ismir2018)
    counts = count_scripts(commands)
    assert counts["extract_features.py"] == 2 * (2 + len(released_weights.released_models()))
    assert "train_basic.py" not in counts
    assert [line.partition(":")[0] for line in left_out] == ["naver", "msd", "msd_tags"]
    assert left_out[1].endswith(": evaluating released weights")
    # GTZAN has no artist names, so it has a genre map but no artist map.
    maps = [line.split()[5] for line in commands if " tsne " in line]
    assert maps == ["genre", "genre", "artist"]
    commands, _ = plan(ismir2018, "--weights", "siamese_5000")
    assert count_scripts(commands)["retrieval"] == 2 * 3
    assert any("--compare-with o/features/mfcc_gtzan.h5" in line for line in commands)


def test_ismir2018_uses_two_msd_splits_with_one_cache(place):
    for name in ("gtzan", "msd"):
        (place / "data" / name).mkdir()
    commands, _ = plan(ismir2018)
    splits = [line for line in commands if "1_make_splits.py msd " in line]
    assert [line.split("--out ")[1] for line in splits] == [
        "splits/msd_5000.csv",
        "splits/msd_10000.csv",
    ]
    caches = [line for line in commands if "2_cache_mels" in line and "msd" in line]
    assert [line.split("--out ")[1].split()[0] for line in caches] == [
        "cache/msd_10000.h5",
        "cache/msd_tags.h5",
    ]
    trained = [line for line in commands if line.startswith("train_basic") and "artists" in line]
    assert ["splits/msd_5000.csv" in line for line in trained] == [True] * 4 + [False]
    assert all("cache/msd_10000.h5" in line for line in trained)


def test_ismir2018_excludes_target_artists_from_training(place):
    for name in ("fma_small", "fma_large", "fma_metadata"):
        (place / "data" / name).mkdir()
    commands, _ = plan(ismir2018, "--train", "fma_large", "--artists", 500, 1000)
    splits = [line for line in commands if "1_make_splits.py" in line]
    assert [line.split()[1] for line in splits] == ["fma_small", "fma_large"]
    assert "--exclude-artists-of splits/fma_small.csv --split artists" in splits[1]
    assert splits[1].endswith("artists 1000 --out splits/fma_large_1000.csv")


def test_ismir2018_rejects_data_folder_without_target_datasets(place):
    with pytest.raises(InputError, match=r"gtzan: .* nor data/gtzan; fma_small: .*provide one"):
        plan(ismir2018)
    with pytest.raises(InputError, match="nor a --data folder"):
        plan(ismir2018, data=None)
    assert not Path("o").exists()
