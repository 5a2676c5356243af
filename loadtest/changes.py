"""Figures of two steps side by side, and which of them changed beyond noise."""

from collections.abc import Callable
from statistics import median
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from loadtest import noise
from loadtest.result_figures import GENERATOR, LATENCIES, latencies, operations
from loadtest.results import Result, Second, Step
from loadtest.units import MIB, percent, quantity

Verdict = Literal["better", "worse", "within noise"]

SATURATION_PERCENT = 10.0
"""A search knows the rate to 5 %, so that two of the same server may be this far apart."""


class Change(Struct, frozen=True):
    """A figure of both results; ``verdict`` is None where nothing can be said.

    ``interval`` is that of the difference, in percent of A.
    """

    name: str
    unit: str
    a: float | None
    b: float | None
    interval: noise.Interval | None = None
    verdict: Verdict | None = None

    @property
    def percent(self) -> float | None:
        """The difference in percent of A."""
        if self.a is None or self.b is None or not self.a:
            return None
        return 100 * (self.b - self.a) / self.a

    @property
    def text(self) -> str:
        """The change in a line."""
        difference = "" if self.percent is None else f", {percent(self.percent)}"
        return f"{self.name} {quantity(self.a)} → {quantity(self.b, self.unit)}{difference}"


class Measure(NamedTuple):
    """A figure of each second."""

    name: str
    unit: str
    of: Callable[[Second], float | None]
    more_is_better: bool = False


def saturation(a: Result, b: Result, *, judge: bool) -> Change:
    """The greatest rates that were held, judged when both had the same objective."""
    change = Change("saturation", "/s", a.saturation, b.saturation)
    if not judge or change.percent is None or a.objective_ms != b.objective_ms:
        return change
    beyond = abs(change.percent) > SATURATION_PERCENT
    return replace(change, verdict=word(beyond, good=change.percent > 0))


def judged(chief: str, a: Step, b: Step) -> list[Change]:
    """The medians of the seconds, and the errors."""
    return [*(by_second(measure, a, b) for measure in measures(chief, a, b)), errors(a, b)]


def unjudged(changes: list[Change]) -> list[Change]:
    """The same figures without verdicts."""
    return [replace(change, interval=None, verdict=None) for change in changes]


def measures(chief: str, a: Step, b: Step) -> list[Measure]:
    """What is judged by seconds: CPU for 1,000 operations, or in cores where none are done."""
    idle = not operations(a) or not operations(b)
    parts = sorted((a.usage.keys() | b.usage.keys()) - {GENERATOR})
    return [
        Measure("done", "/s", lambda second: second.rate, more_is_better=True),
        Measure(f"{chief} p50", "ms", lambda second: second.p50_ms),
        Measure(f"{chief} p95", "ms", lambda second: second.p95_ms),
        Measure(f"{chief} p99", "ms", lambda second: second.p99_ms),
        *((cores if idle else cost)(part) for part in parts),
        *(memory(part) for part in parts),
    ]


def cores(part: str) -> Measure:
    """How many cores a part used."""
    return Measure(f"{part} CPU", "cores", lambda second: second.cores.get(part))


def cost(part: str) -> Measure:
    """What a part used for 1,000 operations, in seconds of CPU."""

    def of(second: Second) -> float | None:
        used = second.cores.get(part)
        return None if used is None or not second.rate else 1000 * used / second.rate

    return Measure(f"{part} CPU per 1,000", "s", of)


def memory(part: str) -> Measure:
    """The resident memory of a part."""

    def of(second: Second) -> float | None:
        used = second.memory.get(part)
        return None if used is None else used / MIB

    return Measure(f"{part} memory", "MiB", of)


def by_second(measure: Measure, a: Step, b: Step) -> Change:
    """Judge the medians of the seconds."""
    before, after = series(measure, a), series(measure, b)
    found = noise.interval(before, after)
    change = Change(measure.name, measure.unit, middle(before), middle(after), found)
    if found is None or change.percent is None:
        return change
    good = (change.percent > 0) is measure.more_is_better
    return replace(change, verdict=word(noise.beyond(change.percent, found), good=good))


def series(measure: Measure, step: Step) -> list[float]:
    """The values of the seconds that have one."""
    values = (measure.of(second) for second in step.timeline)
    return [value for value in values if value is not None]


def middle(values: list[float]) -> float | None:
    """The median, if there is one."""
    return median(values) if values else None


def word(beyond: bool, *, good: bool) -> Verdict:
    """The verdict on a difference."""
    if not beyond:
        return "within noise"
    return "better" if good else "worse"


def errors(a: Step, b: Step) -> Change:
    """Judge the share of operations that were refused."""
    before, after = (sum(step.errors.values()) for step in (a, b))
    tries = operations(a) + before, operations(b) + after
    beyond = noise.shares_differ((before, tries[0]), (after, tries[1]))
    good = before * tries[1] > after * tries[0]
    return Change("errors", "", before, after, verdict=word(beyond, good=good))


def whole(a: Step, b: Step) -> list[Change]:
    """The latencies of each kind over the whole step, and what only this scenario has."""
    of_a, of_b = latencies(a), latencies(b)
    times = [
        Change(f"{kind} {name}", "ms", of_a[kind].ms.get(name), of_b[kind].ms.get(name))
        for kind in of_a
        if kind in of_b
        for name in LATENCIES
    ]
    further = dict.fromkeys([*a.figures, *b.figures])
    return [
        *times,
        *(Change(name, "", a.figures.get(name), b.figures.get(name)) for name in further),
    ]
