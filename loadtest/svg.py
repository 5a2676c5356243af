"""Plots as SVG to be put into a page: text stays text, and colours are those of the page.

The page defines `COLOURS` as custom properties of CSS. The same figures give the same bytes. A plot
that is a file of its own has the colours of a light page.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {
    "ink": ("#1b1f24", "#e6e8eb"),
    "muted": ("#667085", "#98a2b3"),
    "rule": ("#e4e7ec", "#2d333d"),
    "page": ("#ffffff", "#15181d"),
    "blue": ("#0072b2", "#58b0e6"),
    "orange": ("#c25500", "#f28e4c"),
    "green": ("#008060", "#35c79d"),
    "purple": ("#a3568b", "#d894c2"),
    "yellow": ("#b58900", "#e5c04b"),
}
"""On a light and on a dark page. Those of series are told apart by the colour-blind too: they are
those of Okabe and Ito, darker on a light page, so that words in them can be read.
"""
INK, MUTED, RULE, PAGE, *SERIES = (light for light, _ in COLOURS.values())

WIDTH = 7.6
FILE_WIDTH = 6.25
"""600 pixels of CSS."""
STYLE: dict[Any, Any] = {
    "axes.edgecolor": RULE,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "svg.fonttype": "none",
    "svg.hashsalt": "tradewire",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))

_COLOUR = re.compile("|".join(light for light, _ in COLOURS.values()))
_NAMES = {light: f"var(--{name})" for name, (light, _) in COLOURS.items()}
_REFERENCE = re.compile(r'(\bid="|url\(#|xlink:href="#)')

Draw = Callable[[Axes], None]


def drawn(name: str, panels: Sequence[Draw], *, height: float) -> Markup:
    """Draw panels one above the other, on one horizontal axis; ``height`` in inches of each.

    ``name`` is unique on the page: every id starts with it.
    """
    return inlined(name, svg(panels, width=WIDTH, height=height, transparent=True))


def drawn_alone(panels: Sequence[Draw], *, height: float) -> str:
    """The same as a file that needs no page."""
    return svg(panels, width=FILE_WIDTH, height=height, transparent=False)


def svg(panels: Sequence[Draw], *, width: float, height: float, transparent: bool) -> str:
    """A whole SVG file of panels."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height * len(panels)))
        grid = figure.subplots(len(panels), squeeze=False, sharex=True)
        for axes, draw in zip(grid.flat, panels, strict=True):
            draw(axes)
        output = io.StringIO()
        figure.savefig(output, format="svg", metadata=NO_METADATA, transparent=transparent)
    return output.getvalue()


def inlined(name: str, text: str) -> Markup:
    """A whole SVG file as an element of a page."""
    element = text[text.index("<svg") :]
    themed = _COLOUR.sub(lambda colour: _NAMES[colour[0]], element)
    return Markup(_REFERENCE.sub(rf"\g<1>{name}-", themed))
