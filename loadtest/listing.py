"""The results in a folder, a line each."""

from collections.abc import Sequence
from pathlib import Path

from loadtest.result_figures import (
    VERDICTS,
    chief_latency,
    headline,
    read,
    short_commit,
    throughput,
    verdict,
)
from loadtest.results import Result, ResultError
from loadtest.sweeps import Sweep, sweep_at
from loadtest.units import NOTHING, quantity

HEADINGS = ("date", "scenario", "target", "rate", "p99", "saturation", "verdict", "commit", "file")


def listing(folder: Path) -> tuple[list[str], list[str]]:
    """The results and sweeps in a folder and below it, oldest first, as lines of a table with its
    headings.

    The second list says what is wrong with files that are no results.
    """
    found, broken = [], []
    for path in sorted(folder.rglob("*.json")):
        try:
            sweep = sweep_at(path)
            said = cells(read(path)) if sweep is None else cells_of_sweep(sweep)
            found.append((*said, str(path.relative_to(folder))))
        except ResultError as error:
            broken.append(str(error))
    return aligned([HEADINGS, *sorted(found)]), broken


def cells(result: Result) -> tuple[str, ...]:
    """What is said of a result: rate and p99 are those of the step that stands for the run."""
    step = headline(result)
    chief = chief_latency(result, step) if step else {}
    return (
        result.started_at,
        result.name,
        result.target,
        quantity(throughput(step) if step else None, "/s"),
        quantity(chief.get("p99"), "ms"),
        quantity(result.saturation, "/s"),
        verdict(result),
        short_commit(result),
    )


def cells_of_sweep(sweep: Sweep) -> tuple[str, ...]:
    """What is said of a sweep, which has no figures of its own."""
    first = sweep.first
    name = f"{first.name} by {sweep.setting}"
    figures = [NOTHING] * 3
    verdict = VERDICTS[sweep.exit_code]
    return (first.started_at, name, first.target, *figures, verdict, short_commit(first))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
