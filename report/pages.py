"""Pages of one file each, out of `templates/`: what is put into them is escaped."""

from pathlib import Path

import jinja2
from markupsafe import Markup

from report.text import told

TEMPLATES = Path(__file__).with_name("templates")


def render(name: str, **values: object) -> str:
    """A template with these values in it: text as text, only `Markup` as it stands."""
    settings = {"autoescape": True, "undefined": jinja2.StrictUndefined}
    loader = jinja2.FileSystemLoader(TEMPLATES)
    made = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True, **settings)
    made.filters["told"] = told
    return made.get_template(name).render(**values)


def own(name: str) -> Markup:
    """A style or script of `templates/`, which stands in a page as it is."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
