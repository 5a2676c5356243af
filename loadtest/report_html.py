"""The report of a run, as a page."""

from typing import NamedTuple

from markupsafe import Markup

from loadtest import plots, result_figures
from loadtest.pages import page
from loadtest.results import Result


class Plot(NamedTuple):
    """A plot, and how it is to be read."""

    title: str
    note: str
    svg: Markup


def render(result: Result) -> str:
    """The page."""
    return page(
        "report.html",
        result=result,
        verdict=result_figures.verdict(result),
        headline=result_figures.headline(result),
        parts=result_figures.parts(result),
        further=list(dict.fromkeys(name for step in result.steps for name in step.figures)),
        plots=[*over_time(result), *by_latency(result)],
    )


def over_time(result: Result) -> list[Plot]:
    """What was seen second by second, as far as anything was."""
    seconds = [second for step in result.steps for second in step.timeline]
    found = []
    if any(second.p99_ms is not None for second in seconds):
        note = f"Percentiles of {result.chief} by second."
        found.append(Plot("Latency", note, plots.latency_over_time(result)))
    if any(second.rate for second in seconds):
        note = "Done, offered and in flight by second."
        found.append(Plot("Throughput", note, plots.load_over_time(result)))
    if seconds:
        svg = plots.resources_over_time(result)
        found.append(Plot("Cores and memory", "By part, by second.", svg))
    return found


def by_latency(result: Result) -> list[Plot]:
    """The latencies of the step that stands for the run, and the knee of several steps."""
    chosen, found = result_figures.headline(result), []
    if chosen is not None and (histograms := result_figures.latency_histograms(chosen)):
        note = f"All operations of one step: {result_figures.load_name(chosen)}."
        svg = plots.percentiles("percentiles", histograms)
        found.append(Plot("Latency by percentile", note, svg))
    if sum(bool(result_figures.chief_latency(result, step)) for step in result.steps) > 1:
        note = "A point for each step; hollow where the objective was not held."
        found.append(Plot("Throughput against latency", note, plots.knee(result)))
    return found
