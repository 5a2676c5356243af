"""The plots of reports, comparisons and sweeps."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, product
from math import ceil, floor, log10, nan
from typing import NamedTuple

import numpy as np
from hdrh.histogram import HdrHistogram
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from loadtest.result_figures import GENERATOR, chief_latency, load_name, throughput
from loadtest.results import Result, Second, Step
from loadtest.svg import INK, MUTED, PAGE, SERIES, Draw, drawn, drawn_alone
from loadtest.sweeps import GOOD, Measure, Sweep, latency, medians, rate, words
from loadtest.units import MIB
from tradewire.config import SETTINGS

BLUE, ORANGE, GREEN, PURPLE, YELLOW = SERIES
PARTS = {"server": BLUE, "engine": ORANGE, "broker": GREEN, GENERATOR: MUTED}

HEIGHT = 2.4
PANEL_HEIGHT = 1.8
MOST_MARKED = 120
"""Lines of more points than this go without markers."""
LEAST_LABELLED = 0.08
"""A step that takes less of the time axis than this goes without a label."""
PERCENTILE_TICKS = (0, 90, 99, 99.9, 99.99, 99.999)
PERCENTILE_POINTS = 200
THOUSANDS = "{x:,g}"
DIGITS = (1, 2, 5)
HEADROOM = 1.2
"""How much higher than the highest value an axis reaches, for the names of the steps."""


class Course(NamedTuple):
    """The seconds of all steps one after the other; None parts a step from the next.

    ``spans`` are the steps with their starts and ends, in seconds like ``at``.
    """

    at: list[float]
    seconds: list[Second | None]
    spans: list[tuple[float, float, Step]]

    def values(self, value: Callable[[Second], float | None]) -> list[float]:
        """A figure of each second, NaN where there is none."""
        found = (None if second is None else value(second) for second in self.seconds)
        return [nan if one is None else one for one in found]


def latency_over_time(result: Result) -> Markup:
    """The percentiles of the chief latency, second by second."""
    course = course_of(result.steps)

    def draw(axes: Axes) -> None:
        line(axes, course, "p99", ORANGE, lambda second: second.p99_ms)
        line(axes, course, "p95", BLUE, lambda second: second.p95_ms)
        line(axes, course, "p50", GREEN, lambda second: second.p50_ms)
        objective(axes, result)
        logarithmic(axes, f"{result.chief} latency, ms")
        legend(axes)

    return over_time("latency", course, [draw])


def load_over_time(result: Result) -> Markup:
    """Operations done, offered and in flight, second by second."""
    course = course_of(result.steps)

    def rates(axes: Axes) -> None:
        line(axes, course, "done", BLUE, lambda second: second.rate)
        line(axes, course, "errors", ORANGE, lambda second: second.errors or None)
        if any(step.offered for step in result.steps):
            axes.plot(*offered(course), color=INK, linestyle=":", label="offered")
        from_zero(axes, "operations/s")
        legend(axes)

    def in_flight(axes: Axes) -> None:
        line(axes, course, "in flight", PURPLE, lambda second: second.in_flight)
        from_zero(axes, "in flight, operations")

    return over_time("load", course, [rates, in_flight])


def resources_over_time(result: Result) -> Markup:
    """Cores and resident memory of each part, second by second."""
    course = course_of(result.steps)

    def cores(axes: Axes) -> None:
        lines_of_parts(axes, course, lambda second: second.cores, 1)
        from_zero(axes, "cores")
        legend(axes)

    def memory(axes: Axes) -> None:
        lines_of_parts(axes, course, lambda second: second.memory, MIB)
        from_zero(axes, "memory, MiB")

    return over_time("resources", course, [cores, memory])


def percentiles(name: str, histograms: Mapping[str, HdrHistogram]) -> Markup:
    """The latency at each percentile, a line for each histogram of microseconds."""

    def draw(axes: Axes) -> None:
        looks = cycle(product(("-", "--"), SERIES))
        for (label, times), (style, colour) in zip(histograms.items(), looks, strict=False):
            axes.plot(*percentile_curve(times), color=colour, linestyle=style, label=label)
        ticks = [tick for tick in PERCENTILE_TICKS if nines(tick) <= axes.dataLim.x1]
        axes.set_xticks([nines(tick) for tick in ticks], [f"{tick:g} %" for tick in ticks])
        axes.set_xlabel("percentile")
        logarithmic(axes, "latency, ms")
        legend(axes)

    return drawn(name, [draw], height=HEIGHT)


def knee(result: Result) -> Markup:
    """Throughput against the p99 of the chief latency, a point for each step; hollow: not held."""
    steps = sorted(result.steps, key=lambda step: step.offered or 0.0)
    found = [(throughput(step), chief_latency(result, step), step) for step in steps]
    points = [(done, chief["p99"], step) for done, chief, step in found if chief]

    def draw(axes: Axes) -> None:
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], color=BLUE)
        for x, y, step in points:
            face = PAGE if step.held is False else BLUE
            axes.plot(x, y, "o", color=BLUE, markerfacecolor=face, markersize=5)
        objective(axes, result)
        axes.set_xlabel("operations done/s")
        axes.xaxis.set_major_formatter(THOUSANDS)
        logarithmic(axes, f"{result.chief} p99, ms")
        legend(axes)

    return drawn("knee", [draw], height=HEIGHT)


def by_value(sweep: Sweep) -> str:
    """Throughput and the chief latency at each value of a setting, as a file of its own."""

    def rates(axes: Axes) -> None:
        values(axes, sweep, "done", "o", BLUE, rate)
        from_zero(axes, "operations done/s")
        name_values(axes, sweep)

    def latencies(axes: Axes) -> None:
        values(axes, sweep, "p99", "s", ORANGE, latency("p99"))
        values(axes, sweep, "p50", "o", GREEN, latency("p50"))
        logarithmic(axes, f"{sweep.first.chief} latency, ms")
        legend(axes)
        name_values(axes, sweep)

    measured = any(median is not None for median in medians(sweep, latency("p50")))
    return drawn_alone([rates, latencies] if measured else [rates], height=HEIGHT)


def values(
    axes: Axes, sweep: Sweep, label: str, marker: str, colour: str, measure: Measure
) -> None:
    """Draw a figure of each value: the median, and a dash for each round if there are several."""
    found = [nan if median is None else median for median in medians(sweep, measure)]
    axes.plot(found, color=colour, label=label, marker=marker, markersize=5)
    for place, value in enumerate(sweep.values):
        if is_hollow(sweep, value):
            axes.plot(place, found[place], marker, color=colour, markerfacecolor=PAGE, markersize=5)
        if sweep.rounds > 1:
            rounds = [measure(trial) for trial in sweep.at(value)]
            known = [one for one in rounds if one is not None]
            axes.plot([place] * len(known), known, "_", color=colour, markersize=12)


def name_values(axes: Axes, sweep: Sweep) -> None:
    """The values along the axis, evenly spaced in the order in which they were given."""
    unit = next((one.unit for one in SETTINGS if one.name == sweep.setting), "")
    lines = [f"{sweep.setting}, {unit}" if unit else sweep.setting]
    if sweep.rounds > 1:
        lines.append(f"medians of {sweep.rounds} rounds; a dash is one round")
    if any(is_hollow(sweep, value) for value in sweep.values):
        lines.append("hollow: a run was wrong, proved nothing or missed its objective")
    axes.set_xticks(range(len(sweep.values)), sweep.values)
    axes.set_xlim(-0.5, len(sweep.values) - 0.5)
    axes.set_xlabel("\n".join(lines))
    axes.label_outer()


def is_hollow(sweep: Sweep, value: str) -> bool:
    """Whether not every run of a value is as it should be."""
    return not GOOD.issuperset(words(sweep, value))


def course_of(steps: Sequence[Step]) -> Course:
    """Put the timelines of the steps one after the other."""
    course, start = Course([], [], []), 0.0
    for step in steps:
        end = start + len(step.timeline)
        course.at.extend([*(start + place + 0.5 for place in range(len(step.timeline))), end])
        course.seconds.extend([*step.timeline, None])
        course.spans.append((start, end, step))
        start = end
    return course


def over_time(name: str, course: Course, panels: Sequence[Draw]) -> Markup:
    """Draw panels over the time of a run, in which the steps are marked."""

    def framed(draw: Draw) -> Draw:
        def draw_framed(axes: Axes) -> None:
            draw(axes)
            mark_steps(axes, course)
            axes.set_xlabel("measured time, s")
            axes.xaxis.set_major_formatter(THOUSANDS)
            axes.label_outer()

        return draw_framed

    height = HEIGHT if len(panels) == 1 else PANEL_HEIGHT
    return drawn(name, [framed(draw) for draw in panels], height=height)


def mark_steps(axes: Axes, course: Course) -> None:
    """Part the steps and name their loads; grey are those that prove nothing."""
    length = course.spans[-1][1]
    axes.set_xlim(0, length)
    for start, end, step in course.spans:
        if step.invalid or step.faults:
            axes.axvspan(start, end, color=MUTED, alpha=0.1, linewidth=0)
        if len(course.spans) > 1:
            axes.axvline(start, color=MUTED, linewidth=0.5)
        if len(course.spans) > 1 and end - start > LEAST_LABELLED * length:
            axes.annotate(
                load_name(step),
                (start, 1),
                xytext=(3, -9),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                color=MUTED,
                size=7.5,
            )


def line(
    axes: Axes, course: Course, label: str, colour: str, value: Callable[[Second], float | None]
) -> None:
    """Draw a figure of each second, unless there is none at all."""
    values = course.values(value)
    if not np.isnan(values).all():
        marker = "o" if len(values) <= MOST_MARKED else None
        axes.plot(course.at, values, color=colour, label=label, marker=marker, markersize=2)


def lines_of_parts(
    axes: Axes, course: Course, used: Callable[[Second], Mapping[str, float]], unit: int
) -> None:
    """Draw what each part used in each second, in units of so many."""
    known = {part for second in course.seconds if second is not None for part in used(second)}
    for part in [*(part for part in PARTS if part in known), *sorted(known - PARTS.keys())]:

        def of_part(second: Second, part: str = part) -> float | None:
            amount = used(second).get(part)
            return None if amount is None else amount / unit

        line(axes, course, part, PARTS.get(part, YELLOW), of_part)


def offered(course: Course) -> tuple[list[float], list[float]]:
    """The offered rates as a line with gaps."""
    spans = [(start, end, step.offered or nan) for start, end, step in course.spans]
    at = [point for start, end, _ in spans for point in (start, end, end)]
    return at, [value for _, _, rate in spans for value in (rate, rate, nan)]


def objective(axes: Axes, result: Result) -> None:
    """Draw the p99 that is to be met, if there is one."""
    if result.objective_ms is not None:
        axes.axhline(result.objective_ms, color=INK, linestyle=":", label="objective of p99")


def nines(percentile: float) -> float:
    """The place on the axis of percentiles: 1 for 90 %, 2 for 99 %, and so on."""
    return -log10(1 - percentile / 100)


def percentile_curve(times: HdrHistogram) -> tuple[list[float], list[float]]:
    """Places on the axis of percentiles, as far as there are enough values, and milliseconds."""
    most = min(log10(max(times.get_total_count(), 2)), nines(PERCENTILE_TICKS[-1]))
    places = np.linspace(0, most, PERCENTILE_POINTS).tolist()
    asked = [100 * (1 - 10**-place) for place in places]
    found = times.get_percentile_to_value_dict(asked)
    return places, [found[percentile] / 1000 for percentile in asked]


def logarithmic(axes: Axes, label: str) -> None:
    """A logarithmic vertical axis with plain figures, from one round figure to another."""
    axes.set_ylabel(label)
    low, high = axes.dataLim.intervaly
    if not 0 < low <= high < float("inf"):
        return
    decades = range(floor(log10(low)) - 1, ceil(log10(high)) + 2)
    digits = DIGITS if high < 1000 * low else DIGITS[:1]
    ticks = [digit * 10.0**decade for decade in decades for digit in digits]
    axes.set_yscale("log")
    axes.set_ylim(max(t for t in ticks if t < low), min(t for t in ticks if t > HEADROOM * high))
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(THOUSANDS)


def from_zero(axes: Axes, label: str) -> None:
    """A linear vertical axis that starts at 0."""
    axes.set_ylabel(label)
    highest = axes.dataLim.y1
    axes.set_ylim(0, HEADROOM * highest if highest > 0 else 1)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(THOUSANDS)


def legend(axes: Axes) -> None:
    """A row above the plot, where there is more than one line."""
    count = len(axes.get_legend_handles_labels()[1])
    if count > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.98), ncols=count, borderaxespad=0)
