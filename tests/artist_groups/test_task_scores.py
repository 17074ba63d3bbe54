"""Test scores by task set: the paper's tables 3 and 5, derived from table 4, and our own scores."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artist_groups import task_scores
from artist_groups.task_scores import NETWORKS, compute_cells, select_trainings
from evaluation.results import DTYPES
from papers.paper_tables import compare_with_paper, read_paper_tables
from tests.conftest import run_in_process
from tests.evaluation import feature_files

PAPER = read_paper_tables()
PAPER_SCORES = task_scores.select_paper_scores(PAPER)
AGF = PAPER[PAPER["paper"].eq("agf2018")]


def make_result(model, seed, loss, f1, dataset="fma_medium"):
    name = f"{model.replace(' ', '_').replace('N=', '')}_{seed}"
    columns = {"protocol": "genre", "metric": "log_loss", "label": "genre", "artists": 60}
    columns |= {"value": loss, "details": {"macro_f1": f1}, "n_songs": 4000 + seed}
    columns |= {"dataset": dataset, "features": name, "model": model, "seed": seed}
    return columns | dict.fromkeys(["spread", "trials", "variant"])


def make_results(*results):
    return pd.DataFrame([make_result(*result) for result in results]).astype(DTYPES)


def make_trainings(*results):
    return select_trainings(make_results(*results))


def make_cells(*results):
    return compute_cells(make_trainings(*results)).set_index(["model", "metric"])


def values_of(table):
    return table.set_index(["model", "metric"])["value"]


def test_networks_table_lists_the_papers_combinations():
    narrow = NETWORKS.index[NETWORKS["kind"].ne("wstn")]
    assert set(AGF[AGF["table"].eq(4)]["model"]) == set(narrow)
    assert len(NETWORKS) == 31 + 26 + 4
    assert set(NETWORKS.index.difference(narrow)) == {f"wstn N={n}" for n in (2, 3, 4, 5)}


def test_paper_table_3_averages_table_4_including_single_tasks():
    theirs = values_of(AGF[AGF["table"].eq(3)])
    cells = values_of(compute_cells(PAPER_SCORES)).reindex(theirs.index)
    assert len(theirs) == 8
    # Table 4 is rounded: one average of its numbers is 0.49327, while table 3 gives 0.4932.
    np.testing.assert_allclose(cells, theirs, atol=1e-4)


def test_paper_table_5_gives_the_best_of_table_4_except_in_one_cell():
    theirs = values_of(AGF[AGF["table"].eq(5)])
    cells = values_of(compute_cells(PAPER_SCORES)).reindex(theirs.index)
    assert len(theirs) == 24
    # In table 4, the best F1 is 0.6379 (gsdm), but table 5 gives the second best (gsem).
    assert list(cells.index[abs(cells - theirs) > 1.1e-4]) == [("stn N=4", "macro_f1")]
    four = values_of(AGF[AGF["table"].eq(4)])
    assert cells["stn N=4", "macro_f1"] == 0.6379
    assert theirs["stn N=4", "macro_f1"] == four["stn gsem", "macro_f1"] == 0.6352
    # The best F1 and the best log loss may come from different combinations.
    assert four["stn gse", "macro_f1"] < theirs["stn N=3", "macro_f1"]


def test_compute_cells_averages_seeds():
    cells = make_cells(
        *(("mtn gs", seed, 1.0 + seed / 2, 0.5 + seed / 4) for seed in range(2)),
        ("stn e", 0, 2.0, 0.25),
        *((model, 0, 9.0, 0.125) for model in ("basic", "mtn g")),  # neither is one of agf2018
    )
    mtn = cells.loc[[("mtn gs", "log_loss"), ("mtn gs", "macro_f1")]]
    assert mtn[["value", "spread"]].to_numpy().tolist() == [[1.25, 0.25], [0.625, 0.125]]
    assert set(mtn["features"]) == {"mtn_gs_{0,1}"} and set(mtn["n_songs"]) == {4000}
    assert pd.isna(cells.loc[("stn e", "log_loss"), "spread"])
    assert not cells["value"].isin([9.0, 0.125]).any()


def test_averages_weight_combinations_equally_and_spread_uses_complete_seeds():
    cells = make_cells(
        *(("stn s", seed, 1.0 + seed, 0.5) for seed in range(3)),  # mean log loss 2.0
        *(("stn ed", seed, 4.0 + seed, 0.5) for seed in range(2)),  # mean log loss 4.5
        ("stn gsedm", 0, 100.0, 0.5),
    )
    mean = cells.loc[("stn without g", "log_loss")]
    assert mean["value"] == 3.25 and mean["features"] == "mean of 2 of 15 combinations"
    assert mean["spread"] == 0.5  # seeds 0 and 1 average 2.5 and 3.5; seed 2 is incomplete
    single = cells.loc[("stn with g", "log_loss")]
    assert single["value"] == 100 and pd.isna(single["spread"])


def test_best_combination_is_chosen_separately_for_each_metric():
    cells = make_cells(
        *(("mtn gs", seed, 1.0 + seed / 2, 0.25) for seed in range(2)),
        ("mtn ed", 0, 1.5, 0.75),
        ("mtn gse", 0, 0.5, 1.0),
        ("wstn N=2", 0, 0.75, 0.5),
        ("wstn N=2", 1, 1.25, 0.5),
    )
    loss, f1 = cells.loc[("mtn N=2", "log_loss")], cells.loc[("mtn N=2", "macro_f1")]
    assert (loss["value"], loss["spread"]) == (1.25, 0.25)
    assert loss["features"] == "mtn_gs_{0,1}, best of 2 of 10 combinations"
    assert f1["value"] == 0.75 and f1["features"].startswith("mtn_ed_0,")
    wide = cells.loc[[("wstn N=2", "log_loss")], ["value", "spread", "features"]]
    assert wide.to_numpy().tolist() == [[1.0, 0.25, "wstn_2_{0,1}"]]


@settings(derandomize=True, deadline=None, max_examples=20)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(list(NETWORKS.index)), st.integers(0, 2)),
        st.tuples(st.floats(0.1, 3), st.floats(0, 1)),
        min_size=1,
        max_size=30,
    )
)
def test_compute_cells_matches_a_computation_without_pandas(scores):
    cells = make_cells(*((model, seed, *pair) for (model, seed), pair in scores.items()))
    by_model = {}
    for (model, _), pair in scores.items():
        by_model.setdefault(model, []).append(pair)
    for number, (metric, best) in enumerate((("log_loss", min), ("macro_f1", max))):
        groups = {}
        for model, pairs in by_model.items():
            value, (kind, tasks) = np.mean([pair[number] for pair in pairs]), model.split()
            assert cells.loc[(model, metric), "value"] == pytest.approx(value)
            if kind != "wstn":
                genre = "with" if "g" in tasks else "without"
                groups.setdefault((f"{kind} N={len(tasks)}", best), []).append(value)
                groups.setdefault((f"{kind} {genre} g", np.mean), []).append(value)
        for (name, reduce), values in groups.items():
            assert cells.loc[(name, metric), "value"] == pytest.approx(reduce(values))


def test_results_fill_the_cells_of_the_papers_tables():
    table = compare_with_paper(
        make_results(
            *(("mtn gs", seed, 1.0 + seed / 2, 0.5) for seed in range(2)),
            ("stn gsedm", 0, 0.7893, 0.6),
            ("wstn N=5", 0, 0.5, 0.625),
            ("mtn gsedm", 0, 9.0, 0.0, "demo"),
        )
    )
    theirs = table[table["dataset"].ne("demo")]
    assert len(theirs) == len(PAPER)
    # Results on another dataset get separate rows in each of the three tables.
    demo = table[table["dataset"].eq("demo")][["table", "model"]].drop_duplicates()
    assert demo.to_numpy().tolist() == [[3, "mtn with g"], [4, "mtn gsedm"], [5, "mtn N=5"]]
    filled = theirs[theirs["ours"].notna()].set_index(["table", "model", "metric"])
    assert {(number, model) for number, model, _ in filled.index} == {
        *((3, "mtn with g"), (3, "stn with g"), (4, "mtn gs"), (4, "stn gsedm")),
        *((5, "mtn N=2"), (5, "stn N=5"), (5, "wstn N=5")),
    }
    columns = ["ours", "spread", "over", "paper's", "songs"]
    cell = filled.loc[(4, "mtn gs", "log_loss")]
    assert cell[columns].tolist() == [1.25, 0.25, "2 seeds", 0.8578, 4000]
    assert cell["difference"] == pytest.approx(1.25 - 0.8578)
    assert filled.loc[(5, "stn N=5", "log_loss"), "difference"] == 0
    assert filled.loc[(5, "wstn N=5", "macro_f1"), "ours"] == 0.625


def test_tabulate_scores_follows_the_papers_layout():
    scores = [("mtn gs", 0, 1.0, 0.5), ("mtn gs", 1, 1.5, 0.75), ("stn m", 0, 2.0, 0.25)]
    trainings = make_trainings(*scores)
    tables = task_scores.tabulate_scores(trainings, PAPER)
    four = tables["combinations"].set_index("tasks")
    assert list(four.index[:6]) == ["g", "m", "d", "e", "s", "gs"] and len(four) == 31
    assert list(four.columns[:4]) == ["STN log loss", "STN F1", "MTN log loss", "MTN F1"]
    assert list(four.columns[4:]) == [f"paper's {name}" for name in four.columns[:4]]
    assert four.loc["gs", "MTN log loss"] == "1.2500 ± 0.2500"
    assert four.loc["m", "STN F1"] == "0.2500" and four.loc["m", "MTN F1"] == ""
    assert four.loc["gs", "paper's MTN log loss"] == 0.8578
    assert four.iloc[:, 4:].isna().sum().sum() == 10  # the paper has no single-task MTNs
    three = tables["with_and_without_genre"].set_index("tasks")
    assert three.loc["with g", ["STN F1", "MTN F1"]].tolist() == ["", "0.6250 ± 0.1250"]
    assert three.loc["without g", "paper's STN F1"] == 0.4932
    five = tables["by_tasks"].set_index("number of tasks")
    assert list(five.index) == ["2", "3", "4", "5"] and five.shape[1] == 12
    assert five.loc["2", "MTN F1"] == "0.6250 ± 0.1250" and five.loc["3", "MTN F1"] == ""
    missing = task_scores.describe_missing(trainings)
    assert missing.startswith("55 of 57 combinations have no result; means")
    assert task_scores.describe_missing(PAPER_SCORES) == "0 of 57 combinations have no result"


def test_average_by_number_spread_covers_combinations_or_seeds_of_one():
    table = task_scores.average_by_number(
        make_trainings(
            *(("stn gs", seed, 1.0 + seed, 0.5) for seed in range(2)),
            ("stn ge", 0, 2.5, 0.5),
            ("stn ed", 0, 8.0, 0.5),
            *(("wstn N=2", seed, 1.0 + seed, 0.5) for seed in range(2)),
        )
    ).set_index(["kind", "genre", "metric", "number"])
    assert table.loc[("stn", "with g", "log_loss", 2)].tolist() == [2.0, 0.5]
    assert table.loc[("wstn", "with g", "log_loss", 2)].tolist() == [1.5, 0.5]
    single = table.loc[("stn", "without g", "log_loss", 2)]
    assert single["value"] == 8 and pd.isna(single["spread"])


def test_describe_trends_compares_with_the_papers_matching_combinations():
    trainings = make_trainings(
        *(("stn g", seed, 1.0, 0.5 + 0.1 * seed) for seed in range(2)),
        *(("stn gs", seed, 0.5, 0.5) for seed in range(2)),
        ("mtn gs", 0, 0.5, 0.5),
    )
    lines = task_scores.describe_trends(trainings, PAPER)
    assert lines[0] == (
        "STN, log loss by number of tasks: 1.0000 of 1, 0.5000 of 2; "
        "rank correlation -1.00 ± 0.00 (the paper's -1.00)"
    )
    assert lines[1].startswith("STN with g, log loss")
    # For seed 0, F1 is constant, so no correlation is defined. In the paper, gs has a higher F1
    # than g.
    assert lines[2].endswith("0.5500 of 1, 0.5000 of 2; rank correlation -1.00 (the paper's +1.00)")
    assert lines[4].endswith("0.5000 of 2; rank correlation not known (the paper's not known)")
    assert len(lines) == 8 and not any("without" in line for line in lines)


def test_evaluate_script_writes_results_tables_and_a_figure(tmp_path):
    results, split = tmp_path / "results", tmp_path / "demo.csv"
    table, features = feature_files.make_artists("abcdef")
    for model in ("stn g", "stn gd", "mtn gs"):
        for seed in range(2):
            run = f"{model.replace(' ', '_')}_{seed}"
            model_record = {"model": model, "run": run, "seed": seed}
            probabilities = feature_files.make_probabilities(table, "genre", seed, skill=2)
            file, written = feature_files.write_files(
                tmp_path, run, table, features, **model_record, **probabilities
            )
            written.replace(split)
            command = ("evaluate.py", "genre", file, split, "--json", results / f"{run}.json")
            ran = run_in_process(*command)
    path = results / "mtn_gs_1.json"
    result = json.loads(path.read_text())
    assert (result["features"], result["model"], result["n_songs"]) == ("mtn_gs_1", "mtn gs", 12)
    assert set(result["details"]) == {"macro_f1", "accuracy", "F1 of each genre"}
    assert ran.lines[-1] == f"log_loss {result['value']:.4f}"
    assert run_in_process(*command).lines == [f"{path}: already complete", ran.lines[-1]]

    ran = run_in_process("evaluate.py", "tables", "--results", results)
    assert "54 of 57 combinations have no result; means and the best" in ran.out
    assert any(line.startswith("STN with g, F1 by number of tasks: ") for line in ran.lines)
    table = pd.read_csv(results / "combinations_demo.csv", keep_default_na=False).set_index("tasks")
    losses = [json.loads((results / f"stn_gd_{s}.json").read_text())["value"] for s in (0, 1)]
    expected = f"{np.mean(losses):.4f} ± {np.std(losses):.4f}"
    assert table.loc["gd", "STN log loss"] == expected
    assert f"| gd | {expected} | " in (results / "combinations_demo.md").read_text()
    assert table.loc["gse", "STN log loss"] == "" and table.loc["gse", "paper's STN F1"] == 0.6255
    ran = run_in_process("evaluate.py", "figures", "--results", results)
    assert f"{results / 'by_tasks_demo.png'}: agf2018, Figure 3: genre on demo by " in ran.out
