"""Tests of Markdown and LaTeX tables."""

import math

import pandas as pd

from report.formatting import to_latex, to_markdown


def test_to_markdown_escapes_and_formats_values():
    table = pd.DataFrame(
        {
            "name": [r"a\|b<script>", "two\nlines"],
            "value": [0.123456, float("nan")],
            "artists": pd.array([5000, None], dtype="Int64"),
            "difference": [-0.00001, -0.5],
        },
        index=[3, 4],
    )
    assert to_markdown(table).splitlines() == [
        "| name | value | artists | difference |",
        "| --- | ---: | ---: | ---: |",
        r"| a\\\|b&lt;script> | 0.1235 | 5000 | 0.0000 |",
        "| two lines |  |  | -0.5000 |",
    ]


def test_to_latex_escapes_commands_in_names():
    hostile = r"\input{x} a_b $1$ 50% # & ~ ^ {} é--out"
    escaped = r"\textbackslash{}input\{x\} a\_b \$1\$ 50\% \# \& \textasciitilde{} "
    escaped += r"\textasciicircum{} \{\} é-{}-out"
    table = pd.DataFrame({"a_b": [hostile], "value": [0.5], "mean": ["0.1 ± 0.2"], "c": ["[1]"]})
    latex = to_latex(table.assign(d="*"), hostile)
    assert latex.count(escaped) == 3  # in two captions and one table cell
    assert r"\begin{longtable}{lrlll}" in latex and r"{@{}l@{}}a\_b\end{tabular} &" in latex
    # LaTeX would take a leading bracket or star as an argument of the preceding line break.
    assert r"& 0.5000 & 0.1 $\pm$ 0.2 & {}[1] & {}* \\" in latex


def test_to_latex_omits_empty_columns_and_shrinks_wide_tables():
    table = pd.DataFrame({f"a column {n}": ["0.1234 ± 0.1234"] for n in range(5)})
    assert to_latex(table.assign(empty="", nothing=math.nan), "") == to_latex(table, "")
    assert to_latex(table, "").startswith(r"{\scriptsize")
    assert to_latex(table.iloc[:, :3], "").startswith(r"\begin{longtable}{lll}")
    wide = to_latex(pd.concat([table, table.add_suffix(" more")], axis=1), "")
    assert wide.startswith(r"\begin{landscape}") and wide.endswith("\\end{landscape}\n")
    assert r"column\\2\\more\end{tabular}" in wide
