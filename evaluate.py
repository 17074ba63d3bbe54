"""Step 5: evaluate features with the papers' protocols, and present the results.

Each protocol evaluates one feature file. The last line printed is the metric and its value, and
--json writes the result to a file. `tables`, `figures` and `report` present a folder of results
alongside the papers' numbers. `lda` projects features, `explore` creates a page for viewing and
playing tracks, and `groups` describes artist groups.
"""

import argparse

from common import cli
from protocols import artists, genre, layouts


def main() -> None:
    """Run the protocol selected on the command line."""
    parser = cli.make_parser(
        __doc__, "python evaluate.py retrieval features/siamese.h5 splits/gtzan.csv --label genre"
    )
    commands = parser.add_subparsers(metavar="PROTOCOL", required=True)
    genre.add_commands(commands)
    artists.add_commands(commands)
    layouts.add_commands(commands)
    options = vars(parser.parse_args())
    run, command = options.pop("run"), options.pop("command_parser")
    try:
        run(**options)
    except argparse.ArgumentError as error:  # raised for options that cannot be combined
        command.error(str(error))


if __name__ == "__main__":
    cli.run_script(main)
