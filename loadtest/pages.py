"""Pages that need nothing but themselves: no network, no scripts, no fonts."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadtest import result_figures, units
from loadtest.svg import COLOURS

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> Environment:
    """The templates, with the figures and words they are written with."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        quantity=units.quantity, percent=units.percent, plain=units.plain, span=units.span
    )
    made.globals.update(colours=COLOURS, figures=result_figures, MIB=units.MIB)
    return made


def page(template: str, **context: object) -> str:
    """Fill a template."""
    return environment().get_template(template).render(context)
