"""Step 5: evaluate features with the papers' protocols, and present the results.

Most commands evaluate one feature file: the last line printed is the metric and its value, and
--json writes the result to a file. `compare` tells whether two results differ. `tables`, `figures`
and `report` present a folder of results alongside the papers' numbers. `lda` projects features,
`header` writes baseline features from the headers of C64 tunes, `explore` creates a page for
viewing and playing tracks, `similar` lists the tracks most like one, and `groups` describes artist
groups.
"""

import argparse
import importlib
import sys

from common import cli

# Help text of each command, by its module in `protocols`.
COMMANDS = {
    "genre": {
        "retrieval": "Compute the MAP of retrieval, using each track as a query.",
        "clustering": "Compute how well k-means clusters match the artists, given their number."
        "\n\nThe score is the adjusted Rand index; the adjusted mutual information is also printed."
        "\nAll tracks of the split are clustered, by their features scaled to unit length.",
        "knn": "Compute the accuracy of a k-NN classifier on the test tracks.",
        "linear": "Compute the mean accuracy of a linear softmax layer over all trials.",
        "transfer": "Compute the accuracy of the better of logistic regression and neural networks."
        "\n\nThe choice between the two is based on validation accuracy.",
        "tagging": "Compute the area under the ROC curve of each predicted tag, and the mean."
        "\n\nTags that apply to no test track or to every test track are left out.",
        "genre": "Compute the log loss and macro F1 of class probabilities (agf2018)."
        "\n\nThe feature file must contain class probabilities from networks trained on this label."
        "\nTest tracks whose label is not among the networks' classes are left out.",
        "tsne": "Map tracks to the plane with t-SNE for `evaluate.py figures`.",
    },
    "artists": {
        "verification": "Compute the equal error rate of verification: is a track by this artist?",
        "identification": "Compute the accuracy of identification: which artist is a track by?",
        "lda": "Project a feature file with an LDA fitted to the artists of the training tracks.",
    },
    "baselines": {
        "header": "Write the chip, clock and decade in the headers of C64 tunes as features."
        "\n\nThese one-hot features are a baseline that does not use the audio.",
    },
    "comparison": {
        "compare": "Compute the difference between two systems with its confidence interval."
        "\n\nThe result files are those of retrieval, knn, linear, clustering, verification or"
        "\nidentification. The bootstrap resamples artists, each with all their tracks, and the"
        "\nresults of each system (its training seeds). Clusters are not computed again."
        "\nArtist recognition is averaged over the draws of enrolment and test tracks (--trials),"
        "\nwhich must be the same for both systems. Results may be on several splits without common"
        "\nartists, such as the folds of a cross-validation: artists are resampled within each, and"
        "\nthe differences are averaged over all artists.",
    },
    "layouts": {
        "explore": "Write an HTML page with t-SNE maps, nearest neighbours, search and playback."
        "\n\nThe page is a single file that a browser opens without a server or network.",
        "similar": "Print the tracks most similar to one track, by the cosine of their features.",
        "groups": "Write the top genres and artists of each artist group, and draw a heat map.",
        "tables": "Write the papers' tables with our results, as CSV, Markdown and LaTeX.",
        "figures": "Draw the papers' figures as PNG and SVG, and print what missing figures need.",
        "report": "Write a single HTML page that shows all results.",
    },
}


def main() -> None:
    """Run the command selected on the command line; only its module is imported."""
    parser = cli.make_parser(
        __doc__, "python evaluate.py retrieval features/siamese.h5 splits/gtzan.csv --label genre"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module, texts in COMMANDS.items():
        for name, text in texts.items():
            command = commands.add_parser(
                name,
                help=text.partition("\n")[0],
                description=text,
                formatter_class=cli.HelpFormatter,
                allow_abbrev=False,
            )
            if name in sys.argv:
                protocol = importlib.import_module(f"protocols.{module}")
                run, example = protocol.add_arguments(command, name)
                command.epilog = f"example:\n  python {command.prog} {example}"
                command.set_defaults(run=run, command_parser=command)
    options = vars(parser.parse_args())
    run, command = options.pop("run"), options.pop("command_parser")
    try:
        run(**options)
    except argparse.ArgumentError as error:  # raised for options that cannot be combined
        command.error(str(error))


if __name__ == "__main__":
    cli.run_script(main)
