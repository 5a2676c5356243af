"""What a result says, as tables on a terminal."""

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest import result_figures
from loadtest.result_figures import LATENCIES, Latency, cpu_per_1000, throughput
from loadtest.results import Result, Step
from loadtest.trend import memory_slope, p99_drift
from loadtest.units import MIB


def show(result: Result, console: Console) -> None:
    """Print what was done, the latencies and costs of each step, and what the run concludes."""
    console.print(f"\n{result.name} on {result.target}", style="bold", markup=False)
    for number, step in enumerate(result.steps, 1):
        console.print(f"step {number}: {headline(step)}")
        for name, value in step.figures.items():
            console.print(f"step {number}: {value:,.2f} {name}", markup=False)
    if any(step.latency for step in result.steps):
        console.print(latencies(result))
    console.print(costs(result))
    for line in conclusions(result):
        console.print(line)


def headline(step: Step) -> str:
    """What was to be done, what was done, and whether that met the objective."""
    offered = "" if step.offered is None else f"{step.offered:,.0f}/s offered, "
    verdict = {None: "", True: ", [green]held[/]", False: ", [yellow]not held[/]"}[step.held]
    return f"{offered}{throughput(step):,.0f}/s done in {step.seconds:,.1f} s{verdict}"


def latencies(result: Result) -> Table:
    """How long each kind of operation took in each step, in milliseconds."""
    table = Table("step", "ms", *LATENCIES, "drift", box=SIMPLE_HEAD)
    for column in table.columns[2:]:
        column.justify = "right"
    for number, step in enumerate(result.steps, 1):
        numbers = [str(number), *[""] * len(step.latency)]
        late = {"generator late": result_figures.lateness(step)}
        kinds = {**result_figures.latencies(step), **late}
        for first, (kind, latency) in zip(numbers, kinds.items(), strict=True):
            table.add_row(first, kind, *times(latency), drift(step) if kind == result.chief else "")
        table.add_section()
    return table


def costs(result: Result) -> Table:
    """What each part used in each step."""
    table = Table("step", "part", "cores", "CPU for 1,000", "memory", "grows", box=SIMPLE_HEAD)
    for column in table.columns[2:]:
        column.justify = "right"
    for number, step in enumerate(result.steps, 1):
        costs_1000 = cpu_per_1000(step)
        for part, usage in step.usage.items():
            growth = memory_slope(step.timeline, part)
            table.add_row(
                str(number) if part == next(iter(step.usage)) else "",
                part,
                f"{usage.cpu_s / step.seconds:.2f}",
                f"{costs_1000[part]:.3f} s" if costs_1000 else "-",
                f"{usage.memory / MIB:,.0f} MiB",
                "-" if growth is None else f"{growth:+.2f} MiB/min",
            )
        table.add_section()
    return table


def conclusions(result: Result) -> list[str]:
    """What is wrong, what was found."""
    lines = []
    for number, step in enumerate(result.steps, 1):
        lines += named(f"[red]step {number}: wrong:[/]", step.faults)
        lines += named(f"[yellow]step {number}: error:[/]", step.errors)
        lines += [f"[red]step {number}: proves nothing:[/] {escape(why)}" for why in step.invalid]
    if result.saturation is not None:
        lines.append(
            f"[green]{result.saturation:,.0f}/s[/] is the greatest rate that was held"
            f" with p99 of {escape(result.chief)} <= {result.objective_ms:g} ms"
        )
    return lines


def named(what: str, counts: Mapping[str, int]) -> list[str]:
    """Each thing that happened, and how often."""
    return [f"{what} {times:,} x {escape(name)}" for name, times in counts.items()]


def drift(step: Step) -> str:
    """By which factor p99 has changed in the course of the step."""
    factor = p99_drift(step.timeline)
    return "-" if factor is None else f"x {factor:.2f}"


def times(latency: Latency) -> list[str]:
    """The percentiles of a latency."""
    return [three_digits(latency.ms[name]) if latency.count else "-" for name in LATENCIES]


def three_digits(value: float) -> str:
    """A figure, as exact as it is."""
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"
