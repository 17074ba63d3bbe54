"""Step 5: evaluate features by the papers' protocols, and present the results.

Each protocol evaluates one feature file; the last line printed is the metric and its value, and
--json writes the result to a file. `tables`, `figures` and `report` present a folder of such
results with the papers' numbers. `lda` projects features, `explore` makes a page to see and hear
tracks, and `groups` describes artist groups.
"""

import argparse

from common import cli
from protocols import artists, genre, layouts


def main() -> None:
    """Run the protocol that the command line names."""
    parser = cli.make_parser(
        __doc__, "python evaluate.py retrieval features/siamese.h5 splits/gtzan.csv --label genre"
    )
    commands = parser.add_subparsers(metavar="PROTOCOL", required=True)
    genre.add_commands(commands)
    artists.add_commands(commands)
    layouts.add_commands(commands)
    options = vars(parser.parse_args())
    run = options.pop("run")
    try:
        run(**options)
    except argparse.ArgumentError as error:  # options that cannot be combined
        parser.error(str(error))


if __name__ == "__main__":
    cli.run_script(main)
