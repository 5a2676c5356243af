"""A comparison in a terminal."""

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.changes import Change
from loadtest.compare import Comparison, Matched
from loadtest.result_figures import short_commit
from loadtest.units import percent, quantity, span

COLOURS = {"better": "green", "worse": "red", "within noise": "dim"}


def show(found: Comparison, console: Console) -> None:
    """Print what cannot be compared, what differs, the figures and what changed."""
    for letter, one in (("A", found.a), ("B", found.b)):
        words = f"{letter}  {one.name} on {one.target}, {one.started_at}"
        console.print(f"{words}, commit {short_commit(one)}", markup=False, highlight=False)
    say(console, "[red]cannot be compared:[/]", found.obstacles)
    say(console, "[yellow]left out:[/]", found.remarks)
    say(console, "differs:", found.differences)
    for step in found.steps:
        console.print(table(step))
    say(console, "[green]better beyond noise:[/]", found.found("better"))
    say(console, "[red]worse beyond noise:[/]", found.worse)
    console.print(conclusion(found))


def say(console: Console, kind: str, lines: Iterable[str]) -> None:
    """Print lines, each with what it is about."""
    for line in lines:
        console.print(f"{kind} {escape(line)}", highlight=False)


def table(step: Matched) -> Table:
    """The figures of two steps: those by second, then those of the whole step."""
    made = Table("", "A", "B", "change", "99 % interval", "", title=escape(step.name))
    made.title_justify = "left"
    for column in made.columns[1:-1]:
        column.justify = "right"
    rows(made, "median of the seconds", step.judged)
    made.add_section()
    rows(made, "whole step, not judged", step.whole)
    return made


def rows(made: Table, heading: str, changes: Iterable[Change]) -> None:
    """Add figures under a heading."""
    made.add_row(f"[dim]{heading}")
    for change in changes:
        verdict = change.verdict or ""
        made.add_row(
            escape(change.name),
            quantity(change.a, change.unit),
            quantity(change.b, change.unit),
            percent(change.percent),
            span(change.interval),
            f"[{COLOURS[verdict]}]{verdict}" if verdict else "",
        )


def conclusion(found: Comparison) -> str:
    """What the exit code says, in a sentence."""
    if found.exit_code == 2:
        return "[red]The two cannot be compared."
    return "[red]B is worse." if found.exit_code else "[green]Nothing got worse beyond noise."
