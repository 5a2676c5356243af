"""``python -m loadtest sweep``: one scenario at several values of one setting."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.deployment import Own
from loadtest.result_figures import GENERATOR, parts
from loadtest.results import Result, save
from loadtest.run import (
    FAILURES,
    FILE_WIDTH,
    RESULTS,
    carry_out,
    common,
    give_up,
    settings_of,
    target,
    wanted_of,
)
from loadtest.sweeps import Sweep, Trial, cpu, latency, medians, rate, words
from loadtest.terminal import wide_console
from loadtest.units import quantity

PARTS = ("server", "engine")
"""Whose CPU is always shown; that of other parts, where there are any."""


@click.command()
@common
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=V1,V2,…",
    help="The setting to be swept; of other settings, their one value.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How often each value is run.",
)
@click.option("--url", "urls", multiple=True, hidden=True)
def sweep(
    scenario: str,
    kind: Own | None,
    nodes: int | None,
    cores: float | None,
    out: Path | None,
    search: bool,
    settings: tuple[str, ...],
    rounds: int,
    urls: tuple[str, ...],
    **overrides: Any,
) -> None:
    """Carry out a scenario at each value of a setting, on a server of its own.

    SCENARIO and the options are those of `run`. The values take turns, `--rounds` times, so that
    a machine that drifts does so for all of them. The table shows medians over the rounds; a plot
    is put beside the results.

    Exits with 1 when a server did something wrong, with 2 when a run proves nothing.
    """
    if urls:
        raise click.UsageError("--url: each value needs a server of its own: use --self")
    if out is not None and out == plot_of(out):
        raise click.UsageError(f"--out {out}: the plot goes there: name a file for the results")
    setting, values, others = swept(settings_of(settings))
    console = wide_console(FILE_WIDTH)

    def measured(value: str) -> Result:
        given = {**others, setting: value}
        opening = target((), kind, nodes, given, on_kafka=wanted.on_kafka, cores=cores)
        return asyncio.run(carry_out(wanted, opening, console, search=search))

    found = Sweep(setting=setting, values=values, trials=[])
    try:
        wanted = wanted_of(scenario, overrides, search=search)
        path = out or RESULTS / f"{wanted.name}-{setting}-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
        fill(found, rounds, measured, path, console)
    except FAILURES as error:
        if found.trials:
            console.print(f"what was measured is in {path}", markup=False, soft_wrap=True)
        give_up(error, console)
    show(found, console)
    for written in (path, plotted(found, path)):
        console.print(f"written to {written}", markup=False, soft_wrap=True)
    sys.exit(found.exit_code)


def swept(settings: Mapping[str, str]) -> tuple[str, list[str], dict[str, str]]:
    """The setting with several values, these, and the other settings.

    Raises `click.UsageError` unless there is just one.
    """
    several = [name for name, value in settings.items() if "," in value]
    if not several:
        raise click.UsageError("--set: one setting must have several values: KEY=V1,V2,…")
    if len(several) > 1:
        raise click.UsageError(
            f"--set: only one may have several values, not {' and '.join(several)}"
        )
    [setting] = several
    values = settings[setting].split(",")
    if "" in values or len(set(values)) < len(values):
        raise click.UsageError(f"--set {setting}: each value must be there, and only once")
    return setting, values, {name: settings[name] for name in settings if name != setting}


def fill(
    sweep: Sweep, rounds: int, measured: Callable[[str], Result], path: Path, console: Console
) -> None:
    """Run all values in turns; what there is so far is kept, for the next run may fail.

    Raises one of `FAILURES`.
    """
    for number, value in product(range(1, rounds + 1), sweep.values):
        turn = f"\n{sweep.setting}={value}, round {number} of {rounds}"
        console.print(turn, style="bold", markup=False)
        sweep.trials.append(Trial(value, number, measured(value)))
        save(sweep, path)


def show(sweep: Sweep, console: Console) -> None:
    """Print the medians of each value."""
    first = sweep.first
    what = f"{first.name} on {first.target}, latency of {first.chief}"
    console.print(f"\n{what}, medians over rounds: {sweep.rounds}", style="bold", markup=False)
    console.print(table(sweep))


def table(sweep: Sweep) -> Table:
    """The medians, a row for each value."""
    known = [part for trial in sweep.trials for part in parts(trial.result) if part != GENERATOR]
    shown = list(dict.fromkeys([*PARTS, *known]))
    costs = [f"{part} CPU per 1,000" for part in shown]
    made = Table(sweep.setting, "done", "p50", "p99", *costs, "verdict", box=SIMPLE_HEAD)
    for column in made.columns[:-1]:
        column.justify = "right"
    columns = [
        [quantity(median, "/s") for median in medians(sweep, rate)],
        *([quantity(ms, "ms") for ms in medians(sweep, latency(name))] for name in ("p50", "p99")),
        *([quantity(s, "s") for s in medians(sweep, cpu(part))] for part in shown),
        [verdicts(sweep, value) for value in sweep.values],
    ]
    for value, *cells in zip(sweep.values, *columns, strict=True):
        made.add_row(escape(value), *cells)
    return made


def verdicts(sweep: Sweep, value: str) -> str:
    """What came of the runs of a value; how often, where that is not the same for all."""
    found = words(sweep, value)
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{times} x {word}" for word, times in found.items())


def plot_of(path: Path) -> Path:
    """Where the plot of the results in a file goes."""
    return path.with_suffix(".svg")


def plotted(sweep: Sweep, path: Path) -> Path:
    """Put the plot beside the results; where it is."""
    from loadtest import plots  # noqa: PLC0415  # it takes a second to load

    place = plot_of(path)
    place.write_text(plots.by_value(sweep), encoding="utf-8")
    return place
