"""A table as text: Markdown for people, LaTeX for papers, CSV for machines."""

import pandas as pd

LATEX_HEAD = "% Needs \\usepackage{booktabs,longtable}\n"
_ESCAPED = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def to_markdown(table: pd.DataFrame) -> str:
    """`table` as a Markdown table, without its index, ending in a line break.

    Floats have 4 decimals; missing values are empty; `|` within a cell is escaped.
    Columns of numbers align right.
    """
    rules = ["---:" if pd.api.types.is_numeric_dtype(kind) else "---" for kind in table.dtypes]
    rows = [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    lines = [[_cell(name) for name in table.columns], rules, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: object) -> str:
    return told(value).replace("|", r"\|")


def told(value: object) -> str:
    """A value on one line: a float with 4 decimals, a missing one as nothing."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    text = f"{value:z.4f}" if isinstance(value, float) else str(value)
    return " ".join(text.split())


def to_latex(table: pd.DataFrame, caption: str) -> str:
    """`table` as a LaTeX longtable with booktabs, without its index, ending in a line break.

    The cells are those of `to_markdown`, and nothing in them is a command.
    """
    cells = pd.DataFrame(
        [[told(value) for value in row] for row in table.itertuples(index=False)],
        columns=[str(name) for name in table.columns],
    )
    aligned = ["r" if pd.api.types.is_numeric_dtype(kind) else "l" for kind in table.dtypes]
    made = cells.to_latex(
        index=False,
        escape=True,
        longtable=True,
        column_format="".join(aligned),
        caption=escaped(caption),
    )
    return made.replace("±", r"$\pm$")


def escaped(text: str) -> str:
    """A text in which LaTeX finds no command."""
    return text.translate(_ESCAPED).replace("--", "-{}-")  # else they are one dash
