import pytest

from common.errors import InputError
from papers import agf2018
from tests.papers.plans import plan


@pytest.fixture(autouse=True)
def essentia(monkeypatch):
    """Make the planner behave as if Essentia were installed."""
    monkeypatch.setattr(agf2018, "find_spec", lambda name: name)


def test_agf2018_plans_groups_runs_and_results_for_each_seed(place):
    commands, left_out = plan(agf2018, "--dataset", "demo_genres", "--seeds", 0, 3)
    assert left_out == []
    commands = commands[2:]  # skip the commands that create the split and the mel cache
    assert len(commands) == 1 + 2 * (1 + 31 + 26 + 4) + 2
    data = "splits/demo_genres.csv cache/demo_genres.h5"
    assert commands[0].startswith(f"data_prep/2b_artist_groups.py {data} --out o/groups.h5 ")
    assert "--words m d e s --audio data --subgenres genres --clusters 2048" in commands[0]
    assert sum(line.startswith("train_agf.py") for line in commands) == 2
    evaluations = [line for line in commands if "evaluate.py genre" in line]
    assert evaluations[0].endswith("--json o/genre_stn_g_0.json")
    assert evaluations[-1].split()[2] == "o/runs/wstn_5_3/features.h5"
    assert commands[-2:] == [
        "evaluate.py groups o/groups.h5 splits/demo_genres.csv --out o/groups",
        "evaluate.py report --results o",
    ]


def test_agf2018_accepts_former_option_names(place):
    assert plan(agf2018, "--songs", "demo_genres", "--batch", 8) == plan(
        agf2018, "--dataset", "demo_genres", "--batch-size", 8
    )


def test_agf2018_splits_its_dataset_by_genre(place):
    with pytest.raises(
        InputError, match=r"fma_medium: .* nor data/fma_medium with data/fma_metadata; see"
    ):
        plan(agf2018)
    for name in ("fma_medium", "fma_metadata"):
        (place / "data" / name).mkdir()
    arguments = "fma_medium --root data/fma_medium --metadata data/fma_metadata --split stratified"
    assert arguments in plan(agf2018)[0][0]


def test_agf2018_omits_descriptor_vocabulary_without_essentia(place, monkeypatch):
    monkeypatch.setattr(agf2018, "find_spec", lambda name: None)
    commands, left_out = plan(agf2018, "--dataset", "demo_genres")
    assert left_out == ["the word e: needs the audio and Essentia"]
    assert len(commands) == 2 + 1 + (1 + 15 + 11 + 3) + 2  # 15 non-empty subsets of 4 tasks
    assert "--words m d s --subgenres" in commands[2] and not any("_e" in line for line in commands)


def test_agf2018_plans_fewer_task_sets_for_fewer_vocabularies(place):
    commands, _ = plan(agf2018, "--dataset", "demo_genres", "--words", "m", "s")
    evaluations = [line for line in commands if "evaluate.py genre" in line]
    assert [line.rpartition("genre_")[2].removesuffix("_0.json") for line in evaluations] == [
        *("stn_g", "stn_s", "stn_m", "stn_gs", "stn_gm", "stn_sm", "stn_gsm"),
        *("mtn_gs", "mtn_gm", "mtn_sm", "mtn_gsm", "wstn_2", "wstn_3"),
    ]


def test_agf2018_uses_the_vocabularies_that_the_data_supports(place):
    (place / "data/mine").mkdir()
    commands, left_out = plan(agf2018, "--dataset", "mine")
    assert "--words m d e --audio data/mine" in commands[2]
    assert left_out == ["the word s: needs a column genres; choose another with --subgenres"]
    (place / "data/mine.csv").write_text("path,artist,genre,styles\n")
    assert "--words m d e s" in plan(agf2018, "--dataset", "mine", "--subgenres", "styles")[0][2]
    for file in ("splits/made.csv", "cache/made.h5"):
        (place / file).parent.mkdir()
        (place / file).write_text("track_id,path,subset,artist\na,a,train,a\n")
    with pytest.raises(InputError, match="the word e: needs the audio"):
        plan(agf2018, "--dataset", "made", "--words", "m", "e")
