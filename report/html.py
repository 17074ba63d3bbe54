"""Pages of one file each, out of `templates/`: what is put into them is escaped."""

from pathlib import Path

import jinja2
from markupsafe import Markup

from report.formatting import format_number

TEMPLATES = Path(__file__).with_name("templates")


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
