"""What the measurements amount to: medians of the rounds beside their targets."""

from collections.abc import Callable
from statistics import median

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.bench import Results, Round
from loadtest.plan import Footprint, Traffic

LEAST_SHARE_OF_FLOOR = 0.5
MOST_P99_MS = 10.0
MOST_IDLE_KIB = 24.0

MOST_GENERATOR_CORE = 0.9
"""Past this share of its core the generator may be what was measured."""
MOST_LATENESS_P99_MS = 5.0
"""Past this the generator did not keep its schedule."""


VERDICTS = {None: "", True: "[green]met", False: "[red]missed"}


class Figure(msgspec.Struct, frozen=True):
    """A line of the report; ``met`` is None where there is no target."""

    name: str
    floor: float
    subject: float
    unit: str
    digits: int
    target: str = ""
    met: bool | None = None


class Report(msgspec.Struct, frozen=True):
    """The figures, and what makes them worthless if anything does."""

    subject: str
    figures: list[Figure]
    invalid: list[str]
    marked: list[str]

    @property
    def exit_code(self) -> int:
        """0 when all targets are met, 1 when one is missed, 2 when the run proves nothing."""
        if self.invalid:
            return 2
        return int(any(figure.met is False for figure in self.figures))


def summarize(results: Results) -> Report:
    """Reduce the rounds to their medians and judge them."""
    return Report(
        results.subject,
        [*rate_figures(results), *latency_figures(results), idle_figure(results)],
        invalid=silent(results) + faults(results) + bottlenecks(results),
        marked=[name for name, run in named_runs(results) if limited(run)],
    )


def rate_figures(results: Results) -> list[Figure]:
    """The greatest rate and its cost; the ratio is the median of the rounds' own ratios."""
    rounds = results.closed
    share = median(rate(one.subject) / max(rate(one.floor), 1.0) for one in rounds)
    met = share >= LEAST_SHARE_OF_FLOOR
    return [
        compared("durable sends", rounds, rate, "/s", 0),
        Figure("share of the floor", 1.0, share, "", 2, f">= {LEAST_SHARE_OF_FLOOR}", met),
        compared("server CPU per 1,000 messages", rounds, server_cost, "s", 4),
        compared("generator CPU per 1,000 messages", rounds, generator_cost, "s", 4),
        compared("generator's share of its core", rounds, generator_core, "", 2),
    ]


def latency_figures(results: Results) -> list[Figure]:
    """Send → delivered at the peer's socket, from the time each message was due."""
    rounds, name = results.open, f"at {results.options.rate:,.0f}/s: "
    p99 = compared(name + "p99", rounds, lambda run: run.latency_ms.p99, "ms", 2)
    return [
        compared(name + "p50", rounds, lambda run: run.latency_ms.p50, "ms", 2),
        msgspec.structs.replace(
            p99, target=f"< {MOST_P99_MS:.0f} ms", met=p99.subject < MOST_P99_MS
        ),
        compared(name + "generator late, p99", rounds, lambda run: run.lateness_ms.p99, "ms", 2),
        compared(name + "server CPU per 1,000 messages", rounds, server_cost, "s", 4),
    ]


def idle_figure(results: Results) -> Figure:
    """Growth of resident memory for each idle connection."""
    floor, subject = results.idle_floor, results.idle_subject
    return Figure(
        f"memory per connection, {subject.connections:,} idle",
        floor.kib_per_connection,
        subject.kib_per_connection,
        "KiB",
        1,
        f"<= {MOST_IDLE_KIB:.0f} KiB",
        subject.kib_per_connection <= MOST_IDLE_KIB,
    )


def compared(
    name: str, rounds: list[Round], value: Callable[[Traffic], float], unit: str, digits: int
) -> Figure:
    """The median over the rounds for each server."""
    return Figure(
        name,
        median(value(one.floor) for one in rounds),
        median(value(one.subject) for one in rounds),
        unit,
        digits,
    )


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


def limited(run: Traffic) -> bool:
    """Whether the generator, and not the server, may have set the figures."""
    return generator_core(run) > MOST_GENERATOR_CORE or run.lateness_ms.p99 > MOST_LATENESS_P99_MS


def named_runs(results: Results) -> list[tuple[str, Traffic]]:
    """Every loop that was run, with a name for it."""
    loops = (("greatest rate", results.closed), ("open loop", results.open))
    return [
        (f"{loop}, round {number}, {server}", run)
        for loop, rounds in loops
        for number, one in enumerate(rounds, 1)
        for server, run in (("floor", one.floor), (results.subject, one.subject))
    ]


def silent(results: Results) -> list[str]:
    """The runs in which nothing was acknowledged."""
    return [f"{name}: nothing sent" for name, run in named_runs(results) if not run.acknowledged]


def faults(results: Results) -> list[str]:
    """Every wrong behaviour seen, in any run."""
    runs: list[tuple[str, Traffic | Footprint]] = [
        *named_runs(results),
        ("idle, floor", results.idle_floor),
        (f"idle, {results.subject}", results.idle_subject),
    ]
    return [
        f"{name}: {times} x {fault}" for name, run in runs for fault, times in run.faults.items()
    ]


def bottlenecks(results: Results) -> list[str]:
    """The loops in which half of the rounds were limited, so that the median may be, too."""
    loops = (("greatest rate", results.closed), ("open loop", results.open))
    return [
        f"{name}: the generator was the bottleneck"
        for name, rounds in loops
        if 2 * sum(limited(one.floor) or limited(one.subject) for one in rounds) >= len(rounds)
    ]


def show(report: Report, console: Console) -> None:
    """Print the table, the marked runs and the verdict."""
    table = Table("", "floor", report.subject, "target", "")
    for column in table.columns[1:3]:
        column.justify = "right"
    for figure in report.figures:
        values = (shown(figure, value) for value in (figure.floor, figure.subject))
        table.add_row(figure.name, *values, figure.target, VERDICTS[figure.met])
    console.print(table)
    for name in report.marked:
        console.print(f"[yellow]the generator was late or at its limit:[/] {name}")
    for reason in report.invalid:
        console.print(f"[red]invalid:[/] {escape(reason)}")


def shown(figure: Figure, value: float) -> str:
    """A value with its unit."""
    return f"{value:,.{figure.digits}f} {figure.unit}".rstrip()
