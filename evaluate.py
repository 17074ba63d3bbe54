"""Step 5: judge features on genre (or another label), and lay out what came of it.

`retrieval`, `knn` and `linear` judge one feature file; the last line printed is
the measure and its value, and --json keeps it. `tables` puts such results
beside the papers' numbers, `summary` compares the features on each dataset.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from common import cli, feature_file, provenance
from common.errors import InputError
from common.files import written_whole
from data_prep import failures, split_csv
from evaluation import classify, figures, retrieval, tables


def main() -> None:
    parser = cli.parser(
        __doc__,
        "python evaluate.py retrieval features/siamese.h5 splits/gtzan.csv --label genre",
    )
    protocols = parser.add_subparsers(dest="protocol", metavar="PROTOCOL", required=True)
    alike = {
        "formatter_class": parser.formatter_class,
        "epilog": parser.epilog,
        "allow_abbrev": False,
    }
    for name, judge in (
        ("retrieval", judge_retrieval),
        ("knn", judge_knn),
        ("linear", judge_linear),
    ):
        made = protocols.add_parser(name, help=judge.__doc__, description=judge.__doc__, **alike)
        made.add_argument("features", metavar="FEATURES.h5", type=Path)
        made.add_argument("split", metavar="SPLIT.csv", type=Path)
        made.add_argument("--label", default="genre", help="column of the split")
        made.add_argument("--json", type=Path, help="keep the result in this file")
        cli.add_seed(made)
        made.set_defaults(run=lambda args, judge=judge: judge_features(args, judge))
        if name == "knn":
            made.add_argument("-k", type=cli.positive, default=20, help="neighbours")
        if name == "linear":
            made.add_argument("--trials", type=cli.positive, default=10, help="trainings averaged")
    for name, lay_out in (("tables", lay_out_tables), ("summary", lay_out_summary)):
        text = lay_out.__doc__
        made = protocols.add_parser(name, help=text, description=text, **alike)
        made.add_argument("--results", type=Path, default=Path("results"), help="folder of --json")
        made.set_defaults(run=lay_out)
    args = parser.parse_args()
    args.run(args)


def judge_features(args, judge) -> None:
    """Read what is to be judged, judge it, print and keep the result."""
    found = feature_file.read(args.features)
    split = failures.leave_out(split_csv.read(args.split), found.failed, args.features)
    labels = split_csv.column(split, args.label, args.split)
    if (labels == "").any():
        print(
            f"{args.split}: {np.count_nonzero(labels == '')} tracks without {args.label} left out"
        )
    split, labels = split[labels != ""], labels[labels != ""]
    features = found.of(split["track_id"], args.features)
    subsets = {
        name: (features[chosen], labels[chosen])
        for name in split_csv.SUBSETS
        for chosen in [split["subset"].eq(name).to_numpy()]
    }
    metric, values, n_songs = judge(args, features, labels, subsets)
    weights = found.inputs.get("weights", {})
    result = {
        "protocol": args.protocol,
        "metric": metric,
        "value": float(np.mean(values)),
        "spread": float(np.std(values)) if len(values) > 1 else None,
        "trials": len(values) if len(values) > 1 else None,
        "n_songs": n_songs,
        "dataset": args.split.stem,
        "label": args.label,
        "features": weights.get("name", args.features.stem),
        "model": weights.get("model") or "unknown",
        "artists": weights.get("artists"),
        "made_from": provenance.record({**found.inputs, "settings": cli.settings(args)}),
    }
    if args.json:
        with written_whole(args.json) as aside:
            aside.write_text(provenance.to_json(result), encoding="utf-8")
    print(f"{metric} {result['value']:.4f}")


def judge_retrieval(args, features, labels, subsets):
    """MAP: each song a query, all others ranked by cosine."""
    return "map", [retrieval.mean_average_precision(features, labels)], len(labels)


def judge_knn(args, features, labels, subsets):
    """Accuracy on the test songs of the majority among the 20 nearest training songs."""
    value = classify.knn_accuracy(*subsets["train"], *subsets["test"], k=args.k)
    return "accuracy", [value], len(subsets["test"][1])


def judge_linear(args, features, labels, subsets):
    """Accuracy on the test songs of a softmax layer, mean over 10 trainings."""
    result = classify.linear_softmax(
        *subsets["train"], *subsets["valid"], *subsets["test"], trials=args.trials, seed=args.seed
    )
    return "accuracy", result.accuracies, len(subsets["test"][1])


def lay_out_tables(args) -> None:
    """Every number of the papers' tables beside ours, or what an empty cell needs."""
    table = tables.paper_beside_ours(tables.read_results(args.results))
    keep_table(table, tables.with_footnotes(table), args.results / "tables")


def lay_out_summary(args) -> None:
    """The features side by side on each dataset, as a table and a figure."""
    results = tables.read_results(args.results)
    if not len(results):
        raise InputError(f"{args.results}: holds no results; make some with --json")
    table = tables.by_features(results)
    keep_table(table, tables.to_markdown(table), args.results / "summary")
    for (dataset, label), of_one in results.groupby(["dataset", "label"]):
        figures.scores_by_features(of_one, args.results / f"{dataset}_{label}.png")
        for line in tables.margins(of_one):
            print(line)


def keep_table(table: pd.DataFrame, text: str, path: Path) -> None:
    """Print a table, and keep it as Markdown and CSV."""
    print(text)
    for suffix, content in ((".md", text), (".csv", table.to_csv(index=False))):
        with written_whole(path.with_suffix(suffix)) as aside:
            aside.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    cli.run(main)
