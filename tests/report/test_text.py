"""A table as Markdown and as LaTeX."""

import pandas as pd

from report.text import escaped, to_latex, to_markdown


def test_markdown_is_plain():
    table = pd.DataFrame(
        {
            "name": ["a|b", "two\nlines"],
            "value": [0.123456, float("nan")],
            "artists": pd.array([5000, None], dtype="Int64"),
            "difference": [-0.00001, -0.5],
        },
        index=[3, 4],
    )
    assert to_markdown(table).splitlines() == [
        "| name | value | artists | difference |",
        "| --- | ---: | ---: | ---: |",
        r"| a\|b | 0.1235 | 5000 | 0.0000 |",
        "| two lines |  |  | -0.5000 |",
    ]


def test_latex_has_no_command_of_a_name():
    hostile = r"\input{x} a_b $1$ 50% # & ~ ^ {}"
    table = pd.DataFrame({"a_b": [hostile], "value": [0.5], "mean": ["0.1 ± 0.2"]})
    made = to_latex(table, hostile)
    assert r"\input" not in made
    assert made.count(r"\textbackslash") == 3  # in two captions and a cell
    assert r"\begin{longtable}{lrl}" in made and r"a\_b & value & mean \\" in made
    assert r"& 0.5000 & 0.1 $\pm$ 0.2 \\" in made


def test_what_latex_reads_as_a_command_is_escaped():
    expected = r"\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}é-{}-out"
    assert escaped("&%$#_{}~^\\é--out") == expected
