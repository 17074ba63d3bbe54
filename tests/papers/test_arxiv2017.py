"""The plan of arxiv2017."""

import pytest

from common.errors import InputError
from papers import arxiv2017
from tests.papers.plans import plan, scripts


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path


def test_every_command_is_in_its_order(place):
    (place / "data/msd").mkdir()
    commands, left_out = plan(arxiv2017, "--artists", 100, 2000)
    assert [line.partition(":")[0] for line in left_out] == ["gtzan", "mtat"]
    unseen = next(line for line in commands if "--out splits/msd_2000_unseen.csv" in line)
    assert "msd --root data/msd --exclude-artists-of splits/msd_2000.csv --split artists" in unseen
    assert "--artists 500" in unseen
    commands = [line for line in commands if "data_prep" not in line]
    # Two trainings, four extractions, seven systems by two protocols for each of two sizes; of
    # the most artists the unseen ones' features after LDA, and their map.
    assert [line.split()[0] for line in commands[:6]] == [
        *("train_basic.py", "extract_features.py", "train_ivector.py"),
        *["extract_features.py"] * 3,
    ]
    assert len(commands) == 2 * (2 + 4 + 14) + 1 + 1 + 1
    start = "train_basic.py splits/msd_2000.csv cache/msd_2000.h5 --out o/runs/basic_100_0"
    start += " --artists 100"
    assert commands[0] == f"{start} --epochs 1000 --seed 0"
    few, most = commands[:20], commands[20:]
    assert any("--lda 99" in line for line in few) and not any("--one-shot" in line for line in few)
    assert any("--lda 100" in line for line in most)
    assert sum("--one-shot" in line for line in most) == 14
    [shown] = [line for line in most if "tsne" in line]
    assert (
        "tsne o/features/basic_2000_0_lda_msd_2000_unseen.h5" in shown and "--label artist" in shown
    )


def test_the_dimensions_of_lda_are_no_more_than_those_of_ivectors():
    demo = ("--train", "demo", "--artists", 200, "--dimensions", 64)
    commands, _ = plan(arxiv2017, *demo)
    of_ivectors = [line for line in commands if "--lda 64" in line]
    assert len(of_ivectors) == 4 and all("ivector_200" in line for line in of_ivectors)
    assert any("1_make_splits.py demo_unseen --root data" in line for line in commands)


def test_genre_and_tags_are_judged_with_lda_and_without():
    demo = ("--train", "demo", "--genres", "demo_target", "--tags", "demo_target")
    commands, left_out = plan(arxiv2017, *demo, "--artists", 7, "--seeds", 1, 2)
    assert left_out == []
    counts = scripts(commands)
    assert (counts["lda"], counts["transfer"], counts["tagging"]) == (4, 4, 4)
    assert counts["tsne"] == 4
    assert len(commands) == len(set(commands))
    assert sum("transfer_basic_7_2_lda_demo_target.json" in line for line in commands) == 1


def test_without_songs_to_train_on_released_weights_tell_genre_and_tags(place):
    (place / "data/gtzan").mkdir()
    commands, left_out = plan(arxiv2017)
    assert len(left_out) == 3
    names = [line.split()[1] for line in commands if line.startswith("extract")]
    assert names == ["basic_1000_149", "basic_5000", "basic_10000_889", "basic_10000_999"]
    assert scripts(commands)["transfer"] == 4 and "verification" not in scripts(commands)


def test_songs_of_ones_own_are_dealt_without_the_artists_that_are_judged(place):
    for name in ("mine", "others", "mtat"):
        (place / "data" / name).mkdir()
    options = ("--train", "mine", "--artists", 30, "--unseen-artists", 9)
    commands, _ = plan(arxiv2017, *options)
    dealt = [line for line in commands if "1_make_splits" in line and "mine" in line]
    assert "--exclude-artists-of splits/mtat.csv --split artists --artists 30" in dealt[0]
    assert "--exclude-artists-of splits/mine_30.csv --split artists --artists 9" in dealt[1]
    commands, _ = plan(arxiv2017, *options, "--unseen", "others")
    dealt = [line for line in commands if "1_make_splits" in line and "others" in line]
    assert dealt[0].startswith("data_prep/1_make_splits.py folder --root data/others --exclude")
    _, left_out = plan(arxiv2017, *options, "--unseen", "nobody")
    assert "nobody: neither splits/nobody.csv with cache/nobody.h5 nor data/nobody" in left_out


def test_nothing_there_is_an_error():
    with pytest.raises(InputError, match=r"msd: neither .*msd_unseen: .*gtzan: .*mtat: "):
        plan(arxiv2017)
