"""A table as text: Markdown for people, LaTeX for papers, CSV for machines."""

import itertools
import math
import re
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

TEMPLATES = Path(__file__).with_name("templates")

LATEX_HEAD = (
    "% Needs \\usepackage{booktabs,longtable,pdflscape}; names in other scripts than Latin need\n"
    "% XeLaTeX or LuaLaTeX.\n"
)
SMALL = r"\setlength{\tabcolsep}{3pt}"
# The letters that fit into a line, and what stands before and after such a table.
LATEX_SIZES = (
    (70, "", ""),
    (90, rf"{{\scriptsize{SMALL}" "\n", "}\n"),
    (140, rf"\begin{{landscape}}\scriptsize{SMALL}" "\n", "\\end{landscape}\n"),
    (math.inf, rf"\begin{{landscape}}\tiny{SMALL}" "\n", "\\end{landscape}\n"),
)
BETWEEN = 2  # letters that there is room for between columns
_MARKDOWN = str.maketrans({"|": r"\|", "\\": r"\\", "<": "&lt;"})
_ESCAPED = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def to_markdown(table: pd.DataFrame) -> str:
    """`table` as a Markdown table, without its index, ending in a line break.

    Floats have 4 decimals; missing values are empty; nothing within a cell is Markdown's
    own or HTML. Columns of numbers align right.
    """
    rules = ["---:" if pd.api.types.is_numeric_dtype(kind) else "---" for kind in table.dtypes]
    rows = [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    lines = [[_cell(name) for name in table.columns], rules, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: object) -> str:
    return format_number(value).translate(_MARKDOWN)


def format_number(value: object) -> str:
    """A value on one line: a float with 4 decimals, a missing one as nothing."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    text = f"{value:z.4f}" if isinstance(value, float) else str(value)
    return " ".join(text.split())


def to_latex(table: pd.DataFrame, caption: str) -> str:
    """`table` as a LaTeX longtable with booktabs, without its index, ending in a line break.

    The cells are those of `to_markdown`, and nothing in them is a command. Columns that are
    empty are left out; a column's name has a line for each word. A table too wide for a page
    of A4 is set in small type, and if need be along the page.
    """
    cells = table.map(format_number).rename(columns=str)
    sides = ["r" if pd.api.types.is_numeric_dtype(kind) else "l" for kind in table.dtypes]
    filled = cells.ne("").any().to_numpy()
    cells, sides = cells.loc[:, filled], list(itertools.compress(sides, filled))
    widths = [
        max([*cells[name].str.len(), *map(len, name.split())]) + BETWEEN for name in cells.columns
    ]
    made = cells.map(_latex_cell)
    made.columns = [_latex_head(name, side) for name, side in zip(cells, sides, strict=True)]
    made = made.to_latex(
        index=False,
        escape=False,
        longtable=True,
        column_format="".join(sides),
        caption=escape_latex(caption),
    )
    begin, end = next(kind for most, *kind in LATEX_SIZES if sum(widths) <= most)
    return f"{begin}{made}{end}"


def _latex_cell(text: str) -> str:
    made = escape_latex(text).replace("±", r"$\pm$")
    return f"{{}}{made}" if made.startswith(("[", "*")) else made  # else part of the \\ before it


def _latex_head(name: str, side: str) -> str:
    """A name with a line for each word."""
    lines = r"\\".join(map(_latex_cell, name.split()))
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{lines}\end{{tabular}}"


def escape_latex(text: str) -> str:
    """A text in which LaTeX finds no command."""
    return text.translate(_ESCAPED).replace("--", "-{}-")  # else they are one dash


def make_breakable(text: str) -> str:
    """`escaped`, with places where a path or a long name goes on in the next line."""
    return re.sub(r"(/|\\_)", r"\1\\allowbreak{}", escape_latex(text))


def render_template(name: str, **values: object) -> str:
    """A template with these values in it: text as text, only `Markup` as it stands."""
    settings = {"autoescape": True, "undefined": jinja2.StrictUndefined}
    loader = jinja2.FileSystemLoader(TEMPLATES)
    made = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True, **settings)
    made.filters["told"] = format_number
    return made.get_template(name).render(**values)


def read_template(name: str) -> Markup:
    """A style or script of `templates/`, which stands in a page as it is."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
