"""Output formats: Markdown and LaTeX tables, and HTML pages rendered from templates."""

import itertools
import math
import re
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

from common.files import atomic_write

TEMPLATES = Path(__file__).with_name("templates")

LATEX_HEAD = r"""% Needs \usepackage{booktabs,longtable,pdflscape}.
% Non-Latin names need XeLaTeX or LuaLaTeX.
"""
_NARROW = r"\setlength{\tabcolsep}{3pt}"
# Maximum number of characters per line, and the LaTeX code before and after a table of that width.
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
    """Format a value on one line: floats with 4 decimals, missing values as an empty string."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    text = f"{value:z.4f}" if isinstance(value, float) else str(value)
    return " ".join(text.split())


def to_markdown(table: pd.DataFrame) -> str:
    """Convert a table to Markdown without its index, with escaped values."""
    rules = ["---:" if pd.api.types.is_numeric_dtype(kind) else "---" for kind in table.dtypes]
    rows = [table.columns, *table.itertuples(index=False)]
    cells = [[format_value(value).translate(_MARKDOWN_ESCAPES) for value in row] for row in rows]
    lines = [cells[0], rules, *cells[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_latex(table: pd.DataFrame, caption: str) -> str:
    """Convert a table to a LaTeX longtable with booktabs rules, without its index.

    Values are escaped, empty columns are left out, and column names are broken after every word. A
    table that is too wide for A4 is set in smaller type and, if necessary, on a landscape page.
    """
    cells = table.map(format_value).rename(columns=str)
    sides = ["r" if pd.api.types.is_numeric_dtype(kind) else "l" for kind in table.dtypes]
    filled = cells.ne("").any().to_numpy()
    cells, sides = cells.loc[:, filled], list(itertools.compress(sides, filled))
    width, heads = 0, []
    for name, side in zip(cells, sides, strict=True):
        words = name.split()
        width += max([*cells[name].str.len(), *map(len, words)]) + _COLUMN_GAP
        lines = r"\\".join(map(_latex_cell, words))
        heads.append(rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{lines}\end{{tabular}}")
    form = {"column_format": "".join(sides), "caption": escape_latex(caption)}
    latex = cells.map(_latex_cell).set_axis(heads, axis="columns")
    latex = latex.to_latex(index=False, escape=False, longtable=True, **form)
    begin, end = next(commands for limit, *commands in _LATEX_SIZES if width <= limit)
    return f"{begin}{latex}{end}"


def _latex_cell(text: str) -> str:
    latex = escape_latex(text).replace("±", r"$\pm$")
    # LaTeX would take a leading bracket or star as an argument of the preceding line break.
    return f"{{}}{latex}" if latex.startswith(("[", "*")) else latex


def escape_latex(text: str) -> str:
    """Escape text for LaTeX so that every character is printed literally, even two hyphens."""
    return text.translate(_LATEX_ESCAPES).replace("--", "-{}-")


def make_breakable(text: str) -> str:
    """Escape text for LaTeX and allow line breaks after slashes and underscores."""
    return re.sub(r"(/|\\_)", r"\1\\allowbreak{}", escape_latex(text))


def write_page(path: Path, template: str, **values: object) -> None:
    """Write a page from a template and its style sheet; all values except `Markup` are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["as_text"] = format_value
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    page = environment.get_template(f"{template}.html")
    text = page.render(style=read_template(f"{template}.css"), **values)
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def read_template(name: str) -> Markup:
    """Read a style sheet or script from `templates/` as `Markup`, so that it is not escaped."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
