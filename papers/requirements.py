"""The data, weights and commands required to fill each cell of the papers' tables."""

from pathlib import Path

from artist_groups import task_sets
from models import released_weights
from papers import commands
from papers.datasets import KNOWN_DATASETS, DataFolder, required_paths
from papers.pipeline import Step, make_step

DATA = DataFolder(Path("DIR"))  # placeholder that appears in the printed commands
QUOTED = "quoted by the paper"  # `note` on numbers that a paper quotes from other work
COMPLETE = 0.99  # required fraction of tracks, as every copy has a few that cannot be decoded


def describe_requirements(cell: dict) -> str:
    """Return the data, weights and commands required to fill a row of `read_paper_tables`."""
    if cell["note"] == QUOTED:
        return "nothing to run: the paper quotes this number from other work"
    out, name = Path("results", cell["paper"]), cell["dataset"]
    data, weights, by_hand = _describe_data(name), "none released", ""
    released = released_weights.released_names(cell["model"].partition(" ")[0], cell["artists"])
    if cell["paper"] == "agf2018":
        runs = _list_runs(*cell["model"].split(" ", 1))
        if any("e" in run.tasks and run.kind != "wstn" for run in runs):
            data += ", and Essentia"
        if len(runs) == 1:
            by_hand = _list_commands(*_network_steps(name, runs[0], out))
    elif cell["model"] == "tag":
        data = _describe_data(name, "msd_tags")
        dataset, folder = DATA.plan("msd_tags"), out / "runs" / "tag_0"
        training = commands.train("train_basic.py", dataset, folder, "--labels", "tags")
        evaluation = _evaluation(cell, training.output, "tag_0", out)
        by_hand = _list_commands(*dataset.steps, training, *evaluation)
    elif released and cell["model"] != "basic with LDA":
        first, *others = released
        weights = f"the released {first}" + (f" (or {', '.join(others)})" if others else "")
        by_hand = _list_commands(*_evaluation(cell, first, first, out))
    else:
        data = _describe_data(name, "msd")
        by_hand = f"python reproduce.py {cell['paper']} --data DIR --artists {cell['artists']} "
        by_hand += f"--out {out}"
    text = f"{data}; weights: {weights}; make {cell['paper']} DATA=DIR"
    return f"{text}; or {by_hand}" if by_hand else text


def describe_incomplete_result(cell: dict) -> str:
    """Return what a result lacks for comparison with the paper, or an empty string."""
    if cell["lacking"] > 0:
        return f"{cell['lacking']:.0f} more of its task sets; make agf2018 DATA=DIR"
    name = cell["dataset"]
    facts = KNOWN_DATASETS[name]
    expected = facts.tracks if cell["protocol"] == "retrieval" else facts.test_tracks
    if expected is None or cell["songs"] >= COMPLETE * expected:
        return ""
    return (
        f"the other tracks: only {cell['songs']:,} of {expected:,} were evaluated, so the numbers "
        f"are not comparable; {_describe_data(name)}; then delete splits/{name}.csv, "
        f"cache/{name}.h5 and all outputs that depend on them, and create them again"
    )


def _describe_data(*names: str) -> str:
    parts = []
    for name in names:
        paths = " and ".join(map(str, required_paths(Path("DIR"), name)))
        parts.append(f"{KNOWN_DATASETS[name].description} in {paths}")
    return ", and ".join(parts)


def _list_runs(kind: str, subset: str) -> list[task_sets.TaskSet]:
    """Return the runs that an agf2018 cell averages or compares."""
    runs = task_sets.list_runs((kind,), task_sets.list_task_sets(task_sets.TASKS))
    if subset.startswith("N="):
        return [run for run in runs if len(run.tasks) == int(subset[2:])]
    if subset.endswith(" g"):
        return [run for run in runs if ("g" in run.tasks) == subset.startswith("with ")]
    return [run for run in runs if run.tasks == subset]


def _network_steps(name: str, run: task_sets.TaskSet, out: Path) -> list[Step]:
    """Return all steps of a single agf2018 run, starting with the split."""
    dataset = DATA.plan(name, "--split", "stratified")
    words = run.tasks.replace("g", "") or "m"
    grouping = commands.group_artists(dataset, out / f"groups_{words}.h5", words)
    # Runs trained on different artist groups are kept in separate folders.
    folder, inputs = out / f"runs_{words}", (*grouping.inputs, grouping.output)
    features = folder / f"{run.name}_0" / "features.h5"
    arguments = (*inputs, "--out", folder, "--kinds", run.kind, "--tasks", run.tasks)
    training = make_step("train_agf.py", *arguments, output=features, inputs=inputs)
    json = out / f"genre_{run.name}_0.json"
    evaluation = commands.evaluate("genre", features, dataset, json)
    return [*dataset.steps, grouping, training, evaluation]


def _evaluation(cell: dict, weights: Path | str, name: str, out: Path) -> list[Step]:
    """Return the steps that prepare a cell's dataset, extract its features and evaluate them."""
    dataset = DATA.plan(cell["dataset"])
    extraction = commands.extract(out, name, weights, dataset)
    json = out / f"{cell['protocol']}_{name}_{dataset.name}.json"
    evaluation = commands.evaluate(cell["protocol"], extraction.output, dataset, json)
    return [*dataset.steps, extraction, evaluation]


def _list_commands(*steps: Step) -> str:
    return "; ".join(map(str, steps))
