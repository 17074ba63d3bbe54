"""The steps that papers share: to train, extract, judge, show songs, and report."""

from collections.abc import Sequence
from pathlib import Path

from papers.datasets import Dataset
from papers.effort import Work
from papers.pipeline import Step, make_step

SHOWN = 22  # artists on a map of songs by artist, as in the papers


def unique_steps(made: Sequence[Step]) -> list[Step]:
    """Each step once: a dataset may stand in several places."""
    return list(dict.fromkeys(made))


def run_folder(out: Path, name: str) -> Path:
    """Where a training lies."""
    return out / "runs" / name


def features_file(out: Path, name: str, found: Dataset) -> Path:
    """Where the features of a dataset by some weights lie."""
    return out / "features" / f"{name}_{found.name}.h5"


def train(
    script: str, found: Dataset, folder: Path, *options: object, makes: str, work: Work
) -> Step:
    """A training, into its folder, of whose files `makes` is the one to go on with."""
    given = (found.split, found.cache, "--out", folder, *options)
    of = (found.split, found.cache)
    return make_step(script, *given, makes=folder / makes, of=of, work=work)


def extract(out: Path, name: str, weights: Path | str, found: Dataset) -> Step:
    """`features_file` by some weights, which are a file or the name of released ones."""
    file, work = features_file(out, name, found), Work("extract", found.tracks)
    of = (found.cache, weights) if isinstance(weights, Path) else (found.cache,)
    given = (weights, found.cache, "--out", file, "--allow-failures")
    return make_step("extract_features.py", *given, makes=file, of=of, work=work)


def evaluate(
    protocol: str,
    features: Path,
    found: Dataset,
    json: Path,
    *options: object,
    of: Sequence[Path] = (),
) -> Step:
    """A protocol's result, of features and what else it is judged `of`."""
    kind = "train and judge" if protocol in ("linear", "transfer", "tagging") else "judge"
    given = (protocol, features, found.split, *options, "--json", json)
    of = (features, found.split, *of)
    return make_step("evaluate.py", *given, makes=json, of=of, work=Work(kind, found.tracks))


def tsne(out: Path, name: str, found: Dataset, label: str) -> Step:
    """t-SNE of a dataset's features by genre or artist, of whom 22 are shown."""
    file, json = features_file(out, name, found), out / f"tsne_{label}_{name}_{found.name}.json"
    few = ("--first", SHOWN) if label == "artist" else ()
    given = ("tsne", file, found.split, "--label", label, *few, "--json", json)
    work = Work("t-SNE", found.tracks)
    return make_step("evaluate.py", *given, makes=json, of=(file, found.split), work=work)


def explore(out: Path, name: str, beside: str, found: Dataset) -> Step:
    """The page of a dataset's songs by two sets of features."""
    files = [features_file(out, one, found) for one in (name, beside)]
    page = out / f"songs_{found.name}.html"
    audio = ("--audio", found.audio) if found.audio else ()
    return make_step(
        "evaluate.py",
        *("explore", files[0], found.split, "--beside", files[1], *audio, "--out", page),
        makes=page,
        of=(*files, found.split),
        work=Work("t-SNE", found.tracks and 2 * found.tracks),
    )


def report(out: Path, made: Sequence[Step]) -> Step:
    """Tables, figures and the report of all results among these steps."""
    of = [one.makes for one in made if one.makes.parent == out and one.makes.suffix == ".json"]
    work, page = Work("lay out", len(of)), out / "report.html"
    given = ("report", "--results", out)
    return make_step("evaluate.py", *given, makes=page, of=of, work=work, of_any=True)
