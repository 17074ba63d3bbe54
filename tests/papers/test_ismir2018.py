"""The plan of ismir2018."""

from pathlib import Path

import pytest

from common.errors import InputError
from models import released_weights
from papers import ismir2018
from tests.papers.plans import plan, scripts

DEMO = ("--train", "demo", "--tags", "demo", "--targets", "demo_target")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path


def test_every_command_is_in_its_order():
    commands, left_out = plan(ismir2018, *DEMO, "--artists", 20, 60, "--epochs", 3)
    assert left_out == []
    counts = scripts(commands)
    features = 2 + 2 + 2 + 1  # baselines, basic and siamese of two sizes, the tag model
    assert counts == {
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
    made = [
        "1_make_splits",
        "2_cache_mels",
        "train_",
        "extract_",
        "evaluate.py retrieval",
        "report",
    ]
    first = [next(n for n, line in enumerate(commands) if name in line) for name in made]
    assert first == sorted(first) and commands[-1] == "evaluate.py report --results o"
    assert (
        "train_siamese.py splits/demo.csv cache/demo.h5 --out o/runs/siamese_60_0 --artists 60 "
        "--epochs 3 --seed 0 --rate 0.1" in commands
    )
    shown = [line for line in commands if "tsne" in line]
    assert shown[1] == (
        "evaluate.py tsne o/features/siamese_60_0_demo_target.h5 splits/demo_target.csv --label "
        "artist --first 22 --json o/tsne_artist_siamese_60_0_demo_target.json"
    )
    page = next(line for line in commands if "explore" in line)
    assert "--beside o/features/basic_60_0_demo_target.h5 --audio data --out o/songs_" in page


def test_each_seed_has_its_runs():
    commands, _ = plan(ismir2018, *DEMO, "--artists", 5, "--seeds", 3, 4)
    runs = [line.split("--out ")[1].split()[0] for line in commands if line.startswith("train_")]
    assert runs == [
        f"o/runs/{name}_{seed}" for seed in (3, 4) for name in ("basic_5", "siamese_5", "tag")
    ]


def test_without_songs_to_train_on_the_released_weights_are_judged(place):
    for name in ("gtzan", "fma_small", "fma_metadata"):
        (place / "data" / name).mkdir()
    commands, left_out = plan(ismir2018)
    names = list(released_weights.released_models())
    counts = scripts(commands)
    assert counts["extract_features.py"] == 2 * (2 + len(names)) and "train_basic.py" not in counts
    assert [line.partition(":")[0] for line in left_out] == ["naver", "msd", "msd_tags"]
    assert left_out[1].endswith(": the released weights are judged")
    # GTZAN's songs have no artists' names.
    assert [line.split()[5] for line in commands if " tsne " in line] == ["genre"] * 1 + [
        "genre",
        "artist",
    ]
    commands, _ = plan(ismir2018, "--weights", "siamese_5000")
    assert scripts(commands)["retrieval"] == 2 * 3
    assert any("--beside o/features/mfcc_gtzan.h5" in line for line in commands)


def test_the_msd_has_two_splits_and_one_cache(place):
    for name in ("gtzan", "msd"):
        (place / "data" / name).mkdir()
    commands, _ = plan(ismir2018)
    splits = [line for line in commands if "1_make_splits.py msd " in line]
    made = [f"--artists {count} --out splits/msd_{count}.csv" for count in (5000, 10000)]
    assert all(name in line for name, line in zip(made, splits, strict=True))
    caches = [line for line in commands if "2_cache_mels" in line and "msd" in line]
    assert [line.split("--out ")[1].split()[0] for line in caches] == [
        "cache/msd_10000.h5",
        "cache/msd_tags.h5",
    ]
    trained = [line for line in commands if line.startswith("train_basic") and "--artists" in line]
    assert ["splits/msd_5000.csv" in line for line in trained] == [True] * 4 + [False]
    assert all("cache/msd_10000.h5" in line for line in trained)


def test_an_open_dataset_is_dealt_by_artists_without_those_of_the_targets(place):
    for name in ("fma_small", "fma_large", "fma_metadata"):
        (place / "data" / name).mkdir()
    commands, _ = plan(ismir2018, "--train", "fma_large", "--artists", 500, 1000)
    dealt = next(line for line in commands if "1_make_splits.py fma_large" in line)
    assert "--exclude-artists-of splits/fma_small.csv --split artists --artists 1000" in dealt
    assert dealt.endswith("--out splits/fma_large_1000.csv")
    order = [line.split()[1] for line in commands if "1_make_splits" in line]
    assert order == ["fma_small", "fma_large"]


def test_nothing_to_judge_on_is_an_error():
    with pytest.raises(InputError, match=r"gtzan: neither .* nor data/gtzan; fma_small: .*put one"):
        plan(ismir2018)
    with pytest.raises(InputError, match="a folder of --data"):
        plan(ismir2018, data=None)
    assert not Path("o").exists()
