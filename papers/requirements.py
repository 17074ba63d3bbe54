"""What would fill a cell of the papers' tables: data, weights, time, and the very commands."""

from collections.abc import Sequence
from pathlib import Path

from artist_groups import task_sets
from models import released_weights
from papers import commands, effort
from papers.datasets import KNOWN, OF_ARTIST, TO_TRAIN, Data, Dataset
from papers.effort import Work
from papers.pipeline import Step, make_step

DATA = Data(Path("DIR"))  # as the commands name it
EPOCHS = 1000
TAGGED = 75_000  # songs that the tag model is trained on
AGF_EPOCHS = {"stn": 200, "wstn": 200, "mtn": 1000}
ALMOST_ALL = 0.99  # of the paper's songs: of any copy of a dataset a few cannot be decoded
QUOTED = "nothing to run: the paper quotes this number from others"


def requirements_of(cell: dict) -> str:
    """What would fill a cell, in words and commands.

    Parameters
    ----------
    cell
        A row of `papers.paper_tables.read_paper_tables`.
    """
    if cell["note"] == "quoted by the paper":
        return QUOTED
    if cell["paper"] == "agf2018":
        return _networks(cell)
    names = released_weights.released_names(cell["model"].partition(" ")[0], cell["artists"])
    if cell["model"] == "tag":
        return _tag_model(cell)
    if names and cell["model"] != "basic with LDA":
        return _released(cell, names)
    return _trained(cell)


def missing_parts(cell: dict) -> str:
    """What a filled cell lacks to be the paper's: songs that it was not judged on; or "".

    Parameters
    ----------
    cell
        A row of `papers.paper_tables.compare_with_paper` with a number of `ours`.
    """
    if cell["lacking"] > 0:
        return f"{cell['lacking']:.0f} more of its sets of tasks; make agf2018 DATA=DIR"
    known = KNOWN[cell["dataset"]]
    asked = known.tracks if cell["protocol"] == "retrieval" else known.test
    if asked is None or cell["songs"] >= ALMOST_ALL * asked:
        return ""
    name = cell["dataset"]
    return (
        f"the other songs: {cell['songs']:,} of {asked:,} were judged, so that the difference is "
        f"not that of methods; {_data(name)}; then delete splits/{name}.csv, cache/{name}.h5 and "
        "what was made of them, and make them anew"
    )


def _data(name: str) -> str:
    """A dataset and where it has to be."""
    return f"{KNOWN[name].about}, in {' and '.join(map(str, DATA.sources(name)))}"


def _results(cell: dict) -> Path:
    return Path("results", cell["paper"])


def _released(cell: dict, names: Sequence[str]) -> str:
    """Of released weights: no training."""
    made = [*DATA.planned(cell["dataset"]).steps, *_judged(cell, names[0], names[0])]
    others = f" (likewise {', '.join(names[1:])})" if names[1:] else ""
    whole = f"make {cell['paper']} DATA=DIR"
    return (
        f"{_data(cell['dataset'])}; weights: the released {names[0]}{others}; "
        f"{_time(one.work for one in made)}; {whole}; or {_commands(made)}"
    )


def _tag_model(cell: dict) -> str:
    """It was not released, so that it has to be trained."""
    songs = DATA.planned("msd_tags")
    folder = commands.run_folder(_results(cell), "tag_0")
    work = Work("tag", TAGGED * EPOCHS)
    options = ("--labels", "tags")
    trained = commands.train("train_basic.py", songs, folder, *options, makes="best.h5", work=work)
    judged = _judged(cell, trained.makes, "tag_0")
    made = [*songs.steps, trained, *DATA.planned(cell["dataset"]).steps, *judged]
    return (
        f"{_data(cell['dataset'])}, and {_data('msd_tags')}; weights: none released; "
        f"{_time(one.work for one in made)}; make {cell['paper']} DATA=DIR; or {_commands(made)}"
    )


def _trained(cell: dict) -> str:
    """Of models of the first version of the paper that were not released."""
    artists, tracks = cell["artists"], KNOWN[cell["dataset"]].tracks
    crops = artists * TO_TRAIN * EPOCHS
    work = [
        *(Work("decode", artists * OF_ARTIST + tracks), Work("basic", crops)),
        Work("train and judge", tracks),
    ]
    return (
        f"{_data(cell['dataset'])}, and {_data('msd')}; weights: none released; "
        f"{_time(work)}; make {cell['paper']} DATA=DIR; or python reproduce.py {cell['paper']} "
        f"--data DIR --artists {artists} --out {_results(cell)}"
    )


def _networks(cell: dict) -> str:
    """Of agf2018: the runs that a cell is of, and the groups that they learn."""
    kind, _, asked = cell["model"].partition(" ")
    every = task_sets.list_runs((kind,), task_sets.list_task_sets(task_sets.TASKS))
    if asked.startswith("N="):
        runs = [run for run in every if len(run.tasks) == int(asked[2:])]
    elif asked.endswith(" g"):
        runs = [run for run in every if ("g" in run.tasks) == asked.startswith("with ")]
    else:
        runs = [run for run in every if run.tasks == asked]
    networks = {one for run in runs for one in run.parts}
    tracks = KNOWN[cell["dataset"]].tracks
    widths = [len(one.tasks) if kind == "wstn" else 1 for one in networks]
    passes = AGF_EPOCHS[kind] * sum(widths)
    words = {task for one in networks for task in one.tasks if kind != "wstn"}
    work = [Work("decode", tracks), Work("groups", tracks), Work("agf", passes * tracks)]
    work += [Work("essentia", tracks)] if "e" in words else []
    by_hand = f"; or {_commands(_run(cell, runs[0]))}" if len(runs) == 1 else ""
    return (
        f"{_data(cell['dataset'])}"
        f"{', and Essentia' * ('e' in words)}; weights: none released; {_time(work)}; make agf2018 "
        f"DATA=DIR{by_hand}"
    )


def _run(cell: dict, run: task_sets.TaskSet) -> list[Step]:
    """One run of agf2018, from the songs on."""
    found = DATA.planned(cell["dataset"], "--split", "stratified")
    words, out = run.tasks.replace("g", "") or "m", _results(cell)
    songs, groups = (found.split, found.cache), out / f"groups_{words}.h5"
    runs = out / f"runs_{words}"  # those of other groups are others
    script, given = "data_prep/2b_artist_groups.py", ["--out", groups, "--words", *words]
    given += ["--audio", found.audio] if "e" in words else []
    grouped = make_step(script, *songs, *given, makes=groups, of=songs, work=Work("groups", None))
    given = (groups, "--out", runs, "--kinds", run.kind, "--tasks", run.tasks)
    features, of = runs / f"{run.name}_0" / "features.h5", (*songs, groups)
    trained = make_step(
        "train_agf.py", *songs, *given, makes=features, of=of, work=Work("agf", None)
    )
    judged = commands.evaluate("genre", features, found, out / f"genre_{run.name}_0.json")
    return [*found.steps, grouped, trained, judged]


def _judged(cell: dict, weights: Path | str, name: str) -> list[Step]:
    """Features of a cell's dataset, and their result."""
    found: Dataset = DATA.planned(cell["dataset"])
    out = _results(cell)
    extracted = commands.extract(out, name, weights, found)
    json = out / f"{cell['protocol']}_{name}_{found.name}.json"
    return [extracted, commands.evaluate(cell["protocol"], extracted.makes, found, json)]


def _time(work: Sequence[Work]) -> str:
    return f"about {effort.told(effort.total(work))} on two cores without a GPU"


def _commands(made: Sequence[Step]) -> str:
    return "; ".join(map(str, made))
