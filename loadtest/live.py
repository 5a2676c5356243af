"""How a run goes, while it goes: a display on a terminal, else a line now and then."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from loadtest.results import Second
from loadtest.running import Watch
from loadtest.units import MIB

LINE_SECONDS = 5.0
"""How far apart the lines are."""


@contextmanager
def shown_on(console: Console) -> Iterator[Watch]:
    """Who shows it there, for as long as the block runs."""
    if not console.is_terminal:
        yield Watch(lambda line: console.print(line, markup=False), Lines(console))
        return
    with Live(console=console, transient=True, auto_refresh=False) as live:
        yield Watch(
            lambda line: live.console.print(line, markup=False),
            lambda second: live.update(panel(second), refresh=True),
        )


class Lines:
    """Prints a second every now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = monotonic()

    def __call__(self, second: Second) -> None:
        """Print it, if it is time."""
        if monotonic() - self._last >= LINE_SECONDS:
            self._last = monotonic()
            self._console.print(line_of(second), markup=False, soft_wrap=True)


def line_of(second: Second) -> str:
    """A second in one line."""
    parts = [f"{part} {cores:.2f} cores" for part, cores in second.cores.items()]
    return (
        f"{second.at:5.0f} s: {second.rate:,.0f}/s, {second.in_flight:,} in flight, "
        f"p50 {shown_ms(second.p50_ms)}, p99 {shown_ms(second.p99_ms)}, "
        f"{second.errors:,} errors; {', '.join(parts)}"
    )


def panel(second: Second) -> Group:
    """A second as two small tables: what was done, and what each part used for it."""
    done = table("at", "done", "in flight", "p50", "p95", "p99", "errors")
    done.add_row(
        f"{second.at:,.0f} s",
        f"{second.rate:,.0f}/s",
        f"{second.in_flight:,}",
        *map(shown_ms, (second.p50_ms, second.p95_ms, second.p99_ms)),
        f"{second.errors:,}",
    )
    used = table("", "cores", "memory")
    for part, cores in second.cores.items():
        used.add_row(part, f"{cores:.2f}", f"{second.memory[part] / MIB:,.0f} MiB")
    return Group(done, used)


def table(*columns: str) -> Table:
    """A plain table whose columns are aligned as figures are."""
    made = Table(*columns, box=SIMPLE_HEAD)
    for column in made.columns:
        column.justify = "right"
    return made


def shown_ms(value: float | None) -> str:
    """Milliseconds."""
    return "-" if value is None else f"{value:,.1f} ms"
