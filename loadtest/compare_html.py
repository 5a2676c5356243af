"""A comparison as a page."""

from markupsafe import Markup

from loadtest import plots, result_figures
from loadtest.compare import Comparison, Matched
from loadtest.pages import page


def render(found: Comparison) -> str:
    """The page."""
    drawings = [
        overlay(f"percentiles-{number}", found.a.chief, step)
        for number, step in enumerate(found.steps)
    ]
    return page("compare.html", found=found, steps=list(zip(found.steps, drawings, strict=True)))


def overlay(name: str, chief: str, step: Matched) -> Markup | None:
    """The chief latency of both steps by percentile; None where one of them has none."""
    both = {"A": step.a, "B": step.b}
    found = {
        letter: result_figures.latency_histograms(one).get(chief) for letter, one in both.items()
    }
    drawn = {letter: one for letter, one in found.items() if one is not None}
    return plots.percentiles(name, drawn) if len(drawn) == len(both) else None
