"""The tables of results as sheets."""

import pytest

from papers.paper_tables import compare_with_paper
from report.result_tables import describe_coverage, make_paper_tables
from tests.evaluation.result_files import KNN, result_writer


@pytest.fixture
def write(tmp_path):
    return result_writer(tmp_path)


def test_coverage_counts_the_cells_of_as_many_songs_as_the_papers_only(write):
    assert (
        describe_coverage(compare_with_paper(write({})), "ismir2018")
        == "ismir2018: 1 of 31 numbers"
    )
    results = write({}, KNN | {"n_songs": 4}, {"dataset": "mine"})
    assert describe_coverage(compare_with_paper(results), "ismir2018") == (
        "ismir2018: 1 of 31 numbers, and 1 of fewer songs than the paper's, and 1 on other data"
    )


def test_a_cell_has_the_number_of_what_it_needs(write):
    sheets = make_paper_tables(compare_with_paper(write({"n_songs": 93})), "ismir2018")
    filled = sheets[0].table.dropna(subset="ours")
    (number,) = filled["needs"]
    said = {line.partition(" ")[0]: line for line in sheets[-1].lines}
    assert "93 of 930 were judged" in said[number]
    assert len(said) == len(sheets[-1].lines)
    assert all(not sheet.lines for sheet in sheets[:-1])
