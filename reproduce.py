"""A paper from the data that is there to its tables, figures and report: all steps, in order.

What --data holds is found by the names of its folders: gtzan, fma_small, fma_medium with
fma_metadata, mtat, msd, naver with naver.csv …, and any other as a folder of music.
Prints the plan and the time that it may take, then each command before running it, so that
any can be run by itself. What is done is skipped, so that the same command goes on after a
stop; where a step fails, what does not need it is done all the same. All but splits and
caches comes to lie in --out.
"""

import inspect
from pathlib import Path

from common import cli
from common.files import exclusive_folder
from papers import agf2018, arxiv2017, ismir2018
from papers.datasets import Data
from papers.pipeline import Pipeline


def main() -> None:
    parser = cli.make_parser(
        __doc__,
        "python reproduce.py ismir2018 --data DIR --out results/ismir2018",
    )
    papers = parser.add_subparsers(dest="paper", metavar="PAPER", required=True)
    for paper in (ismir2018, arxiv2017, agf2018):
        made = papers.add_parser(
            paper.__name__.rpartition(".")[2],
            help=paper.__doc__.partition(": ")[2],
            description=paper.__doc__ + "\n\n" + inspect.cleandoc(paper.plan.__doc__),
            formatter_class=parser.formatter_class,
            allow_abbrev=False,
        )
        made.set_defaults(make_plan=paper.plan)
        made.add_argument("--data", type=Path, metavar="DIR", help="folder of the datasets")
        made.add_argument("--out", type=Path, required=True, help="folder of all that is made")
        made.add_argument("--plan", action="store_true", help="print the plan, run nothing")
        paper.add_arguments(made)
    args = parser.parse_args()

    steps, left_out = args.make_plan(args, Data(args.data))
    plan = Pipeline(args.out, steps)
    print(*plan.lines(), *(f"left out: {line}" for line in left_out), sep="\n", flush=True)
    if plan.given():
        print(
            f"taken as they are: {', '.join(map(str, plan.given()))}; delete them, and what "
            f"{args.out} has of them, to have them made anew",
            flush=True,
        )
    if not args.plan:
        with exclusive_folder(args.out):
            plan.run(lambda line: print(line, flush=True))


if __name__ == "__main__":
    cli.run_script(main)
