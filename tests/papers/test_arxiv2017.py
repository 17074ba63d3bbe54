import pytest

from common.errors import InputError
from papers import arxiv2017
from tests.papers.plans import count_scripts, plan


def test_arxiv2017_plans_all_commands_in_order(place):
    (place / "data/msd").mkdir()
    commands, left_out = plan(arxiv2017, "--artists", 100, 2000)
    assert [line.partition(":")[0] for line in left_out] == ["gtzan", "mtat"]
    unseen = next(line for line in commands if "--out splits/msd_2000_unseen.csv" in line)
    assert "msd --root data/msd --exclude-artists-of splits/msd_2000.csv --split artists" in unseen
    assert "artists 500 --out" in unseen
    commands = [line for line in commands if "data_prep" not in line]
    # Each of the two sizes has two training runs, four feature extractions, and seven systems
    # evaluated with two protocols. The larger size also has LDA of the unseen artists' features,
    # and their t-SNE map. The last command writes the report.
    assert [line.split()[0] for line in commands[:6]] == [
        *("train_basic.py", "extract_features.py", "train_ivector.py"),
        *["extract_features.py"] * 3,
    ]
    assert len(commands) == 2 * (2 + 4 + 14) + 1 + 1 + 1
    assert commands[0].startswith(
        "train_basic.py splits/msd_2000.csv cache/msd_2000.h5 --out o/runs/basic_100_0 "
    )
    assert commands[0].endswith("artists 100 --epochs 1000 --seed 0")
    small, large = commands[:20], commands[20:]
    assert any("--lda-dimensions 99" in line for line in small)
    assert not any("--one-shot" in line for line in small)
    assert any("--lda-dimensions 100" in line for line in large)
    assert sum("--one-shot" in line for line in large) == 14
    [shown] = [line for line in large if "tsne" in line]
    assert "tsne o/features/basic_2000_0_lda_msd_2000_unseen.h5" in shown
    assert "--label artist" in shown


def test_arxiv2017_limits_lda_to_the_ivector_dimensions(place):
    commands, _ = plan(arxiv2017, "--train", "demo", "--artists", 200, "--dimensions", 64)
    limited = [line for line in commands if "--lda-dimensions 64" in line]
    assert len(limited) == 4 and all("ivector_200" in line for line in limited)
    assert any("1_make_splits.py demo_unseen --root data" in line for line in commands)


def test_arxiv2017_evaluates_transfer_with_and_without_lda(place):
    demo = ("--train", "demo", "--genres", "demo_target", "--tags", "demo_target")
    commands, left_out = plan(arxiv2017, *demo, "--artists", 7, "--seeds", 1, 2)
    assert left_out == [] and len(commands) == len(set(commands))
    counts = count_scripts(commands)
    assert [counts[name] for name in ("lda", "transfer", "tagging", "tsne")] == [4] * 4
    assert sum("transfer_basic_7_2_lda_demo_target.json" in line for line in commands) == 1


def test_arxiv2017_evaluates_released_weights_if_training_data_is_missing(place):
    with pytest.raises(InputError, match=r"msd: .*msd_unseen: .*gtzan: .*mtat: .*provide one"):
        plan(arxiv2017)
    (place / "data/gtzan").mkdir()
    commands, left_out = plan(arxiv2017)
    assert len(left_out) == 3
    names = [line.split()[1] for line in commands if line.startswith("extract")]
    assert names == ["basic_1000_149", "basic_5000", "basic_10000_889", "basic_10000_999"]
    assert count_scripts(commands)["transfer"] == 4
    assert "verification" not in count_scripts(commands)


def test_arxiv2017_excludes_evaluation_artists_from_training(place):
    for name in ("mine", "others", "mtat"):
        (place / "data" / name).mkdir()
    options = ("--train", "mine", "--artists", 30, "--unseen-artists", 9)
    splits = [line for line in plan(arxiv2017, *options)[0] if "1_make_splits" in line]
    assert "--exclude-artists-of splits/mtat.csv --split artists" in splits[0]
    assert "--exclude-artists-of splits/mine_30.csv --split artists" in splits[1]
    commands, _ = plan(arxiv2017, *options, "--unseen", "others")
    assert any("1_make_splits.py folder --root data/others --exclude" in line for line in commands)
    _, left_out = plan(arxiv2017, *options, "--unseen", "nobody")
    missing = "nobody: found neither splits/nobody.csv with cache/nobody.h5 nor data/nobody"
    assert missing in left_out
