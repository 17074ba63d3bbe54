"""Output formats: tables as Markdown and LaTeX, and pages from the HTML templates."""

import itertools
import math
import re
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

TEMPLATES = Path(__file__).with_name("templates")

LATEX_HEAD = (
    "% Needs \\usepackage{booktabs,longtable,pdflscape}.\n"
    "% Non-Latin names need XeLaTeX or LuaLaTeX.\n"
)
_NARROW = r"\setlength{\tabcolsep}{3pt}"
# Characters that fit in a line, and what opens and closes a table of that width.
_LATEX_SIZES = (
    (70, "", ""),
    (90, rf"{{\scriptsize{_NARROW}" "\n", "}\n"),
    (140, rf"\begin{{landscape}}\scriptsize{_NARROW}" "\n", "\\end{landscape}\n"),
    (math.inf, rf"\begin{{landscape}}\tiny{_NARROW}" "\n", "\\end{landscape}\n"),
)
_COLUMN_GAP = 2  # characters between columns
_MARKDOWN_ESCAPES = str.maketrans({"|": r"\|", "\\": r"\\", "<": "&lt;"})
_LATEX_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def format_value(value: object) -> str:
    """Return a value on one line: a float with 4 decimals, a missing value as an empty string."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    text = f"{value:z.4f}" if isinstance(value, float) else str(value)
    return " ".join(text.split())


def to_markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, without its index.

    Values are formatted by `format_value`, and Markdown and HTML in them are escaped.
    Numeric columns are aligned right.
    """
    rules = ["---:" if pd.api.types.is_numeric_dtype(kind) else "---" for kind in table.dtypes]
    rows = [table.columns, *table.itertuples(index=False)]
    cells = [[format_value(value).translate(_MARKDOWN_ESCAPES) for value in row] for row in rows]
    lines = [cells[0], rules, *cells[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_latex(table: pd.DataFrame, caption: str) -> str:
    """Return a table as a LaTeX longtable with booktabs, without its index.

    Values are formatted by `format_value` and escaped. Empty columns are left out. A column
    name has one line per word. A table that is too wide for A4 has small type, and if
    necessary a landscape page.
    """
    cells = table.map(format_value).rename(columns=str)
    sides = ["r" if pd.api.types.is_numeric_dtype(kind) else "l" for kind in table.dtypes]
    filled = cells.ne("").any().to_numpy()
    cells, sides = cells.loc[:, filled], list(itertools.compress(sides, filled))
    width = sum(
        max([*cells[name].str.len(), *map(len, name.split())]) + _COLUMN_GAP for name in cells
    )
    heads = [_latex_head(name, side) for name, side in zip(cells, sides, strict=True)]
    latex = (
        cells.map(_latex_cell)
        .set_axis(heads, axis="columns")
        .to_latex(
            index=False,
            escape=False,
            longtable=True,
            column_format="".join(sides),
            caption=escape_latex(caption),
        )
    )
    begin, end = next(commands for limit, *commands in _LATEX_SIZES if width <= limit)
    return f"{begin}{latex}{end}"


def _latex_cell(text: str) -> str:
    latex = escape_latex(text).replace("±", r"$\pm$")
    # LaTeX would read a bracket or star as an argument of the line break before it.
    return f"{{}}{latex}" if latex.startswith(("[", "*")) else latex


def _latex_head(name: str, side: str) -> str:
    """Column name with one line per word."""
    lines = r"\\".join(map(_latex_cell, name.split()))
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{lines}\end{{tabular}}"


def escape_latex(text: str) -> str:
    """Return text in which every character is printed as it is, two hyphens included."""
    return text.translate(_LATEX_ESCAPES).replace("--", "-{}-")


def make_breakable(text: str) -> str:
    """Return escaped text that LaTeX may break after slashes and underscores."""
    return re.sub(r"(/|\\_)", r"\1\\allowbreak{}", escape_latex(text))


def render_template(name: str, **values: object) -> str:
    """Render a page of `templates/`; all values except `Markup` are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["as_text"] = format_value
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.get_template(name).render(**values)


def read_template(name: str) -> Markup:
    """Return a style sheet or script of `templates/`, to be inserted unescaped."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
