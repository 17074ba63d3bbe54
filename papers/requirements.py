"""The data, weights and commands required to fill each cell of the papers' tables."""

from collections.abc import Sequence
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
    """Return the data, weights and commands required to fill a table cell.

    Parameters
    ----------
    cell
        A row of `papers.paper_tables.read_paper_tables`, as a dictionary.
    """
    if cell["note"] == QUOTED:
        return "nothing to run: the paper quotes this number from other work"
    if cell["paper"] == "agf2018":
        return _require_networks(cell)
    if cell["model"] == "tag":
        return _require_tag_model(cell)
    released = released_weights.released_names(cell["model"].partition(" ")[0], cell["artists"])
    if released and cell["model"] != "basic with LDA":
        name, *others = released
        weights = f"the released {name}" + (f" (or {', '.join(others)})" if others else "")
        steps = [*DATA.plan(cell["dataset"]).steps, *_evaluation(cell, name, name)]
        return _join(cell, _describe_data(cell["dataset"]), weights, _list_commands(steps))
    command = (
        f"python reproduce.py {cell['paper']} --data DIR --artists {cell['artists']} "
        f"--out {_results(cell)}"
    )
    return _join(cell, _describe_data(cell["dataset"], "msd"), "none released", command)


def describe_incomplete_result(cell: dict) -> str:
    """Return what a result lacks for comparison with the paper, or an empty string.

    Parameters
    ----------
    cell
        A row of `papers.paper_tables.compare_with_paper` that has a result, as a dictionary.
    """
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


def _join(cell: dict, data: str, weights: str, commands_by_hand: str) -> str:
    make = f"make {cell['paper']} DATA=DIR"
    by_hand = f"; or {commands_by_hand}" if commands_by_hand else ""
    return f"{data}; weights: {weights}; {make}{by_hand}"


def _describe_data(*names: str) -> str:
    parts = []
    for name in names:
        paths = " and ".join(map(str, required_paths(Path("DIR"), name)))
        parts.append(f"{KNOWN_DATASETS[name].description} in {paths}")
    return ", and ".join(parts)


def _results(cell: dict) -> Path:
    return Path("results", cell["paper"])


def _require_tag_model(cell: dict) -> str:
    dataset = DATA.plan("msd_tags")
    arguments = ("tag_0", "--labels", "tags")
    training = commands.train("train_basic.py", dataset, _results(cell), *arguments)
    evaluation = _evaluation(cell, training.output, "tag_0")
    steps = [*dataset.steps, training, *DATA.plan(cell["dataset"]).steps, *evaluation]
    data = _describe_data(cell["dataset"], "msd_tags")
    return _join(cell, data, "none released", _list_commands(steps))


def _require_networks(cell: dict) -> str:
    """Return what an agf2018 cell requires, with commands if it consists of a single run."""
    kind, _, subset = cell["model"].partition(" ")
    runs = task_sets.list_runs((kind,), task_sets.list_task_sets(task_sets.TASKS))
    if subset.startswith("N="):
        runs = [run for run in runs if len(run.tasks) == int(subset[2:])]
    elif subset.endswith(" g"):
        runs = [run for run in runs if ("g" in run.tasks) == subset.startswith("with ")]
    else:
        runs = [run for run in runs if run.tasks == subset]
    data = _describe_data(cell["dataset"])
    if kind != "wstn" and any("e" in run.tasks for run in runs):
        data += ", and Essentia"
    command = _list_commands(_network_steps(cell, runs[0])) if len(runs) == 1 else ""
    return _join(cell, data, "none released", command)


def _network_steps(cell: dict, run: task_sets.TaskSet) -> list[Step]:
    """Return all steps of a single run, starting with the split."""
    dataset = DATA.plan(cell["dataset"], "--split", "stratified")
    words, out = run.tasks.replace("g", "") or "m", _results(cell)
    data, groups = (dataset.split, dataset.cache), out / f"groups_{words}.h5"
    audio = ("--audio", dataset.audio) if "e" in words else ()
    grouping = make_step(
        "data_prep/2b_artist_groups.py",
        *(*data, "--out", groups, "--words", *words, *audio),
        output=groups,
        inputs=data,
    )
    # Runs trained on different artist groups are kept in separate folders.
    runs_folder = out / f"runs_{words}"
    features = runs_folder / f"{run.name}_0" / "features.h5"
    training = make_step(
        "train_agf.py",
        *(*data, groups, "--out", runs_folder, "--kinds", run.kind, "--tasks", run.tasks),
        output=features,
        inputs=(*data, groups),
    )
    json = out / f"genre_{run.name}_0.json"
    evaluation = commands.evaluate("genre", features, dataset, json)
    return [*dataset.steps, grouping, training, evaluation]


def _evaluation(cell: dict, weights: Path | str, name: str) -> list[Step]:
    """Return the steps that extract features from a cell's dataset and evaluate them."""
    dataset, out = DATA.plan(cell["dataset"]), _results(cell)
    extraction = commands.extract(out, name, weights, dataset)
    json = out / f"{cell['protocol']}_{name}_{dataset.name}.json"
    return [extraction, commands.evaluate(cell["protocol"], extraction.output, dataset, json)]


def _list_commands(steps: Sequence[Step]) -> str:
    return "; ".join(map(str, steps))
