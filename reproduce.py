"""Reproduce a paper: run all steps from the available datasets to tables, figures and report.

A dataset is a subfolder of --data with the dataset's name, such as gtzan, fma_small with
fma_metadata, mtat, msd, or naver with naver.csv. Any other subfolder is a folder of music.
The script prints the plan, then each command with its output, so that each can also be run
by hand. Steps run side by side where that is faster: one of them prints directly, and the
output of the others follows later. Completed steps are skipped: the same command continues
after an interruption. If a step fails, independent steps still run. All outputs except
splits and caches are written to --out.
"""

from pathlib import Path

from common import cli
from common.files import exclusive_folder
from papers import agf2018, arxiv2017, ismir2018, sid
from papers.datasets import DataFolder
from papers.pipeline import Pipeline

PAPERS = {
    "ismir2018": (ismir2018, "genre retrieval and classification with artist embeddings"),
    "arxiv2017": (arxiv2017, "artist recognition, and transfer to genre and tags"),
    "agf2018": (agf2018, "genre classification with networks that learn artist groups"),
    "sid": (sid, "the experiments of ismir2018 and arxiv2017 on the music of the Commodore 64"),
}
EXAMPLE = "python reproduce.py ismir2018 --data DIR --out results/ismir2018"


def main() -> None:
    """Print the plan for a paper and, unless --plan is given, run it."""
    parser = cli.make_parser(__doc__, EXAMPLE)
    subparsers = parser.add_subparsers(dest="paper", metavar="PAPER", required=True)
    style = {"formatter_class": parser.formatter_class, "allow_abbrev": False}
    for name, (paper, topic) in PAPERS.items():
        subparser = subparsers.add_parser(name, help=topic, description=paper.__doc__, **style)
        text = "folder that contains the datasets"
        subparser.add_argument("--data", type=Path, metavar="DIR", help=text)
        out = Path("results", name)
        subparser.add_argument("--out", type=Path, default=out, help="output folder")
        text = "plan of all steps, printed and not run"
        subparser.add_argument("--plan", action="store_true", help=text)
        paper.add_arguments(subparser)
    options = parser.parse_args()
    steps, left_out = PAPERS[options.paper][0].plan(options, DataFolder(options.data))
    pipeline = Pipeline(options.out, steps)
    print(*pipeline.describe(), *(f"left out: {line}" for line in left_out), sep="\n")
    existing = ", ".join(map(str, pipeline.existing_inputs()))
    if existing:
        print(
            f"using existing files: {existing}; to create them again, delete them and the "
            f"outputs in {options.out} that depend on them"
        )
    if not options.plan:
        with exclusive_folder(options.out):
            pipeline.run()


if __name__ == "__main__":
    cli.run_script(main)
