"""Test the planned commands of each paper, without running them."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from common.errors import InputError
from data_prep import sidplayfp
from models.released_weights import released_models
from papers import agf2018, arxiv2017, ismir2018, sid
from papers.datasets import DataFolder
from tests.data_prep.tunes import write_tunes
from tests.papers.conftest import make_data

PAPERS = {"agf2018": agf2018, "arxiv2017": arxiv2017, "ismir2018": ismir2018, "sid": sid}
# Each plan is printed after the arguments of reproduce.py, for a data folder with msd and gtzan.
PLANS = dict(
    plan.split("\n", 1)
    for plan in Path(__file__).with_name("plans.txt").read_text().split("$ reproduce.py ")[1:]
)


@pytest.fixture(autouse=True)
def essentia(monkeypatch):
    """Make the planner behave as if Essentia were installed."""
    monkeypatch.setattr(agf2018, "find_spec", lambda name: name)


def plan(arguments: str, data: Path | None = Path("data")) -> tuple[list[str], list[str]]:
    """Return the planned commands and the omitted parts for given reproduce.py arguments."""
    paper, *words = shlex.split(arguments)
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("o"))
    PAPERS[paper].add_arguments(parser)
    steps, left_out = PAPERS[paper].plan(parser.parse_args(words), DataFolder(data))
    return [str(step).removeprefix("python ") for step in steps], left_out


@pytest.mark.parametrize("arguments", PLANS)
def test_plan_contains_all_commands_in_order(place, arguments):
    make_data("msd", "gtzan")
    commands, left_out = plan(arguments)
    assert commands + [f"left out: {line}" for line in left_out] == PLANS[arguments].splitlines()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("agf2018 --songs demo --batch 8", "agf2018 --dataset demo --batch-size 8"),
        ("arxiv2017 --train demo --mixtures 4", "arxiv2017 --train demo --components 4"),
        (
            "ismir2018 --targets demo --train demo --siamese-rate 0.03",
            "ismir2018 --targets demo --train demo --siamese-learning-rate 0.03",
        ),
    ],
)
def test_plan_accepts_former_option_names(place, old, new):
    assert plan(old) == plan(new)


MISSING = {
    "agf2018": "fma_medium: .* nor data/fma_medium with data/fma_metadata; see",
    "arxiv2017": "msd: .*msd_unseen: .*gtzan: .*mtat: .*provide one",
    "ismir2018": "gtzan: .* nor data/gtzan; fma_small: .*provide one",
}


@pytest.mark.parametrize("paper", MISSING)
def test_plan_without_datasets_is_rejected(place, paper):
    with pytest.raises(InputError, match=MISSING[paper]):
        plan(paper)
    with pytest.raises(InputError, match="nor a --data folder"):
        plan(paper, data=None)


def test_released_weights_are_evaluated_if_training_data_is_missing(place):
    make_data("gtzan", "fma_small", "fma_metadata")
    commands, left_out = plan("ismir2018")
    scripts = [line.split()[0] for line in commands]
    assert scripts.count("extract_features.py") == 2 * (2 + len(released_models()))
    assert "train_basic.py" not in scripts
    assert [line.partition(":")[0] for line in left_out] == ["naver", "msd", "msd_tags"]
    assert left_out[1].endswith(": evaluating released weights")
    # GTZAN has no artist names, so it has a genre map but no artist map.
    maps = [line.split()[5] for line in commands if " tsne " in line]
    assert maps == ["genre", "genre", "artist"]
    commands, _ = plan("ismir2018 --weights siamese_5000")
    assert sum("evaluate.py retrieval" in line for line in commands) == 2 * 3
    assert any("--compare-with o/features/mfcc_gtzan.h5" in line for line in commands)
    commands, left_out = plan("arxiv2017")
    assert len(left_out) == 3
    names = [line.split()[1] for line in commands if line.startswith("extract")]
    assert names == ["basic_1000_149", "basic_5000", "basic_10000_889", "basic_10000_999"]
    assert sum("evaluate.py transfer" in line for line in commands) == 4
    assert not any("evaluate.py verification" in line for line in commands)


def test_evaluation_artists_are_excluded_from_training(place):
    make_data("fma_small", "fma_large", "fma_metadata", "mine", "others", "mtat")
    commands, _ = plan("ismir2018 --train fma_large --artists 500 1000")
    first, second = [line for line in commands if "1_make_splits.py" in line]
    assert first.split()[1] == "fma_small" and second.split()[1] == "fma_large"
    assert "--exclude-artists-of splits/fma_small.csv --split artists" in second
    assert second.endswith("artists 1000 --out splits/fma_large_1000.csv")
    options = "arxiv2017 --train mine --artists 30 --unseen-artists 9"
    splits = [line for line in plan(options)[0] if "1_make_splits" in line]
    assert "--exclude-artists-of splits/mtat.csv --split artists" in splits[0]
    assert "--exclude-artists-of splits/mine_30.csv --split artists" in splits[1]
    commands, _ = plan(f"{options} --unseen others")
    assert any("1_make_splits.py folder --root data/others --exclude" in line for line in commands)
    _, left_out = plan(f"{options} --unseen nobody")
    missing = "nobody: found neither splits/nobody.csv with cache/nobody.h5 nor data/nobody"
    assert missing in left_out


def test_agf2018_omits_descriptor_vocabulary_without_essentia(place, monkeypatch):
    monkeypatch.setattr(agf2018, "find_spec", lambda name: None)
    commands, left_out = plan("agf2018 --dataset demo_genres")
    assert left_out == ["vocabulary e: needs the audio and Essentia"]
    assert len(commands) == 2 + 1 + (1 + 15 + 11 + 3) + 2  # 15 non-empty subsets of 4 tasks
    assert "--words m d s --subgenres" in commands[2] and not re.search("_e", " ".join(commands))


def test_agf2018_uses_the_vocabularies_that_the_data_supports(place):
    make_data("mine", "fma_medium", "fma_metadata")
    assert "--words m d e s --audio data/fma_medium" in plan("agf2018")[0][2]
    commands, left_out = plan("agf2018 --dataset mine")
    assert "--words m d e --audio data/mine" in commands[2]
    assert left_out == ["vocabulary s: needs a column genres; choose another with --subgenres"]
    Path("data/mine.csv").write_text("path,artist,genre,styles\n")
    assert "--words m d e s" in plan("agf2018 --dataset mine --subgenres styles")[0][2]
    for file in (Path("splits/made.csv"), Path("cache/made.h5")):
        file.parent.mkdir()
        file.write_text("track_id,path,subset,artist\na,a,train,a\n")
    with pytest.raises(InputError, match="vocabulary e: needs the audio"):
        plan("agf2018 --dataset made --words m e")


SID = "sid --artists 2 --seeds 0 4"
SET, RELEASED = "sid_unseen", "siamese_10000_final"


@pytest.fixture
def tunes(place, monkeypatch):
    """Make a data folder with two artists to train on and two others, and return it."""
    monkeypatch.setattr(sidplayfp, "is_installed", lambda: True)
    rows = ["path,set,artist,country,decade,chip,clock"]
    for artist, count in (("Ann", 20), ("Bob", 20), ("Cy", 8), ("Di", 9)):
        for number in range(count):
            path = f"{artist}/{number}.sid"
            chosen = "train" if count == 20 else "unseen"
            rows.append(f"{path},{chosen},{artist},PERU,{1980 + count}s,{number % 2},PAL")
            tune = Path("data/sid", path)
            tune.parent.mkdir(parents=True, exist_ok=True)
            tune.touch()
    Path("data/sid/tunes.csv").write_text("\n".join(rows))
    return Path("data")


def test_sid_evaluates_each_system_on_unseen_artists(tunes):
    commands, left_out = plan(SID)
    assert left_out == ["country: has fewer than two values in sid_unseen"]
    recognised = [line for line in commands if " verification " in line]
    assert all("--enrol-tracks 5 --test-tracks all" in line for line in recognised)
    names = [re.search(r" --json o/verification_(\S+)\.json$", line)[1] for line in recognised]
    both_chips = ["mfcc", "untrained", "siamese_10000_final"]
    seeds = (0, 4)
    networks = [f"{kind}_2_{n}" for kind in ("siamese", "best", "basic", "tuned") for n in seeds]
    both_chips += networks
    expected = [f"{name}_cosine_{chip}" for name in both_chips for chip in (SET, f"{SET}_8580")]
    expected += [f"{name}_plda_{SET}" for name in networks]
    expected += [f"{kind}_2_{n}_{SET}" for kind in ("early", "late") for n in seeds]
    expected += [f"header_cosine_{SET}", f"ubm_2_0_{SET}"]
    expected += [f"ivector_2_0_{scorer}_{SET}" for scorer in ("cosine", "plda")]
    assert sorted(names) == sorted(expected)
    fused = next(line for line in recognised if "late_2_4" in line)
    assert "o/features/ivector_2_0_sid.h5" in fused and "--trials 2 --seed 0" in fused
    assert all("--trials 2 --seed 0" in line for line in recognised)
    assert plan("sid --artists 2 --seeds 0 4 0")[0] == commands
    assert sum("1_make_splits" in line for line in commands) == 4
    assert sum("--sid-model 8580" in line for line in commands) == 1
    labels = [line.split("--label ")[1].split()[0] for line in commands if " linear " in line]
    assert labels == ["decade", "chip"] * (3 + len(networks))


def test_sid_trains_each_network_per_seed_and_i_vectors_once(tunes):
    commands, _ = plan(SID)
    trained = [line for line in commands if line.startswith("train")]
    runs = [Path(line.split()[4]).name for line in trained]
    first = ["ivector_2_0", "siamese_2_0", "best_2_0", "basic_2_0", "tuned_2_0"]
    assert runs == [*first, "siamese_2_4", "best_2_4", "basic_2_4", "tuned_2_4"]
    assert trained[2].endswith("--epochs 60 --seed 0 --recipe best")
    assert trained[4].endswith("--epochs 60 --seed 0 --learning-rate 0.1 --start-from " + RELEASED)
    default = [line for line in plan("sid --artists 2 2")[0] if line.startswith("train")]
    assert [line.split()[0] for line in default].count("train_siamese.py") == 3 * 3


def test_sid_evaluates_another_list_without_the_training_artists(tunes):
    rows = (tunes / "sid/tunes.csv").read_text().replace("unseen", "kept").splitlines()
    (tunes / "others").mkdir()
    (tunes / "others/tunes.csv").write_text("\n".join([rows[0], *rows[41:]]))
    for tune in (tunes / "sid").glob("*/*.sid"):
        copy = tunes / "others" / tune.relative_to(tunes / "sid")
        copy.parent.mkdir(exist_ok=True)
        copy.touch()
    commands, _ = plan(SID + " --unseen others")
    splits = [line for line in commands if "1_make_splits" in line][1:]
    made = "data_prep/1_make_splits.py sid_unseen --root data/others"
    assert all(line.startswith(f"{made} --exclude-artists-of splits/sid.csv") for line in splits)
    out = [Path(line.split()[-1]).stem for line in splits]
    assert out == ["others", "others_8580", "others_disjoint"]
    table = [",".join(row.split(",")[0:3:2]) for row in rows]  # path and artist alone
    (tunes / "others/tunes.csv").write_text("\n".join([table[0], *table[41:]]))
    commands, left_out = plan(SID + " --unseen others")
    missing = ["country", "decade", "chip", "header"]
    assert [line.partition(":")[0] for line in left_out] == missing
    assert not any("header" in line or " linear " in line for line in commands)


def test_sid_never_evaluates_on_a_training_artist(tunes):
    commands, _ = plan(SID)
    splits = [line for line in commands if "1_make_splits" in line][1:]
    assert all("--exclude-artists-of splits/sid.csv" in line for line in splits)
    for name, subset in (("sid", "train"), (SET, "test")):
        for file in (Path("splits", f"{name}.csv"), Path("cache", f"{name}.h5")):
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"track_id,path,subset,artist\na,a,{subset},Ann\nb,b,{subset},Bob\n")
    with pytest.raises(InputError, match=r"2 of its artists are also in splits/sid.csv, but"):
        plan(SID)


def test_sid_accepts_an_unpacked_collection_of_other_artists(tunes):
    collection = tunes / "others/C64Music/MUSICIANS"
    write_tunes(collection / "E" / "Eva", 8)
    commands, _ = plan(SID + " --unseen others")
    assert "data_prep/1_make_splits.py sid_unseen --root data/others" in commands[2]


def test_sid_rejects_missing_tunes_artists_and_sidplayfp(tunes, monkeypatch):
    with pytest.raises(InputError, match="data/sid: has 2 artists with 20 tunes or more instead"):
        plan("sid --artists 2 3")
    for name in ("sid", "demo"):
        with pytest.raises(InputError, match=f"--unseen {name}: has no unseen artists"):
            plan(f"{SID} --unseen {name}")
    for name in ("''", "..", "others/a"):
        with pytest.raises(InputError, match=r"is not a dataset; give the name of a folder"):
            plan(f"{SID} --unseen {name}")
    with pytest.raises(InputError, match=r"nobody: found neither .* nor data/nobody; see"):
        plan(SID + " --unseen nobody")
    monkeypatch.setattr(sidplayfp, "is_installed", lambda: False)
    with pytest.raises(InputError, match=r"^sidplayfp: not found; install it"):
        plan(SID)
