"""What a report is made of: figures beside their targets, and what makes a run worthless."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.plan import Traffic

MOST_GENERATOR_CORE = 0.9
"""Past this share of its core the generator may be what was measured."""
MOST_LATENESS_P99_MS = 5.0
"""Past this the generator did not keep its schedule."""

VERDICTS = {None: "", True: "[green]met", False: "[red]missed"}


class Figure(msgspec.Struct, frozen=True):
    """A line of the report: a value for each column, None where it says nothing.

    The last column is the subject's, which the target is for; ``met`` is None without one.
    """

    name: str
    values: tuple[float | None, ...]
    unit: str
    digits: int
    target: str = ""
    met: bool | None = None


class Report(msgspec.Struct, frozen=True):
    """The figures, and what makes them worthless if anything does."""

    columns: tuple[str, ...]
    figures: list[Figure]
    invalid: list[str]
    marked: list[str]
    title: str = ""

    @property
    def exit_code(self) -> int:
        """0 when all targets are met, 1 when one is missed, 2 when the run proves nothing."""
        if self.invalid:
            return 2
        return int(any(figure.met is False for figure in self.figures))


def middle(values: Iterable[float | None]) -> float | None:
    """The median of what was measured, None when something was not."""
    known = list(values)
    present = [value for value in known if value is not None]
    return median(present) if present and len(present) == len(known) else None


def rate(run: Traffic) -> float:
    """Acknowledged messages a second."""
    return run.acknowledged / run.seconds


def server_cost(run: Traffic) -> float:
    """Seconds of the server's processor time for 1,000 messages."""
    return 1000 * run.server_cpu_s / max(run.acknowledged, 1)


def generator_cost(run: Traffic) -> float:
    """Seconds of the generator's processor time for 1,000 messages."""
    return 1000 * run.generator_cpu_s / max(run.acknowledged, 1)


def generator_core(run: Traffic) -> float:
    """The part of one core that the generator used."""
    return run.generator_cpu_s / run.seconds


def latency_p50(run: Traffic) -> float:
    """Send → delivered at the peer's socket, from the time each message was due."""
    return run.latency_ms.p50


def latency_p99(run: Traffic) -> float:
    """See `latency_p50`."""
    return run.latency_ms.p99


def lateness_p99(run: Traffic) -> float:
    """How late the generator sent what was due."""
    return run.lateness_ms.p99


def limited(run: Traffic) -> bool:
    """Whether the generator, and not the server, may have set the figures."""
    return generator_core(run) > MOST_GENERATOR_CORE or lateness_p99(run) > MOST_LATENESS_P99_MS


def silent(runs: Iterable[tuple[str, Traffic]]) -> list[str]:
    """The runs in which nothing was acknowledged."""
    return [f"{name}: nothing sent" for name, run in runs if not run.acknowledged]


def faults(runs: Iterable[tuple[str, Mapping[str, int]]]) -> list[str]:
    """Every wrong behaviour seen, in any run."""
    return [f"{name}: {times} x {fault}" for name, run in runs for fault, times in run.items()]


def bottlenecks(loops: Mapping[str, Sequence[Sequence[Traffic]]]) -> list[str]:
    """The loops in which half of the rounds were limited, so that the median may be, too.

    A round is one run or more; if one of them was limited, the round was.
    """
    return [
        f"{name}: the generator was the bottleneck"
        for name, rounds in loops.items()
        if 2 * sum(any(map(limited, runs)) for runs in rounds) >= len(rounds)
    ]


def show(report: Report, console: Console) -> None:
    """Print the table, the marked runs and the verdict."""
    table = Table("", *report.columns, "target", "", title=report.title or None)
    for column in table.columns[1:-2]:
        column.justify = "right"
    for figure in report.figures:
        values = (shown(figure, value) for value in figure.values)
        table.add_row(figure.name, *values, figure.target, VERDICTS[figure.met])
    console.print(table)
    for name in report.marked:
        console.print(f"[yellow]the generator was late or at its limit:[/] {name}")
    for reason in report.invalid:
        console.print(f"[red]invalid:[/] {escape(reason)}")


def shown(figure: Figure, value: float | None) -> str:
    """A value with its unit."""
    return "-" if value is None else f"{value:,.{figure.digits}f} {figure.unit}".rstrip()
