"""What changes in the course of a run: growth of memory, drift of latency."""

from collections.abc import Sequence
from statistics import fmean, median

from loadtest.results import Second
from loadtest.units import MIB

LEAST_SECONDS = 30
"""A shorter run says nothing of trends."""


def slope(points: Sequence[tuple[float, float]]) -> float:
    """By how much y grows with each x, by least squares; there must be two different x."""
    x_mean, y_mean = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / spread


def memory_slope(timeline: Sequence[Second], part: str = "server") -> float | None:
    """MiB a minute by which a part's memory grows after the first fifth; None of a short run."""
    settled = timeline[len(timeline) // 5 :]
    points = [(each.at / 60, each.memory[part] / MIB) for each in settled if part in each.memory]
    return slope(points) if len(timeline) >= LEAST_SECONDS and len(points) > 1 else None


def p99_drift(timeline: Sequence[Second]) -> float | None:
    """The median p99 of the seconds of the last third, as multiple of that of the first.

    None of a short run, or when nothing was measured in one of the two.
    """
    third = len(timeline) // 3
    first, last = (
        [each.p99_ms for each in part if each.p99_ms]
        for part in (timeline[:third], timeline[len(timeline) - third :])
    )
    if len(timeline) < LEAST_SECONDS or not first or not last:
        return None
    return median(last) / median(first)
